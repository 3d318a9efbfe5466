"""Writing what has changed in a unit of work, and telling of what was refused."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from .data import Data
from .exceptions import SessionConflict
from .records import ANY, Address, Record
from .signals import session_conflict
from .storages.layers import outgoing, read_one
from .storages.transactions import Outcome, Transaction
from .storages.uncancelled import through, to_its_end

logger = logging.getLogger(__name__)

ATTEMPTS = 20
"""So often changes are merged with others' before that is given up."""


class Change(NamedTuple):
    """What is to be written of one fragment."""

    data: Data[Any]
    address: Address
    record: Record


async def changes_of(some: Collection[Data[Any]]) -> list[Change]:
    """Return what has changed, once what was promised is there."""
    changes = []
    for data in some:
        if data.is_promised:
            await data.settle()
        if data.stored is not None and (record := data.change()) is not None:
            changes.append(Change(data, data.stored.address, record))
    return changes


async def write_changes(
    transaction: Transaction, changes: Sequence[Change], *, last: bool, hand_on: bool
) -> None:
    """Write changes, again where they were refused without need.

    Raises:
        SessionConflict: one was changed by somebody else.
        Exception: a storage failed.
    """
    outcomes = await through(written(transaction, changes, last, hand_on))
    failed = [
        pair for pair in zip(changes, outcomes, strict=True) if isinstance(pair[1], Exception)
    ]
    if not failed:
        return
    for _ in range(ATTEMPTS):
        refused = [change for change, outcome in failed if isinstance(outcome, SessionConflict)]
        now = [await as_it_is_now(change) for change in refused]
        again = [change for change in now if change is not None]
        if again == refused:
            break
        outcomes = await through(written(transaction, again, last, hand_on))
        failed = [pair for pair in failed if not isinstance(pair[1], SessionConflict)]
        failed += [
            pair for pair in zip(again, outcomes, strict=True) if isinstance(pair[1], Exception)
        ]
    for change, outcome in failed:
        if isinstance(outcome, SessionConflict):
            await to_its_end(tell_of_conflict(change))
    for _, outcome in failed:
        if isinstance(outcome, Exception):
            raise outcome


async def written(
    transaction: Transaction, changes: Sequence[Change], last: bool, hand_on: bool
) -> Sequence[Outcome]:
    """Write changes and let their data know; awaits nothing but what cannot be cancelled."""
    stored = [
        (address, outgoing(data.fragment.layers, record) if data.fragment.layers else record)
        for data, address, record in changes
    ]
    try:
        outcomes = await transaction.write(stored, last=last, hand_on=hand_on)
    except Exception as exc:
        if not changes:  # Nothing is lost: keys end by themselves, and updates are claimed still.
            logger.debug("Keys are given back late.", exc_info=True)
        return [exc] * len(changes)
    for (data, address, record), outcome in zip(changes, outcomes, strict=True):
        if not isinstance(outcome, Exception):
            logger.debug("Session %s was written: revision %s.", address, outcome)
            data.written(record, outcome)
    return outcomes


async def as_it_is_now(change: Change) -> Change | None:
    """Return a refused change as it should be made; the same if it is a conflict.

    It is none that yields to another one.
    """
    assert change.data.stored is not None
    if change.data.fragment.yields and change.record.revision is not ANY:
        found = await read_one(change.data.fragment.place(change.address))
        return change if (found and found.revision) == change.record.revision else None
    revision = await change.data.stored.revision_now()
    if revision != change.record.revision:
        return change._replace(record=replace(change.record, revision=revision))
    return change._replace(record=await change.data.merge(change.record))


async def tell_of_conflict(change: Change) -> None:
    address, revision = change.address, change.record.revision
    named = None if revision is ANY else revision
    logger.debug("Session %s was not written: it is no longer at revision %s.", address, named)
    await session_conflict.asend_robust(
        sender=type(change.data.fragment.innermost), **address._asdict(), revision=named
    )
