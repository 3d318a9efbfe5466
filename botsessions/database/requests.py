"""What units of work ask of a database, one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from ..records import ANY, Address, Record
from .changes import Change
from .claims import Claim
from .lease import Ending, Lease
from .rights import Right
from .sessions_table import Table


class NotHeldYet(Exception):
    """Somebody else holds the lease, so nothing was done under it."""


class Request:
    """Something to be done, wholly or not at all."""

    tables: Mapping[Table, Sequence[Any]] = {}
    """What it is about, by table."""
    future: asyncio.Future[Any]
    """Of the outcome."""
    rights: Sequence[Right] = ()
    """What it gets, or is done under."""
    written: AbstractSet[Address] = frozenset()
    """What no other request may write at the same time."""
    size = 0
    """About how many bytes it sends and gets."""
    tried = False
    """Whether an earlier attempt may have done it, unknown to us."""
    met_lock = False
    """Whether somebody else had locked what it needs when it was tried last."""
    until: float | None = None
    """When it is not tried again any more, by the monotonic clock; set at the first failure."""
    pause = 0.0
    """Before the last attempt."""

    @property
    def addresses(self) -> Sequence[Address]:
        raise NotImplementedError


class Read(Request):
    """Claim an update, or none, take a lease, or none, and read what is stored and not expired."""

    def __init__(
        self,
        tables: Mapping[Table, Sequence[Address]],
        lease: Lease | None = None,
        claim: Claim | None = None,
    ) -> None:
        self.tables = tables
        for table, addresses in tables.items():
            self.size += table.usual_size * len(addresses)
        self.rights = rights_of(lease, claim)
        self.lease = lease
        self.claim = claim
        """An update that is still to be claimed."""

    @property
    def addresses(self) -> Sequence[Address]:
        found = [address for addresses in self.tables.values() for address in addresses]
        return found or (self.lease.addresses if self.lease else ())


class Write(Request):
    """Make changes under a lease and a claim, or none: all of them, or nothing.

    Args:
        ending: what becomes of the lease with it.
        is_last: whether it is noted with it that the update is handled.
    """

    def __init__(
        self,
        tables: Mapping[Table, Sequence[Change]],
        lease: Lease | None = None,
        ending: Ending = Ending.KEPT,
        claim: Claim | None = None,
        is_last: bool = False,
    ) -> None:
        self.tables = tables
        self.changes: list[Change] = []
        written = []
        for changes in tables.values():
            for change in changes:
                self.changes.append(change)
                written.append(change.address)
                self.size += len(change.data)
        self.written = frozenset(written)
        self.rights = rights_of(lease, claim)
        self.lease = lease
        self.ending = ending
        self.claim = claim
        self.is_last = is_last

    @property
    def replaces(self) -> bool:
        """Whether it would write over whatever is stored."""
        return any(change.record.revision is ANY for change in self.changes)

    @property
    def addresses(self) -> Sequence[Address]:
        found = [change.address for change in self.changes]
        return found or (self.lease.addresses if self.lease else ())

    def note_made(self, handed_on: Iterable[Lease] | None) -> None:
        """Note what has become of the lease and the claim.

        Args:
            handed_on: leases that were kept; ``None``: that is not known.
        """
        lease = self.lease
        if self.claim is not None and self.is_last:
            self.claim.is_over = True
        if lease is None or self.ending is Ending.KEPT:
            return
        if handed_on is not None and lease in handed_on:
            lease.handed_on = True
        elif handed_on is not None:
            lease.held, lease.is_over = False, True


class Note(Request):
    """Note that an update is handled that has changed nothing; the outcome says if it was ours."""

    def __init__(self, claim: Claim) -> None:
        self.rights = (claim,)
        self.claim = claim

    @property
    def addresses(self) -> Sequence[Address]:
        return (Address(self.claim.bot, "", str(self.claim.update_id)),)


class Extension(Request):
    """Let a record expire later, unless it was changed meanwhile."""

    def __init__(self, table: Table, address: Address, record: Record) -> None:
        self.tables = {table: (address,)}
        self.written = frozenset([address])
        self.table = table
        self.address = address
        self.record = record

    @property
    def addresses(self) -> Sequence[Address]:
        return (self.address,)


def rights_of(lease: Lease | None, claim: Claim | None) -> Sequence[Right]:
    if lease is None and claim is None:  # Nearly always.
        return ()
    return [right for right in (lease, claim) if right is not None]
