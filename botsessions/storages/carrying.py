"""Having errands carried out: by the event loop itself, by a thread, or where sync code waits."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable
from contextvars import ContextVar
from functools import partial
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary, ref

from asgiref.sync import sync_to_async

from .errands import Errand
from .gathering import Gathering, Write
from .lease_sql import LeaseTable
from .leases import Lease
from .performing import perform_errands
from .planning import plan_errands
from .threads import Unit, sync_code_waits, thread_of
from .uncancelled import to_its_end

Gatherings: TypeAlias = "dict[str, Gathering]"
"""Where the errands of an event loop gather, by database."""


def carry_out(using: str, errand: Errand, *, apart: bool = False) -> Awaitable[Any]:
    """Carry out an errand, together with what waits at the same moment; await the outcome.

    Args:
        apart: not on the connection of sync code that waits for it, but on one of our own.
    """
    gatherings, loop = surroundings()
    if gatherings is None:
        return carry_out_for_sync_code(using, errand, apart)
    found = gatherings.get(using)
    if found is None:
        ways = partial(perform_errands, using), partial(plan_errands, using)
        found = gatherings[using] = Gathering(using, *ways)
    return found.request(errand, loop, writes=isinstance(errand.request, Write))


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


_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, Gatherings] = WeakKeyDictionary()
_of_tasks: ContextVar[tuple[ref[asyncio.Task[Any]], Gatherings | None] | None] = ContextVar(
    "botsessions_gatherings", default=None
)
"""What a task has found out before. The variable leaks into other tasks, so it names its own."""


def surroundings() -> tuple[Gatherings | None, asyncio.AbstractEventLoop]:
    """Return where the running loop's errands gather, ``None`` where sync code waits; and the loop.

    A task is always in the same surroundings, and to find them out takes time.
    """
    loop = asyncio.get_running_loop()
    task, known = asyncio.current_task(loop), _of_tasks.get()
    if known is not None and known[0]() is task is not None:
        return known[1], loop
    found = None if sync_code_waits(loop) else _of_loops.setdefault(loop, {})
    if task is not None:
        _of_tasks.set((ref(task), found))
    return found, loop
