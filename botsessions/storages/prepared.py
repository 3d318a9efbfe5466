"""Statements that PostgreSQL parses and plans once, for the threads of storages.

Django leaves that off, because a pooler between the two may hand every transaction to another
server process, which does not know what an earlier one has prepared. So it is done where there is
none.
"""

from __future__ import annotations

import threading
from typing import Any
from weakref import WeakKeyDictionary

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

AFTER = 5
"""So often a statement is executed before it is worth preparing."""
DECIDED_BY = {"pool", "prepare_threshold", "server_side_binding"}
"""Options of a database by which its user has decided, or which lend the connection to others."""

_here = threading.local()
_names: WeakKeyDictionary[Any, dict[str, bytes]] = WeakKeyDictionary()
"""By the driver's connection and a statement's text."""


def prepare_in_this_thread() -> None:
    """Have the connections that this thread opens prepare their statements."""
    _here.prepares = True


def set_up(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    if connection.vendor != "postgresql" or not getattr(_here, "prepares", False):
        return
    settings, driver = connection.settings_dict, connection.connection
    if settings.get("DISABLE_SERVER_SIDE_CURSORS") or DECIDED_BY & set(settings["OPTIONS"]):
        return
    if hasattr(driver, "prepare_threshold") and is_direct(driver):  # psycopg2 has none.
        from django.db.backends.postgresql import base  # noqa: PLC0415 (it needs the driver)

        driver.cursor_factory = base.ServerBindingCursor  # type: ignore[attr-defined]
        driver.prepare_threshold = AFTER
        _names[driver] = {}


def is_direct(driver: Any) -> bool:
    """Whether the server process that answers is the one that the connection was opened to."""
    (backend,) = driver.execute("SELECT pg_backend_pid()").fetchone()
    return bool(backend == driver.info.backend_pid)


def names_of(driver: Any) -> dict[str, bytes] | None:
    """Return under which names we have prepared statements, besides what the driver does itself.

    ``None``: no statements may be prepared on that connection.
    """
    return _names.get(driver)


connection_created.connect(set_up, dispatch_uid="botsessions.prepared")
