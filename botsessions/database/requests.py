"""What units of work ask of a database, one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..exceptions import SessionConflict
from ..records import ANY, Address, Record, conflict
from .changes import Change
from .claims import Claim
from .lease import Ending, Lease
from .rights import Right
from .sessions_table import Table


class NotHeldYet(Exception):
    """Somebody else holds the lease, so nothing was done under it."""


class Request:
    """Something to be done, wholly or not at all."""

    __slots__ = ("future", "met_lock", "pause", "tried", "until", "written")

    written: Sequence[Address]
    """What no other request may write at the same time."""
    tables: Any
    """The tables that it is about; what it is about, by table."""

    future: asyncio.Future[Any]
    """Of the outcome."""

    def __init__(self) -> None:
        self.written = ()
        self.tried = False
        """Whether an earlier attempt may have done it, unknown to us."""
        self.met_lock = False
        """Whether somebody else had locked what it needs when it was tried last."""
        self.until: float | None = None
        """When it is not tried again any more, by the monotonic clock; set at the first failure."""
        self.pause = 0.0
        """Before the last attempt."""

    @property
    def rights(self) -> Sequence[Right]:
        """What it gets, or is done under."""
        return ()

    @property
    def addresses(self) -> Sequence[Address]:
        raise NotImplementedError

    @property
    def size(self) -> int:
        """About how many bytes it sends and gets."""
        return 0


class Read(Request):
    """Claim an update, or none, take a lease, or none, and read what is stored."""

    __slots__ = ("claim", "lease", "tables")

    def __init__(
        self,
        tables: Mapping[Table, Sequence[Address]],
        lease: Lease | None = None,
        claim: Claim | None = None,
    ) -> None:
        super().__init__()
        self.tables = tables
        self.lease = lease
        self.claim = claim
        """An update that is still to be claimed."""

    @property
    def rights(self) -> Sequence[Right]:
        return [right for right in (self.lease, self.claim) if right is not None]

    @property
    def addresses(self) -> Sequence[Address]:
        found = [address for addresses in self.tables.values() for address in addresses]
        return found or (self.lease.addresses if self.lease else ())

    @property
    def size(self) -> int:
        return sum(table.usual_size * len(addresses) for table, addresses in self.tables.items())

    @property
    def is_waiting(self) -> bool:
        """Whether its lease cannot be had at once."""
        return self.lease is not None and (bool(self.lease.numbers) or len(self.lease.keys) > 1)

    def found_in(self, stored: Mapping[Table, Mapping[Address, Record]]) -> dict[Address, Record]:
        found: dict[Address, Record] = {}
        for table, addresses in self.tables.items():
            rows = stored[table]
            found |= {address: rows[address] for address in addresses if address in rows}
        return found


class Write(Request):
    """Make changes under a lease and a claim, or none: all of them, or nothing.

    Args:
        ending: what becomes of the lease with it.
        is_last: whether it is noted with it that the update is handled.
    """

    __slots__ = ("changes", "claim", "ending", "is_last", "lease", "tables")

    def __init__(
        self,
        tables: Mapping[Table, Sequence[Change]],
        lease: Lease | None = None,
        ending: Ending = Ending.KEPT,
        claim: Claim | None = None,
        is_last: bool = False,
    ) -> None:
        super().__init__()
        self.tables = tables
        self.lease = lease
        self.ending = ending
        self.claim = claim
        self.is_last = is_last
        self.changes = [change for changes in tables.values() for change in changes]
        self.written = [change.address for change in self.changes]

    @property
    def rights(self) -> Sequence[Right]:
        return [right for right in (self.lease, self.claim) if right is not None]

    @property
    def is_lone(self) -> bool:
        """Whether it is a change that depends on nothing else."""
        return self.lease is None and self.claim is None and len(self.changes) == 1

    @property
    def replaces(self) -> bool:
        """Whether it would write over whatever is stored."""
        return any(change.record.revision is ANY for change in self.changes)

    @property
    def addresses(self) -> Sequence[Address]:
        return self.written or (self.lease.addresses if self.lease else ())

    @property
    def size(self) -> int:
        return sum(len(change.data) for change in self.changes)

    @property
    def outcome(self) -> list[int | None]:
        """The new revisions, once it is done."""
        return [change.outcome for change in self.changes]

    def refusal(self, landed: set[Change]) -> SessionConflict:
        return conflict(next(c.address for c in self.changes if c not in landed))

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

    __slots__ = ("claim", "tables")

    def __init__(self, claim: Claim) -> None:
        super().__init__()
        self.claim = claim
        self.tables = ()

    @property
    def rights(self) -> Sequence[Right]:
        return (self.claim,)

    @property
    def addresses(self) -> Sequence[Address]:
        return (Address(self.claim.bot, "", str(self.claim.update_id)),)


class Extension(Request):
    """Let a record expire later, unless it was changed meanwhile."""

    __slots__ = ("address", "record", "table", "tables")

    def __init__(self, table: Table, address: Address, record: Record) -> None:
        super().__init__()
        self.table = table
        self.tables = (table,)
        self.address = address
        self.record = record
        self.written = (address,)

    @property
    def addresses(self) -> Sequence[Address]:
        return (self.address,)
