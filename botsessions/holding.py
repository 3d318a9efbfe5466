"""The keys of a unit of work: acquired, or joined where the running code holds them already."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import Any, TypeAlias

from django.conf import settings
from django.db import connections

from .database.callers import caller_here
from .database.keeper import keeper_of
from .database.lease import Lease
from .database.options import vendor_of
from .database.transaction import is_seen_by_others, keeps_others_from_writing, never_free
from .database.turns import PATIENCE_SECONDS
from .exceptions import SessionLockTimeout
from .locks import Handed, Ticket, process_lock
from .records import Address, utcnow

Besides: TypeAlias = "Callable[[Collection[Any]], Iterable[Address]]"
Databases: TypeAlias = "Callable[[], Collection[str]]"

BEFORE_EXPIRY_SECONDS = 2.0
"""So long before a session expires others may see that it is held."""
WITHIN_SECONDS = 30.0
"""So long a key is waited for by code that holds another, which others may wait for in turn."""


class Hold:
    """Some keys that one unit of work holds until it releases them.

    Args:
        around: the holds of the code that this unit of work runs in, the innermost first.
        kept: what the running transaction holds.
        patience: how long to wait, in seconds; ``None``: as long as a handler takes.
    """

    def __init__(
        self,
        around: Sequence[Hold] = (),
        kept: Sequence[Ticket] = (),
        patience: float | None = None,
    ) -> None:
        self._around = around
        self._kept = kept
        self._patience = patience
        self._ticket: Ticket | None = None
        self._handed_on: Any = None
        """What the unit before has left us to hold the keys with among all processes."""
        self.asked_at: float | None = None
        """When the keys were asked for, by the monotonic clock."""

    @property
    def ticket(self) -> Ticket | None:
        """The keys that are held; ``None`` if there are none."""
        return self._ticket

    @property
    def own_keys(self) -> Collection[Address]:
        """What it holds itself; those among all processes have leases of their own."""
        own: Collection[Any] = self._ticket.keys if self._ticket is not None else ()
        return own

    @property
    def keys(self) -> Collection[Address]:
        """What is held, by the running transaction, too."""
        own: Collection[Any] = self.own_keys
        if not self._kept:
            return own
        return {*own, *(key for ticket in self._kept for key in ticket.keys)}

    @property
    def held_around(self) -> Address | None:
        """A key that the code around holds."""
        around: list[Any] = [*self._around, *self._kept]
        return next((key for hold in around for key in hold.keys), None)

    @property
    def has_heir(self) -> bool:
        """Whether another unit of this process is the next to get these very keys."""
        return self._ticket is not None and process_lock().has_heir(self._ticket)

    def missing(self, keys: Sequence[Address]) -> Sequence[Address]:
        """Return those of ``keys`` that nobody holds for the running code."""
        if not self._around and not self._kept:
            return keys
        return [key for key in keys if not any(key in h.keys for h in (self, *self._around))]

    @property
    def seconds(self) -> float | None:
        """How long to wait for the keys."""
        if self._patience is None and self.held_around is not None:
            return WITHIN_SECONDS
        return self._patience

    @property
    def database_seconds(self) -> float:
        """How long to wait for other processes."""
        return PATIENCE_SECONDS if (seconds := self.seconds) is None else seconds

    async def acquire(
        self, keys: Sequence[Address], besides: Besides, databases: Databases
    ) -> None:
        """Wait until the keys are held in this process.

        Args:
            besides: returns what else to wait for, of the keys that are held or waited for.
            databases: returns where others who hold the keys write.

        Raises:
            SessionLockTimeout: they were not free in time.
            SessionLockError: there is no use in waiting.
        """
        lock = process_lock()
        self.asked_at = time.monotonic()
        if lock.busy:
            keys = self.missing([*keys, *besides(lock.wanted)])
        caller = caller_here() if settings.configured and is_on_sqlite() else None
        ticket = lock.request(keys, caller)
        if not ticket.granted:
            try:
                await refuse_to_wait_for_ever(ticket, databases)
                await lock.acquire(ticket, self.seconds)
            except asyncio.TimeoutError:
                raise self._timed_out(keys) from None
            except BaseException:
                lock.release(ticket)
                raise
        self._ticket = ticket
        if ticket.lease is not None:
            self._handed_on, ticket.lease = ticket.lease, None

    def lease_by(self, leases: dict[str, Lease]) -> None:
        """Hold the keys by these leases, or by one that was handed on and is as good.

        Args:
            leases: by database; one is replaced by what was handed on.
        """
        ticket = self._ticket
        if ticket is None:
            return
        inherited, self._handed_on = self._handed_on or ticket.lease, None
        if isinstance(inherited, Lease) and len(leases) == 1:
            ((using, lease),) = leases.items()
            if (inherited.using, inherited.keys) == (using, lease.keys):
                leases[using], inherited = inherited, None
        if inherited is not None:  # It is of no use here.
            inherited.give_up()
        ticket.lease = next(iter(leases.values())) if len(leases) == 1 else Leases(leases.values())

    async def outlive(self, address: Address, using: str, expires_at: datetime) -> None:
        """Let others see on a database that a key is held from when its session may expire on.

        A sweep in another process then leaves the session, also if keys are held in processes only.
        """
        ticket = self._ticket
        if ticket is None or not await is_seen_by_others(using):
            return
        if not isinstance(ticket.lease, Leases):
            ticket.lease = Leases(() if ticket.lease is None else [ticket.lease])
        lease = Lease(using, [address])
        if ticket.lease.add(lease):
            left = (expires_at - utcnow()).total_seconds() - BEFORE_EXPIRY_SECONDS
            keeper_of(using).take_later(lease, time.monotonic() + left)

    def release(self, let_go: Callable[[Ticket], object] | None = None) -> None:
        """Release the keys, or leave that to another function; a second time does nothing."""
        if self._handed_on is not None:  # It was of no use here.
            self._handed_on.give_up()
            self._handed_on = None
        if self._ticket is not None:
            (let_go or process_lock().release)(self._ticket)
            self._ticket = None

    def explained(self, error: SessionLockTimeout) -> SessionLockTimeout:
        """Return what is to be told of a key that other processes have kept for too long."""
        held = self.held_around
        if held is None:
            return error
        return SessionLockTimeout(f"{error} {while_holding(held)}")

    def _timed_out(self, keys: Collection[Address]) -> SessionLockTimeout:
        held, wanted = self.held_around, next(iter(keys))
        why = "its bot is busy with it. Try again later."
        if self._patience is None and held is not None:
            why = f"somebody else holds it. {while_holding(held)}"
        return SessionLockTimeout(
            f"The key of session {wanted} was not free for {self.seconds:g} seconds: {why}"
        )


class Leases:
    """Leases on several databases, which are never handed on."""

    handed_on = False

    def __init__(self, leases: Iterable[Handed]) -> None:
        self._leases = list(leases)

    def add(self, lease: Lease) -> bool:
        """Add a lease, unless there is one of the same keys; return whether it was added."""
        if any(isinstance(own, Lease) and own.keys == lease.keys for own in self._leases):
            return False
        self._leases.append(lease)
        return True

    def give_up(self) -> None:
        for lease in self._leases:
            lease.give_up()


@cache
def is_on_sqlite() -> bool:
    """Whether any database is of SQLite, where one transaction keeps all others from writing."""
    return any(vendor_of(using) == "sqlite" for using in connections)


async def refuse_to_wait_for_ever(ticket: Ticket, databases: Databases) -> None:
    """Raise SessionLockError for sync code behind others who cannot write before it goes on."""
    if ticket.caller is None:
        return
    for using in databases():
        if await keeps_others_from_writing(using):
            key: Any = process_lock().left_by_others(ticket)
            if key is not None:
                raise never_free(key, "somebody else in this process")


def while_holding(held: Address) -> str:
    return (
        f"This code holds the key of session {held} meanwhile, for which they may be waiting in "
        "turn: change one session after the other."
    )
