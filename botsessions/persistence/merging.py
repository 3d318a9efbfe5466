"""Changes that two updates have made to the same data at once, if not to the same entry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..absent import ABSENT, Absent
from ..codec import SORTED
from ..records import DECODER, Json
from ..tags import TYPE
from .packing import tagged


class Clash(Exception):
    """Both have changed the same."""


def merged(before: Json, mine: Json, theirs: Json) -> Json:
    """Return what both changes together have made of ``before``; ``None`` if they clash.

    Entries of dicts are compared each for itself, and members of sets. What somebody has deleted
    stays deleted.
    """
    if before is not None and theirs is None:
        return None
    try:
        both = merge({} if before is None else before, mine, {} if theirs is None else theirs)
    except Clash:
        return None
    return None if isinstance(both, Absent) else both


def merge(before: Any, mine: Any, theirs: Any) -> Any:
    if is_same(mine, before):
        return theirs
    if is_same(theirs, before):
        return mine
    kinds = {kind_of(value) for value in (before, mine, theirs) if value is not ABSENT}
    if len(kinds) == 1 and ABSENT not in (mine, theirs) and kinds != {""}:
        (kind,) = kinds
        return by_entry(kind, (before, mine, theirs), lambda name, *entry: merge(*entry))
    # Two numbers, or lists, that are the same may have been added to twice.
    if is_same(mine, theirs) and (mine is ABSENT or mine is None or isinstance(mine, (str, bool))):
        return mine
    raise Clash


def by_entry(kind: str, values: Iterable[Any], merge_one: Callable[..., Any]) -> Any:
    """Return the dict or set whose entries ``merge_one`` makes of those of ``values``.

    Args:
        merge_one: is given the entry's name, as JSON, and what it is in each of them.
    """
    found = [entries_of(kind, value) for value in values]
    names = dict.fromkeys(name for entries in found[::-1] for name in entries)
    both = {
        name: merge_one(name, *(entries.get(name, ABSENT) for entries in found)) for name in names
    }
    return remade(kind, {name: value for name, value in both.items() if value is not ABSENT})


def is_same(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON: ``1``, ``1.0`` and ``True`` are equal, but not that."""
    if one is ABSENT or other is ABSENT:
        return one is other
    return SORTED.encode(one) == SORTED.encode(other)


def kind_of(value: Any) -> str:
    """Return what a value is if its entries can be merged, else nothing."""
    if not isinstance(value, dict):
        return ""
    tag = value.get(TYPE, "dict")
    return tag if tag in ("dict", "set") else ""


def entries_of(kind: str, value: Any) -> Mapping[bytes, Any]:
    """Return entries by their names, or members by themselves, as JSON."""
    if value is ABSENT:
        return {}
    if kind == "set":
        return {SORTED.encode(member): member for member in value["value"]}
    pairs = value["value"] if TYPE in value else value.items()
    return {SORTED.encode(name): item for name, item in pairs}


def remade(kind: str, entries: Mapping[bytes, Any]) -> Any:
    if kind == "set":
        return tagged(kind, [entries[name] for name in sorted(entries)])
    pairs = [[DECODER.decode(name), item] for name, item in entries.items()]
    is_plain = all(isinstance(name, str) and name != TYPE for name, _ in pairs)
    return dict(pairs) if is_plain else tagged(kind, pairs)
