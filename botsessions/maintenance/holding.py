"""Holding the keys of many sessions at once, as handlers hold theirs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager

from ..bots import all_bots
from ..database.lease import Lease
from ..database.transaction import DatabaseTransaction
from ..holding import Hold
from ..storages import Address

PATIENCE_SECONDS = 15.0
"""So long keys are waited for."""


@asynccontextmanager
async def held(addresses: Collection[Address], using: str, lock: str) -> AsyncIterator[None]:
    """Hold keys, each named once, in this process and, by ``"database"``, among all processes.

    Raises:
        SessionLockTimeout: they were not free for :data:`PATIENCE_SECONDS`.
    """
    hold = Hold(patience=PATIENCE_SECONDS)
    try:
        await hold.acquire([*addresses], nothing_else)
        if lock == "database":
            leases = {using: Lease(using, [*addresses])}
            hold.lease_by(leases)
            transaction = DatabaseTransaction(using, {}, lease=leases[using])
            await transaction.read([], since=hold.asked_at, patience=PATIENCE_SECONDS)
        yield
    finally:
        hold.release()


def nothing_else(wanted: Collection[Address]) -> Iterable[Address]:
    return ()


def lock_of(bots: Iterable[str]) -> str:
    """Return the lock that holds off the handlers of all these bots."""
    known = all_bots()
    locks = {known[bot].lock for bot in bots if bot in known}
    return "database" if "database" in locks else "process"
