"""One holder per key inside this process, whatever its event loops and threads."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Collection, Hashable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from ..exceptions import SessionLockError

if TYPE_CHECKING:
    from .database import Leases


class Ticket:
    """A place in the queues of some keys, from the request until the release.

    ``within`` is the ticket that the requesting code holds already: it is not released before
    this one was granted and released.
    """

    __slots__ = ("_granted", "_loop", "keys", "leases", "within")

    def __init__(self, keys: Collection[Hashable], within: Ticket | None) -> None:
        self.keys = keys
        self.within = within
        self.leases: Leases | None = None
        """What the keys are held with among all processes; whoever waits may inherit it."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._granted: asyncio.Future[None] | None = None

    @property
    def waits(self) -> bool:
        """Whether somebody else had the keys when they were requested."""
        return self._granted is not None


class ProcessLock:
    """Hands out keys in the order of the requests.

    A request for several keys takes its place in all their queues in one step, so two requests
    are in the same order in every queue that they share, and cannot wait for each other.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._queues: dict[Hashable, deque[Ticket]] = {}

    @property
    def busy(self) -> bool:
        """Whether any key is held."""
        return bool(self._queues)

    @property
    def wanted(self) -> Collection[Hashable]:
        """The keys that somebody holds or waits for, at every moment."""
        return self._queues.keys()

    def request(self, keys: Collection[Hashable], within: Ticket | None = None) -> Ticket:
        """Queue for all ``keys`` and return the ticket to wait with.

        Raises:
            SessionLockError: the ticket would wait for ``within``, which waits for it.
        """
        ticket = Ticket(keys, within)
        with self._mutex:
            if within is not None and self._closes_circle(ticket):
                raise never_ends(keys)
            for key in keys:
                self._queues.setdefault(key, deque()).append(ticket)
            if not self._is_first(ticket):
                ticket._loop = asyncio.get_running_loop()
                ticket._granted = ticket._loop.create_future()
        return ticket

    async def wait(self, ticket: Ticket) -> None:
        """Return once the ticket's keys are held. Gives up its place if cancelled."""
        if ticket._granted is None:
            return
        try:
            await ticket._granted
        except BaseException:
            self.release(ticket)
            raise

    def release(self, ticket: Ticket) -> None:
        """Give up the keys, or the place in their queues; a second time does nothing."""
        with self._mutex:
            leases, ticket.leases = ticket.leases, None
            if leases is not None and leases.handed_on and (heir := self._heir(ticket)):
                heir.leases, leases = leases, None
            waiting = self._leave(ticket)
            granted = [other for other in dict.fromkeys(waiting) if self._is_first(other)]
        if leases is not None:
            leases.let_go()
        for other in granted:
            self._grant(other)

    def has_heir(self, ticket: Ticket) -> bool:
        """Whether somebody waits for the very keys of a ticket, and is the next to get them."""
        with self._mutex:
            return self._heir(ticket) is not None

    def _heir(self, ticket: Ticket) -> Ticket | None:
        heirs: set[Ticket | None] = set()
        for key in ticket.keys:
            first, second, *_ = [*islice(self._queues.get(key, ()), 2), None, None]
            heirs.add(second if first is ticket else None)
        heir = heirs.pop()
        return heir if not heirs and heir and len(heir.keys) == len(ticket.keys) else None

    def _leave(self, ticket: Ticket) -> list[Ticket]:
        """Take the ticket out of its queues and return those who are first there now."""
        first = []
        for key in ticket.keys:
            tickets = self._queues.get(key)
            if tickets is None or ticket not in tickets:
                continue
            tickets.remove(ticket)
            if tickets:
                first.append(tickets[0])
            else:
                del self._queues[key]
        return first

    def _grant(self, ticket: Ticket) -> None:
        loop, granted = ticket._loop, ticket._granted
        if loop is None or granted is None:
            return

        def tell() -> None:
            if not granted.done():
                granted.set_result(None)

        try:
            loop.call_soon_threadsafe(tell)
        except RuntimeError:  # Its event loop is closed: nobody waits with it any more.
            self.release(ticket)

    def _is_first(self, ticket: Ticket) -> bool:
        return {self._queues[key][0] for key in ticket.keys} <= {ticket}

    def _closes_circle(self, ticket: Ticket) -> bool:
        """Whether one of those that the ticket would wait for waits for the ticket's own code."""
        own = set(holders(ticket.within))
        waited_for = [other for key in ticket.keys for other in self._queues.get(key, ())]
        seen: set[Ticket] = set()
        while waited_for:
            other = waited_for.pop()
            if other in own:
                return True
            if other not in seen:
                seen.add(other)
                waited_for += self._before(other)
                waited_for += [t for t in self._all() if other in holders(t.within)]
        return False

    def _before(self, ticket: Ticket) -> Iterator[Ticket]:
        for key in ticket.keys:
            for other in self._queues.get(key, ()):
                if other is ticket:
                    break
                yield other

    def _all(self) -> Iterator[Ticket]:
        for tickets in self._queues.values():
            yield from tickets


def never_ends(keys: Collection[Hashable]) -> SessionLockError:
    return SessionLockError(
        f"Waiting for {', '.join(map(str, keys))} would never end: this code, or code that waits "
        "for it, holds it already. In a handler use context.session or context.edit_session()."
    )


def holders(ticket: Ticket | None) -> Iterator[Ticket]:
    """Yield a ticket and those within which it was requested."""
    while ticket is not None:
        yield ticket
        ticket = ticket.within
