"""A batch of requests as statements, as few as there can be.

It is written first, with which leases are given back; then others are taken, and then it is read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeAlias

from django.db import DatabaseError

from ..exceptions import SessionConflict
from ..records import Address, Record, conflict
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
Part: TypeAlias = "tuple[Work[Any], Sequence[Request]]"
"""Of the work for a batch, and the requests that it is for."""


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
    batch = Batch(connection)
    for request in requests:
        batch.add(request, singly=singly)
    yield from batch.carry_out()
    outcomes = list(map(batch.outcomes.__getitem__, requests))
    batch.outcomes.clear()  # An error refers to the batch, which is not to refer to the error.
    return outcomes


class Batch:
    """Requests by what has to be done, and what has come of them so far."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.outcomes: dict[Request, Outcome] = {}
        self._connection = connection
        self._side_by_side = connection.vendor == "postgresql"
        self._added = 0
        self._reads = Reads(connection, self.outcomes)
        self._lone: dict[Table, dict[Change, Write]] = {}
        self._saves: list[Write] = []
        self._notes: list[Note] = []
        self._extensions: dict[Table, list[Extension]] = {}
        self._singly: list[Request] = []
        """Those that have failed together, and have to be tried by themselves."""

    def add(self, request: Request, *, singly: bool = False) -> None:
        self._added += 1
        for table in request.tables:
            table.adapt_to(self._connection)
        if singly:
            self._singly.append(request)
        elif isinstance(request, Read):
            self._reads.add(request)
        elif isinstance(request, Write):
            if request.rights or len(request.changes) != 1 or request.tried:
                self._saves.append(request)
            else:  # A change that depends on nothing else.
                ((table, (change,)),) = request.tables.items()
                self._lone.setdefault(table, {})[change] = request
        elif isinstance(request, Extension):
            self._extensions.setdefault(request.table, []).append(request)
        elif isinstance(request, Note):
            self._notes.append(request)

    def carry_out(self) -> Work[None]:
        yield from self._do([*self._writing(), *self._reads.parts()])
        if len(self.outcomes) < self._added:
            for part in self._reads.rest(self._singly):
                yield from self._guarded(*part)
            yield from self._carry_out_singly()

    def _do(self, parts: Sequence[Part]) -> Work[None]:
        """Do parts of the work, side by side where the server can."""
        if self._side_by_side:
            yield from together([self._guarded(*part) for part in parts])
        else:
            for part in parts:
                yield from self._guarded(*part)

    # Writing.

    def _writing(self) -> Iterable[Part]:
        if self._saves:
            yield self._save(), self._saves
        for table, writes in self._lone.items():
            for kind, group in table.groups(writes):
                some = list(map(writes.__getitem__, group.changes))
                yield self._write_lone(table, kind, group, some), some
        for table, extensions in self._extensions.items():
            yield self._extend(table, extensions), extensions
        if self._notes:
            yield self._note(), self._notes

    def _save(self) -> Work[None]:
        """Make changes in a transaction; if that fails, each request's alone."""
        writes = self._saves
        if len(writes) == 1:
            try:
                yield from save_alone(writes[0], self._connection)
            except SessionConflict as exc:
                self.outcomes[writes[0]] = exc
            else:
                self.outcomes[writes[0]] = None
            return
        if any(write.tried for write in writes):
            self._singly += writes
            return
        try:
            yield from Save(writes, self._connection).carry_out()
        except SessionConflict:
            self._singly += writes
        else:
            self.outcomes |= dict.fromkeys(writes)

    def _write_lone(
        self, table: Table, kind: Kind, group: Group, writes: Sequence[Write]
    ) -> Work[None]:
        """Make single changes; one that conflicts does not fail the others."""
        landed = yield from table.making(kind, group)
        for change, write in zip(group.changes, writes, strict=True):
            self.outcomes[write] = None if change in landed else conflict(change.address)

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

    def _carry_out_singly(self) -> Work[None]:
        """Find out which of the requests fail, without waiting for what is locked."""
        if not self._singly:
            return
        yield [IMPATIENT]
        for request in dict.fromkeys(self._singly):
            (self.outcomes[request],) = yield from carry_out([request], self._connection)
        yield [PATIENT]


