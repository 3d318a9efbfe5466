"""Telling of sessions that have expired, before they are gone for good."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING

from ..exceptions import SessionConflict, SessionExpiryError
from ..records import UNREADABLE, Address, Record, awaited
from ..signals import session_expired
from .hearing import tell_author

if TYPE_CHECKING:
    from .layers import Place

logger = logging.getLogger(__name__)

_being_told: ContextVar[set[Address]] = ContextVar("botsessions_being_told")
"""What the running code is being told of. It is emptied when that is over, since the variable leaks
into tasks that the code starts."""


def being_told() -> Collection[Address]:
    """Return the sessions of which the running code is being told that they have expired."""
    return _being_told.get(())


def is_heard(place: Place) -> bool:
    """Whether somebody wants to hear when the session expires, and is not just being told of it."""
    if place.address in being_told():
        return False
    return any(layer.on_expire for layer in place.layers) or session_expired.has_listeners(
        type(place.storage)
    )


def to_be_told(
    places: Sequence[Place], records: Sequence[Record | None]
) -> list[tuple[Place, Record]]:
    """Return those of which somebody wants to hear that they have expired."""
    return [
        (place, record)
        for place, record in zip(places, records, strict=True)
        if record is not None and record.expired is not None and is_heard(place)
    ]


async def tell(place: Place, record: Record) -> None:
    """Tell of a session that has expired, and then delete it, so that it is not told again.

    In this order, so that it is told at least once, whenever the process is killed.

    Raises:
        SessionExpiryError: who was told of it raised. It stays.
    """
    around = _being_told.get(set())
    being_told = {*around, place.address}
    _being_told.set(being_told)
    try:
        await announce(place, record)
    except Exception as exc:
        raise SessionExpiryError(
            f"Who was told that session {place.address} has expired raised {type(exc).__name__}. "
            "The session stays stored, and it is told again."
        ) from exc
    finally:
        being_told.clear()
        _being_told.set(around)
    await forget(place, record)


async def announce(place: Place, record: Record) -> None:
    if record.expired is UNREADABLE:
        logger.error("Session %s has expired with data that nobody can be told.", place.address)
        return
    for layer in reversed(place.layers):
        if layer.on_expire is not None:
            await tell_author(layer.on_expire, place.storage, place.address, record)
    what = place.address._asdict()
    await session_expired.asend(type(place.storage), data=record.expired, **what)


async def forget(place: Place, record: Record) -> None:
    storage = place.storage
    if not getattr(storage, "detects_conflicts", False):
        # It would delete whatever is there by now.
        found = await awaited(storage.read, place.address)
        if found is None or found.live().expired is None:
            return
    with suppress(SessionConflict):  # It is another session by now.
        await awaited(storage.delete, place.address, record.revision)
