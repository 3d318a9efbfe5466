"""Columns of MariaDB and MySQL that cannot hold every text."""

from __future__ import annotations

from collections.abc import Iterator

from django.apps import apps
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from .models import COLLATION, ExactCharField


def narrow_columns(
    connection: BaseDatabaseWrapper,
) -> Iterator[tuple[type[models.Model], list[str]]]:
    """Yield models with the columns whose character set or collation is not what they need."""
    for model in apps.get_models():
        needed = [f.column for f in model._meta.local_fields if isinstance(f, ExactCharField)]
        found = collations(connection, model._meta.db_table) if needed else {}
        narrow = [column for column in needed if found.get(column, COLLATION) != COLLATION]
        if narrow:
            yield model, narrow


def collations(connection: BaseDatabaseWrapper, table: str) -> dict[str, str]:
    """Return the collations of a table's text columns; none if there is no such table."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT column_name, collation_name FROM information_schema.columns "
            "WHERE table_schema = DATABASE() AND table_name = %s AND collation_name IS NOT NULL",
            [table],
        )
        return dict(cursor.fetchall())
