"""The texts of the statements that the ORM cannot say, a dialect each.

On PostgreSQL, where there may be many rows, they are one parameter, JSON that the database makes a
table of. So a text does not depend on how many there are: it is put together once, and parsed less
often. Not so on MySQL and MariaDB: an update joined with ``JSON_TABLE`` crashes servers of
MariaDB 10.11. SQLite takes the shortest to execute a statement for each row.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.db import connections

from .base import dumps

if TYPE_CHECKING:
    from ..models import AbstractBotSession

ADDRESS = ("bot", "name", "key")
LOADED = (*ADDRESS, "data", "version", "expires_at", "revision")

MOST_TEXTS = 64


@lru_cache(maxsize=MOST_TEXTS)
def statements_of(model: type[AbstractBotSession], using: str) -> Statements:
    return Statements(model, using)


class Statements:
    """The texts for a table of one database."""

    def __init__(self, model: type[AbstractBotSession], using: str) -> None:
        connection = connections[using]
        quote, fields = connection.ops.quote_name, model._meta.concrete_fields
        self.vendor = connection.vendor
        self.table = quote(model._meta.db_table)
        self._columns = {field.name: quote(field.column) for field in fields}
        self._parameters = {field.name: field.db_parameters(connection) for field in fields}
        self.returns_rows = connection.features.can_return_rows_from_bulk_insert
        self.tells_what_it_updates = self.vendor == "postgresql"
        self.update = lru_cache(maxsize=MOST_TEXTS)(self._update)
        self.update_one = lru_cache(maxsize=MOST_TEXTS)(self._update_one)
        self.select = lru_cache(maxsize=MOST_TEXTS)(self._select)

    def columns(self, names: Iterable[str]) -> str:
        return ", ".join(self._columns[name] for name in names)

    # Select.

    def _select(self, lone: Sequence[bool]) -> str:
        """Return the text for groups of keys, each a bot, a fragment, and :meth:`keys`.

        ``lone`` says of each group whether it is one key: then the planner knows that.
        """
        bot, name, key = (self._columns[name] for name in ADDRESS)
        among = {"postgresql": "= ANY(%s)", "sqlite": "IN (SELECT value FROM json_each(%s))"}
        many = among.get(self.vendor, "IN %s")
        # With OR, SQLite reads all rows of a bot for a hundred addresses.
        return " UNION ALL ".join(
            f"SELECT {self.columns(LOADED)} FROM {self.table} "  # noqa: S608
            f"WHERE {bot} = %s AND {name} = %s AND {key} {'= %s' if is_lone else many}"
            for is_lone in lone
        )

    def keys(self, keys: Sequence[str]) -> Any:
        """Return ``keys`` as a parameter of :meth:`select`."""
        if len(keys) == 1:
            return keys[0]
        return json.dumps(keys) if self.vendor == "sqlite" else list(keys)

    # Update.

    def _update(self, columns: Sequence[str], held: str = "") -> str:
        """Return PostgreSQL's text that sets ``columns`` in many rows, given as :meth:`rows`.

        ``held`` is put before it: see :meth:`_told`.
        """
        new = {name: self._new(name) for name in columns}
        where = " AND ".join(
            f"{self.table}.{self._columns[name]} = n.new_{new}"
            for name, new in [*zip(ADDRESS, ADDRESS, strict=True), ("revision", "old")]
        )
        assignments = ", ".join(f"{self._columns[name]} = {value}" for name, value in new.items())
        update = f"UPDATE {self.table} SET {assignments} FROM {self._rows(columns)} WHERE {where}"  # noqa: S608
        return self._told(update, held)

    def _told(self, update: str, held: str) -> str:
        """Return the text of an update that returns new revisions, if the database can.

        With ``held`` it happens if that returns a given number of rows, and returns with each
        revision the ids of those rows that still have a holder.
        """
        revision = f"{self.table}.{self._columns['revision']}"
        if held:
            return (
                f"WITH held AS ({held}) {update} AND (SELECT COUNT(*) FROM held) = %s "  # noqa: S608
                f"RETURNING {revision}, ARRAY(SELECT id FROM held WHERE holder > 0)"
            )
        return f"{update} RETURNING {revision}" if self.tells_what_it_updates else update

    def rows(self, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[Any]:
        """Return parameters of :meth:`update`: of each row address, old revision, ``columns``."""
        names = self._given(columns)
        return [dumps([dict(zip(names, row, strict=True)) for row in rows]), len(rows)]

    def _rows(self, columns: Sequence[str]) -> str:
        """Return what makes a table ``n`` of the parameter."""
        given = self._given(columns)
        taken = [f"{name} {self._type(name.removeprefix('new_'))}" for name in given]
        # The limit tells the planner how many there are: it would expect a hundred.
        return (
            f"(SELECT * FROM json_to_recordset(%s) AS given ({', '.join(taken)}) "  # noqa: S608
            "LIMIT %s) AS n"
        )

    def _given(self, columns: Sequence[str]) -> list[str]:
        return [f"new_{name}" for name in (*ADDRESS, "old", *columns)]

    def _type(self, name: str) -> str:
        if name == "data":  # Text of JSON, which itself is not part of the parameter's.
            return "text"
        return str(self._parameters["revision" if name == "old" else name]["type"])

    def _new(self, name: str) -> str:
        if name == "data":
            return f"CAST(n.new_data AS {self._parameters[name]['type']})"
        return f"n.new_{name}"

    def update_of_mysql(
        self, columns: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> tuple[str, list[Any]]:
        """Return what sets ``columns`` in many rows: of each address, old revision, ``columns``.

        MySQL's driver takes long for each parameter. So what is the same in all rows is given once,
        and numbers are part of the text.
        """
        names, parameters = (*ADDRESS, "old", *columns), []
        found = dict(zip(names, zip(*rows, strict=True), strict=True))
        shared = {name: values[0] for name, values in found.items() if len({*values}) == 1}

        def literal(value: Any) -> str:
            if value is None:
                return "NULL"
            if type(value) is int:
                return str(value)
            parameters.append(value)
            return "%s"

        def new(name: str) -> str:
            return literal(shared[name]) if name in shared else f"n.new_{name}"

        def pairs(between: str, names: Iterable[tuple[str, str]]) -> str:
            return between.join(f"{self.table}.{self._columns[n]} = {new(v)}" for n, v in names)

        own = {name: values for name, values in found.items() if name not in shared}
        given = [list(map(literal, row)) for row in zip(*own.values(), strict=True)]
        # The first row names the columns.
        given[0] = [f"{value} AS new_{name}" for name, value in zip(own, given[0], strict=True)]
        table = " UNION ALL ".join(f"SELECT {', '.join(row)}" for row in given)
        where = pairs(" AND ", [*zip(ADDRESS, ADDRESS, strict=True), ("revision", "old")])
        assignments = pairs(", ", zip(columns, columns, strict=True))
        # Beginning with the table, it would lock all rows of a small one.
        return (
            f"UPDATE ({table}) AS n STRAIGHT_JOIN {self.table} ON {where} SET {assignments}",  # noqa: S608
            parameters,
        )

    def _update_one(self, columns: Sequence[str], held: str = "") -> str:
        """Return the text that sets ``columns`` in one row: the values, address, old revision."""
        assignments = ", ".join(f"{self._columns[name]} = %s" for name in columns)
        update = f"UPDATE {self.table} SET {assignments} WHERE {self.at_address_and_revision}"  # noqa: S608
        return self._told(update, held)

    @property
    def at_address(self) -> str:
        return " AND ".join(f"{self._columns[name]} = %s" for name in ADDRESS)

    @property
    def at_address_and_revision(self) -> str:
        return f"{self.at_address} AND {self._columns['revision']} = %s"
