"""Making many rows at once, where there are none yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connections

from ..models import AbstractBotSession
from ..records import dumps
from ..storages import Address
from .batches import at

Row = Mapping[str, Any]
"""The columns of a session, by field name. All rows have the same."""


def insert(model: type[AbstractBotSession], using: str, rows: Sequence[Row]) -> int:
    """Make rows where there are none of these addresses; return how many."""
    connection = connections[using]
    fields: list[Any] = [
        field
        for field in model._meta.concrete_fields
        if not field.primary_key and not field.generated
    ]
    # A subclass may have columns of any kind.
    known = bool(rows) and rows[0].keys() == {field.name for field in fields}
    if known and connection.vendor == "postgresql":
        return insert_as_json(connection, fields, rows)
    manager = model._base_manager.using(using)
    manager.bulk_create([model(**row) for row in rows], ignore_conflicts=True)
    revisions = {row["revision"] for row in rows}
    there = at(manager, [Address(row["bot"], row["name"], row["key"]) for row in rows])
    stored = (revision for some in there for revision in some.values_list("revision", flat=True))
    return len(revisions.intersection(stored))


def insert_as_json(connection: Any, fields: Sequence[Any], rows: Sequence[Row]) -> int:
    """Give PostgreSQL all rows as one parameter: that takes a tenth of one for each value."""
    quote = connection.ops.quote_name
    columns = ", ".join(quote(field.column) for field in fields)
    names = ", ".join(quote(field.name) for field in fields)
    given = ", ".join(f"{quote(field.name)} {field.db_type(connection)}" for field in fields)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {quote(fields[0].model._meta.db_table)} ({columns}) "  # noqa: S608
            f"SELECT {names} FROM jsonb_to_recordset(%s) AS given ({given}) ON CONFLICT DO NOTHING",
            [dumps(rows)],
        )
        return int(cursor.rowcount)
