"""What a forked child must not inherit: its parent's connections, and pools of them.

Two processes that write to one socket read each other's answers. gunicorn with ``--preload`` forks
its workers from a process that has imported the whole project, which may have asked the database.
"""

from __future__ import annotations

import os

from django.db import connections


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
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=close_connections)
