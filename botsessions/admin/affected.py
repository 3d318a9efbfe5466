"""Which sessions something is about to be done to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from django.db.models import QuerySet

Sessions: TypeAlias = "QuerySet[Any]"
MOST_NAMED = 100
"""Of more sessions the rest is counted only."""


@dataclass(frozen=True)
class Affected:
    """How many sessions there are, and what else is to be known of them."""

    count: int | None
    """``None`` where it was not counted."""
    sessions: Sessions | list[Any] | None
    note: str = ""

    @classmethod
    def of(cls, found: Iterable[Sessions], note: str) -> Affected:
        """Return the sessions that some query sets find, each in one of them only."""
        of_tables: dict[Any, list[Sessions]] = {}
        for sessions in found:
            of_tables.setdefault((sessions.model, sessions.db), []).append(sessions.defer("data"))
        named: list[Any] = []
        count = 0
        for one, *others in of_tables.values():
            rows = list(one.order_by().union(*others)[: MOST_NAMED + 1])
            all_named = len(rows) <= MOST_NAMED
            count += len(rows) if all_named else sum(s.count() for s in (one, *others))
            named += rows
        return cls(count, named[:MOST_NAMED], note)
