"""What carries requests out: an event loop's own connection, a thread, or the caller's thread."""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary, ref

from django.db import connections

from ..forking import at_fork
from .batch import carry_out
from .batching import Batching, Done
from .callers import caller_here, on_caller, running_loop
from .care import discard
from .errors import Trouble, trouble_of
from .execution import execute
from .keeper import keeper_of, keepers
from .options import vendor_of
from .packets import reasons
from .postgresql import LoopConnection, connect
from .requests import Request
from .thread import DatabaseThread

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

T = TypeVar("T")

CLOSING_SECONDS = 5.0
"""So long another event loop is waited for."""


def batching_of(using: str, *, apart: bool = False) -> Batching:
    """Return where requests for a database gather: those of the running event loop, or of a caller.

    Args:
        apart: not on the connection of sync code that waits for it, but on one of our own.
    """
    loop = asyncio.get_running_loop()
    of_loop = _of_loops.get(loop)
    if of_loop is None:
        of_loop = _of_loops[loop] = {}
        for other in [other for other in _of_loops if other.is_closed()]:
            # What still waits there keeps it.
            for batching in _of_loops.pop(other).values():
                close_on(other, batching.driver)
    caller = None if apart else caller_here()
    if caller is not None:
        return batching_of_caller(caller, using)
    way = OnThread if apart else OnLoop
    found = of_loop.get((using, way))
    if found is None:
        found = of_loop[using, way] = Batching(using, way(using))
    return found


def batching_of_caller(caller: Executor, using: str) -> Batching:
    """Return where requests gather that are to be carried out by the code that waits for them."""
    of_caller = _of_callers.setdefault(caller, {})
    found = of_caller.get(using)
    if found is None:
        found = of_caller[using] = Batching(using, OnCaller(caller, using))
    return found


async def run(using: str, function: Callable[[], T]) -> T:
    """Return what a function returns, called where there is a connection.

    That is the database's thread, where it is called again if the database fails for a moment, or
    the thread of the sync code that waits for it.
    """
    if (caller := caller_here()) is not None:
        return await on_caller(caller, function)
    future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def done(result: Any, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    thread_of(using).run(function, done)
    return await future


class OnThread:
    """The database's thread."""

    retries = True

    def __init__(self, using: str) -> None:
        self._using = using

    def carry_out(self, requests: Sequence[Request], done: Done) -> None:
        thread_of(self._using).carry_out(requests, done)


class OnCaller:
    """The thread of sync code that waits."""

    retries = False

    def __init__(self, caller: Executor, using: str) -> None:
        self._caller = ref(caller)  # Whose end is this one's.
        self._using = using

    def carry_out(self, requests: Sequence[Request], done: Done) -> None:
        loop, caller = asyncio.get_running_loop(), self._caller()
        assert caller is not None

        def tell(carried_out: Future[Sequence[Any]]) -> None:
            error = carried_out.exception()
            outcomes = carried_out.result() if error is None else None
            if running_loop() is loop:
                done(outcomes, error)
                return
            with suppress(RuntimeError):  # The loop is closed: nobody waits any more.
                loop.call_soon_threadsafe(done, outcomes, error)

        caller.submit(self._execute, requests).add_done_callback(tell)

    def _execute(self, requests: Sequence[Request]) -> Sequence[Any]:
        """Carry requests out, once more over a new connection if this one was lost."""
        outcomes = self._outcomes(requests)
        lost = [r for r, outcome in zip(requests, outcomes, strict=True) if is_lost(outcome)]
        if not lost or is_within(connections[self._using]):
            return outcomes
        for request in lost:
            request.tried = True
        again = dict(zip(lost, self._outcomes(lost), strict=True))
        return [again.get(request, o) for request, o in zip(requests, outcomes, strict=True)]

    def _outcomes(self, requests: Sequence[Request]) -> Sequence[Any]:
        connection = connections[self._using]
        try:
            return execute(connection, carry_out(requests, connection, singly=requests[0].met_lock))
        except Exception as exc:
            if is_lost(exc) and not is_within(connection):
                discard(connection)
            return reasons(exc, requests, connection)


def is_within(connection: BaseDatabaseWrapper) -> bool:
    """Whether the caller has a transaction, which would be lost with the connection."""
    return bool(connection.in_atomic_block or not connection.autocommit)


def is_lost(outcome: Any) -> bool:
    """Whether something has failed because the connection is of no more use."""
    return isinstance(outcome, Exception) and trouble_of(outcome) is Trouble.LOST


class OnLoop:
    """The event loop itself where it can be, and otherwise the database's thread."""

    retries = True

    def __init__(self, using: str) -> None:
        self._using = using
        self._own: LoopConnection | None = None
        self._has_none = vendor_of(using) != "postgresql"

    def carry_out(self, requests: Sequence[Request], done: Done) -> None:
        own = self._own
        if own is not None and own.is_usable:
            own.do(carry_out(requests, own.connection, singly=requests[0].met_lock), done)
        elif self._has_none or (own is not None and own.is_open):
            thread_of(self._using).carry_out(requests, done)
        else:
            self._connect(requests, done)

    def _connect(self, requests: Sequence[Request], done: Done) -> None:
        def connected(opened: Opened | None, error: BaseException | None) -> None:
            if error is not None or opened is None:
                done(None, error)
                return
            connection = opened.take()
            if connection is None:
                self._has_none = True
            else:
                self._own = LoopConnection(connection)
            try:
                self.carry_out(requests, done)
            except Exception as exc:
                done(None, exc)

        thread_of(self._using).call(lambda: Opened(connect(self._using)), connected)

    def close(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Close the own connection, on its event loop or when that does not run."""
        if self._own is not None:
            self._own.close(loop)


class Opened:
    """A connection on its way to its event loop, closed if that has ended meanwhile."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def take(self) -> Any:
        connection, self._connection = self._connection, None
        return connection

    def __del__(self) -> None:
        if (connection := self.take()) is not None and connection.connection is not None:
            connection.connection.close()  # The driver's: this may be any thread.


_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Any, Batching]] = WeakKeyDictionary()
_of_callers: WeakKeyDictionary[Executor, dict[str, Batching]] = WeakKeyDictionary()
_threads: dict[str, DatabaseThread] = {}


