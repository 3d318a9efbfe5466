"""What waits at the same moment goes to the database together.

While one batch is under way the next one gathers, so nobody waits for more than the batch under way
and the own one. A session that is alone does not wait at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from django.db import DatabaseError, transaction

from ..exceptions import SessionConflict
from .base import Address, Record, conflict
from .care import may_pass
from .sql import Change, Table
from .threads import thread_of

MOST_REQUESTS = 250
"""In one batch; with more, each would wait longer than it gains."""


@dataclass(slots=True, eq=False)
class Read:
    """A request for records."""

    addresses: Sequence[Address]


@dataclass(slots=True, eq=False)
class Write:
    """A request for changes: all of them, or none."""

    changes: Sequence[Change]


@dataclass(slots=True, eq=False)
class Renewal:
    """A request for a later expiry of a record, unless that was changed meanwhile."""

    address: Address
    record: Record


Request: TypeAlias = "Read | Write | Renewal"
Outcome: TypeAlias = "dict[Address, Record] | list[int | None] | Exception | None"


class Gathering:
    """The requests of one event loop for one database, which ``perform`` carries out."""

    def __init__(self, using: str, perform: Callable[[Sequence[Any], bool], list[Any]]) -> None:
        self._using = using
        self._perform = perform
        self._waiting: list[tuple[Any, asyncio.Future[Any]]] = []
        self._under_way = False

    def request(self, request: object) -> asyncio.Future[Any]:
        """Return a future of the outcome."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, future))
        if not self._under_way:
            self._under_way = True
            # After all that is ready to run now, so that what it requests comes along.
            asyncio.get_running_loop().call_soon(self._begin)
        return future

    def _begin(self) -> None:
        batch, self._waiting = self._next_batch()
        requests = [request for request, _ in batch]
        done = thread_of(self._using).run(lambda again: self._perform(requests, again))
        done.add_done_callback(lambda done: self._end(batch, done))

    def _next_batch(self) -> tuple[list[Any], list[Any]]:
        """Return what goes now and what waits on: a second write of an address."""
        batch: list[Any] = []
        rest: list[Any] = []
        written: set[Any] = set()
        for item in self._waiting:
            writes = getattr(item[0], "written", ())
            if len(batch) == MOST_REQUESTS or not written.isdisjoint(writes):
                rest.append(item)
            else:
                batch.append(item)
                written.update(writes)
        return batch, rest

    def _end(self, batch: list[Any], done: asyncio.Future[list[Any]]) -> None:
        if self._waiting:
            self._begin()
        else:
            self._under_way = False
        error = done.exception()
        outcomes = [error] * len(batch) if error is not None else done.result()
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
    return {w: revisions(w) if w.changes[0] in landed else refusal(w, landed) for w in writes}


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
    return {
        read: {address: stored[address] for address in read.addresses if address in stored}
        for read in reads
    }


def revisions(write: Write) -> list[int | None]:
    return [None if c.record.value is None else c.revision for c in write.changes]


def refusal(write: Write, landed: Collection[Change]) -> SessionConflict:
    return conflict(next(c.address for c in write.changes if c not in landed))
