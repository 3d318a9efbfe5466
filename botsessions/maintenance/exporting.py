"""Sessions as plain objects for people and programs elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..models import AbstractBotSession
from ..storages.base import Json, plain
from .batches import BATCH_SIZE

MOST_BYTES = 4 * 1024 * 1024
"""So much data is held in memory at a time, if no session is larger."""


def exported(session: AbstractBotSession, data: Json) -> dict[str, Any]:
    """Return a session as an object of strict JSON, with ``data`` as its data."""
    return {
        "bot": session.bot,
        "fragment": session.name,
        "key": session.key,
        "chat_id": session.chat_id,
        "user_id": session.user_id,
        "chat_type": session.chat_type,
        "title": session.title,
        "version": None if session.version is None else str(plain(session.version)),
        "created_at": session.created_at.isoformat(),
        "updated_at": session.updated_at.isoformat(),
        "expires_at": session.expires_at and session.expires_at.isoformat(),
        "data": data,
    }


def in_parts(sessions: Any) -> Iterator[list[Any]]:
    """Yield sessions by primary key, never more at a time than fit in memory."""
    sizes = sessions.order_by("pk").values_list("pk", "size")
    known = list(sizes[:BATCH_SIZE])
    while known:
        for keys in parts_of(known):
            yield list(sessions.filter(pk__in=keys).order_by("pk"))
        known = list(sizes.filter(pk__gt=known[-1][0])[:BATCH_SIZE])


def parts_of(sizes: list[tuple[Any, int]]) -> Iterator[list[Any]]:
    part: list[Any] = []
    total = 0
    for key, size in sizes:
        if part and total + size > MOST_BYTES:
            yield part
            part, total = [], 0
        part.append(key)
        total += size
    yield part
