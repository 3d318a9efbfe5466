"""A session's data as text that people edit, and what became of it when it was saved."""

from __future__ import annotations

import json
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

import msgspec
from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from ..parsing import NotJson, parsed
from ..records import DECODER, ENCODER
from .plain import plain

MOST_LINES = 3000
"""More lines than these are not compared: that takes too long."""


class DataForm(forms.Form):
    text = forms.CharField(
        label=_("Data"),
        strip=False,
        widget=forms.Textarea(
            attrs={"class": "bs-editor", "spellcheck": "false", "autocomplete": "off", "rows": 24}
        ),
    )
    revision = forms.IntegerField(widget=forms.HiddenInput)

    def clean_text(self) -> str:
        try:
            self.value = parsed(self.cleaned_data["text"])
        except NotJson as exc:
            raise ValidationError(str(exc)) from None
        return str(self.cleaned_data["text"])


def pretty(value: Any) -> str:
    """Return JSON as people read and edit it."""
    try:
        compact = ENCODER.encode(value)
        if DECODER.decode(compact) == value:
            return msgspec.json.format(compact, indent=2).decode()
    except (TypeError, ValueError):
        pass
    # Not strict JSON: with a lone surrogate, say. This takes much longer.
    return plain(json.dumps(value, ensure_ascii=False, indent=2))


@dataclass(frozen=True)
class Line:
    """A line of a comparison: on the left, on the right, or on both sides."""

    left: str | None
    right: str | None

    @property
    def differs(self) -> bool:
        return self.left != self.right


def side_by_side(left: str, right: str) -> list[Line]:
    """Return two texts line by line; none where they are too long to be compared."""
    before, after = left.splitlines(), right.splitlines()
    if len(before) + len(after) > MOST_LINES:
        return []
    lines: list[Line] = []
    for tag, a, b, c, d in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag == "equal":
            lines += [Line(text, text) for text in before[a:b]]
            continue
        for i in range(max(b - a, d - c)):
            lines.append(
                Line(
                    before[a + i] if a + i < b else None,
                    after[c + i] if c + i < d else None,
                )
            )
    return lines
