"""A session's data as text that people edit."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from ..exceptions import SessionError
from ..parsing import NotJson, parsed
from ..records import DECODER, ENCODER
from .paths import line_of
from .plain import visible


class DataForm(forms.Form):
    text = forms.CharField(
        label=_("Data"),
        strip=False,
        widget=forms.Textarea(
            attrs={"class": "bs-editor", "spellcheck": "false", "autocomplete": "off", "rows": 24}
        ),
    )
    revision = forms.IntegerField(widget=forms.HiddenInput)
    opened = forms.CharField(required=False, strip=False, widget=forms.HiddenInput)
    line: int | None = None
    """In which line of the text there is an error, if one is known."""

    def clean_text(self) -> str:
        try:
            self.value = parsed(self.cleaned_data["text"])
        except NotJson as exc:
            self.line = exc.line
            raise ValidationError(str(exc)) from None
        return str(self.cleaned_data["text"])

    def refuse(self, error: SessionError) -> None:
        """Note why the text cannot be saved, and where."""
        self.line = line_of(self.cleaned_data["text"], str(error))
        self.add_error("text", str(error))


def pretty(value: Any) -> str:
    """Return JSON as people read and edit it: what nobody would see is written as escapes."""
    try:
        compact = ENCODER.encode(value)
        if DECODER.decode(compact) == value:
            return visible(msgspec.json.format(compact, indent=2).decode())
    except (TypeError, ValueError):
        pass
    # Not strict JSON: with a lone surrogate, say. This takes much longer.
    return visible(json.dumps(value, ensure_ascii=False, indent=2))
