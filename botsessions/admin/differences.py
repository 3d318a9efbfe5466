"""What differs between two or three states of a session's data, as pages show it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from ..absent import ABSENT
from .editing import pretty
from .merging import Difference, Merge, Side
from .plain import visible

MOST_SHOWN = 200
"""Of more differences the rest is counted only."""
MOST_TEXT = 2000
AROUND = 40
"""So many characters stand before the place where long texts begin to differ."""


@dataclass(frozen=True)
class Shown:
    """A difference as text; ``None`` for a value that is not there."""

    number: int
    path: str
    by: Side
    taken: Side
    opened: str | None
    stored: str | None
    mine: str | None


@dataclass(frozen=True)
class Differences:
    """The differences between what is stored and what somebody wrote."""

    count: int
    to_choose: list[Shown]
    """Both have changed these."""
    by_itself: list[Shown]
    """These only one has changed."""

    @property
    def left(self) -> int:
        return self.count - len(self.to_choose) - len(self.by_itself)


def differences(merge: Merge, most: int = MOST_SHOWN) -> Differences:
    """Return the first differences, those first that somebody has to decide."""
    both = merge.by(Side.BOTH)[:most]
    others = merge.by(Side.STORED, Side.MINE)[: most - len(both)]
    numbered = list(numbers([*both, *others]))
    return Differences(len(merge.differences), numbered[: len(both)], numbered[len(both) :])


def numbers(found: list[Difference]) -> Iterator[Shown]:
    for number, difference in enumerate(found, 1):
        values = (difference.opened, difference.stored, difference.mine)
        path = visible(difference.path)
        yield Shown(number, path, difference.by, difference.taken, *texts(*values))


def texts(*values: Any) -> Iterator[str | None]:
    """Yield values as text, beginning not long before they differ."""
    written = [None if value is ABSENT else pretty(value) for value in values]
    long = [text for text in written if text is not None and len(text) > MOST_TEXT]
    alike = takewhile(lambda letters: len({*letters}) == 1, zip(*long, strict=False))
    start = max(0, sum(1 for _letters in alike) - AROUND) if len({*long}) > 1 else 0
    for text in written:
        if text is None or len(text) <= MOST_TEXT:
            yield text
        else:
            end = start + MOST_TEXT
            yield ("…" if start else "") + text[start:end] + ("…" if len(text) > end else "")
