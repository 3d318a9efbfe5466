"""Looking after the connections of threads that live as long as a bot.

Django looks at the age and health of a connection only when a request begins or ends, and a bot
has no requests: after one dropped connection it would fail for ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from django.conf import settings
from django.db import InterfaceError, OperationalError, connections, reset_queries
from django.db.backends.base.base import BaseDatabaseWrapper

T = TypeVar("T")

RETRY_SECONDS = 10.0
"""For so long a unit of work is tried again while the database does not answer."""
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0

POSTGRESQL = {"08", "40", "53", "55", "57"}
"""Classes of SQLSTATE: connection lost, rolled back, too much load, locked, shut down."""
OUTDATED = "0A000"
"""A SQLSTATE: a prepared statement would return other types since somebody altered the table."""
MYSQL = {1040, 1053, 1205, 1213, *range(2000, 3000)}
"""Too many connections, shut down, locked, deadlock, and errors of the connection."""


def looked_after(unit: Callable[[bool], T]) -> T:
    """Do a unit of work, again if the database fails for a moment, and return its result.

    ``unit`` is told whether an earlier attempt may have succeeded without the answer arriving.

    Raises:
        Exception: what the last attempt raised, after at most about :data:`RETRY_SECONDS`.
    """
    close_unusable_connections()
    pauses = doubling_pauses()
    again = False
    try:
        while True:
            try:
                return unit(again)
            except Exception as exc:
                pause = next(pauses, None)
                if pause is None or not may_pass(exc):
                    raise
                if sqlstate(exc) == OUTDATED:
                    connections.close_all()  # Of this thread.
            again = True
            close_broken_connections()
            time.sleep(pause)
    finally:
        if settings.DEBUG:  # Django would keep them for ever.
            reset_queries()


def doubling_pauses() -> Iterator[float]:
    pause, end = FIRST_PAUSE, time.monotonic() + RETRY_SECONDS
    while time.monotonic() < end:
        yield pause
        pause = min(2 * pause, LONGEST_PAUSE)


def may_pass(error: Exception) -> bool:
    """Whether a database's error says that another attempt may succeed."""
    state = sqlstate(error)
    if state == OUTDATED:
        return True
    if not isinstance(error, (InterfaceError, OperationalError)):
        return False
    if state is not None:
        return state[:2] in POSTGRESQL
    number = error.args[0] if error.args else None
    if isinstance(number, int):
        return number in MYSQL
    if type(error.__cause__).__module__ == "sqlite3":
        return "locked" in str(error)
    return True  # PostgreSQL could not be reached, or a pool has no connection left.


def sqlstate(error: Exception) -> str | None:
    cause = error.__cause__
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)


def close_unusable_connections() -> None:
    """Close this thread's connections that are too old, or do not answer after an earlier error.

    The database is not asked otherwise: that would double the time of a unit of work.
    """
    for connection in connections.all(initialized_only=True):
        if connection.errors_occurred:
            connection.close_if_unusable_or_obsolete()
        elif is_too_old(connection):
            connection.close()


def is_too_old(connection: BaseDatabaseWrapper) -> bool:
    """Whether a connection has had its time. An age of 0 ends it only when it has no work."""
    closed_at = connection.close_at if connection.settings_dict["CONN_MAX_AGE"] else None
    return closed_at is not None and time.monotonic() >= closed_at


def close_broken_connections() -> None:
    for connection in connections.all(initialized_only=True):
        opened = connection.connection is not None
        if opened and connection.errors_occurred and not connection.is_usable():
            connection.close()


def rest() -> None:
    """After some time without work: close what may not be kept, have the rest looked at later."""
    for connection in connections.all(initialized_only=True):
        if connection.settings_dict["CONN_MAX_AGE"] == 0:
            connection.close()
        else:
            connection.errors_occurred = True
