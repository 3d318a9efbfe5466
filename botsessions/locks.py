"""One holder per key inside this process, whatever its event loops and threads."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable, Collection, Hashable
from itertools import islice, takewhile
from typing import Protocol

from .forking import at_fork


class Handed(Protocol):
    """What keys are held with among all processes."""

    handed_on: bool

    def give_up(self) -> None: ...


class Ticket:
    """A place in the queues of some keys, from the request until the release."""

    __slots__ = ("_wake", "caller", "granted", "keys", "lease")

    def __init__(self, keys: Collection[Hashable], caller: object = None) -> None:
        self.keys = keys
        self.caller = caller
        """The sync code that waits for whoever asks, and does the work on databases."""
        self.granted = False
        """Whether the keys are held."""
        self.lease: Handed | None = None
        """What they are held with among all processes; whoever is next may inherit it."""
        self._wake: Callable[[], object] | None = None
        """Tells whoever waits for the keys that they are held."""


class ProcessLock:
    """Hands out keys in the order of the requests.

    A request for several keys takes its place in all their queues in one step, so two requests
    are in the same order in every queue that they share, and cannot wait for each other.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._given_up: queue.SimpleQueue[Ticket] = queue.SimpleQueue()
        """Tickets that are still to be taken out of the queues."""
        self._queues: dict[Hashable, deque[Ticket]] = {}

    @property
    def busy(self) -> bool:
        """Whether any key is held."""
        return bool(self._queues)

    @property
    def wanted(self) -> Collection[Hashable]:
        """The keys that somebody holds or waits for, at every moment."""
        return self._queues.keys()

    def request(self, keys: Collection[Hashable], caller: object = None) -> Ticket:
        """Queue for all ``keys`` and return the ticket, which may be granted already."""
        ticket = Ticket(keys, caller)
        with self._mutex:
            for key in keys:
                self._queues.setdefault(key, deque()).append(ticket)
            ticket.granted = self._is_first(ticket)
        self._let_go()
        return ticket

    async def acquire(self, ticket: Ticket, seconds: float | None = None) -> None:
        """Return once the ticket's keys are held. Gives up its place if it is cancelled.

        Raises:
            TimeoutError: they were not free for so many seconds.
        """
        loop = asyncio.get_running_loop()
        granted = loop.create_future()
        with self._mutex:
            is_granted = ticket.granted
            if not is_granted:
                ticket._wake = lambda: loop.call_soon_threadsafe(settle, granted, None)
        self._let_go()
        if is_granted:
            return
        timer = seconds and loop.call_later(seconds, settle, granted, asyncio.TimeoutError())
        try:
            await granted
        except BaseException:
            self.release(ticket)
            raise
        finally:
            if timer:
                timer.cancel()

    def release(self, ticket: Ticket) -> None:
        """Give up the keys, or the place in their queues; a second time does nothing.

        The garbage collector may call this in the midst of anything, also of what is done here:
        it ends the coroutines of event loops that were closed. Whoever has the mutex then goes on
        with the ticket.
        """
        self._given_up.put(ticket)
        self._let_go()

    def _let_go(self) -> None:
        """Take tickets that were given up out of their queues, unless somebody is just at it."""
        while not self._given_up.empty() and self._mutex.acquire(blocking=False):
            try:
                lease, granted = self._take_out(self._given_up.get_nowait())
            except queue.Empty:
                continue
            finally:
                self._mutex.release()
            if lease is not None:
                lease.give_up()
            for other in granted:
                self._wake(other)

    def _take_out(self, ticket: Ticket) -> tuple[Handed | None, list[Ticket]]:
        """Return the lease that nobody inherits, and who has got keys now."""
        lease, ticket.lease = ticket.lease, None
        if lease is not None and lease.handed_on and (heir := self._heir(ticket)):
            heir.lease, lease = lease, None
        return lease, self._leave(ticket)

    def _wake(self, ticket: Ticket) -> None:
        try:
            if ticket._wake is not None:  # Else it looks before it begins to wait.
                ticket._wake()
        except RuntimeError:  # The event loop that it waited on is closed: nobody is there.
            self.release(ticket)

    def left_by_others(self, ticket: Ticket) -> Hashable | None:
        """Return a key that a ticket gets when others are done, who have not the same caller."""
        with self._mutex:
            found = next((key for key in ticket.keys if self._is_behind_others(ticket, key)), None)
        self._let_go()
        return found

    def _is_behind_others(self, ticket: Ticket, key: Hashable) -> bool:
        before = takewhile(lambda other: other is not ticket, self._queues[key])
        return any(other.caller is not ticket.caller for other in before)

    def has_heir(self, ticket: Ticket) -> bool:
        """Whether somebody waits for the very keys of a ticket, and is the next to get them."""
        with self._mutex:
            has_heir = self._heir(ticket) is not None
        self._let_go()
        return has_heir

    def _heir(self, ticket: Ticket) -> Ticket | None:
        heirs: set[Ticket | None] = set()
        for key in ticket.keys:
            first, second, *_ = [*islice(self._queues.get(key, ()), 2), None, None]
            heirs.add(second if first is ticket else None)
        heir = heirs.pop()
        return heir if not heirs and heir and len(heir.keys) == len(ticket.keys) else None

    def _leave(self, ticket: Ticket) -> list[Ticket]:
        """Take the ticket out of its queues and return those that are granted by this."""
        granted: list[Ticket] = []
        for key in ticket.keys:
            tickets = self._queues.get(key)
            if tickets is None or ticket not in tickets:
                continue
            tickets.remove(ticket)
            if not tickets:
                del self._queues[key]
            elif not (first := tickets[0]).granted and self._is_first(first):
                first.granted = True
                granted.append(first)
        return granted

    def _is_first(self, ticket: Ticket) -> bool:
        return {self._queues[key][0] for key in ticket.keys} <= {ticket}


def settle(future: asyncio.Future[None], error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


_lock = ProcessLock()


def process_lock() -> ProcessLock:
    """Return the lock of this process."""
    return _lock


def release(ticket: Ticket) -> None:
    """Give up the keys of a ticket, among all processes and in this one."""
    _lock.release(ticket)


def _renew() -> None:
    global _lock
    _lock = ProcessLock()


# A forked child has none of its parent's holders, which would never release their keys in it.
at_fork(after_in_child=_renew)
