"""Whether data that comes back is what it was."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from telegram import TelegramObject

from ..datapath import ROOT, Place
from ..exceptions import SessionDataError
from .attributes import attributes, attributes_of
from .packing import packed

QUICK = frozenset([int, str, float, bool])
Parts = Mapping[Any, Any]


def parts(value: Any) -> Parts | None:
    """Return what a value is made of, by name or index; ``None`` if it is one thing."""
    if type(value) is dict:
        return value
    if type(value) is list:
        return dict(enumerate(value))
    if isinstance(value, dict):
        return {**attributes(value, ()), **value}
    if isinstance(value, (list, tuple, deque)):
        return {**attributes(value, ()), **dict(enumerate(value))}
    if isinstance(value, (set, frozenset)):
        return dict.fromkeys(value)
    if isinstance(value, TelegramObject):
        return attributes(value, names_of(type(value)))
    if isinstance(value, Enum):
        return None
    kind: Any = type(value)
    names = attributes_of(kind)
    if names is None and not hasattr(value, "__dict__"):
        return None
    return attributes(value, names or ())


def declared_parts(value: Any) -> Parts | None:
    """Do the same, without what an object has besides the fields of its class."""
    kind: Any = type(value)
    if (names := attributes_of(kind)) is None:
        return parts(value)
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def difference(
    one: Any, other: Any, place: Place = ROOT, parts_of: Callable[[Any], Parts | None] = parts
) -> Place | None:
    """Return where two values differ first; ``None`` if they do not.

    What has parts has to be of the same type, and its parts must not differ. Anything else has to
    be equal.
    """
    if one is other or (type(one) in QUICK and type(one) is type(other) and one == other):
        return None
    found = parts_of(one)
    if found is None:
        return None if repr(one) == repr(other) or one == other else place
    others = parts_of(other) if type(one) is type(other) else None
    if others is None:
        return place
    if isinstance(one, (set, frozenset)):
        return None if one == other or is_same(one, other) else place  # Members are no names.
    if isinstance(one, dict) and found.keys() != others.keys() and is_same([*found], [*others]):
        others = dict(zip(found, others.values(), strict=True))
    for name, part in found.items():
        at = (place, name if isinstance(name, (str, int)) else str(name))
        if name not in others:
            return at
        if (differing := difference(part, others[name], at, parts_of)) is not None:
            return differing
    return None if len(found) == len(others) else place


def is_same(one: Any, other: Any) -> bool:
    """Whether two values are stored as the same, if they may be equal only to themselves."""
    try:
        return bool(packed(one) == packed(other))
    except SessionDataError:
        return False


def names_of(kind: type[TelegramObject]) -> list[str]:
    """Return the attributes of Telegram's objects that Telegram knows.

    ``api_kwargs`` are what it does not: what is read may have more of them.
    """
    names = [name for base in kind.__mro__ for name in base.__dict__.get("__slots__", ())]
    return [name for name in names if not name.startswith("_") and name != "api_kwargs"]