def thread_of(using: str) -> DatabaseThread:
    """Return the thread for a database."""
    found = _threads.get(using)
    if found is None:
        found = _threads.setdefault(using, DatabaseThread(using))
    return found


def close_database(using: str) -> None:
    """End this process's threads and connections for a database; the next use starts anew."""
    for loop, batchings in list(_of_loops.items()):
        for (alias, _), batching in list(batchings.items()):
            if alias == using:
                close_on(loop, batching.driver)
    thread_of(using).close()
    keeper_of(using).close()


def close_databases() -> None:
    """End all threads and connections of this process; the next use starts anew."""
    used = {using for batchings in list(_of_loops.values()) for using, _ in list(batchings)}
    for using in used.union(_threads, keepers()):
        close_database(using)


def close_on(loop: asyncio.AbstractEventLoop, driver: Any) -> None:
    """Close an event loop's own connection, on that loop if it is running."""
    if not isinstance(driver, OnLoop):
        return
    if not loop.is_running() or loop is running_loop():
        driver.close(None if loop.is_closed() else loop)
        return
    closed = threading.Event()

    def close() -> None:
        driver.close(loop)
        closed.set()

    with suppress(RuntimeError):  # The loop has been closed just now.
        loop.call_soon_threadsafe(close)
        closed.wait(CLOSING_SECONDS)


def forget() -> None:
    """In a forked child: what its parent has is not its own."""
    _inherited.append(list(_of_loops.values()))
    _of_loops.clear()
    _threads.clear()


def close_threads() -> None:
    for thread in list(_threads.values()):
        thread.close()


_inherited: list[Any] = []
"""Kept, for their end would be their parent's."""

# A child that inherits a connection may end it for its parent: MySQL's client says goodbye when the
# child's copy is freed.
at_fork(before=close_threads, after_in_child=forget)
atexit.register(close_databases)
