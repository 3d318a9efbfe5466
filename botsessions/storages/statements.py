"""The texts of the statements that the ORM cannot say, a dialect each.

Where there may be many rows, they are one parameter, JSON that the database makes a table of. So a
text does not depend on how many there are: it is put together once, and parsed less often.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.db import connections

if TYPE_CHECKING:
    from ..models import AbstractBotSession

ADDRESS = ("bot", "name", "key")
LOADED = (*ADDRESS, "data", "version", "expires_at", "revision")

UTF8 = "CHARACTER SET utf8mb4"
ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str)
FIRST_MARIADB_WITH_JSON_TABLE = (10, 6)
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
        self.updates_many = self.returns_rows
        if self.vendor == "mysql":
            mariadb: Any = connection
            self.updates_many = (
                not mariadb.mysql_is_mariadb
                or mariadb.mysql_version >= FIRST_MARIADB_WITH_JSON_TABLE
            )
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
        """Return the text that sets ``columns`` in many rows, given as :meth:`rows`.

        ``held`` is put before it: see :meth:`if_held`.
        """
        new = {name: self._new(name) for name in columns}
        where = " AND ".join(
            f"{self.table}.{self._columns[name]} = n.new_{new}"
            for name, new in [*zip(ADDRESS, ADDRESS, strict=True), ("revision", "old")]
        )
        if self.vendor == "mysql":
            assignments = ", ".join(
                f"{self.table}.{self._columns[name]} = {value}" for name, value in new.items()
            )
            rows = self._rows(columns)
            # Beginning with the table, it would lock all rows of a small one.
            return f"UPDATE {rows} STRAIGHT_JOIN {self.table} ON {where} SET {assignments}"  # noqa: S608
        assignments = ", ".join(f"{self._columns[name]} = {value}" for name, value in new.items())
        update = f"UPDATE {self.table} SET {assignments} FROM {self._rows(columns)} WHERE {where}"  # noqa: S608
        if held:
            return self.if_held(update, held)
        return f"{update} RETURNING {self.table}.{self._columns['revision']}"

    def if_held(self, update: str, held: str) -> str:
        """Return the text of an update that happens if ``held`` returns a given number of rows.

        It returns revisions, each with the ids of those rows that still have a holder.
        """
        return (
            f"WITH held AS ({held}) {update} AND (SELECT COUNT(*) FROM held) = %s "  # noqa: S608
            f"RETURNING {self.table}.{self._columns['revision']}, "
            "ARRAY(SELECT id FROM held WHERE holder > 0)"
        )

    def rows(self, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[Any]:
        """Return parameters of :meth:`update`: of each row address, old revision, ``columns``."""
        if self.vendor != "postgresql":
            return [ENCODER.encode(rows)]
        names = self._given(columns)
        return [ENCODER.encode([dict(zip(names, row, strict=True)) for row in rows]), len(rows)]

    def _rows(self, columns: Sequence[str]) -> str:
        """Return what makes a table ``n`` of the parameter."""
        given = self._given(columns)
        types = {name: self._type(name.removeprefix("new_")) for name in given}
        if self.vendor == "postgresql":
            taken = [f"{name} {kind}" for name, kind in types.items()]
            # The limit tells the planner how many there are: it would expect a hundred.
            return (
                f"(SELECT * FROM json_to_recordset(%s) AS given ({', '.join(taken)}) "  # noqa: S608
                "LIMIT %s) AS n"
            )
        if self.vendor == "mysql":
            taken = [f"{n} {t} PATH '$[{i}]'" for i, (n, t) in enumerate(types.items())]
            return f"JSON_TABLE(%s, '$[*]' COLUMNS ({', '.join(taken)})) AS n"
        taken = [f"json_extract(value, '$[{i}]') AS {name}" for i, name in enumerate(given)]
        return f"(SELECT {', '.join(taken)} FROM json_each(%s)) AS n"  # noqa: S608

    def _given(self, columns: Sequence[str]) -> list[str]:
        return [f"new_{name}" for name in (*ADDRESS, "old", *columns)]

    def _type(self, name: str) -> str:
        if name == "data":  # Text of JSON, which itself is not part of the parameter's.
            return "text" if self.vendor == "postgresql" else f"longtext {UTF8}"
        parameters: Any = self._parameters["revision" if name == "old" else name]
        if self.vendor == "mysql" and "char" in parameters["type"]:
            collation = parameters.get("collation")
            return f"{parameters['type']} {UTF8}{f' COLLATE {collation}' if collation else ''}"
        return str(parameters["type"])

    def _new(self, name: str) -> str:
        if name == "data" and self.vendor == "postgresql":
            return f"CAST(n.new_data AS {self._parameters[name]['type']})"
        return f"n.new_{name}"

    def _update_one(self, columns: Sequence[str], held: str = "") -> str:
        """Return the text that sets ``columns`` in one row: the values, address, old revision."""
        assignments = ", ".join(f"{self._columns[name]} = %s" for name in columns)
        update = f"UPDATE {self.table} SET {assignments} WHERE {self.at_address_and_revision}"  # noqa: S608
        return self.if_held(update, held) if held else update

    @property
    def at_address(self) -> str:
        return " AND ".join(f"{self._columns[name]} = %s" for name in ADDRESS)

    @property
    def at_address_and_revision(self) -> str:
        return f"{self.at_address} AND {self._columns['revision']} = %s"
