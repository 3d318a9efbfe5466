"""Cursors of the storages' own threads, kept from one statement to the next.

To make one takes Django and the driver longer than to use it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from django.db import Error, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

_here = threading.local()


def keep_cursors_in_this_thread() -> None:
    """Have :func:`cursor_of` give this thread the same cursor again and again."""
    _here.kept = {}


def cursor_of(connection: BaseDatabaseWrapper) -> AbstractContextManager[Any]:
    """Return a cursor to be entered, for one statement; its rows have to be fetched inside."""
    kept: dict[str, tuple[Any, Any]] | None = getattr(_here, "kept", None)
    if kept is None:
        return connection.cursor()
    made_for, cursor = kept.get(connection.alias, (None, None))
    if made_for is None or made_for != ways_of(connection):
        cursor = connection.cursor()
        kept[connection.alias] = ways_of(connection), cursor
    return nullcontext(cursor)


def rows(connection: BaseDatabaseWrapper, sql: str, parameters: Sequence[Any]) -> list[Any]:
    """Execute a statement and return its rows."""
    with cursor_of(connection) as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def changed(connection: BaseDatabaseWrapper, sql: str, parameters: Sequence[Any]) -> int:
    """Execute a statement and return how many rows it has changed."""
    with cursor_of(connection) as cursor:
        cursor.execute(sql, parameters)
        return int(cursor.rowcount)


def changed_by_each(
    connection: BaseDatabaseWrapper, sql: str, parameters: Sequence[Sequence[Any]]
) -> int:
    """Execute a statement once for each of ``parameters`` and return how many rows that changed."""
    with cursor_of(connection) as cursor:
        cursor.executemany(sql, parameters)
        return int(cursor.rowcount)


@contextmanager
def together(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Make all changes that follow, or none, like ``atomic()``, in fewer statements.

    The first statement inside has to be one that changes something: on SQLite it is waited here
    until that may be done.
    """
    if connection.in_atomic_block or not connection.autocommit:
        with transaction.atomic(using=connection.alias):
            yield
        return
    begin = "BEGIN IMMEDIATE" if connection.vendor == "sqlite" else "START TRANSACTION"
    with cursor_of(connection) as cursor:
        cursor.execute(begin)
        try:
            yield
            cursor.execute("COMMIT")
        except BaseException:
            try:
                cursor.execute("ROLLBACK")
            except Error:  # Nor is there a transaction without a connection.
                connection.close()
            raise


def ways_of(connection: BaseDatabaseWrapper) -> tuple[Any, ...]:
    """Return what a cursor depends on, besides the settings of the database."""
    return connection.connection, connection.queries_logged, connection.timezone
