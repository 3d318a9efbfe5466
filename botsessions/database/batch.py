"""A batch of requests as statements, as few as there can be.

It is written first, with which leases are given back; then others are taken, and then it is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from django.db import DatabaseError

from ..exceptions import SessionConflict
from ..records import Address, conflict
from .changes import Change, Group, Kind
from .claims import ClaimedElsewhere
from .claims_table import claim_table_of
from .errors import Trouble, trouble_of
from .lease import Lease
from .leases_table import lease_table_of
from .requests import Extension, Note, NotHeldYet, Read, Request, Write
from .saving import Save, save_alone
from .sessions_table import Table
from .statements import IMPATIENT, PATIENT, Work, together

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

Outcome: TypeAlias = Any
"""What a request is answered, or why it fails."""


class Locked(Exception):
    """Somebody else has locked what a request needs; nothing was done of it."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def carry_out(
    requests: Sequence[Request], connection: BaseDatabaseWrapper, *, singly: bool = False
) -> Work[list[Outcome]]:
    """Carry out requests; return the outcome of each, an exception where it has failed.

    No two of them may write at the same address.

    Args:
        singly: one after another, because some are likely to fail.
    """
    batch = Batch([] if singly else requests, connection)
    if singly:
        batch.try_singly(requests)
    yield from batch.carry_out()
    # An error refers to the batch, which is not to refer to the error.
    outcomes, batch.outcomes = batch.outcomes, {}
    return [outcomes[request] for request in requests]


