"""What waits at the same moment goes to the database together.

While one batch is under way the next one gathers, so nobody waits for more than the batch under way
and the own one. A session that is alone does not wait at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

import msgspec
from django.db import DatabaseError, connections, transaction

from ..exceptions import SessionConflict
from .base import Address, Record, conflict
from .care import may_pass
from .nonblocking import Rows
from .sql import Change, Query, Table
from .threads import thread_of
from .uncancelled import Uncancellable

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

MOST_REQUESTS = 250
"""In one batch; with more, each would wait longer than it gains."""
MANY_REQUESTS = 32
"""From so many on, it pays to make two batches of those that come at once."""


class Read(msgspec.Struct, eq=False):
    """A request for records."""

    addresses: Sequence[Address]


class Write(msgspec.Struct, eq=False):
    """A request for changes: all of them, or none."""

    changes: Sequence[Change]


class Renewal(msgspec.Struct, eq=False):
    """A request for a later expiry of a record, unless that was changed meanwhile."""

    address: Address
    record: Record


Waiting: TypeAlias = "tuple[Any, asyncio.Future[Any]]"
Request: TypeAlias = "Read | Write | Renewal"
Outcome: TypeAlias = "dict[Address, Record] | list[int | None] | Exception | None"


Step: TypeAlias = "tuple[Query, Callable[[Rows], object]]"
"""A statement, and who takes note of what its rows say."""


class Plan(NamedTuple):
    """How the event loop can carry out requests by itself."""

    steps: Sequence[Step]
    outcomes: Mapping[Any, Outcome]
    """What they have noted of each request; those without an outcome are not carried out."""


class Gathered(Protocol):
    """What can go to the database together."""

    @property
    def written(self) -> Collection[Any]:
        """What no other request of the same batch may write."""


class Gathering:
    """The requests of one event loop for one database, which ``perform`` carries out.

    ``plan`` returns how to do it without the thread, ``None`` if there is no way. Without it there
    never is.
    """

    def __init__(
        self,
        using: str,
        perform: Callable[[Sequence[Any], bool], list[Any]],
        plan: Callable[[Sequence[Any], BaseDatabaseWrapper], Plan | None] | None = None,
    ) -> None:
        self._using = using
        self._has_server = connections[using].vendor != "sqlite"
        self._perform = perform
        self._plan = plan
        self._waiting: list[Waiting] = []
        self._under_way = False

    def request(
        self,
        request: Gathered,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        writes: bool = False,
    ) -> asyncio.Future[Any]:
        """Return a future of the outcome. A cancelled task goes on to wait for that of a write.

        Args:
            loop: the running one, if it is known.
        """
        loop = loop or asyncio.get_running_loop()
        future: asyncio.Future[Any] = Uncancellable(loop=loop) if writes else loop.create_future()
        self._waiting.append((request, future))
        if not self._under_way:
            self._under_way = True
            # After all that is ready to run now, so that what it requests comes along.
            loop.call_soon(self._start)
        return future

    def _start(self) -> None:
        """Begin with half of many, so that event loop and server are at work side by side."""
        many = self._has_server and len(self._waiting) >= MANY_REQUESTS
        self._begin(len(self._waiting) // 2 if many else MOST_REQUESTS)

    def _begin(self, most: int = MOST_REQUESTS) -> None:
        batch, self._waiting = self._next_batch(min(most, MOST_REQUESTS))
        if not self._go_without_thread(batch):
            self._have_done(batch)

    def _go_without_thread(self, batch: list[Waiting]) -> bool:
        """Begin to carry out a batch on this event loop, and return whether that can be done."""
        if self._plan is None or (loan := thread_of(self._using).lend()) is None:
            return False
        try:
            plan = self._plan([request for request, _ in batch], loan.connection)
        except Exception:  # The thread will tell.
            plan = None
        if plan is None:
            loan.end()
            return False
        queries = [query for query, _ in plan.steps]
        loan.execute(queries, partial(self._answered, batch, plan))
        return True

    def _answered(self, batch: list[Waiting], plan: Plan, answers: list[Rows] | None) -> None:
        try:
            for (_, note), rows in zip(plan.steps, answers or (), strict=True):
                note(rows)
        except Exception:  # The thread will tell.
            self._have_done(batch, tried=True)
            return
        outcomes = plan.outcomes
        if len(outcomes) < len(batch):
            self._have_done([item for item in batch if item[0] not in outcomes])
            batch = [item for item in batch if item[0] in outcomes]
        else:
            self._go_on()
        settle(batch, [outcomes[request] for request, _ in batch])

    def _have_done(self, batch: list[Waiting], *, tried: bool = False) -> None:
        """Have the thread carry out a batch, which may have been carried out already."""
        requests = [request for request, _ in batch]
        done = thread_of(self._using).run(lambda again: self._perform(requests, again or tried))
        done.add_done_callback(lambda done: self._end(batch, done))

    def _next_batch(self, most: int) -> tuple[list[Waiting], list[Waiting]]:
        """Return what goes now and what waits on: a second write of an address."""
        batch: list[Waiting] = []
        rest: list[Waiting] = []
        written: set[Any] = set()
        for item in self._waiting:
            writes = item[0].written
            if len(batch) == most or (writes and not written.isdisjoint(writes)):
                rest.append(item)
            else:
                batch.append(item)
                written.update(writes)
        return batch, rest

    def _end(self, batch: list[Waiting], done: asyncio.Future[list[Any]]) -> None:
        self._go_on()
        error = done.exception()
        settle(batch, [error] * len(batch) if error is not None else done.result())

    def _go_on(self) -> None:
        if self._waiting:
            self._begin()
        else:
            self._under_way = False


def settle(batch: Sequence[Waiting], outcomes: Sequence[Any]) -> None:
    for (_, future), outcome in zip(batch, outcomes, strict=True):
        if future.done():
            continue
        if isinstance(outcome, BaseException):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


def perform(table: Table, requests: Sequence[Request], again: bool) -> list[Outcome]:
    """Carry out requests, on the thread that has the connection; return their outcomes.

    Args:
        again: whether an earlier attempt may have succeeded, at least in part.

    Raises:
        DatabaseError: one that may pass.
    """
    writes = [request for request in requests if isinstance(request, Write)]
    outcomes: dict[Request, Outcome] = {}
    if again:
        outcomes |= landed_before(table, writes)
    lone = [w for w in writes if len(w.changes) == 1 and w not in outcomes]
    outcomes |= write_lone(table, lone)
    for write in writes:
        if write not in outcomes:
            outcomes[write] = write_together(table, write)
    outcomes |= renew(table, [request for request in requests if isinstance(request, Renewal)])
    outcomes |= read(table, [request for request in requests if isinstance(request, Read)])
    return [outcomes[request] for request in requests]


def landed_before(table: Table, writes: Sequence[Write]) -> dict[Request, Outcome]:
    """Return the outcomes of the writes that an earlier attempt has made, unknown to us."""
    stored = table.select(change.address for write in writes for change in write.changes)

    def landed(change: Change) -> bool:
        record = stored.get(change.address)
        if change.record.value is None:
            return record is None
        return record is not None and record.revision == change.revision

    return {w: revisions(w) for w in writes if all(landed(change) for change in w.changes)}


def write_lone(table: Table, writes: Sequence[Write]) -> dict[Request, Outcome]:
    """Make single changes; one that conflicts or fails does not fail the others."""
    if not writes:
        return {}
    try:
        landed = table.write(write.changes[0] for write in writes)
    except DatabaseError as exc:
        if may_pass(exc):
            raise
        if len(writes) == 1:
            return {writes[0]: exc}
        return {w: outcome for one in writes for w, outcome in write_lone(table, [one]).items()}
    return {write: outcome_of(write, landed) for write in writes}


def write_together(table: Table, write: Write) -> Outcome:
    """Make the changes of one request, all or none."""
    try:
        with transaction.atomic(using=table.using):
            landed = table.write(write.changes)
            if len(landed) < len(write.changes):
                raise refusal(write, landed)
    except DatabaseError as exc:
        if may_pass(exc):
            raise
        return exc
    except SessionConflict as exc:
        return exc
    return revisions(write)


def renew(table: Table, renewals: Sequence[Renewal]) -> dict[Request, Outcome]:
    if not renewals:
        return {}
    try:
        table.renew({renewal.address: renewal.record for renewal in renewals})
    except DatabaseError as exc:
        if may_pass(exc):
            raise
        return dict.fromkeys(renewals, exc)
    return dict.fromkeys(renewals)


def read(table: Table, reads: Sequence[Read]) -> dict[Request, Outcome]:
    stored = table.select({address for read in reads for address in read.addresses})
    return {read: found_of(read, stored) for read in reads}


def found_of(read: Read, stored: Mapping[Address, Record]) -> dict[Address, Record]:
    return {address: stored[address] for address in read.addresses if address in stored}


def outcome_of(write: Write, landed: Collection[Change]) -> Outcome:
    """Return the outcome of a single change."""
    return revisions(write) if write.changes[0] in landed else refusal(write, landed)


def revisions(write: Write) -> list[int | None]:
    return [None if c.record.value is None else c.revision for c in write.changes]


def refusal(write: Write, landed: Collection[Change]) -> SessionConflict:
    return conflict(next(c.address for c in write.changes if c not in landed))