class Reads:
    """What is read, and the leases and claims that are taken before.

    Args:
        outcomes: gets what has come of each.
    """

    def __init__(self, connection: BaseDatabaseWrapper, outcomes: dict[Request, Outcome]) -> None:
        self._connection = connection
        self._outcomes = outcomes
        self._all: list[Read] = []
        self._takes = False
        """Whether leases or claims are to be taken."""

    def add(self, read: Read) -> None:
        self._all.append(read)
        self._takes = self._takes or bool(read.rights)

    def parts(self) -> list[Part]:
        """Return what takes leases and claims, and what reads if that can be sent along."""
        looking: list[Part] = []
        first: list[Part] = []
        if self._takes:
            table, (waiting, fresh) = lease_table_of(self._connection), self._of_one_key()
            if waiting:
                looking.append((table.look(leases_of(waiting)), waiting))
            if fresh:
                first.append((table.draw(leases_of(fresh)), fresh))
            first += self._claiming()  # After the leases, as when it is saved.
        if self._connection.vendor == "postgresql":
            # What is read in vain costs less than another round trip.
            reads = [r for r in self._all if not is_waiting(r)] if self._takes else self._all
            if reads:
                first.append((self._read(reads), reads))
            if len(first) > 1:
                works, requests = zip(*first, strict=True)
                first = [(together(works, as_one=True), [*dict.fromkeys(chain(*requests))])]
        return [*looking, *first]

    def rest(self, given_up: Collection[Request]) -> Iterable[Part]:
        """Yield what takes leases of several keys, and then what reads all that is still left.

        Args:
            given_up: what has failed meanwhile.
        """
        table = lease_table_of(self._connection)
        for read in self._all:
            lease = read.lease
            if lease is not None and is_wanted(lease) and len(lease.keys) > 1:
                yield (table.look_at_all if lease.numbers else table.take_all)(lease), [read]
        left, done = [], {*self._outcomes, *given_up}
        for read in self._all:
            if read in done:
                continue
            if read.lease is None or is_readable(read.lease):
                left.append(read)
            else:
                self._outcomes[read] = NotHeldYet()
        if left:
            yield self._read(left), left
            for read in left:  # Its lease may have been given up meanwhile.
                self._outcomes.setdefault(read, NotHeldYet())

    def _of_one_key(self) -> tuple[list[Read], list[Read]]:
        """Return who waits for a lease of one key, and who wants one anew: the first of each."""
        waiting: dict[int, Read] = {}
        fresh: dict[int, Read] = {}
        for read in self._all:
            lease = read.lease
            if lease is not None and is_wanted(lease) and len(lease.keys) == 1:
                (waiting if lease.numbers else fresh).setdefault(lease.keys[0], read)
        return [*waiting.values()], [*fresh.values()]

    def _claiming(self) -> Iterable[Part]:
        """Yield what claims updates."""
        wanted: dict[tuple[str, int], Read] = {}
        for read in self._all:
            if (claim := read.claim) is None:
                continue
            if wanted.setdefault((claim.bot, claim.update_id), read) is not read:
                self._outcomes[read] = ClaimedElsewhere(claim, 0)  # By the other of this batch.
        if wanted:
            reads = list(wanted.values())
            yield self._claim(reads), reads

    def _claim(self, reads: Sequence[Read]) -> Work[None]:
        claims = [read.claim for read in reads if read.claim is not None]
        refusals = yield from claim_table_of(self._connection).claim(claims)
        for read in reads:
            assert read.claim is not None
            if (refusal := refusals[read.claim]) is not None:
                self._outcomes[read] = refusal

    def _read(self, reads: Sequence[Read]) -> Work[None]:
        wanted: dict[Table, dict[Address, None]] = {}
        for read in reads:
            for table, addresses in read.tables.items():
                wanted.setdefault(table, {}).update(dict.fromkeys(addresses))
        works = [table.reading([*some]) for table, some in wanted.items()]
        stored = dict(zip(wanted, (yield from together(works)), strict=True))
        for read in reads:
            if read not in self._outcomes and (read.lease is None or is_readable(read.lease)):
                found: dict[Address, Record] = {}
                for table, addresses in read.tables.items():
                    for address in addresses:
                        if (record := stored[table].get(address)) is not None:
                            found[address] = record.live()
                self._outcomes[read] = found


def leases_of(reads: Iterable[Read]) -> list[Lease]:
    return [read.lease for read in reads if read.lease is not None]


def is_waiting(read: Read) -> bool:
    """Whether the lease of what is read cannot be had at once."""
    lease = read.lease
    return lease is not None and (bool(lease.numbers) or len(lease.keys) > 1)


def is_readable(lease: Lease) -> bool:
    """Whether nobody else has the keys of what is read."""
    return lease.held and not lease.given_up


def is_wanted(lease: Lease) -> bool:
    """Whether a lease is still to be taken."""
    return not lease.held and not lease.given_up
