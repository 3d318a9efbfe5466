"""Errands to a database: requests for sessions, and the leases that ride along with them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async
from django.db import DatabaseError, transaction

from ..exceptions import SessionConflict
from .care import may_pass
from .gathering import Gathering, Outcome, Request, Write, landed_before, perform, refusal
from .gathering import revisions as revisions_of
from .lease_sql import LeaseTable
from .leases import Ending, Lease, NotHeldYet, cut_off
from .sql import Table
from .threads import sync_code_waits, thread_of


@dataclass(slots=True, eq=False)
class Errand:
    """A request for a table's sessions, or none, under a lease, or none.

    A write checks the lease, in its own transaction, and anything else takes it first.
    """

    table: Table | None = None
    request: Request | None = None
    lease: Lease | None = None
    ending: Ending = Ending.KEPT
    """What a write makes of the lease."""

    @property
    def written(self) -> Collection[Any]:
        """What no other errand of the same batch may write."""
        if not isinstance(self.request, Write) or self.table is None:
            return ()
        return {(self.table.model, change.address) for change in self.request.changes}


async def carry_out(using: str, errand: Errand, *, apart: bool = False) -> Any:
    """Carry out an errand, together with what waits at the same moment; return the outcome.

    Args:
        apart: not on the connection of sync code that waits for it, but on one of our own.
    """
    if not sync_code_waits():
        return await gathering(using).request(errand)
    unit = partial(perform_errands, using, [errand])
    if apart:
        (outcome,) = await thread_of(using).run(unit)
    else:
        (outcome,) = await sync_to_async(unit)(again=False)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def give_back(lease: Lease) -> None:
    """Have a lease given back, without waiting for it and whether or not it is held."""
    lease.released = True
    leases = _given_back.setdefault(lease.using, deque())
    leases.append(lease)
    thread_of(lease.using).do(partial(give_back_all, lease.using, leases))


_given_back: dict[str, deque[Lease]] = {}


def give_back_all(using: str, leases: deque[Lease], again: bool) -> None:
    """Give back together what has been given back meanwhile."""
    batch = list(leases)
    LeaseTable(using).release(batch)
    for _ in batch:
        leases.popleft()


_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Gathering]] = WeakKeyDictionary()


def gathering(using: str) -> Gathering:
    """Return where the running event loop's errands to a database gather."""
    of_databases = _of_loops.setdefault(asyncio.get_running_loop(), {})
    if using not in of_databases:
        of_databases[using] = Gathering(using, partial(perform_errands, using))
    return of_databases[using]


def perform_errands(using: str, errands: Sequence[Errand], again: bool) -> list[Outcome]:
    """Carry out errands on the calling thread's connection; return their outcomes.

    Leases are given back first, then others are taken, and then it is read.

    Args:
        again: whether an earlier attempt may have succeeded, at least in part.

    Raises:
        DatabaseError: one that may pass.
    """
    leased = [errand for errand in errands if errand.lease is not None]
    outcomes = perform_leased(LeaseTable(using), leased, again) if leased else {}
    others = [errand for errand in errands if errand not in outcomes]
    for sessions, group in by_table(others).items():
        requests = [errand.request for errand in group if errand.request is not None]
        outcomes |= zip(group, perform(sessions, requests, again), strict=True)
    return [outcomes.get(errand) for errand in errands]


def perform_leased(
    table: LeaseTable, errands: Sequence[Errand], again: bool
) -> dict[Errand, Outcome]:
    """Write under leases, and take leases; return the outcomes of what is done, or has to wait."""
    writes = [errand for errand in errands if isinstance(errand.request, Write)]
    outcomes = landed(writes) if again else {}
    if table.connection.vendor == "postgresql":
        outcomes |= write_at_once(table, [errand for errand in writes if errand not in outcomes])
    outcomes |= write_under_leases(table, [errand for errand in writes if errand not in outcomes])
    outcomes |= take(table, [errand for errand in errands if errand not in outcomes])
    return outcomes


def landed(writes: Sequence[Errand]) -> dict[Errand, Outcome]:
    """Return the outcomes of the writes that an earlier attempt has made, unknown to us."""
    outcomes: dict[Errand, Outcome] = {}
    for table, group in by_table(writes).items():
        before = landed_before(table, [write_of(errand) for errand in group])
        outcomes |= {e: before[write_of(e)] for e in group if write_of(e) in before}
    for errand in outcomes:
        note_ended(errand)
    return outcomes


