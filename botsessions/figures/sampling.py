"""Looking at some sessions of a table, picked at random, at a cost that does not grow with it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from .sql import Columns, Part

LOOKED_AT = 10_000
"""So many sessions are looked at, which in a smaller table are all."""
NEIGHBOURS = 20
"""So many keys that follow each other are picked together: their rows are near each other."""


class Extent(NamedTuple):
    """How large a table is, as far as can be known without reading it."""

    rows: int
    """As they were counted, no further than one above :data:`LOOKED_AT`."""
    estimate: int
    """By the database's statistics; 0 where these are not needed."""
    first: Any
    last: Any
    """The primary keys at its ends."""


def extent(columns: Columns) -> Iterator[tuple[tuple[str, str], Part]]:
    """Yield what has to be asked for an extent."""
    table, pk = columns.table, columns.pk
    some = f"SELECT 1 FROM {table} LIMIT {LOOKED_AT + 1}"  # noqa: S608
    yield ("extent", "rows"), (f"(SELECT COUNT(*) FROM ({some}) counted)", [])  # noqa: S608
    yield ("extent", "estimate"), rows_by_statistics(columns)
    yield ("extent", "first"), (f"(SELECT MIN({pk}) FROM {table})", [])  # noqa: S608
    yield ("extent", "last"), (f"(SELECT MAX({pk}) FROM {table})", [])  # noqa: S608


def rows_by_statistics(columns: Columns) -> Part:
    """Return how many rows PostgreSQL's table has if they are as dense as when last analyzed."""
    if columns.vendor != "postgresql":
        return "0", []
    dense = "CASE WHEN relpages > 0 THEN reltuples / relpages ELSE 20 END"
    pages = "pg_relation_size(oid) / current_setting('block_size')::int"
    found = "FROM pg_class WHERE oid = to_regclass(%s)"
    return f"(SELECT CAST({dense} * {pages} AS bigint) {found})", [columns.table]


class Pick(Protocol):
    """A way to pick sessions."""

    is_whole: bool
    """Whether it picks all."""

    def source(self, columns: Columns) -> Part:
        """Return what follows ``FROM``, up to the end of a condition."""

    def scale(self, seen: int) -> float:
        """Return for how many sessions each of ``seen`` picked ones stands."""


def pick(columns: Columns, extent: Extent, wanted: int) -> Pick:
    """Return a way to pick about so many sessions; all, if there are no more."""
    if extent.rows <= wanted:
        return Whole()
    if columns.vendor == "postgresql":
        total = extent.rows if extent.rows <= LOOKED_AT else max(extent.rows, extent.estimate)
        return RandomPages(total, wanted)
    if isinstance(extent.first, int):
        return RandomKeys(extent.first, extent.last, wanted)
    return Whole()


class Whole:
    """All sessions."""

    is_whole = True

    def source(self, columns: Columns) -> Part:
        return f"{columns.table} WHERE 1 = 1", []

    def scale(self, seen: int) -> float:
        return 1.0


@dataclass(frozen=True)
class RandomPages:
    """Sessions on random pages of PostgreSQL's table."""

    total: int
    wanted: int

    is_whole = False

    def source(self, columns: Columns) -> Part:
        percent = min(100.0, 100 * self.wanted / self.total)
        return f"{columns.table} TABLESAMPLE SYSTEM ({percent:f}) WHERE 1 = 1", []

    def scale(self, seen: int) -> float:
        return self.total / max(1, seen)


@dataclass(frozen=True)
class RandomKeys:
    """Sessions with random primary keys, which are numbers; there may be gaps."""

    first: int
    last: int
    wanted: int

    is_whole = False

    def source(self, columns: Columns) -> Part:
        starts = range(self.first, self.last + 1, NEIGHBOURS)
        some = random.sample(starts, min(len(starts), self.wanted // NEIGHBOURS))
        keys = [str(start + n) for start in sorted(some) for n in range(NEIGHBOURS)]
        return f"{columns.table} WHERE {columns.pk} IN ({', '.join(keys)})", []

    def scale(self, seen: int) -> float:
        return max(1.0, (self.last + 1 - self.first) / self.wanted)
