"""The texts of the statements for a table of sessions, a dialect each.

On PostgreSQL, where there may be many rows, they are one parameter, JSON that the database makes a
table of. So there are few texts, however many rows there are: each is put together and parsed
once. Not so on MySQL and MariaDB: an update joined with ``JSON_TABLE`` crashes servers of
MariaDB 10.11. SQLite takes the shortest to execute a statement for each row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..records import Address, dumps
from .mysql_updates import update_of_many
from .statements import Statement, exactly

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from ..models import AbstractBotSession

ADDRESS = ("bot", "name", "key")
LOADED = (*ADDRESS, "data", "version", "expires_at", "revision")
MOST_TEXTS = 64

Row = Mapping[str, Any]
"""Values by field name."""


class Texts:
    """The statements for a table on one database, given the parameters."""

    def __init__(self, model: type[AbstractBotSession], connection: BaseDatabaseWrapper) -> None:
        self.vendor = connection.vendor
        self.tells_what_it_updates = self.vendor == "postgresql"
        self.returns_rows = connection.features.can_return_rows_from_bulk_insert
        quote, fields = connection.ops.quote_name, model._meta.concrete_fields
        self.table = quote(model._meta.db_table)
        self._columns = {field.name: quote(field.column) for field in fields}
        self._types = {field.name: field.db_parameters(connection)["type"] for field in fields}
        self._select_groups = self._kept(self._text_of_select_groups)
        self._update_one = self._kept(self._text_of_update_one)
        self._update_many = self._kept(self._text_of_update_many)
        self._insert = self._kept(self._text_of_insert)
        address = " AND ".join(f"{self._columns[name]} = %s" for name in ADDRESS)
        self._at_address = address
        self._at_revision = f"{address} AND {self._columns['revision']} = %s"
        self._select_one = f"{self._select} WHERE {address}"

    def _kept(self, make: Callable[..., str]) -> Callable[..., str]:
        return lru_cache(maxsize=MOST_TEXTS)(make)

    def columns(self, names: Iterable[str]) -> str:
        return ", ".join(self._columns[name] for name in names)

    # Select.

    def nothing_at(self, addresses: Sequence[Address]) -> Statement:
        """Return what fails if something is stored at one of the addresses."""
        return exactly(0, self.select(addresses), self.vendor)

    def select(self, addresses: Sequence[Address]) -> Statement:
        """Return the statement for what is stored at addresses."""
        if len(addresses) == 1:
            return Statement(self._select_one, addresses[0])
        keys: dict[tuple[str, str], list[str]] = {}
        for bot, name, key in addresses:
            keys.setdefault((bot, name), []).append(key)
        if self.vendor == "postgresql" and len(keys) > 1:
            rows = [{"new_bot": b, "new_name": n, "new_key": k} for b, n, k in addresses]
            return Statement(self._select_many(), [dumps(rows), len(rows)])
        parameters = [p for start, some in keys.items() for p in (*start, self._keys(some))]
        lone = tuple(len(some) == 1 for some in keys.values())
        return Statement(self._select_groups(lone), parameters)

    @property
    def _select(self) -> str:
        return f"SELECT {self.columns(LOADED)} FROM {self.table}"  # noqa: S608

    def _select_many(self) -> str:
        selected = ", ".join(f"{self.table}.{self._columns[name]}" for name in LOADED)
        return (
            f"SELECT {selected} FROM {self._given(ADDRESS)} JOIN {self.table} "  # noqa: S608
            f"ON {self._matches(ADDRESS)}"
        )

    def _text_of_select_groups(self, lone: Sequence[bool]) -> str:
        """Return the text for groups of keys, each a bot, a fragment, and :meth:`_keys`.

        ``lone`` says of each group whether it is one key: then the planner knows that.
        """
        bot, name, key = (self._columns[name] for name in ADDRESS)
        among = {"postgresql": "= ANY(%s)", "sqlite": "IN (SELECT value FROM json_each(%s))"}
        many = among.get(self.vendor, "IN %s")
        # With OR, SQLite reads all rows of a bot for a hundred addresses.
        return " UNION ALL ".join(
            f"{self._select} WHERE {bot} = %s AND {name} = %s AND {key} "
            f"{'= %s' if is_lone else many}"
            for is_lone in lone
        )

    def _keys(self, keys: Sequence[str]) -> Any:
        if len(keys) == 1:
            return keys[0]
        return json.dumps(keys) if self.vendor == "sqlite" else list(keys)

    # Update.

    def update(self, addresses: Sequence[tuple[Any, ...]], rows: Sequence[Row]) -> Statement:
        """Return what sets the values of rows, of which each has the same columns.

        It returns the new revisions if the database can. SQLite's is executed for each row.

        Args:
            addresses: of each row: bot, name, key and old revision.
        """
        columns = tuple(rows[0])
        if len(rows) == 1:
            return Statement(self._update_one(columns), [*rows[0].values(), *addresses[0]])
        if self.vendor == "mysql":
            values = [(*a, *row.values()) for a, row in zip(addresses, rows, strict=True)]
            at = (*ADDRESS, "revision")
            return update_of_many(self.table, self._columns, at, columns, values)
        if self.vendor == "sqlite":
            each = [[*row.values(), *a] for a, row in zip(addresses, rows, strict=True)]
            return Statement(self._update_one(columns), each, each=True)
        names = [f"new_{name}" for name in (*ADDRESS, "old", *columns)]
        given = [
            dict(zip(names, (*a, *row.values()), strict=True))
            for a, row in zip(addresses, rows, strict=True)
        ]
        return Statement(self._update_many(columns), [dumps(given), len(given)])

    def _text_of_update_one(self, columns: Sequence[str]) -> str:
        assignments = ", ".join(f"{self._columns[name]} = %s" for name in columns)
        return (
            f"UPDATE {self.table} SET {assignments} "  # noqa: S608
            f"WHERE {self._at_revision}{self._returning}"
        )

    def _text_of_update_many(self, columns: Sequence[str]) -> str:
        """Return PostgreSQL's text for rows given as JSON."""
        assignments = ", ".join(f"{self._columns[n]} = {self._new(n)}" for n in columns)
        given = self._given((*ADDRESS, "old", *columns))
        matches = f"{self._matches(ADDRESS)} AND {self.table}.{self._columns['revision']}"
        return (
            f"UPDATE {self.table} SET {assignments} FROM {given} "  # noqa: S608
            f"WHERE {matches} = n.new_old{self._returning}"
        )

    @property
    def _returning(self) -> str:
        """What returns new revisions, if the database can do that for an update."""
        return f" RETURNING {self._returned}" if self.tells_what_it_updates else ""

    @property
    def _returned(self) -> str:
        """What is returned of the rows that are made."""
        return f"{self.table}.{self._columns['revision']}"

    def _given(self, names: Sequence[str]) -> str:
        """Return what makes PostgreSQL's table ``n`` of a parameter and the number of its rows."""
        taken = ", ".join(f"new_{name} {self._type(name)}" for name in names)
        # The limit tells the planner how many there are: it would expect a hundred.
        return f"(SELECT * FROM json_to_recordset(%s) AS given ({taken}) LIMIT %s) AS n"  # noqa: S608

    def _matches(self, names: Sequence[str]) -> str:
        return " AND ".join(f"{self.table}.{self._columns[name]} = n.new_{name}" for name in names)

    def _type(self, name: str) -> str:
        if name == "data":  # Text of JSON, which itself is not part of the parameter's.
            return "text"
        return str(self._types["revision" if name == "old" else name])

    def _new(self, name: str) -> str:
        return f"CAST(n.new_data AS {self._types[name]})" if name == "data" else f"n.new_{name}"

    # Insert.

    def insert(self, rows: Sequence[Row]) -> Statement:
        """Return what makes rows that are not there, and returns their revisions if it can.

        On MySQL and MariaDB it fails if one is there.
        """
        # MySQL's INSERT IGNORE would ignore more than duplicates: it cuts off what is too long.
        if self.vendor == "mysql":
            return self._insertion(rows, "")
        returning = f" RETURNING {self._returned}" if self.returns_rows else ""
        return self._insertion(
            rows, f" ON CONFLICT ({self.columns(ADDRESS)}) DO NOTHING{returning}"
        )

    def replace(self, rows: Sequence[Row], changed: Iterable[str]) -> Statement:
        """Return what makes rows, and sets the columns ``changed`` where they are there."""
        if self.vendor == "mysql":
            new, clause = "VALUES({})", "ON DUPLICATE KEY UPDATE"
        else:
            new, clause = "EXCLUDED.{}", f"ON CONFLICT ({self.columns(ADDRESS)}) DO UPDATE SET"
        columns = [self._columns[name] for name in changed]
        assignments = ", ".join(f"{column} = {new.format(column)}" for column in columns)
        return self._insertion(rows, f" {clause} {assignments}")

    def _insertion(self, rows: Sequence[Row], otherwise: str) -> Statement:
        values = [value for row in rows for value in row.values()]
        text = self._insert(tuple(rows[0]), len(rows), otherwise)
        return Statement(text, values, recurs=len(rows) == 1)

    def _text_of_insert(self, columns: Sequence[str], rows: int, otherwise: str) -> str:
        row = f"({', '.join(['%s'] * len(columns))})"
        return (
            f"INSERT INTO {self.table} ({self.columns(columns)}) "  # noqa: S608
            f"VALUES {', '.join([row] * rows)}{otherwise}"
        )

    # Delete.

    def delete(self, addresses: Sequence[tuple[Any, ...]]) -> Statement:
        """Return what deletes rows, given by address, or by address and revision."""
        at = self._at_revision if len(addresses[0]) > len(ADDRESS) else self._at_address
        where = at if len(addresses) == 1 else " OR ".join([f"({at})"] * len(addresses))
        text = f"DELETE FROM {self.table} WHERE {where}"  # noqa: S608
        values = [value for address in addresses for value in address]
        return Statement(text, values, recurs=len(addresses) == 1)
