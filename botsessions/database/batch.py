"""A batch of requests as statements, as few as there can be.

Leases are given back first, then others are taken, and then it is read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from django.db import DatabaseError

from ..exceptions import SessionConflict
from ..records import ANY, Address, Record
from .changes import Change, Group
from .errors import Trouble, trouble_of
from .lease import Ending, Lease, cut_off
from .leases_table import lease_table_of
from .requests import Extension, NotHeldYet, Read, Request, Write
from .sessions_table import Step, Table
from .statements import IMPATIENT, PATIENT, Work, in_transaction, one, together

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
        self._lone: list[Write] = []
        self._ending: list[Write] = []
        self._others: list[Write] = []
        self._extensions: list[Extension] = []
        self._singly: list[Request] = []
        """Those that have failed together, and have to be tried by themselves."""
        for request in requests:
            self._sort_in(request)

    def _sort_in(self, request: Request) -> None:
        for table in request.tables:
            table.adapt_to(self._connection)
        if isinstance(request, Read):
            self._reads.append(request)
        elif isinstance(request, Write):
            self._list_for(request).append(request)
        else:
            assert isinstance(request, Extension)
            self._extensions.append(request)

    def _list_for(self, write: Write) -> list[Write]:
        """Return with which others a write goes."""
        lease, only = write.lease, write.only
        if only is None or (write.tried and only[1].record.revision is ANY):
            return self._others
        if lease is None:
            return self._lone
        can_end = self._side_by_side and write.ending is not Ending.KEPT and len(lease.keys) == 1
        return self._ending if can_end and only[1].updates else self._others

    def carry_out(self) -> Work[None]:
        works = [*self._writing(), *self._taking()]
        readable = [read for read in self._reads if is_readable(read)]
        if self._side_by_side:  # What is read in vain costs less than another round trip.
            fresh = [read for read in self._reads if read not in readable and not read.is_waiting]
            works += self._reading([*readable, *fresh])
            yield from together(works)
        else:
            for work in works:
                yield from work
        yield from self._carry_out_others()
        yield from self._read_the_rest()
        if self._singly:
            yield from self._carry_out_singly()

    # Writing.

    def _writing(self) -> Iterable[Work[None]]:
        """Yield works that make changes of which each is a statement's."""
        for table, writes in by_table(self._ending).items():
            yield self._guarded(self._end(table, writes), writes)
        for table, writes in by_table(self._lone).items():
            of_changes = {only_of(write)[1]: write for write in writes}
            for step, group in table.groups(of_changes):
                some = [of_changes[change] for change in group.changes]
                yield self._guarded(self._write_lone(step, group, some), some)
        for table, extensions in extensions_by_table(self._extensions).items():
            yield self._guarded(self._extend(table, extensions), extensions)

    def _end(self, table: Table, writes: Sequence[Write]) -> Work[None]:
        """Make changes and end their leases by one statement.

        What does not land has to be written in another way, which tells why.
        """
        endings = {write.lease: write.ending for write in writes if write.lease is not None}
        kept = [lease for lease, ending in endings.items() if ending is Ending.HANDED_ON]
        guard = self._leases.ending(endings, kept)
        groups = table.groups([only_of(write)[1] for write in writes])
        if len(groups) > 1:
            self._others += writes
            return
        ((_, group),) = groups
        rows = (yield from one(table.update_if_held(group, guard))).rows
        landed = group.landed([revision for revision, _ in rows])
        held = set(rows[0][1]) if rows else set()
        handed_on = [lease for lease in kept if lease.keys[0] in held]
        for write in writes:
            if only_of(write)[1] in landed:
                self._note_written(write, handed_on)
            else:
                self._others.append(write)

    def _write_lone(self, step: Step, group: Group, writes: Sequence[Write]) -> Work[None]:
        """Make single changes; one that conflicts does not fail the others."""
        landed = yield from step(group, False)
        for write in writes:
            if only_of(write)[1] in landed:
                self._note_written(write, None)
            elif write.tried:
                self._others.append(write)
            else:
                self.outcomes[write] = write.refusal(landed)

    def _extend(self, table: Table, extensions: Sequence[Extension]) -> Work[None]:
        yield from table.renewing([(each.address, each.record) for each in extensions])
        self.outcomes |= dict.fromkeys(extensions)

    def _carry_out_others(self) -> Work[None]:
        """Make changes in a transaction: all that there are, or if that fails, each alone."""
        writes = self._others
        if len(writes) == 1:
            yield from self._guarded(self._write_alone(writes[0]), writes)
        elif writes:
            try:
                yield from self._guarded(in_transaction(self._write_together(writes)), writes)
            except SessionConflict:
                self._singly += writes

    def _write_alone(self, write: Write) -> Work[None]:
        replaces = any(change.record.revision is ANY for change in write.changes)
        if write.tried and replaces and (yield from self._has_landed(write)):
            return
        try:
            yield from in_transaction(self._write_together([write]))
        except SessionConflict as exc:
            # Another's, or that of an earlier attempt of ours.
            if not (write.tried and (yield from self._has_landed(write))):
                self.outcomes[write] = exc

    def _has_landed(self, write: Write) -> Work[bool]:
        """Return whether an earlier attempt has made the changes, and note it."""
        for table, changes in write.tables.items():
            stored = yield from table.reading([change.address for change in changes])
            if not all(is_made(change, stored.get(change.address)) for change in changes):
                return False
        self._note_written(write, None)
        return bool(write.tables)

    def _write_together(self, writes: Sequence[Write]) -> Work[None]:
        """Make the changes of those who still hold their leases.

        Raises:
            SessionConflict: one does not, or somebody else has changed what it would change.
        """
        leases: dict[Ending, set[Lease]] = {ending: set() for ending in Ending}
        changes: dict[Table, list[Change]] = {}
        for write in writes:
            if write.lease is not None:
                leases[write.ending].add(write.lease)
            for table, some in write.tables.items():
                changes.setdefault(table, []).extend(some)
        leases[Ending.KEPT] -= leases[Ending.GIVEN_BACK] | leases[Ending.HANDED_ON]
        works: list[Work[Any]] = [
            self._leases.hand_on(leases[Ending.HANDED_ON]),
            self._leases.renew(leases[Ending.KEPT]),
            self._leases.release(leases[Ending.GIVEN_BACK]),
        ]
        works += [table.writing(some, within=True) for table, some in changes.items()]
        handed_on, renewed, released, *made = yield from together(works)
        if handed_on is None or not renewed or not released:
            raise cut_off(next(write.lease for write in writes if write.lease))
        landed = set().union(*made)
        for write in writes:
            if not landed.issuperset(write.changes):
                raise write.refusal(landed)
        for write in writes:
            self._note_written(write, handed_on)

    def _note_written(self, write: Write, handed_on: Collection[Lease] | None) -> None:
        write.note_ended(handed_on)
        self.outcomes[write] = write.outcome

    # Leases.

    def _taking(self) -> Iterable[Work[None]]:
        """Yield works that take leases of one key each, or look whether they can be taken."""
        fresh: dict[int, Read] = {}
        waiting: dict[int, Read] = {}
        for read in self._reads:
            lease = read.lease
            if lease is None or lease.held or lease.given_up or len(lease.keys) > 1:
                continue
            (waiting if lease.numbers else fresh).setdefault(lease.keys[0], read)
        for reads, take in (waiting, self._leases.look), (fresh, self._leases.draw):
            if reads:
                leases = [read.lease for read in reads.values() if read.lease is not None]
                yield self._guarded(take(leases), list(reads.values()))

    def _take_several(self) -> Work[None]:
        """Take leases of several keys."""
        for read in self._reads:
            lease = read.lease
            if lease is not None and len(lease.keys) > 1 and not (lease.held or lease.given_up):
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
            if is_readable(read) and read not in self.outcomes:
                self.outcomes[read] = read.found_in(stored)

    def _read_the_rest(self) -> Work[None]:
        yield from self._take_several()
        left = [read for read in self._reads if read not in self.outcomes]
        left = [read for read in left if read not in self._singly]
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
            if len(requests) == 1:
                locked = trouble_of(exc) is Trouble.LOCKED
                self.outcomes[requests[0]] = Locked(exc) if locked else exc
            elif self._connection.vendor == "sqlite" and trouble_of(exc) is Trouble.LOCKED:
                self.outcomes |= {request: Locked(exc) for request in requests}  # All is locked.
            else:
                self._singly += requests

    def try_singly(self, requests: Sequence[Request]) -> None:
        """Have requests tried by themselves."""
        self._singly += requests

    def _carry_out_singly(self) -> Work[None]:
        """Find out which of the requests fail, without waiting for what is locked."""
        yield [IMPATIENT]
        for request in self._singly:
            (self.outcomes[request],) = yield from carry_out([request], self._connection)
        yield [PATIENT]


def is_readable(read: Read) -> bool:
    """Whether nobody else has the keys of what is read."""
    return read.lease is None or (read.lease.held and not read.lease.given_up)


def only_of(write: Write) -> tuple[Table, Change]:
    only = write.only
    assert only is not None
    return only


def is_made(change: Change, record: Record | None) -> bool:
    """Whether what is stored is what a change makes of it."""
    if change.record.value is None:
        return record is None
    return record is not None and record.revision == change.revision


def by_table(writes: Iterable[Write]) -> dict[Table, list[Write]]:
    """Return writes of single changes by their tables."""
    tables: dict[Table, list[Write]] = {}
    for write in writes:
        tables.setdefault(only_of(write)[0], []).append(write)
    return tables


def extensions_by_table(extensions: Iterable[Extension]) -> dict[Table, list[Extension]]:
    tables: dict[Table, list[Extension]] = {}
    for extension in extensions:
        tables.setdefault(extension.table, []).append(extension)
    return tables
