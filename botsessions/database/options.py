"""How our own connections are opened and set up: so that none of them waits for long.

Neither for a server or a network that is silent, nor for what somebody else has locked.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.backends.signals import connection_created
from django.db.utils import load_backend
from django.utils.connection import ConnectionDoesNotExist

from ..conf import retry_seconds
from .statements import PATIENT, Statement

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

CONNECT_SECONDS = 10
"""A server that does not answer at all is given up after so long,"""
SILENCE_SECONDS = 10
"""and a network that does not deliver what was sent."""

# MySQL takes the least that it can for 0, a second.
DO_NOT_WAIT = {
    "mysql": "SET SESSION innodb_lock_wait_timeout = 0, lock_wait_timeout = 0",
    "sqlite": "PRAGMA busy_timeout = 50",
}


class Manner:
    """How a connection of our own treats locks."""

    def __init__(self) -> None:
        self.prefix = ""
        """Put before each statement, where the connection may be others' with the next one."""


_manners: WeakKeyDictionary[BaseDatabaseWrapper, Manner] = WeakKeyDictionary()


def manner_of(connection: BaseDatabaseWrapper) -> Manner | None:
    """Return how a connection treats locks; ``None`` if it is not ours."""
    return _manners.get(connection)


def vendor_of(using: str) -> str:
    """Return the kind of a database, on an event loop, too.

    There ``connections[using]`` makes a connection and, where sync code waits, leaves a variable in
    the caller's context for each event loop that it has waited for.

    Raises:
        ConnectionDoesNotExist: there is no such database.
    """
    try:
        engine = connections.settings[using]["ENGINE"]
    except KeyError:
        raise ConnectionDoesNotExist(f"The connection '{using}' doesn't exist.") from None
    return str(load_backend(engine).DatabaseWrapper.vendor)


def connect_as_ours(using: str) -> None:
    """Have this thread's connection to a database opened in our way, if there is such a database.

    Whoever uses it is told if there is not.
    """
    with suppress(ImproperlyConfigured):
        if using in connections:
            connections[using] = our_connection(using)


def our_connection(using: str) -> BaseDatabaseWrapper:
    """Return a connection that nobody else has, not opened yet."""
    connection = connections.create_connection(using)
    given = connection.settings_dict
    options = {**options_of(connection), **given["OPTIONS"]}
    connection.settings_dict = {**given, "OPTIONS": options}
    _manners[connection] = Manner()
    return connection


def options_of(connection: BaseDatabaseWrapper) -> dict[str, Any]:
    """Return the options that keep a connection from hanging; whoever sets others has these."""
    if connection.vendor == "postgresql" and not is_pooled(connection):
        return {
            "connect_timeout": CONNECT_SECONDS,
            "keepalives": 1,
            "keepalives_idle": SILENCE_SECONDS,
            "keepalives_interval": SILENCE_SECONDS // 3,
            "keepalives_count": 3,
            "tcp_user_timeout": SILENCE_SECONDS * 1000,
        }
    if connection.vendor == "mysql":
        seconds = max(1, round(retry_seconds()))
        return {
            "connect_timeout": CONNECT_SECONDS,
            "read_timeout": seconds,
            "write_timeout": seconds,
        }
    return {}


def set_up(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    manner = manner_of(connection)
    if manner is None:
        return
    with connection.cursor() as cursor:
        if connection.vendor != "postgresql":
            cursor.execute(DO_NOT_WAIT[connection.vendor])
        elif is_shared(connection):
            manner.prefix = local(PATIENT)
        else:
            cursor.execute(PATIENT.text)


connection_created.connect(set_up, dispatch_uid="botsessions.options")


def is_shared(connection: BaseDatabaseWrapper) -> bool:
    """Whether a PostgreSQL connection, or the server's process behind it, may be others' next."""
    driver: Any = connection.connection
    if is_pooled(connection) or connection.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS"):
        return True
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return bool(cursor.fetchone()[0] != driver.info.backend_pid)


def is_pooled(connection: BaseDatabaseWrapper) -> bool:
    return bool(connection.settings_dict["OPTIONS"].get("pool"))


def local(statement: Statement) -> str:
    """Return a statement that sets something, for the transaction that it is put into."""
    return statement.text.replace("SET ", "SET LOCAL ") + "; "
