"""Storing sessions that come from elsewhere, never in the place of what may be newer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from asgiref.sync import async_to_sync
from msgspec.structs import replace

from ..busy import busy
from ..codec import SORTED
from ..database.sessions_rows import for_column, from_column
from ..exceptions import SessionConflict, SessionLockTimeout
from ..models import AbstractBotSession
from ..records import MAX_TITLE_LENGTH, all_of, awaited, new_revision, utcnow
from ..storages import DatabaseStorage, Record, Storage
from ..storages.layers import by_innermost
from .arriving import Arrival, Outcome
from .batches import at, unit_of_work
from .changing import address_of
from .inserting import insert
from .versions import exact
from .waiting import AMONG_OTHERS_SECONDS, waiting

AT_ONCE = 20
"""Sessions that are written at the same time where there is no table."""
ALONE_SECONDS = 1.0
"""So long a session's row is waited for, with no other one locked."""


def store(arrivals: Sequence[Arrival], *, dry_run: bool) -> Iterator[Outcome]:
    """Store sessions of different addresses; yield what has become of them, in any order.

    Args:
        dry_run: write nothing, and say what would become of them.
    """
    for storage, indices in by_innermost([arrival.fragment.storage for arrival in arrivals]):
        some = [arrivals[index] for index in indices]
        if isinstance(storage, DatabaseStorage):
            table = Rows(storage.model, storage.using)
            yield from store_in_table(table, some, dry_run)
        else:
            yield from async_to_sync(store_elsewhere)(storage, some, dry_run)


def store_in_table(table: Rows, arrivals: Sequence[Arrival], dry_run: bool) -> list[Outcome]:
    """Store all together; if somebody has locked one of them, half of them at a time."""
    try:
        return unit_of_work(table.using, table.store, arrivals, dry_run)
    except SessionLockTimeout:
        if len(arrivals) == 1:
            return [Outcome.BUSY]
    middle = len(arrivals) // 2
    halves = arrivals[:middle], arrivals[middle:]
    return [outcome for half in halves for outcome in store_in_table(table, half, dry_run)]


class Rows:
    """The rows of a table of sessions."""

    def __init__(self, model: type[AbstractBotSession], using: str) -> None:
        self._model, self.using = model, using
        self._rows = model._base_manager.using(using)

    def store(self, arrivals: Sequence[Arrival], dry_run: bool) -> list[Outcome]:
        """Store sessions in a transaction, and return what has become of them.

        Raises:
            SessionLockTimeout: somebody has locked one of them; nothing was stored.
        """
        now, addresses = utcnow(), [arrival.address for arrival in arrivals]
        held = busy(addresses, self.using)
        arrivals = [arrival for arrival in arrivals if arrival.address not in held]
        with waiting(self.using, AMONG_OTHERS_SECONDS if len(arrivals) > 1 else ALONE_SECONDS):
            there = {address_of(row): row for rows in at(self._rows, addresses) for row in rows}
            new = [arrival for arrival in arrivals if arrival.address not in there]
            outcomes = [
                self._replace(there[arrival.address], arrival, now, dry_run)
                for arrival in arrivals
                if arrival.address in there
            ]
            rows = [made(arrival, now) for arrival in new]
            count = len(new) if dry_run else insert(self._model, self.using, rows)
        others = len(new) - count  # The bot has made these meanwhile.
        outcomes += [Outcome.IMPORTED] * count + [Outcome.KEPT] * others
        return outcomes + [Outcome.BUSY] * len(held)

    def _replace(
        self, row: AbstractBotSession, arrival: Arrival, now: datetime, dry_run: bool
    ) -> Outcome:
        stored = Record(row.data, exact(row.version), from_column(row.expires_at)).live(now)
        outcome = compared(arrival, stored, from_column(row.updated_at))
        if outcome is Outcome.REPLACED and not dry_run:
            same = self._rows.filter(pk=row.pk, revision=row.revision)
            if not same.update(**content(arrival, now)):
                return Outcome.KEPT
        return outcome


async def store_elsewhere(
    storage: Storage, arrivals: Sequence[Arrival], dry_run: bool
) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for start in range(0, len(arrivals), AT_ONCE):
        some = arrivals[start : start + AT_ONCE]
        outcomes += await all_of(store_one(storage, arrival, dry_run) for arrival in some)
    return outcomes


async def store_one(storage: Storage, arrival: Arrival, dry_run: bool) -> Outcome:
    stored = await awaited(storage.read, arrival.address)
    outcome = Outcome.IMPORTED if stored is None else compared(arrival, stored, None)
    if outcome in (Outcome.IMPORTED, Outcome.REPLACED) and not dry_run:
        record = replace(arrival.record, revision=stored and stored.revision)
        try:
            await awaited(storage.write, arrival.address, record)
        except SessionConflict:
            return Outcome.KEPT
    return outcome


def compared(arrival: Arrival, stored: Record, changed_at: datetime | None) -> Outcome:
    """Return what is to become of a session in whose place another one is stored."""
    new = arrival.record
    if stored.value is None:  # It has expired.
        return Outcome.REPLACED
    if stored.version == new.version and SORTED.encode(stored.value) == SORTED.encode(new.value):
        return Outcome.SAME
    if arrival.changed_at is None or changed_at is None or changed_at >= arrival.changed_at:
        return Outcome.KEPT
    return Outcome.REPLACED


def made(arrival: Arrival, now: datetime) -> dict[str, Any]:
    """Return the columns of a new row."""
    created_at = arrival.created_at or arrival.changed_at or now
    return {
        **arrival.address._asdict(),
        **dict.fromkeys(("chat_id", "user_id")),
        **dict.fromkeys(("chat_type", "title"), ""),
        **content(arrival, now),
        "created_at": for_column(created_at),
    }


def content(arrival: Arrival, now: datetime) -> dict[str, Any]:
    """Return the columns that hold a session, but for its address."""
    record = arrival.record
    about = {} if record.about is None else record.about.known()
    if "title" in about:
        about["title"] = about["title"][:MAX_TITLE_LENGTH]
    return {
        "data": record.value,
        "version": record.version,
        "revision": new_revision(),
        "size": arrival.size,
        "expires_at": record.expires_at and for_column(record.expires_at),
        "updated_at": for_column(arrival.changed_at or now),
        **about,
    }
