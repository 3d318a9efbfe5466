"""So many sessions a bot may have, and no more, however many it begins at the same moment."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections, transaction
from django.db.models import QuerySet

from .answers import Refusal

LONGEST_WAIT_SECONDS = 10


@contextmanager
def alone(bot: str, rows: QuerySet[Any]) -> Iterator[None]:
    """Let nobody else begin a session of this bot meanwhile, in no other process either.

    What is done inside is one transaction.

    Args:
        rows: all sessions of the bot.

    Raises:
        Refusal: others take long.
    """
    using = rows.db
    digest = hashlib.sha256(f"botsessions.free:{bot}".encode()).digest()
    if connections[using].vendor == "mysql":
        with named_lock(using, digest.hex()), transaction.atomic(using=using):
            yield
        return
    is_new = not connections[using].in_atomic_block
    with transaction.atomic(using=using, savepoint=False):
        if connections[using].vendor == "postgresql":
            execute(using, "SELECT pg_advisory_xact_lock(%s)", int.from_bytes(digest[:7], "big"))
        elif is_new:  # A transaction of SQLite's waits for others if it begins with a change.
            rows.filter(pk=0).update(size=0)
        yield


@contextmanager
def named_lock(using: str, name: str) -> Iterator[None]:
    """Hold a lock of MySQL's or MariaDB's, which knows no transactions.

    Raises:
        Refusal: others take long.
    """
    if execute(using, "SELECT GET_LOCK(%s, %s)", name, LONGEST_WAIT_SECONDS) != 1:
        raise Refusal(503, "Too many sessions are begun at the same moment.")
    try:
        yield
    finally:
        execute(using, "SELECT RELEASE_LOCK(%s)", name)


def execute(using: str, sql: str, *parameters: Any) -> Any:
    """Execute a statement and return the first value of its first row, if it has any."""
    with connections[using].cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchone()[0] if cursor.description else None
