"""What units of work ask of a database, one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..exceptions import SessionConflict
from ..records import Address, Record, conflict
from .changes import Change
from .lease import Ending, Lease
from .sessions_table import Table


class NotHeldYet(Exception):
    """Somebody else holds the lease, so nothing was done under it."""


class Request:
    """Something to be done, wholly or not at all."""

    __slots__ = ("future", "met_lock", "pause", "tried", "until")

    tables: Any
    """The tables that it is about; what it is about, by table."""

    future: asyncio.Future[Any]
    """Of the outcome."""

    def __init__(self) -> None:
        self.tried = False
        """Whether an earlier attempt may have done it, unknown to us."""
        self.met_lock = False
        """Whether somebody else had locked what it needs when it was tried last."""
        self.until: float | None = None
        """When it is not tried again any more, by the monotonic clock; set at the first failure."""
        self.pause = 0.0
        """Before the last attempt."""

    @property
    def leases(self) -> Iterable[Lease]:
        """The leases that it is done under."""
        return ()

    @property
    def addresses(self) -> Sequence[Address]:
        raise NotImplementedError

    @property
    def written(self) -> Sequence[Address]:
        """What no other request may write at the same time."""
        return ()

    @property
    def size(self) -> int:
        """About how many bytes it sends and gets."""
        return 0


class Read(Request):
    """Take a lease, or none, and read what is stored."""

    __slots__ = ("lease", "tables")

    def __init__(
        self, tables: Mapping[Table, Sequence[Address]], lease: Lease | None = None
    ) -> None:
        super().__init__()
        self.tables = tables
        self.lease = lease

    @property
    def leases(self) -> Iterable[Lease]:
        return () if self.lease is None else (self.lease,)

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
    """Make changes under a lease, or none: all of them, or nothing."""

    __slots__ = ("ending", "lease", "tables")

    def __init__(
        self,
        tables: Mapping[Table, Sequence[Change]],
        lease: Lease | None = None,
        ending: Ending = Ending.KEPT,
    ) -> None:
        super().__init__()
        self.tables = tables
        self.lease = lease
        self.ending = ending
        """What becomes of the lease with it."""

    @property
    def leases(self) -> Iterable[Lease]:
        return () if self.lease is None else (self.lease,)

    @property
    def changes(self) -> list[Change]:
        return [change for changes in self.tables.values() for change in changes]

    @property
    def only(self) -> tuple[Table, Change] | None:
        """The only change, and its table."""
        if len(self.tables) == 1:
            ((table, changes),) = self.tables.items()
            if len(changes) == 1:
                return table, changes[0]
        return None

    @property
    def addresses(self) -> Sequence[Address]:
        found = [change.address for change in self.changes]
        return found or (self.lease.addresses if self.lease else ())

    @property
    def written(self) -> Sequence[Address]:
        return [change.address for change in self.changes]

    @property
    def size(self) -> int:
        return sum(len(change.data) for change in self.changes)

    @property
    def outcome(self) -> list[int | None]:
        """The new revisions, once it is done."""
        return [change.outcome for change in self.changes]

    def refusal(self, landed: set[Change]) -> SessionConflict:
        return conflict(next(c.address for c in self.changes if c not in landed))

    def note_ended(self, handed_on: Iterable[Lease] | None) -> None:
        """Note what has become of the lease.

        Args:
            handed_on: those that were kept; ``None``: that is not known.
        """
        lease = self.lease
        if lease is None or self.ending is Ending.KEPT:
            return
        if self.ending is Ending.HANDED_ON and handed_on is not None and lease in handed_on:
            lease.handed_on = True
        elif handed_on is not None:
            lease.held, lease.is_over = False, True


class Extension(Request):
    """Let a record expire later, unless it was changed meanwhile."""

    __slots__ = ("address", "record", "table", "tables")

    def __init__(self, table: Table, address: Address, record: Record) -> None:
        super().__init__()
        self.table = table
        self.tables = (table,)
        self.address = address
        self.record = record

    @property
    def addresses(self) -> Sequence[Address]:
        return (self.address,)

    @property
    def written(self) -> Sequence[Address]:
        return (self.address,)
