"""Sessions that are alike, counted by the database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from ..due import comes_due
from ..finding import State
from .known import Place
from .sampling import Pick
from .sql import Columns, Part, version_of
from .times import Times

STATES = [State.EXPIRED, State.SOON, State.LIVE]
"""In the order of their ends."""


class Group(NamedTuple):
    """So many sessions that are alike."""

    place: Place
    version: Decimal | None
    state: State
    created: date | None
    changed: date | None
    """Days; ``None`` for those before the two weeks that are looked at."""
    hours: list[int]
    """The windows within which they were changed last."""
    sessions: int


def groups(columns: Columns, look: Pick, times: Times, soon: timedelta) -> list[Group]:
    """Return those that were looked at, in groups."""
    ends = [times.now, times.now + soon]
    parts = [
        *((columns[name], []) for name in ("bot", "name", "version")),
        passed(columns, "expires_at", ends, or_equal=True),
        passed(columns, "created_at", times.limits),
        passed(columns, "updated_at", times.limits),
    ]
    source, picked = look.source(columns)
    by = ", ".join(str(n + 1) for n in range(len(parts)))
    rows = columns.rows(
        f"SELECT {', '.join(text for text, _ in parts)}, COUNT(*) FROM {source} GROUP BY {by}",  # noqa: S608
        [parameter for _, some in parts for parameter in some] + list(picked),
    )
    return [
        Group(
            (bot, name),
            version_of(number),
            State.DUE if not state and comes_due(name) else STATES[state],
            times.day_of(created),
            times.day_of(changed),
            times.hours_of(changed),
            count,
        )
        for bot, name, number, state, created, changed, count in rows
    ]


def passed(
    columns: Columns, name: str, limits: Sequence[datetime], *, or_equal: bool = False
) -> Part:
    """Return how many moments, which ascend, a column has passed: all of them if it is NULL."""
    sign = "<=" if or_equal else "<"
    cases = " ".join(f"WHEN {columns[name]} {sign} %s THEN {n}" for n in range(len(limits)))
    given = [columns.given(name, limit) for limit in limits]
    return f"CASE {cases} ELSE {len(limits)} END", given
