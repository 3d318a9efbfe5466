"""What waits at the same moment goes to the database together.

While one batch is under way the next one gathers, so nobody waits for more than the batch under way
and the own one. A session that is alone does not wait at all.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeAlias

from ..conf import retry_seconds
from ..exceptions import SessionStorageError
from ..records import Address
from .batch import Locked
from .errors import Trouble, trouble_of, without_row
from .keeper import keeper_of
from .options import vendor_of
from .requests import Request, Write
from .uncancellable import Uncancellable

logger = logging.getLogger(__name__)

Done: TypeAlias = "Callable[[Any, BaseException | None], object]"

MOST_REQUESTS = 250
"""In one batch; with more, each would wait longer than it gains."""
MOST_BYTES = 4 * 1024 * 1024
"""In one batch, unless a single request has more."""
MANY_REQUESTS = 32
"""From so many on, it pays to make two batches of those that come at once."""
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Before another attempt when the database does not answer,"""
FIRST_LOCKED_PAUSE, LONGEST_LOCKED_PAUSE = 0.002, 0.25
"""and when somebody else has locked what is needed."""


class Driver(Protocol):
    """What carries batches out."""

    retries: bool
    """Whether what has failed may be tried again."""

    def carry_out(self, requests: Sequence[Request], done: Done) -> None:
        """Carry out requests, and tell the running event loop what each has come to."""


class Batching:
    """The requests of one event loop for one database."""

    def __init__(self, using: str, driver: Driver) -> None:
        self._using = using
        self.driver = driver
        self._has_server = vendor_of(using) != "sqlite"
        self._waiting: list[Request] = []
        self._writing: set[Address] = set()
        """What is being written, or will be tried again."""
        self._under_way = False

    def request(self, request: Request) -> asyncio.Future[Any]:
        """Return a future of the outcome. A cancelled task goes on to wait for that of a write."""
        loop = asyncio.get_running_loop()
        if isinstance(request, Write):
            request.future = Uncancellable(loop=loop)
        else:
            request.future = loop.create_future()
        for right in request.rights:
            right.asking += 1
            right.was_asked_for = True
        self._waiting.append(request)
        if not self._under_way:
            self._under_way = True
            # After all that is ready to run now, so that what it requests comes along.
            loop.call_soon(self._start)
        return request.future

    def _start(self) -> None:
        """Begin with half of many, so that event loop and server are at work side by side."""
        many = self._has_server and len(self._waiting) >= MANY_REQUESTS
        self._begin(len(self._waiting) // 2 if many else MOST_REQUESTS)

    def _begin(self, most: int = MOST_REQUESTS) -> None:
        batch = self._next_batch(min(most, MOST_REQUESTS))
        if not batch:
            self._under_way = False
            return

        try:
            self.driver.carry_out(batch, partial(self._end, batch))
        except Exception as exc:  # There are no more threads to be had, for example.
            self._end(batch, None, exc)

    def _next_batch(self, most: int) -> list[Request]:
        """Return what goes now; a second write of an address waits on.

        What has met a lock goes without the others, which it might hold up.
        """
        batch: list[Request] = []
        rest: list[Request] = []
        room = MOST_BYTES
        for request in self._waiting:
            if request.future.cancelled():
                self._settle(request)
            elif (
                len(batch) == most
                or (batch and request.met_lock is not batch[0].met_lock)
                or not self._writing.isdisjoint(request.written)
            ):
                rest.append(request)
            elif batch and room < request.size:
                rest.append(request)
                most = len(batch)
            else:
                room -= request.size
                self._writing |= request.written
                batch.append(request)
        self._waiting = rest
        return batch

    def _end(self, batch: Sequence[Request], outcomes: Any, error: BaseException | None) -> None:
        if error is not None:
            outcomes = [error] * len(batch)
        for request, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                self._fail(request, outcome)
                continue
            if request.written:
                self._writing -= request.written
            if request.rights:
                self._settle(request)
            if not request.future.done():
                request.future.set_result(outcome)
        if self._waiting:
            self._begin()
        else:
            self._under_way = False

    def _fail(self, request: Request, error: BaseException) -> None:
        """Have a request tried again, or say why it has failed."""
        trouble = trouble_of(error)
        if isinstance(error, Locked):
            trouble, error = Trouble.LOCKED, error.error
        now = time.monotonic()
        if request.until is None:
            request.until = now + retry_seconds()
        if trouble is None or not self.driver.retries or now >= request.until:
            if trouble is Trouble.LOCKED and self.driver.retries:
                error = stayed_locked(request, error)
            self._writing -= request.written
            self._settle(request)
            if not request.future.done():
                request.future.set_exception(without_row(error))
            return
        request.tried = request.tried or trouble is Trouble.LOST
        request.met_lock = locked = trouble is Trouble.LOCKED
        first, longest = (
            (FIRST_LOCKED_PAUSE, LONGEST_LOCKED_PAUSE) if locked else (FIRST_PAUSE, LONGEST_PAUSE)
        )
        request.pause = min(max(2 * request.pause, first), longest)
        asyncio.get_running_loop().call_later(request.pause, self._try_again, request)

    def _try_again(self, request: Request) -> None:
        self._writing -= request.written
        self._waiting.insert(0, request)
        if not self._under_way:
            self._under_way = True
            asyncio.get_running_loop().call_soon(self._start)

    def _settle(self, request: Request) -> None:
        """Note that nothing is done for a request any more."""
        for right in request.rights:
            right.asking -= 1
            if right.is_to_be_given_back:
                keeper_of(self._using).give_back(right)


def stayed_locked(request: Request, error: BaseException) -> SessionStorageError:
    problem = SessionStorageError(
        f"Somebody else has kept what belongs to session {request.addresses[0]} locked "
        f"for {retry_seconds():.0f} seconds, in a transaction that is still open. Nothing was "
        "written. End transactions soon; BOTSESSIONS['RETRY_SECONDS'] says how long to wait."
    )
    problem.__cause__ = error
    return problem
