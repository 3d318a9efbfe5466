"""Holding the keys of many sessions at once, as handlers hold theirs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager

from ..bots import all_bots
from ..database.lease import Lease
from ..database.transaction import DatabaseTransaction
from ..due import comes_due
from ..holding import Hold
from ..storages import Address

PATIENCE_SECONDS = 15.0
"""So long keys are waited for."""


@asynccontextmanager
async def held(addresses: Collection[Address], using: str, lock: str) -> AsyncIterator[None]:
    """Hold keys, each named once, in this process and, by ``"database"``, among all processes.

    Raises:
        SessionLockTimeout: they were not free for :data:`PATIENCE_SECONDS`.
        SessionLockError: there is no use in waiting.
    """
    hold = Hold(patience=PATIENCE_SECONDS)
    try:
        await hold.acquire([*addresses], nothing_else, lambda: [using])
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


def lock_of(addresses: Collection[Address]) -> str:
    """Return the lock that holds off whoever works with one of these sessions."""
    if any(comes_due(address.name) for address in addresses):
        return "database"  # Whatever the bot's lock is, that is done with the key held by it.
    known = all_bots()
    locks = {known[bot].lock for bot in {address.bot for address in addresses} if bot in known}
    return "database" if "database" in locks else "process"
