"""What indexes know of a table, asked for in one statement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Any, TypeAlias

from ..declaration import Fragment
from ..due import PREFIXES, comes_due
from ..finding import Age
from .sampling import Extent, extent
from .sql import Columns, Part
from .times import Times

COUNTED = 2_000
"""So many sessions are counted where an index finds them."""
EVERYTHING: Part = ("1 = 1", ())

Place: TypeAlias = "tuple[str, str]"
"""A bot and a fragment."""
Declared: TypeAlias = "Mapping[Place, Fragment[Any]]"
Asked: TypeAlias = "Iterator[tuple[tuple[Any, ...], Part]]"
"""Parts of a statement, by what they are asked for."""


class Known:
    """What is exact. Of more than :data:`COUNTED` sessions it is not known how many they are."""

    def __init__(self, columns: Columns, declared: Declared, times: Times) -> None:
        parts = {
            **dict(extent(columns)),
            **dict(expired(columns, times)),
            **dict(created(columns, times)),
            **{key: part for p in declared for key, part in ages(columns, p, declared, times)},
        }
        self._answers = columns.at_once(parts)
        self._days = [*times.midnights]
        self.extent = Extent(*(self._answers["extent", name] for name in Extent._fields))
        self.oldest_expired: datetime | None = columns.moment(
            "expires_at", self._answers["expired", "first"]
        )

    @property
    def expired(self) -> int | None:
        return exactly([self._answers["expired", "count"]])

    @property
    def to_be_swept(self) -> int | None:
        return exactly([self._answers["expired", "swept"]])

    def created(self, day: date) -> int | None:
        return exactly([self._answers["created", day]])

    def numbered(self, day: date) -> int:
        """Return how many primary keys were given away on a day; 0 if they are no numbers."""
        first: Any = self._answers["first key", day]
        later = (self._answers["first key", d] for d in self._days if d > day)
        end: int | None = next((key for key in later if key is not None), None)
        if not isinstance(first, int):
            return 0
        return int(self.extent.last + 1 if end is None else end) - first

    def of_age(self, place: Place, age: Age) -> int | None:
        """Return how many of a fragment are behind the code and have not expired, or are newer."""
        return exactly([n for key, n in self._answers.items() if key[:-1] == (place, age)])


def exactly(counts: list[int]) -> int | None:
    return sum(counts) if all(count <= COUNTED for count in counts) else None


def counted(
    columns: Columns, condition: str, parameters: list[Any], *order: str, only: Part = EVERYTHING
) -> Part:
    """Return how many rows there are, in the order of an index, which finds no more than needed.

    Args:
        only: what holds for those that are counted, of no more than :data:`COUNTED` that are found.
    """
    by = ", ".join(columns[name] for name in order)
    found = f"{columns.table} WHERE {condition} ORDER BY {by} LIMIT {COUNTED + 1}"
    rows = f"SELECT CASE WHEN {only[0]} THEN 1 END AS wanted FROM {found}"  # noqa: S608
    number = f"CASE WHEN COUNT(*) > {COUNTED} THEN {COUNTED + 1} ELSE COUNT(wanted) END"
    return f"(SELECT {number} FROM ({rows}) counted)", [*only[1], *parameters]  # noqa: S608


def first(columns: Columns, name: str, condition: str, parameters: list[Any], *order: str) -> Part:
    by = ", ".join(columns[name] for name in order)
    rows = f"{columns.table} WHERE {condition} ORDER BY {by} LIMIT 1"
    return f"(SELECT {columns[name]} FROM {rows})", parameters  # noqa: S608


def expired(columns: Columns, times: Times) -> Asked:
    condition = f"{columns['expires_at']} <= %s"
    now = [columns.given("expires_at", times.now)]
    order = ("expires_at", "pk")
    likes = [f"{columns['name']} NOT LIKE %s"] * len(PREFIXES)
    swept = " AND ".join(likes), [f"{prefix}%" for prefix in PREFIXES]
    yield ("expired", "count"), counted(columns, condition, now, *order)
    yield ("expired", "swept"), counted(columns, condition, now, *order, only=swept)
    yield ("expired", "first"), first(columns, "expires_at", condition, now, *order)


def created(columns: Columns, times: Times) -> Asked:
    """Yield how many were made on each day, and which was the first."""
    order = ("created_at", "pk")
    begun = {day: columns.given("created_at", at) for day, at in times.midnights.items()}
    ends = [*begun.values()][1:]
    for n, (day, at) in enumerate(begun.items()):
        since, until = f"{columns['created_at']} >= %s", f"{columns['created_at']} < %s"
        condition = f"{since} AND {until}" if ends[n:] else since
        yield ("created", day), counted(columns, condition, [at, *ends[n : n + 1]], *order)
        yield ("first key", day), first(columns, "pk", since, [at], *order)


def ages(columns: Columns, place: Place, declared: Declared, times: Times) -> Asked:
    """Yield how many of a fragment are behind the code and newer, in the parts of an index.

    What has expired is not behind: nobody migrates it.
    """
    newest, ends = declared[place].newest_version, columns["expires_at"]
    lasting = f"({ends} IS NULL OR {ends} > %s)", [columns.given("expires_at", times.now)]
    version = columns["version"]
    parts: list[tuple[Age, str, list[Any]]] = [(Age.NEWER, f"{version} IS NOT NULL", [])]
    if newest is not None:
        code = [columns.given("version", newest)]
        parts = [
            (Age.BEHIND, f"{version} IS NULL", []),
            (Age.BEHIND, f"{version} < %s", code),
            (Age.NEWER, f"{version} > %s", code),
        ]
    same = f"{columns['bot']} = %s AND {columns['name']} = %s AND "
    for n, (age, condition, code) in enumerate(parts):
        only = lasting if age == Age.BEHIND and not comes_due(place[1]) else EVERYTHING
        order = ("bot", "version", "name")
        found = counted(columns, same + condition, [*place, *code], *order, only=only)
        yield (place, age, n), found