def write_at_once(table: LeaseTable, writes: Sequence[Errand]) -> dict[Errand, Outcome]:
    """Make changes and end their leases by one statement; return the outcomes of what landed.

    The rest has to be written in another way, which tells why it was not.
    """
    lone = [e for e in writes if e.ending is not Ending.KEPT and len(write_of(e).changes) == 1]
    outcomes: dict[Errand, Outcome] = {}
    for sessions, group in by_table(lone).items():
        leases = {errand.lease: errand.ending for errand in group if errand.lease is not None}
        handed_on = [lease for lease, ending in leases.items() if ending is Ending.HANDED_ON]
        if len(leases) < len(group) or any(len(lease.keys) > 1 for lease in leases):
            continue
        changes = [write_of(errand).changes[0] for errand in group]
        try:
            landed, kept = sessions.update_if_held(changes, table.ending(leases, handed_on))
        except DatabaseError as exc:
            if may_pass(exc):
                raise
            continue
        for errand, change in zip(group, changes, strict=True):
            if change in landed:
                note_ended(errand, [lease for lease in leases if lease.keys[0] in kept])
                outcomes[errand] = revisions_of(write_of(errand))
    return outcomes


def write_under_leases(table: LeaseTable, writes: Sequence[Errand]) -> dict[Errand, Outcome]:
    """Make the changes of those who still hold their leases; each errand's all or none."""
    if not writes:
        return {}
    try:
        with transaction.atomic(using=table.using):
            handed_on = check(table, writes)
            for sessions, group in by_table(writes).items():
                changed = sessions.write(c for errand in group for c in write_of(errand).changes)
                for errand in group:
                    if not changed.issuperset(write_of(errand).changes):
                        raise refusal(write_of(errand), changed)
    except (DatabaseError, SessionConflict) as exc:
        if may_pass(exc):
            raise
        if len(writes) == 1:
            return {writes[0]: exc}
        return {e: outcome for w in writes for e, outcome in write_under_leases(table, [w]).items()}
    for errand in writes:
        note_ended(errand, handed_on)
    return {errand: revisions_of(write_of(errand)) for errand in writes}


def check(table: LeaseTable, writes: Sequence[Errand]) -> Collection[Lease]:
    """Raise SessionConflict if one of the leases has gone to somebody else.

    Otherwise do with them what is to become of them, and return those that were handed on.
    """
    leases: dict[Ending, set[Lease]] = {ending: set() for ending in Ending}
    for errand in writes:
        if errand.lease is not None:
            leases[errand.ending].add(errand.lease)
    leases[Ending.KEPT] -= leases[Ending.GIVEN_BACK] | leases[Ending.HANDED_ON]
    handed_on = table.hand_on(leases[Ending.HANDED_ON])
    if (
        handed_on is None
        or not table.renew(leases[Ending.KEPT])
        or not table.release(leases[Ending.GIVEN_BACK])
    ):
        raise cut_off(next(errand.lease for errand in writes if errand.lease))
    return handed_on


def note_ended(errand: Errand, handed_on: Collection[Lease] | None = None) -> None:
    """Note what has become of an errand's lease; of one to be handed on, ``None``: unknown."""
    lease = errand.lease
    if lease is None or errand.ending is Ending.KEPT:
        return
    if errand.ending is Ending.GIVEN_BACK or (handed_on is not None and lease not in handed_on):
        lease.held, lease.released = False, True
    else:
        lease.handed_on = handed_on is not None


def take(table: LeaseTable, errands: Sequence[Errand]) -> Mapping[Errand, Outcome]:
    """Take the errands' leases; return the outcomes of those that have to wait."""
    wanted = [e.lease for e in errands if e.lease and not e.lease.held and not e.lease.released]
    leases = list(dict.fromkeys(wanted))
    try:
        for lease in table.look([lease for lease in leases if lease.numbers]):
            table.take_turn(lease)
        table.take([lease for lease in leases if not lease.numbers])
    except DatabaseError as exc:
        if may_pass(exc):
            raise
        return dict.fromkeys(errands, exc)
    return {errand: NotHeldYet() for errand in errands if errand.lease and not errand.lease.held}


def by_table(errands: Iterable[Errand]) -> dict[Table, list[Errand]]:
    tables: dict[Any, tuple[Table, list[Errand]]] = {}
    for errand in errands:
        if errand.table is not None and errand.request is not None:
            key = (errand.table.model, errand.table.using)
            tables.setdefault(key, (errand.table, []))[1].append(errand)
    return dict(tables.values())


def write_of(errand: Errand) -> Write:
    assert isinstance(errand.request, Write)
    return errand.request
