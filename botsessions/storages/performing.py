"""Carrying out errands on the calling thread's connection, in as few statements as there can be."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from django.db import DatabaseError, transaction

from ..exceptions import SessionConflict
from .care import may_pass
from .endings import ending
from .errands import Errand, by_table, write_of
from .gathering import Outcome, Write, landed_before, perform, refusal
from .gathering import revisions as revisions_of
from .lease_sql import LeaseTable
from .leases import Ending, Lease, NotHeldYet, cut_off


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
        errand.note_ended()
    return outcomes


def write_at_once(table: LeaseTable, writes: Sequence[Errand]) -> dict[Errand, Outcome]:
    """Make changes and end their leases by one statement; return the outcomes of what landed.

    The rest has to be written in another way, which tells why it was not.
    """
    lone = [e for e in writes if e.ending is not Ending.KEPT and len(write_of(e).changes) == 1]
    outcomes: dict[Errand, Outcome] = {}
    for sessions, group in by_table(lone).items():
        planned = ending(group, sessions, table)
        if planned is None:
            continue
        query, outcomes_of = planned
        try:
            rows = sessions.rows(query)
        except DatabaseError as exc:
            if may_pass(exc):
                raise
            continue
        outcomes |= outcomes_of(rows)
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
        errand.note_ended(handed_on)
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
