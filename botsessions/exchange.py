"""What a unit of work reads from the storages into its contents, and writes from them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from .contents import Contents
from .data import Data, Tracked
from .database.claims import Claim
from .exceptions import SessionLockTimeout
from .holding import Hold
from .records import Address, Record
from .saving import changes_of, write_changes
from .storages import DatabaseStorage
from .storages.layers import Place, outgoing, read_places, tell_all
from .storages.transactions import Transaction, begin, database_of, joined


class Exchange:
    """The reads and writes of one unit of work, which are a transaction where the storages can.

    Args:
        hold: the unit's keys.
        lock: ``"database"``: they are had among all processes, too, from the first read on.
        claim: on the update, if that came by webhook.
        by: who is to be told of as the author of changes.
    """

    def __init__(
        self, contents: Contents, hold: Hold, lock: str, claim: Claim | None, by: str
    ) -> None:
        self._contents = contents
        self._hold = hold
        self._is_leased = lock == "database"
        self._claim = claim
        self._by = by
        self._transaction: Transaction | None = None
        self._writes = 0
        self.saving = asyncio.Lock()
        """Held by whoever saves, one after the other."""
        self.is_reading = False
        self.known: dict[str, Record | None] = {}
        """By fragment, what another unit has read just now."""

    @property
    def is_writing(self) -> bool:
        """Whether the keys have to be held still, because something may land."""
        return self._writes > 0

    def using(self) -> set[str]:
        """Return the databases on which whoever holds its keys writes, as far as it is known."""
        storages = [data.fragment.innermost for data in self._contents.own]
        own = [s for s in storages if self._is_leased or isinstance(s, DatabaseStorage)]
        return set(map(database_of, own))

    async def read(self, some: Sequence[Data[Any]]) -> None:
        """Read data; the first time, the keys are taken among all processes, too."""
        unread, places = [], []
        for data in some:
            if data.fragment.name in self.known:
                await data.accept(self.known.pop(data.fragment.name))
            elif data.stored is not None:
                unread.append(data)
                places.append(data.fragment.place(data.stored.address))
        is_leased = self._is_leased and self._hold.ticket is not None
        if not places and not is_leased and self._claim is None:
            return
        self.is_reading = True
        try:
            records = await read_places(places, read=self._read_stored)
        finally:
            self.is_reading = False
        for data, record in zip(unread, records, strict=True):
            await data.accept(record)

    async def _read_stored(self, places: Sequence[Place]) -> list[Record | None]:
        addresses = [place.address for place in places]
        transaction, hold = self._begun(), self._hold
        if not self._is_leased:
            found = await transaction.read(addresses)
        else:
            try:
                found = await transaction.read(
                    addresses, since=hold.asked_at, patience=hold.database_seconds
                )
            except SessionLockTimeout as exc:
                raise hold.explained(exc) from None
        return list(map(found.get, addresses))

    def _begun(self) -> Transaction:
        """Return the transaction with the storages of the unit's own data."""
        if self._transaction is None:
            storages = {}
            for data in self._contents.own:
                if data.stored is not None:
                    storages[data.stored.address] = data.fragment.innermost
            hold = self._hold if self._is_leased else None
            for address in () if hold is None else hold.own_keys:
                if address.name in self._contents.fragments:
                    fragment = self._contents.fragments[address.name]
                    storages.setdefault(address, fragment.innermost)
            self._transaction = begin(storages, hold, self._claim, by=self._by)
        while self._contents.added:
            data = self._contents.added.pop()
            if data.stored is not None:
                place = data.stored.address, data.fragment.innermost
                self._transaction = joined(self._transaction, *place)
        return self._transaction

    async def follow(self, moves: Mapping[Address, Address]) -> None:
        """Go on under the new keys that sessions were given, in another transaction."""
        for data in self._contents.own:
            if data.stored is not None and data.stored.address in moves:
                await data.stored.follow(moves[data.stored.address])
                self._transaction = None

    async def write(self, *, last: bool) -> None:
        """Write what has changed, if anything.

        Args:
            last: nothing more will be written, so the keys may be given back together with it.

        Raises:
            SessionConflict: it was changed by somebody else.
            SessionDataError: it cannot be stored.
            Exception: a storage failed.
        """
        own = self._contents.own
        if unread := [data for data in own if data.replaces_unread]:
            await self._look_at(unread)
        changes = await changes_of(own)
        if changes or (last and self._transaction and self._transaction.has_rights):
            hand_on = last and self._is_leased and self._hold.has_heir
            self._writes += 1
            try:
                await write_changes(self._begun(), changes, last=last, hand_on=hand_on)
            finally:
                self._writes -= 1
            if not last:
                for data, _, record in changes:
                    await data.expect(outgoing(data.fragment.layers, record))

    async def _look_at(self, unread: Sequence[Data[Any]]) -> None:
        """Find out what a write would replace that was never read, as far as that matters."""
        is_safe = self._hold.ticket is not None and self._begun().protects_writes
        held = [data for data in unread if is_safe and data.fragment.is_held]
        if held:
            await tell_all([d.fragment.place(d.address) for d in held if d.address is not None])
        if len(held) < len(unread):  # Nobody holds back those who write the rest: compare with it.
            await self.read([data for data in unread if data not in held])

    async def outlive(self, data: Tracked[Any], record: Record) -> None:
        """See to it that data which expire while their key is held are not swept meanwhile."""
        using = getattr(data.fragment.innermost, "using", None)
        if isinstance(using, str) and data.address is not None and record.expires_at is not None:
            await self._hold.outlive(data.address, using, record.expires_at)
