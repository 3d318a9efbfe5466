"""Looking after the connections of threads that live as long as a bot.

Django looks at the age and health of a connection only when a request begins or ends, and a bot
has no requests: after one dropped connection it would fail for ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from django.conf import settings
from django.db import connections, reset_queries

from ..conf import retry_seconds
from .errors import is_of_connection, trouble_of
from .options import is_pooled
from .watch import watched

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0


def looked_after(unit: Callable[[bool], T]) -> T:
    """Do a unit of work, again if the database fails for a moment, and return its result.

    ``unit`` is told whether an earlier attempt may have succeeded without the answer arriving.

    Raises:
        Exception: what the last attempt raised, after at most about ``RETRY_SECONDS``.
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
                trouble = trouble_of(exc)
                if pause is None or trouble is None:
                    raise
                close_broken_connections(exc)
            again = True
            time.sleep(pause)
    finally:
        forget_statements()


def doubling_pauses() -> Iterator[float]:
    pause, end = FIRST_PAUSE, time.monotonic() + retry_seconds()
    while time.monotonic() < end:
        yield pause
        pause = min(2 * pause, LONGEST_PAUSE)


def forget_statements() -> None:
    """With ``DEBUG`` Django would keep them for ever."""
    if settings.DEBUG:
        reset_queries()


def close_unusable_connections() -> None:
    """Close this thread's connections that are too old, or do not answer after an earlier error.

    The database is not asked otherwise: that would double the time of a unit of work.
    """
    for connection in connections.all(initialized_only=True):
        if connection.errors_occurred:
            with watched(connection):
                connection.close_if_unusable_or_obsolete()
        elif is_too_old(connection):
            connection.close()


def is_too_old(connection: BaseDatabaseWrapper) -> bool:
    """Whether a connection has had its time. An age of 0 ends it only when it has no work."""
    closed_at = connection.close_at if connection.settings_dict["CONN_MAX_AGE"] else None
    return closed_at is not None and time.monotonic() >= closed_at


def close_broken_connections(error: BaseException) -> None:
    """Close this thread's connections that an error has shown to be of no more use."""
    useless = is_of_connection(error)
    for connection in connections.all(initialized_only=True):
        if connection.connection is None:
            continue
        with watched(connection):
            if useless or (connection.errors_occurred and not connection.is_usable()):
                discard(connection)


def discard(connection: BaseDatabaseWrapper) -> None:
    """Close a connection that is of no more use, for its pool, too, which else would keep it."""
    if connection.connection is not None and is_pooled(connection):
        connection.connection.close()
    connection.close()


def rest() -> None:
    """After some time without work: close what may not be kept, have the rest looked at later."""
    for connection in connections.all(initialized_only=True):
        if connection.settings_dict["CONN_MAX_AGE"] == 0:
            connection.close()
        else:
            connection.errors_occurred = True
