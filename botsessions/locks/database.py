"""One holder per key among all processes on a database: ``LOCK="database"``.

A key is taken inside the process first (see :mod:`.process`), so each process asks for it once.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import os
import random
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.apps import apps
from django.db import connections, router

from ..exceptions import SessionLockError, SessionLockTimeout
from ..storages import DatabaseStorage
from ..storages.base import Address, Storage
from ..storages.carrying import carry_out, give_back
from ..storages.errands import Errand
from ..storages.gathering import Write
from ..storages.layers import peel
from ..storages.lease_sql import LeaseTable
from ..storages.leases import Ending, Lease, NotHeldYet, riding
from ..storages.threads import sync_code_waits
from .renewal import renewal
from .transaction import Transaction, transaction_of

T = TypeVar("T")
Load = Callable[[], Awaitable[T]]

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 300.0
"""So long a key is waited for,"""
PATIENCE_WITHIN_SECONDS = 30.0
"""and so long by code that holds another key, for which others may be waiting in turn."""
SHORTEST_PAUSE, LONGEST_PAUSE = 0.0015, 0.1
"""Between two looks at a key, the longest well below the time that one in front has to turn up."""
PAUSE_PER_WAITED = 0.1
"""Whoever has waited for longer looks less often; that adds so much to the waiting, at most."""
PAUSE_PER_LEFT = 0.3
"""Whoever is not expected to have its turn yet looks after so much of the time that is left."""
TURNS_WEIGHT = 0.7
"""Of what was expected of a turn, against the last one."""
MOST_TURNS = 1000
"""So many keys' turns are remembered."""


class Way(enum.Enum):
    """How leases go to the database."""

    RIDING = enum.auto()
    """Along with reads and writes, on their connection and in their transaction."""
    APART = enum.auto()
    """By a connection of our own: in the caller's transaction nobody would see them before its end,
    and everybody who looked for them would have to wait for that."""
    NOT_AT_ALL = enum.auto()
    """In a test's transaction nobody else can see anything, and in one of SQLite nobody else can
    write anything."""


def database_of(storage: Storage) -> str:
    """Return the database that leases of a storage's keys are on."""
    innermost = peel(storage)[1]
    if isinstance(innermost, DatabaseStorage):
        return innermost.using
    return router.db_for_write(apps.get_model("botsessions", "BotSessionLease"))


class Leases:
    """What the holder of some keys needs to hold them among all processes."""

    def __init__(self, addresses: Mapping[str, Sequence[Address]]) -> None:
        # Everybody takes them in this order of databases, so nobody waits in a circle.
        self._leases = [Lease(using, addresses[using]) for using in sorted(addresses)]
        self._way = Way.RIDING
        self._asked = False
        self.taken = False

    async def take(
        self,
        storages: Collection[Storage],
        load: Load[T],
        *,
        since: float,
        within: bool,
        patience: float | None = None,
    ) -> T:
        """Wait for the leases, and return what ``load`` gives while they are held.

        Args:
            storages: what ``load`` reads from.
            since: when the keys were asked for, by the monotonic clock.
            within: whether the code that asks for them holds other keys.
            patience: how long to wait for each, in seconds, if that is not to be the usual time.

        Raises:
            SessionLockError: there is no use in waiting, or was not.
        """
        if patience is None:
            patience = PATIENCE_WITHIN_SECONDS if within else PATIENCE_SECONDS
        self._way = await self._find_way()
        if self._way is not Way.NOT_AT_ALL:
            self._asked = True
            for lease in self._leases:
                renewal().add(lease)
            if self._can_ride_with(storages):
                load = partial(self._ride_with, load)
                loaded = await wait(self._leases[0], load, since, patience)
                self.taken = True
                return loaded
            for lease in self._leases:
                await wait(lease, partial(self._carry_out, Errand(lease=lease)), since, patience)
        self.taken = True
        return await load()

    async def write(self, storages: Collection[Storage], write: Load[T], ending: Ending) -> T:
        """Return what ``write`` gives, which is refused if a lease has gone to somebody else.

        Args:
            storages: what ``write`` writes to.
            ending: what is to become of the leases with it, if it can.

        Raises:
            SessionConflict: a lease has gone to somebody else.
        """
        if self._way is Way.NOT_AT_ALL:
            return await write()
        rides = self._can_ride_with(storages)
        if not rides:
            for lease in self._leases:
                await self._carry_out(Errand(request=Write(()), lease=lease))
        if self._way is Way.APART:
            return await write()
        with riding(self._leases, ending if rides else Ending.KEPT):
            return await write()

    @property
    def handed_on(self) -> bool:
        """Whether they are kept for another in this process."""
        return bool(self._leases) and all(lease.handed_on for lease in self._leases)

    def inherit(self, others: Leases) -> None:
        """Have what another in this process has handed on, if it is for the same keys."""
        wanted = [(lease.using, lease.keys) for lease in self._leases]
        if wanted != [(lease.using, lease.keys) for lease in others._leases]:
            others.let_go()
            return
        self._leases, self._asked = others._leases, True
        for lease in self._leases:
            lease.handed_on = False

    @property
    def protects_writes(self) -> bool:
        """Whether a write is certain to be refused once somebody else has the keys."""
        return self._way is not Way.APART

    def let_go(self) -> None:
        """Give back what is held or asked for, without waiting for it."""
        for lease in self._leases if self._asked else ():
            renewal().discard(lease)
            if not lease.released:
                give_back(lease)

    async def _find_way(self) -> Way:
        if not sync_code_waits():
            return Way.RIDING
        ways = [await sync_to_async(way_of_sync_code)(lease) for lease in self._leases]
        return max(ways, key=lambda way: way.value)

    def _can_ride_with(self, storages: Collection[Storage]) -> bool:
        """Whether the leases can ride along with all reads or writes of ``storages``."""
        innermost = [peel(storage)[1] for storage in storages]
        return (
            self._way is Way.RIDING
            and len(self._leases) == 1
            and all(isinstance(storage, DatabaseStorage) for storage in innermost)
            and len(set(innermost)) == 1
        )

    async def _ride_with(self, load: Load[T]) -> T:
        with riding(self._leases):
            return await load()

    async def _carry_out(self, errand: Errand) -> Any:
        assert errand.lease is not None
        return await carry_out(errand.lease.using, errand, apart=self._way is Way.APART)


