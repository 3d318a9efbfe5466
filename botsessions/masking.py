"""Hiding parts of sessions from people who may see the rest: ``MASKED_FIELDS``."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from .codec import too_deep, unstorable
from .conf import app_settings
from .datapath import ROOT, Place, path_of
from .records import Json

MASK = re.compile(r"\[masked: (\$.*)\]", re.DOTALL)


HIDDEN = "[masked]"
"""In place of text in which nobody can tell what is to be masked."""


def masked_fields() -> frozenset[str]:
    """Return the names of the fields that nobody is shown."""
    return frozenset(app_settings().get("MASKED_FIELDS") or ())


def mask(value: Json, names: Collection[str]) -> Json:
    """Return ``value`` with a mask in the place of every field of these names, at any depth."""
    return masked(value, names) if names else value


def mask_text(text: str, names: Collection[str]) -> str:
    """Return JSON that cannot be read as it is, unless a field of these names may be in it."""
    # A name can be written with escapes, too.
    return HIDDEN if any(name in text for name in names) or (names and "\\u" in text) else text


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
    texts = frozenset(t for t in texts_of(stored, names) if MASK.fullmatch(t))
    unmasking = Unmasking(names, dict(hidden(stored, names)), texts)
    try:
        unmasked: Json = unmasking.value(edited)
    except RecursionError:
        raise too_deep("$") from None
    return unmasked


def masked(value: Any, names: Collection[str], place: Place = ROOT) -> Any:
    if isinstance(value, dict):
        return {
            name: mask_of((place, name)) if name in names else masked(item, names, (place, name))
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [masked(item, names, (place, i)) for i, item in enumerate(value)]
    return value


def mask_of(place: Place) -> str:
    return f"[masked: {path_of(place)}]"


def hidden(value: Any, names: Collection[str], place: Place = ROOT) -> Iterator[tuple[str, Json]]:
    """Yield the path and value of every masked field."""
    if isinstance(value, dict):
        for name, item in value.items():
            if name in names:
                yield path_of((place, name)), item
            else:
                yield from hidden(item, names, (place, name))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from hidden(item, names, (place, i))


def texts_of(value: Any, names: Collection[str]) -> Iterator[str]:
    """Yield all text that is not masked."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, item in value.items():
            if name not in names:
                yield from texts_of(item, names)
    elif isinstance(value, list):
        for item in value:
            yield from texts_of(item, names)


@dataclass(frozen=True)
class Unmasking:
    """Puts stored values in the place of their masks."""

    names: Collection[str]
    hidden: dict[str, Json]
    """What is stored in masked fields, by path."""
    texts: Collection[str]
    """What only looks like a mask: somebody has written it, and it is stored."""

    def value(self, value: Any, place: Place = ROOT) -> Any:
        if isinstance(value, dict):
            return {
                name: self.field(item, (place, name))
                if name in self.names
                else self.value(item, (place, name))
                for name, item in value.items()
            }
        if isinstance(value, list):
            return [self.value(item, (place, i)) for i, item in enumerate(value)]
        if isinstance(value, str) and value not in self.texts and self._of(value) in self.hidden:
            problem = "is the mask of a hidden value, which would be lost or shown there"
            raise unstorable(path_of(place), problem)
        return value

    def field(self, value: Any, place: Place) -> Any:
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
