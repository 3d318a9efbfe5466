"""Merging data that two have changed at the same time: in the store, and in an editor."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, TypeVar

from django.db.models import TextChoices

from ..absent import ABSENT
from ..datapath import step
from .plain import visible

T = TypeVar("T")
MOST_COMPARED = 3000
"""Lists with more items between their common beginning and end are compared as a whole."""


class Side(TextChoices):
    """Who has changed something, and whose value is taken."""

    STORED = "stored"
    MINE = "mine"
    BOTH = "both"


@dataclass(frozen=True)
class Difference:
    """A place where what is stored and what somebody wrote are not the same."""

    path: str
    opened: Any
    stored: Any
    mine: Any
    by: Side
    taken: Side
    """Whose value is in the merged data."""


class Merge:
    """Data that was merged from what was opened, what is stored now, and what somebody wrote.

    What only one of the two has changed is taken over. Where both did, it is what somebody wrote,
    unless they chose otherwise.

    Args:
        opened: what both began with; ``ABSENT`` if nobody knows.
        choices: by the path of a difference, as it is shown, whose value to take.
    """

    def __init__(
        self, opened: Any, stored: Any, mine: Any, choices: Mapping[str, str] | None = None
    ) -> None:
        self._choices = choices or {}
        self.opened, self.stored = opened, stored
        self.differences: list[Difference] = []
        self.value = self._merged("$", opened, stored, mine)

    def by(self, *sides: Side) -> list[Difference]:
        return [difference for difference in self.differences if difference.by in sides]

    def _merged(self, path: str, opened: Any, stored: Any, mine: Any) -> Any:
        if same(stored, mine):
            return stored
        if isinstance(stored, dict) and isinstance(mine, dict):
            return self._object(path, opened if isinstance(opened, dict) else {}, stored, mine)
        if isinstance(stored, list) and isinstance(mine, list) and isinstance(opened, list):
            return self._list(path, opened, stored, mine)
        return self._taken(path, opened, stored, mine)

    def _object(
        self, path: str, opened: dict[str, Any], stored: dict[str, Any], mine: dict[str, Any]
    ) -> dict[str, Any]:
        values = {
            name: self._merged(
                path + step(name), *(side.get(name, ABSENT) for side in (opened, stored, mine))
            )
            for name in {**stored, **mine}
        }
        return {name: value for name, value in values.items() if value is not ABSENT}

    def _list(self, path: str, opened: list[Any], stored: list[Any], mine: list[Any]) -> list[Any]:
        merged: list[Any] = []
        for one, other, third in parts(opened, stored, mine):
            before, theirs, ours = opened[one], stored[other], mine[third]
            if len(before) == len(theirs) == len(ours):
                for n, values in enumerate(zip(before, theirs, ours, strict=True), one.start):
                    merged.append(self._merged(path + step(n), *values))
            elif same(theirs, ours):
                merged += theirs
            else:
                merged += self._taken(f"{path}[{one.start}:{one.stop}]", before, theirs, ours)
        return merged

    def _taken(self, path: str, opened: Any, stored: Any, mine: Any) -> Any:
        by = Side.BOTH
        if same(opened, stored):
            by = Side.MINE
        elif same(opened, mine):
            by = Side.STORED
        usual = Side.STORED if by == Side.STORED else Side.MINE
        chosen = self._choices.get(visible(path))
        taken = Side(chosen) if chosen in (Side.STORED, Side.MINE) else usual
        self.differences.append(Difference(path, opened, stored, mine, by, taken))
        return stored if taken == Side.STORED else mine


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON: ``1`` is neither ``true`` nor ``1.0``."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def parts(
    opened: Sequence[Any], stored: Sequence[Any], mine: Sequence[Any]
) -> Iterator[tuple[slice, slice, slice]]:
    """Yield which parts of three lists belong together, in order, each as a slice of each list."""
    if len(opened) == len(stored) == len(mine):
        yield slice(0, len(opened)), slice(0, len(stored)), slice(0, len(mine))
        return
    texts = [[json.dumps(item, sort_keys=True) for item in side] for side in (opened, stored, mine)]
    in_stored, in_mine = matches(texts[0], texts[1]), matches(texts[0], texts[2])
    a = b = c = 0
    for i in [*sorted(in_stored.keys() & in_mine.keys()), len(opened)]:
        j, k = in_stored.get(i, len(stored)), in_mine.get(i, len(mine))
        n = i - a
        if n <= min(j - b, k - c) and all(
            found.get(a + m, start + m) == start + m
            for found, start in ((in_stored, b), (in_mine, c))
            for m in range(n)
        ):  # Items were changed, and others added behind them.
            yield slice(a, i), slice(b, b + n), slice(c, c + n)
            a, b, c = i, b + n, c + n
        yield slice(a, i), slice(b, j), slice(c, k)
        yield slice(i, i + 1), slice(j, j + 1), slice(k, k + 1)
        a, b, c = i + 1, j + 1, k + 1


def matches(one: list[T], other: list[T]) -> dict[int, int]:
    """Return where the items of one list stand in another, in the same order."""
    start, most = 0, min(len(one), len(other))
    while start < most and one[start] == other[start]:
        start += 1
    end = 0
    while end < most - start and one[-1 - end] == other[-1 - end]:
        end += 1
    found = {i: i for i in range(start)}
    found |= {len(one) - 1 - i: len(other) - 1 - i for i in range(end)}
    left, right = one[start : len(one) - end], other[start : len(other) - end]
    if len(left) + len(right) <= MOST_COMPARED:
        for block in SequenceMatcher(None, left, right, autojunk=False).get_matching_blocks():
            found |= {start + block.a + n: start + block.b + n for n in range(block.size)}
    return found
