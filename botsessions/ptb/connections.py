"""The connections that handlers open through Django's asynchronous ORM.

They live on the thread that ``sync_to_async`` uses. Django would look after them at the end of a
request; a bot has none, so it is done at the end of an update.
"""

from __future__ import annotations

from typing import Any

from asgiref.sync import SyncToAsync, sync_to_async
from django.db import close_old_connections, connections, reset_queries
from django.db.backends.signals import connection_created

from ..database.callers import sync_code_waits

_opened = False
"""Whether there may be connections on that thread; most bots never open one, but a site that
answers requests does so on threads of its own."""


def note_opened(**kwargs: Any) -> None:
    global _opened
    if getattr(SyncToAsync.threadlocal, "main_event_loop", None) is not None:
        _opened = True


connection_created.connect(note_opened, dispatch_uid="botsessions")


async def look_after_connections() -> None:
    """Close those that are too old or do not work; forget the queries that ``DEBUG`` keeps."""
    if _opened and not sync_code_waits():
        await sync_to_async(tidy)()


def tidy() -> None:
    global _opened
    close_old_connections()
    reset_queries()
    here = connections.all(initialized_only=True)
    _opened = any(connection.connection is not None for connection in here)
