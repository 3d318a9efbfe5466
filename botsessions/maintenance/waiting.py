"""Transactions that wait for no longer than they may for what somebody else has locked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DatabaseError, connections, transaction

from ..database.errors import has_waited_for_lock
from ..exceptions import SessionLockTimeout

AMONG_OTHERS_SECONDS = 0.025
"""So long a row is waited for with others locked, whose chats wait meanwhile, too."""


@contextmanager
def waiting(using: str, seconds: float) -> Iterator[None]:
    """Do all in a transaction, or nothing, and wait for so long for each row that is locked.

    That may be one that there is not before somebody else commits. MariaDB and MySQL take whole
    seconds, MySQL at least one. SQLite has no locks of rows.

    Raises:
        SessionLockTimeout: that was too short; nothing was changed.
    """
    connection = connections[using]
    try:
        if connection.vendor == "mysql":
            with limited_on_mysql(connection, seconds), transaction.atomic(using=using):
                yield
        elif connection.vendor == "postgresql":
            with transaction.atomic(using=using), limited_on_postgresql(connection, seconds):
                yield
        else:
            with transaction.atomic(using=using):
                yield
    except DatabaseError as exc:
        if not has_waited_for_lock(exc):
            raise
        raise SessionLockTimeout("Somebody else has locked a session in the database.") from exc


@contextmanager
def limited_on_postgresql(connection: Any, seconds: float) -> Iterator[None]:
    limit = f"SET LOCAL lock_timeout = {round(seconds * 1000)}"
    before = replaced(connection, "SHOW lock_timeout", limit)
    yield  # A rollback takes it back.
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = '{before}'")


@contextmanager
def limited_on_mysql(connection: Any, seconds: float) -> Iterator[None]:
    limit = f"SET SESSION innodb_lock_wait_timeout = {int(seconds)}"
    before = replaced(connection, "SELECT @@innodb_lock_wait_timeout", limit)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"SET SESSION innodb_lock_wait_timeout = {before}")


def replaced(connection: Any, question: str, limit: str) -> Any:
    """Set a limit, and return the one that there was."""
    with connection.cursor() as cursor:
        cursor.execute(question)
        (before,) = cursor.fetchone()
        cursor.execute(limit)
    return before
