"""A table's columns, for statements as text: the ORM takes longer to compose them than they run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeAlias, TypeVar, cast

from django.db import connections

from ..models import AbstractBotSession
from ..records import plain

K = TypeVar("K")
Part: TypeAlias = "tuple[str, Sequence[Any]]"
"""Of a statement, with its parameters."""


class Columns:
    """How a database calls the columns of a table, and how it takes and gives what they hold."""

    def __init__(self, model: type[AbstractBotSession], using: str) -> None:
        self.model = model
        self.connection = connections[using]
        self.vendor = self.connection.vendor
        self.table = self.connection.ops.quote_name(model._meta.db_table)
        self.pk = self["pk"]

    def __getitem__(self, name: str) -> str:
        return self.connection.ops.quote_name(self._field(name).column)

    def given(self, name: str, value: Any) -> Any:
        """Return what is compared with a column as the database takes it."""
        return self._field(name).get_db_prep_value(value, self.connection)

    def moment(self, name: str, raw: Any) -> datetime | None:
        """Return a moment from a column as Python has it."""
        column = self._field(name).get_col(self.model._meta.db_table)
        for converter in self.connection.ops.get_db_converters(column):
            raw = converter(raw, column, self.connection)
        return cast("datetime | None", raw)

    def rows(self, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return list(cursor.fetchall())

    def at_once(self, parts: Mapping[K, Part]) -> dict[K, Any]:
        """Return what each of some expressions says, by one statement."""
        parameters = [parameter for _, some in parts.values() for parameter in some]
        ((*answers,),) = self.rows(
            f"SELECT {', '.join(text for text, _ in parts.values())}", parameters
        )
        return dict(zip(parts, answers, strict=True))

    def _field(self, name: str) -> Any:
        options = self.model._meta
        return options.pk if name == "pk" else options.get_field(name)


def version_of(raw: Any) -> Decimal | None:
    """Return a version from its column."""
    return None if raw is None else plain(Decimal(str(raw)))
