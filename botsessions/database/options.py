"""How our own connections are opened: so that none of them hangs for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import connections

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

CONNECT_SECONDS = 10
"""A server that does not answer at all is given up after so long,"""
SILENCE_SECONDS = 10
"""and a network that does not deliver what was sent."""


def connect_as_ours(using: str) -> None:
    """Have this thread's connection to a database opened in our way."""
    connections[using] = our_connection(using)


def our_connection(using: str) -> BaseDatabaseWrapper:
    """Return a connection that nobody else has, not opened yet."""
    connection = connections.create_connection(using)
    given = connection.settings_dict
    options = {**options_of(connection), **given["OPTIONS"]}
    connection.settings_dict = {**given, "OPTIONS": options}
    return connection


def options_of(connection: BaseDatabaseWrapper) -> dict[str, Any]:
    """Return the options that keep a connection from hanging; whoever sets others has these."""
    if connection.vendor == "postgresql" and "pool" not in connection.settings_dict["OPTIONS"]:
        return {
            "connect_timeout": CONNECT_SECONDS,
            "keepalives": 1,
            "keepalives_idle": SILENCE_SECONDS,
            "keepalives_interval": SILENCE_SECONDS // 3,
            "keepalives_count": 3,
            "tcp_user_timeout": SILENCE_SECONDS * 1000,
        }
    return {}
