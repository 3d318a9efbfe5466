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
        named: list[Any] = []
        count = 0
        for sessions in found:
            rows = list(sessions.order_by("pk").defer("data")[: MOST_NAMED + 1])
            count += len(rows) if len(rows) <= MOST_NAMED else sessions.count()
            named += rows
        return cls(count, named[:MOST_NAMED], note)