class Batch:
    """Requests by what has to be done, and what has come of them so far."""

    def __init__(self, requests: Sequence[Request], connection: BaseDatabaseWrapper) -> None:
        self.outcomes: dict[Request, Outcome] = {}
        self._connection = connection
        self._leases = lease_table_of(connection)
        self._side_by_side = connection.vendor == "postgresql"
        self._reads: list[Read] = []
        self._lone: dict[Table, dict[Change, Write]] = {}
        self._saves: list[Write] = []
        self._notes: list[Note] = []
        self._extensions: dict[Table, list[Extension]] = {}
        self._singly: list[Request] = []
        """Those that have failed together, and have to be tried by themselves."""
        for request in requests:
            self._sort_in(request)

    def _sort_in(self, request: Request) -> None:
        for table in request.tables:
            table.adapt_to(self._connection)
        if isinstance(request, Read):
            self._reads.append(request)
        elif isinstance(request, Note):
            self._notes.append(request)
        elif isinstance(request, Extension):
            self._extensions.setdefault(request.table, []).append(request)
        elif isinstance(request, Write):
            if request.is_lone and not request.tried:
                ((table, (change,)),) = request.tables.items()
                self._lone.setdefault(table, {})[change] = request
            else:
                self._saves.append(request)

    def carry_out(self) -> Work[None]:
        works = [*self._writing(), *self._claiming(), *self._taking()]
        if self._side_by_side:  # What is read in vain costs less than another round trip.
            works += self._reading([read for read in self._reads if not read.is_waiting])
            yield from together(works)
        else:
            for work in works:
                yield from work
        yield from self._take_several()
        yield from self._read_the_rest()
        if self._singly:
            yield from self._carry_out_singly()

    # Writing.

    def _writing(self) -> Iterable[Work[None]]:
        if self._saves:
            yield self._guarded(self._save(), self._saves)
        for table, writes in self._lone.items():
            for kind, group in table.groups(writes):
                some = [writes[change] for change in group.changes]
                yield self._guarded(self._write_lone(table, kind, group, some), some)
        for table, extensions in self._extensions.items():
            yield self._guarded(self._extend(table, extensions), extensions)
        if self._notes:
            yield self._guarded(self._note(), self._notes)

    def _save(self) -> Work[None]:
        """Make changes in a transaction; if that fails, each request's alone."""
        writes = self._saves
        if len(writes) == 1:
            try:
                self.outcomes[writes[0]] = yield from save_alone(writes[0], self._connection)
            except SessionConflict as exc:
                self.outcomes[writes[0]] = exc
            return
        if any(write.tried for write in writes):
            self._singly += writes
            return
        try:
            yield from Save(writes, self._connection).carry_out()
        except SessionConflict:
            self._singly += writes
        else:
            self.outcomes |= {write: write.outcome for write in writes}

    def _write_lone(
        self, table: Table, kind: Kind, group: Group, writes: Sequence[Write]
    ) -> Work[None]:
        """Make single changes; one that conflicts does not fail the others."""
        landed = yield from table.making(kind, group)
        for change, write in zip(group.changes, writes, strict=True):
            is_made = change in landed
            self.outcomes[write] = write.outcome if is_made else conflict(change.address)

    def _extend(self, table: Table, extensions: Sequence[Extension]) -> Work[None]:
        yield from table.renewing([(each.address, each.record) for each in extensions])
        self.outcomes |= dict.fromkeys(extensions)

    def _note(self) -> Work[None]:
        """Note what is handled."""
        claims = [note.claim for note in self._notes]
        ours = yield from claim_table_of(self._connection).note(claims)
        for note in self._notes:
            note.claim.is_over = True
            self.outcomes[note] = note.claim in ours

    # Claims and leases.

    def _claiming(self) -> Iterable[Work[None]]:
        """Yield works that claim updates."""
        wanted: dict[tuple[str, int], Read] = {}
        for read in self._reads:
            if (claim := read.claim) is None:
                continue
            if wanted.setdefault((claim.bot, claim.update_id), read) is not read:
                self.outcomes[read] = ClaimedElsewhere(claim, 0)  # By the other of this batch.
        if wanted:
            reads = list(wanted.values())
            yield self._guarded(self._claim(reads), reads)

    def _claim(self, reads: Sequence[Read]) -> Work[None]:
        claims = [read.claim for read in reads if read.claim is not None]
        refusals = yield from claim_table_of(self._connection).claim(claims)
        for read in reads:
            assert read.claim is not None
            if (refusal := refusals[read.claim]) is not None:
                self.outcomes[read] = refusal

    def _taking(self) -> Iterable[Work[None]]:
        """Yield works that take leases of one key each, or look whether they can be taken."""
        fresh: dict[int, Read] = {}
        waiting: dict[int, Read] = {}
        for read in self._reads:
            lease = read.lease
            if lease is not None and is_wanted(lease) and len(lease.keys) == 1:
                (waiting if lease.numbers else fresh).setdefault(lease.keys[0], read)
        for reads, take in (waiting, self._leases.look), (fresh, self._leases.draw):
            if reads:
                leases = [read.lease for read in reads.values() if read.lease is not None]
                yield self._guarded(take(leases), list(reads.values()))

    def _take_several(self) -> Work[None]:
        """Take leases of several keys."""
        for read in self._reads:
            lease = read.lease
            if lease is not None and is_wanted(lease) and len(lease.keys) > 1:
                take = self._leases.look_at_all if lease.numbers else self._leases.take_all
                yield from self._guarded(take(lease), [read])

    # Reading.

    def _reading(self, reads: Sequence[Read]) -> Iterable[Work[None]]:
        if reads:
            yield self._guarded(self._read(reads), reads)

    def _read(self, reads: Sequence[Read]) -> Work[None]:
        wanted: dict[Table, dict[Address, None]] = {}
        for read in reads:
            for table, addresses in read.tables.items():
                wanted.setdefault(table, {}).update(dict.fromkeys(addresses))
        works = [table.reading(list(addresses)) for table, addresses in wanted.items()]
        stored = dict(zip(wanted, (yield from together(works)), strict=True))
        for read in reads:
            if read not in self.outcomes and is_readable(read):
                self.outcomes[read] = read.found_in(stored)

    def _read_the_rest(self) -> Work[None]:
        singly = set(self._singly)
        left = [read for read in self._reads if read not in self.outcomes and read not in singly]
        for read in left:
            if not is_readable(read):
                self.outcomes[read] = NotHeldYet()
        for work in self._reading([read for read in left if read not in self.outcomes]):
            yield from work

    # Failures.

    def _guarded(self, work: Work[None], requests: Sequence[Request]) -> Work[None]:
        """Do work for requests, and note if it fails."""
        try:
            yield from work
        except DatabaseError as exc:
            locked = trouble_of(exc) is Trouble.LOCKED
            all_is_locked = locked and self._connection.vendor == "sqlite"
            if len(requests) == 1 or all_is_locked:
                error = Locked(exc) if locked else exc
                self.outcomes |= dict.fromkeys(requests, error)
            else:
                self._singly += requests

    def try_singly(self, requests: Sequence[Request]) -> None:
        """Have requests tried by themselves."""
        self._singly += requests

    def _carry_out_singly(self) -> Work[None]:
        """Find out which of the requests fail, without waiting for what is locked."""
        yield [IMPATIENT]
        for request in dict.fromkeys(self._singly):
            (self.outcomes[request],) = yield from carry_out([request], self._connection)
        yield [PATIENT]


def is_readable(read: Read) -> bool:
    """Whether nobody else has the keys of what is read."""
    return read.lease is None or (read.lease.held and not read.lease.given_up)


def is_wanted(lease: Lease) -> bool:
    """Whether a lease is still to be taken."""
    return not lease.held and not lease.given_up
