"""What a forked child must not inherit: its parent's connections, and pools of them.

Two processes that write to one socket read each other's answers. gunicorn with ``--preload`` forks
its workers from a process that has imported the whole project, which may have asked the database.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from django.db import connections


def at_fork(**functions: Callable[[], object]) -> None:
    """Have functions called as by :func:`os.register_at_fork`, where processes can fork at all."""
    if hasattr(os, "register_at_fork"):  # Windows has none.
        os.register_at_fork(**functions)


def close_connections() -> None:
    """Close this thread's connections, except in a transaction, and all pools.

    Each is opened again when it is needed.
    """
    for connection in connections.all():
        if connection.connection is not None and not connection.in_atomic_block:
            connection.close()
        if close_pool := getattr(connection, "close_pool", None):
            close_pool()


def close_connections_before_forks() -> None:
    at_fork(before=close_connections)
