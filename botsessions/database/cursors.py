"""Cursors of our own threads, kept from one work to the next.

To make one takes Django and the driver longer than to use it.
"""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

_here = threading.local()


def keep_cursors_in_this_thread() -> None:
    """Have :func:`cursor_of` give this thread the same cursor again and again."""
    _here.kept = {}


def cursor_of(connection: BaseDatabaseWrapper) -> AbstractContextManager[Any]:
    """Return a cursor to be entered; rows have to be fetched before the next statement."""
    kept: dict[str, tuple[Any, Any]] | None = getattr(_here, "kept", None)
    if kept is None:
        return connection.cursor()
    made_for, cursor = kept.get(connection.alias, (None, None))
    if made_for is None or made_for != ways_of(connection):
        cursor = connection.cursor()
        kept[connection.alias] = ways_of(connection), cursor
    return nullcontext(cursor)


def ways_of(connection: BaseDatabaseWrapper) -> tuple[Any, ...]:
    """Return what a cursor depends on, besides the settings of the database."""
    return connection.connection, connection.queries_logged, connection.timezone
