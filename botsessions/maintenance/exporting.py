"""Sessions as plain objects for people and programs elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

from ..database.sessions_rows import from_column
from ..editing import refuse_event_loop
from ..finding import in_state
from ..masking import mask, mask_text
from ..models import AbstractBotSession
from ..reading import UNREADABLE, json_of, text_of, with_text
from ..records import Json, utcnow
from ..storages import Address, Record
from ..storages.value import json_number
from .batches import BATCH_SIZE
from .tables import tables

MOST_BYTES = 4 * 1024 * 1024
MOST_SESSIONS = 100
"""So much data and so many sessions are held in memory at a time."""


def export_sessions(
    *,
    bot: str | None = None,
    name: str | None = None,
    states: Collection[str] = (),
    using: str | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield stored sessions of the settings' tables, ready to be dumped as JSON.

    Nothing is masked. Sessions in other storages cannot be listed.

    Args:
        bot: only of this alias, which need not be in the settings.
        name: only of this fragment.
        states: only in one of these: ``"live"``, ``"soon"``, ``"due"`` or ``"expired"``.
        using: only in this database.

    Raises:
        SessionError: an event loop is running in this thread.
    """
    refuse_event_loop("export_sessions", "sync_to_async")
    for sessions in chosen(bot, name, states, using):
        for part in in_parts(sessions):
            for session in part:
                yield of_session(session)


def count_sessions(**which: Any) -> int:
    """Return how many sessions :func:`export_sessions` would yield."""
    return sum(sessions.count() for sessions in chosen(**which))


def chosen(
    bot: str | None = None,
    name: str | None = None,
    states: Collection[str] = (),
    using: str | None = None,
) -> Iterator[Any]:
    """Yield query sets that have nothing in common."""
    for model, alias in tables(using):
        sessions = model._default_manager.using(alias)
        if bot is not None:
            sessions = sessions.filter(bot=bot)
        if name is not None:
            sessions = sessions.filter(name=name)
        if states:
            yield from (in_state(sessions, state) for state in sorted(set(states)))
        else:
            yield sessions


def in_parts(sessions: Any) -> Iterator[list[Any]]:
    """Yield sessions by primary key, never more at a time than fit in memory."""
    sizes = sessions.order_by("pk").values_list("pk", "size")
    known = list(sizes[:BATCH_SIZE])
    while known:
        for keys in parts_of(known):
            yield list(with_text(sessions.filter(pk__in=keys).order_by("pk")))
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


def of_session(session: AbstractBotSession, masked: Collection[str] = ()) -> dict[str, Any]:
    """Return a session that was read :func:`.with_text` as an object of strict JSON.

    Data that is no such JSON is given as ``unreadable`` text.

    Args:
        masked: names of fields whose values are not shown.
    """
    expires_at, data = from_column(session.expires_at), json_of(session)
    unreadable = {"unreadable": mask_text(text_of(session), masked)} if data is UNREADABLE else {}
    return unreadable | line(
        Address(session.bot, session.name, session.key),
        None if unreadable else mask(data, masked),
        session.version,
        expires_at,
        expired=expires_at is not None and expires_at <= utcnow(),
        chat_id=session.chat_id,
        user_id=session.user_id,
        chat_type=session.chat_type,
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
    chat_type: str = "",
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
        "chat_type": chat_type,
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
