"""Tables of other programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.db import connections

from .found import OriginError

PAGE = 200
"""So many rows are in memory at a time."""


class ForeignTable:
    """A table that no model describes, gone through by a unique column, little by little.

    Args:
        columns: to be read; by the first the rows are ordered.
        where: columns and what they must equal.

    Raises:
        OriginError: there is no such table.
    """

    def __init__(
        self, using: str, name: str, columns: Sequence[str], where: dict[str, Any] | None = None
    ) -> None:
        self._connection = connections[using]
        if name not in self._connection.introspection.table_names():
            raise OriginError(f"There is no table {name!r} in the database {using!r}.")
        quote = self._connection.ops.quote_name
        self._width = len(columns)
        self._columns = ", ".join(map(quote, [*columns, *(where or ())]))
        self._order = quote(columns[0])
        self._table = quote(name)
        self._conditions = [f"{quote(column)} = %s" for column in where or ()]
        self._values = [*(where or {}).values()]

    def count(self) -> int:
        ((count,),) = self._rows("COUNT(*)", self._conditions, self._values)
        return int(count)

    def __iter__(self) -> Iterator[Sequence[Any]]:
        end = f"ORDER BY {self._order} LIMIT {PAGE}"
        rows = self._rows(self._columns, [], [], end)
        while rows:
            # If the database were told them, it might look for all such rows for each page anew.
            yield from (row[: self._width] for row in rows if [*row[self._width :]] == self._values)
            rows = self._rows(self._columns, [f"{self._order} > %s"], [rows[-1][0]], end)

    def _rows(
        self, what: str, conditions: list[str], values: list[Any], end: str = ""
    ) -> Sequence[Any]:
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        with self._connection.cursor() as cursor:
            cursor.execute(f"SELECT {what} FROM {self._table} {where} {end}", values)  # noqa: S608
            return list(cursor.fetchall())
