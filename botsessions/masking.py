"""Hiding parts of sessions from people who may see the rest: ``MASKED_FIELDS``."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any, TypeAlias

from .codec import too_deep, unstorable
from .conf import app_settings
from .datapath import ROOT, Place, path_of
from .records import Json
from .tags import depth_of_pairs

At: TypeAlias = Callable[[Any, Place], Any]
"""From what is at a place to what shall be there."""

MASK = re.compile(r"\[masked: (\$.*)\]", re.DOTALL)


HIDDEN = "[masked]"
"""In place of text in which nobody can tell what is to be masked."""


def masked_fields() -> frozenset[str]:
    """Return the names of the fields that nobody is shown."""
    return frozenset(app_settings().get("MASKED_FIELDS") or ())


def mask(value: Json, names: Collection[str]) -> Json:
    """Return ``value`` with a mask in the place of every field of these names, at any depth."""
    return rewritten(value, names, field=mask_of) if names else value


def mask_text(text: str, names: Collection[str]) -> str:
    """Return JSON that cannot be read as it is, unless a field of these names may be in it."""
    # A name can be written with escapes, too.
    return HIDDEN if any(name in text for name in names) or (names and "\\u" in text) else text


def has_masks(value: Json, names: Collection[str]) -> bool:
    """Whether there is, or may be, a field of these names in ``value``."""
    try:
        return bool(names and Unmasking(value, names).hidden)
    except RecursionError:
        return True


def unmask(edited: Json, stored: Json, names: Collection[str]) -> Json:
    """Return ``edited`` with what is stored in the place of masks that were left in it.

    A mask stands for a value only where a field of a masked name has it; elsewhere it is text. It
    says where that value is stored, so it may be moved to another field of a masked name.

    Raises:
        SessionDataError: a mask stands for nothing that is stored, or where it would be shown; or
            it is nested so deeply that nobody could store it.
    """
    if not names:
        return edited
    try:
        unmasked: Json = Unmasking(stored, names).value(edited)
    except RecursionError:
        raise too_deep("$") from None
    return unmasked


def as_it_is(value: Any, place: Place) -> Any:
    return value


def rewritten(
    value: Any,
    names: Collection[str],
    *,
    field: At,
    text: At = as_it_is,
    place: Place = ROOT,
    pairs: int = 0,
) -> Any:
    """Return ``value`` with other values of fields of these names, and other text besides.

    Args:
        pairs: how deep in ``value`` are lists of a field's name and its value.
    """

    at: dict[str, At] = {"field": field, "text": text}
    if isinstance(value, str):
        return text(value, place)
    if isinstance(value, dict):
        depth = depth_of_pairs(value)
        return {
            name: field(item, (place, name))
            if name in names
            else rewritten(item, names, **at, place=(place, name), pairs=depth)
            for name, item in value.items()
        }
    if not isinstance(value, list):
        return value
    if pairs == 1 and len(value) == 2 and isinstance(value[0], str) and value[0] in names:
        return [value[0], field(value[1], (place, 1))]
    depth = max(pairs - 1, 0)
    return [
        rewritten(item, names, **at, place=(place, i), pairs=depth) for i, item in enumerate(value)
    ]


def mask_of(value: Any, place: Place) -> str:
    return f"[masked: {path_of(place)}]"


class Unmasking:
    """Puts stored values in the place of their masks."""

    def __init__(self, stored: Json, names: Collection[str]) -> None:
        self._names = names
        self.hidden: dict[str, Json] = {}
        """What is stored in masked fields, by path."""
        self._texts: set[str] = set()
        """What only looks like a mask: somebody has written it, and it is stored."""
        rewritten(stored, names, field=self._note_field, text=self._note_text)

    def _note_field(self, value: Any, place: Place) -> None:
        self.hidden[path_of(place)] = value

    def _note_text(self, text: str, place: Place) -> None:
        if MASK.fullmatch(text):
            self._texts.add(text)

    def value(self, value: Any, place: Place = ROOT) -> Any:
        return rewritten(value, self._names, field=self._field, text=self._text, place=place)

    def _text(self, text: str, place: Place) -> str:
        if text not in self._texts and self._of(text) in self.hidden:
            problem = "is the mask of a hidden value, which would be lost or shown there"
            raise unstorable(path_of(place), problem)
        return text

    def _field(self, value: Any, place: Place) -> Any:
        """Return what belongs into a field of a masked name."""
        source = self._of(value) if isinstance(value, str) else None
        if source is None:
            return self.value(value, place)
        if source not in self.hidden:
            problem = f"is the mask of {source}, where nothing is stored (any more)"
            raise unstorable(path_of(place), problem)
        return self.hidden[source]

    def _of(self, text: str) -> str | None:
        """Return the path that a mask names; ``None`` where the text is none."""
        found = MASK.fullmatch(text)
        return found and found[1]
