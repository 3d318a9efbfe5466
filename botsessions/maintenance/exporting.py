"""Sessions as plain objects for people and programs elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

from ..models import AbstractBotSession
from ..storages import Address, Record
from ..storages.base import Json, utcnow
from ..storages.sql import from_column
from ..storages.value import json_number
from .batches import BATCH_SIZE

MOST_BYTES = 4 * 1024 * 1024
MOST_SESSIONS = 100
"""So much data and so many sessions are held in memory at a time."""


def in_parts(sessions: Any) -> Iterator[list[Any]]:
    """Yield sessions by primary key, never more at a time than fit in memory."""
    sizes = sessions.order_by("pk").values_list("pk", "size")
    known = list(sizes[:BATCH_SIZE])
    while known:
        for keys in parts_of(known):
            yield list(sessions.filter(pk__in=keys).order_by("pk"))
        full = len(known) == BATCH_SIZE
        known = list(sizes.filter(pk__gt=known[-1][0])[:BATCH_SIZE]) if full else []


def parts_of(sizes: list[tuple[Any, int]]) -> Iterator[list[Any]]:
    part: list[Any] = []
    total = 0
    for key, size in sizes:
        if len(part) == MOST_SESSIONS or (part and total + size > MOST_BYTES):
            yield part
            part, total = [], 0
        part.append(key)
        total += size
    yield part


def of_session(session: AbstractBotSession, data: Json) -> dict[str, Any]:
    """Return a session as an object of strict JSON, with ``data`` in the place of its own."""
    expires_at = from_column(session.expires_at)
    return line(
        Address(session.bot, session.name, session.key),
        data,
        session.version,
        expires_at,
        expired=expires_at is not None and expires_at <= utcnow(),
        chat_id=session.chat_id,
        user_id=session.user_id,
        title=session.title,
        created=from_column(session.created_at),
        changed=from_column(session.updated_at),
    )


def of_record(address: Address, record: Record) -> dict[str, Any]:
    """Return a session of a storage that knows no more of it than this."""
    expired = record.value is None
    return line(address, record.value, record.version, record.expires_at, expired=expired)


def line(
    address: Address,
    data: Json,
    version: Decimal | None,
    expires_at: datetime | None,
    *,
    expired: bool,
    chat_id: int | None = None,
    user_id: int | None = None,
    title: str = "",
    created: datetime | None = None,
    changed: datetime | None = None,
) -> dict[str, Any]:
    bot, fragment, key = address
    return {
        "bot": bot,
        "fragment": fragment,
        "key": key,
        "chat_id": chat_id,
        "user_id": user_id,
        "title": title,
        "version": None if version is None else json_number(version),
        "created": iso(created),
        "changed": iso(changed),
        "expires": iso(expires_at),
        "expired": expired,
        "data": data,
    }


def iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
