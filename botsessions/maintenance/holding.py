"""Holding the keys of many sessions at once, as handlers hold theirs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager

from ..bots import all_bots
from ..exceptions import SessionLockTimeout
from ..locks import Leases, process_lock, release
from ..storages import Address

PATIENCE_SECONDS = 15.0
"""So long keys are waited for."""


@asynccontextmanager
async def held(addresses: Collection[Address], using: str, lock: str) -> AsyncIterator[None]:
    """Hold keys, each named once, in this process and, by ``"database"``, among all processes.

    Raises:
        SessionLockTimeout: they were not free for :data:`PATIENCE_SECONDS`.
    """
    since = time.monotonic()
    ticket = process_lock().request(addresses)
    try:
        await asyncio.wait_for(process_lock().wait(ticket), PATIENCE_SECONDS)
        if lock == "database":
            ticket.leases = Leases({using: [*addresses]})
            await ticket.leases.take(
                [], nothing, since=since, within=False, patience=PATIENCE_SECONDS
            )
        yield
    except asyncio.TimeoutError as exc:
        raise SessionLockTimeout("A key was not free.") from exc
    finally:
        release(ticket)


async def nothing() -> None:
    """Read nothing with the keys."""


def lock_of(bots: Iterable[str]) -> str:
    """Return the lock that holds off the handlers of all these bots."""
    known = all_bots()
    locks = {known[bot].lock for bot in bots if bot in known}
    return "database" if "database" in locks else "process"
