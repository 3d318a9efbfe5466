"""What a unit of work does on one database: one lease, any number of tables."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Mapping, Sequence
from functools import partial

from django.db import connections

from ..exceptions import SessionLockError
from ..records import Address, Changes, Record, new_revision
from .callers import Caller, caller_here, on_caller
from .changes import Change
from .claims import Claim
from .commit import CallersTransaction, transaction_of
from .connections import batching_of
from .execution import execute
from .keeper import keeper_of
from .lease import Ending, Lease
from .leases_table import lease_table_of
from .options import vendor_of
from .requests import Extension, Note, Read, Request, Write
from .sessions_table import Table
from .turns import PATIENCE_SECONDS, Turns


class Way(enum.Enum):
    """How a lease goes to the database."""

    ALONG = enum.auto()
    """With reads and writes, on their connection and in their transaction."""
    APART = enum.auto()
    """By a connection of our own: in the caller's transaction nobody would see it before its end,
    and everybody who looked for it would have to wait for that."""
    NOT_AT_ALL = enum.auto()
    """In a test's transaction nobody else can see anything, and in one of SQLite nobody else can
    write anything."""


class DatabaseTransaction:
    """What a unit of work does on one database.

    Args:
        places: the table of each address, all on this database.
        lease: what the addresses' keys are held with among all processes, if at all. One that was
            handed on is not taken again.
        claim: on the update that the unit is for, if that came by webhook, on its database.
        by: who makes its changes.
    """

    def __init__(
        self,
        using: str,
        places: Mapping[Address, Table],
        *,
        lease: Lease | None = None,
        claim: Claim | None = None,
        by: str = "",
    ) -> None:
        self._using = using
        self._places = dict(places)
        self._lease = lease
        self._claim = claim
        self._by = by
        self._way: Way | None = Way.ALONG if lease is None or lease.held else None
        if lease is not None:
            lease.handed_on = False

    @property
    def protects_writes(self) -> bool:
        """Whether a write is refused for certain once somebody else has the keys."""
        return self._way is not Way.APART

    @property
    def has_rights(self) -> bool:
        """Whether the last write gives a lease back, or notes that the update is handled."""
        lease, claim = self._lease, self._claim
        is_leased = lease is not None and lease.held and self._way is Way.ALONG
        return is_leased or (claim is not None and claim.is_had)

    def has(self, address: Address) -> bool:
        return address in self._places

    def add(self, address: Address, place: object) -> bool:
        """Have what is stored at one more address written; return whether that is possible."""
        if isinstance(place, Table) and place.using == self._using:
            self._places[address] = place
        return address in self._places

    async def read(
        self,
        addresses: Sequence[Address],
        *,
        since: float | None = None,
        patience: float = PATIENCE_SECONDS,
    ) -> dict[Address, Record]:
        """Return what is stored, after taking the lease and the claim if they are not had yet.

        Args:
            since: when the keys were asked for, by the monotonic clock.
            patience: how long to wait for them, in seconds.

        Raises:
            SessionLockTimeout: others have held a key for longer.
            SessionLockError: there is no use in waiting.
            AlreadyHandled: so was the update.
            ClaimedElsewhere: somebody else handles the update.
        """
        tables: dict[Table, list[Address]] = {}
        for address in addresses:
            tables.setdefault(self._places[address], []).append(address)
        if self._way is None:
            self._way = await way_of(self._lease)
        lease = self._lease if self._way is not Way.NOT_AT_ALL else None
        if lease is None or lease.held:
            return await self._read(tables)
        keeper_of(lease.using).keep(lease)
        turns = Turns(lease, since, patience)
        if self._way is Way.ALONG:
            return await turns.wait(lambda: self._read(tables, lease))
        await turns.wait(lambda: self._apart(Read({}, lease)))
        return await self._read(tables)

    async def write(
        self, changes: Changes, *, last: bool = False, hand_on: bool = False
    ) -> list[int | None]:
        """Make all changes or none; return the new revisions, ``None`` for a deletion.

        Args:
            last: give the lease back with it, and note that the update is handled.
            hand_on: rather keep it for another unit of this process, if that may have it before
                those who wait in others; then ``handed_on`` of the lease is set.

        Raises:
            SessionConflict: something else is stored than what a change names, or the lease has
                or the claim gone to somebody else. Nothing was changed.
        """
        tables: dict[Table, list[Change]] = {}
        made = []
        for address, record in changes:
            change = Change(address, record, new_revision(), self._by)
            tables.setdefault(self._places[address], []).append(change)
            made.append(change)
        lease = self._lease if self._way is not Way.NOT_AT_ALL else None
        if lease is not None and self._way is Way.APART:
            await self._apart(Write({}, lease))
            lease = None
        ending = Ending.KEPT
        if last and lease is not None:
            keeper_of(lease.using).let_go(lease)
            ending = Ending.HANDED_ON if hand_on else Ending.GIVEN_BACK
        if tables or lease is not None or self._claim is not None:
            if last and self._claim is not None:
                keeper_of(self._claim.using).let_go(self._claim)
            write = Write(tables, lease, ending, self._claim, last)
            await batching_of(self._using).request(write)
        return [change.outcome for change in made]

    async def renew(self, address: Address, record: Record) -> None:
        """Let what is stored expire at ``record.expires_at``, unless it was changed meanwhile."""
        extension = Extension(self._places[address], address, record)
        await batching_of(self._using).request(extension)

    def give_up(self) -> None:
        """Give the lease back soon, without waiting for that. The claim stays."""
        if self._lease is not None:
            self._lease.give_up()

    async def _read(
        self, tables: Mapping[Table, Sequence[Address]], lease: Lease | None = None
    ) -> dict[Address, Record]:
        """Take what is to be taken, and read."""
        claim = self._claim
        if claim is not None and not claim.is_certain:
            keeper_of(claim.using).keep(claim)
        else:
            claim = None
        if not tables and lease is None and claim is None:
            return {}
        read = Read(tables, lease, claim)
        found: dict[Address, Record] = await batching_of(self._using).request(read)
        return found

    def _apart(self, request: Request) -> asyncio.Future[dict[Address, Record]]:
        return batching_of(self._using, apart=True).request(request)


async def note_handled(claim: Claim) -> bool:
    """Note that an update is handled whose session has not changed; return whether it was ours."""
    keeper_of(claim.using).let_go(claim)
    noted: bool = await batching_of(claim.using).request(Note(claim))
    return noted


async def is_seen_by_others(using: str) -> bool:
    """Whether others can see what is stored now, and somebody else than this code can store it."""
    if (caller := caller_here()) is None:
        return True
    found = await on_caller(caller, partial(transaction_of, using))
    if found is CallersTransaction.REAL:
        return vendor_of(using) != "sqlite"
    return found is CallersTransaction.NONE


async def way_of(lease: Lease | None) -> Way:
    """Return how a lease goes."""
    if lease is None or (caller := caller_here()) is None:
        return Way.ALONG
    if isinstance(caller, Caller) and lease.using not in caller.in_transaction:
        return Way.ALONG
    return await on_caller(caller, partial(way_of_sync_code, lease))


def way_of_sync_code(lease: Lease) -> Way:
    """Return how a lease goes where sync code waits for it, whose thread this is.

    Raises:
        SessionLockError: the lease is held, and its holder waits for the end of this transaction.
    """
    found = transaction_of(lease.using)
    if found is CallersTransaction.NONE:
        return Way.ALONG
    if found is CallersTransaction.TEST:
        return Way.NOT_AT_ALL
    connection = connections[lease.using]
    if connection.vendor != "sqlite":
        return Way.APART
    if execute(connection, lease_table_of(connection).is_held_by_others(lease)):
        raise never_free(lease.addresses[0], "another process")
    return Way.NOT_AT_ALL


async def keeps_others_from_writing(using: str) -> bool:
    """Whether sync code waits for this that has a transaction of SQLite open."""
    if vendor_of(using) != "sqlite" or (caller := caller_here()) is None:
        return False
    found = await on_caller(caller, partial(transaction_of, using))
    return found is CallersTransaction.REAL


def never_free(address: Address, holder: str) -> SessionLockError:
    return SessionLockError(
        f"The key of session {address} is held by {holder}, whose work cannot end: in SQLite only "
        "this transaction can write. Change the session outside atomic(), or try again later."
    )