async def wait(lease: Lease, attempt: Load[T], since: float, patience: float) -> T:
    """Return what ``attempt`` gives once it no longer finds the lease with somebody else."""
    before, moved = -1, time.monotonic()
    while True:
        try:
            loaded = await attempt()
        except NotHeldYet:
            now = time.monotonic()
        else:
            if before >= 0:
                note_turns(lease, before + 1, time.monotonic() - moved)
            return loaded
        if now - since > patience:
            raise timed_out(lease, now - since)
        if lease.before != before:
            if lease.before < before:
                note_turns(lease, before - lease.before, now - moved)
            before, moved = lease.before, now
        await asyncio.sleep(pause(before, now - moved, _turns.get(lease.keys[0], 0.0)))


def way_of_sync_code(lease: Lease) -> Way:
    """Return how a lease goes where sync code waits for it, whose thread this is.

    Raises:
        SessionLockError: the lease is held, and its holder waits for the end of this transaction.
    """
    found = transaction_of(lease.using)
    if found is Transaction.NONE:
        return Way.RIDING
    if found is Transaction.TEST:
        return Way.NOT_AT_ALL
    if connections[lease.using].vendor != "sqlite":
        return Way.APART
    if LeaseTable(lease.using).is_held_by_others(lease):
        raise SessionLockError(
            f"The key of session {lease.addresses[0]} is held by another process, which cannot "
            "end its work: in SQLite only this transaction can write. Use edit() outside atomic(), "
            "or try again later."
        )
    return Way.NOT_AT_ALL


def pause(before: int, waited: float, turn: float) -> float:
    """Return for how long not to look whether a key is free.

    Args:
        before: how many are to be served before.
        waited: since when there are so many.
        turn: how long others had the key lately.
    """
    left = (1 + max(0, before)) * turn - waited
    shortest = SHORTEST_PAUSE * (1 + max(0, before))
    longest = min(LONGEST_PAUSE, max(shortest, PAUSE_PER_WAITED * waited, PAUSE_PER_LEFT * left))
    return longest * random.uniform(0.75, 1)  # noqa: S311


def note_turns(lease: Lease, turns: int, seconds: float) -> None:
    """Note how long others had a key, to look for it at the right time."""
    key, turn = lease.keys[0], seconds / turns
    with _mutex:
        _turns[key] = turn + (_turns.pop(key, turn) - turn) * TURNS_WEIGHT
        if len(_turns) > MOST_TURNS:
            del _turns[next(iter(_turns))]


_turns: dict[int, float] = {}
_mutex = threading.Lock()


def _renew_mutex() -> None:
    global _mutex
    _mutex = threading.Lock()


# A thread that the child does not have may have held it.
os.register_at_fork(after_in_child=_renew_mutex)


def timed_out(lease: Lease, waited: float) -> SessionLockTimeout:
    return SessionLockTimeout(
        f"The key of session {lease.addresses[0]} was not free for {waited:.0f} seconds: another "
        "process holds it. Handlers that take long should not: use block=False and edit_session()."
    )
