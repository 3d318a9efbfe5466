"""Having errands carried out: by the event loop itself, by a thread, or where sync code waits."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async

from .errands import Errand
from .gathering import Gathering, Write
from .lease_sql import LeaseTable
from .leases import Lease
from .performing import perform_errands
from .planning import plan_errands
from .threads import Unit, sync_code_waits, thread_of
from .uncancelled import to_its_end


def carry_out(using: str, errand: Errand, *, apart: bool = False) -> Awaitable[Any]:
    """Carry out an errand, together with what waits at the same moment; await the outcome.

    Args:
        apart: not on the connection of sync code that waits for it, but on one of our own.
    """
    loop = asyncio.get_running_loop()
    if sync_code_waits(loop):
        return carry_out_for_sync_code(using, errand, apart)
    return gathering(using, loop).request(errand, loop, writes=isinstance(errand.request, Write))


async def carry_out_for_sync_code(using: str, errand: Errand, apart: bool) -> Any:
    unit = partial(perform_errands, using, [errand])
    done = alone(using, unit) if apart else sync_to_async(unit)(again=False)
    (outcome,) = await (to_its_end(done) if isinstance(errand.request, Write) else done)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


async def alone(using: str, unit: Unit) -> Any:
    return await thread_of(using).run(unit)


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


def gathering(using: str, loop: asyncio.AbstractEventLoop) -> Gathering:
    """Return where the running event loop's errands to a database gather."""
    of_databases = _of_loops.get(loop)
    if of_databases is None:
        of_databases = _of_loops[loop] = {}
    found = of_databases.get(using)
    if found is None:
        ways = partial(perform_errands, using), partial(plan_errands, using)
        found = of_databases[using] = Gathering(using, *ways)
    return found
