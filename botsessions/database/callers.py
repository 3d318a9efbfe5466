"""Sync code that waits for a coroutine, and does its work on the database meanwhile.

So that work is in the transaction of the code that waits, and of nobody else.
"""

from __future__ import annotations

import asyncio
import atexit
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future
from contextvars import copy_context
from functools import partial
from typing import Any, Generic, TypeVar

from asgiref.sync import AsyncToSync, SyncToAsync, _restore_context
from django.conf import settings
from django.db import connections

from ..exceptions import SessionError
from ..forking import at_fork

T = TypeVar("T")


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs in this thread, if any does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def caller_here() -> Executor | None:
    """Return what runs functions on the thread of the sync code that waits for this coroutine.

    That is a view that called ``edit()``, say, or a ``TestCase``; ``None``: nobody waits.
    """
    of_loop = AsyncToSync.loop_thread_executors.get(asyncio.get_running_loop())
    try:
        waiting: Executor | None = AsyncToSync.executors.current
    except AttributeError:
        # To asgiref that is the same, and found at once: this is asked at every load and save.
        AsyncToSync.executors.current = waiting = None
    return waiting or of_loop


def sync_code_waits() -> bool:
    """Whether sync code waits for this coroutine: then database work belongs on its thread."""
    return caller_here() is not None


async def on_caller(caller: Executor, function: Callable[[], T]) -> T:
    """Return what a function returns that is called on the thread of the sync code that waits."""
    return await asyncio.wrap_future(caller.submit(function))


def wait_for(coroutine: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop | None = None) -> T:
    """Run a coroutine and return its result, like :func:`asgiref.sync.async_to_sync`.

    That would start a thread and an event loop for each call, which takes longer than the work.
    Here all calls share one. Whoever is interrupted while it waits, by a signal, leaves once the
    coroutine has been cancelled and has ended.

    Args:
        loop: the event loop that it belongs on, as far as that runs.

    Raises:
        SessionError: Python is shutting down.
    """
    try:
        refuse_shutdown()
    except SessionError:
        coroutine.close()
        raise
    if loop is None or not loop.is_running():
        loop = lasting_loop()
    return Call(coroutine, loop).wait()


def refuse_shutdown() -> None:
    """Raise SessionError where a thread is needed, and Python lets none go on any more."""
    if sys.is_finalizing():
        raise SessionError("Sessions cannot be used any more: Python is shutting down.")


class Caller(Executor):
    """The thread of sync code that waits, and does what is asked of it meanwhile.

    A signal's handler may raise there at any moment, in the midst of all that is written here. So
    jobs stay until what has come of them is told, and that is done on the event loop, where nothing
    is interrupted.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # What this thread uses; without settings, nothing.
        used = connections.all(initialized_only=True) if settings.configured else []
        self.in_transaction = {c.alias for c in used if c.in_atomic_block}
        """The databases on which it has a transaction open."""
        self._loop = loop
        self._jobs: deque[Job] = deque()
        self._woken: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._mutex = threading.Lock()
        self._has_left = False

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Have a function called by the thread that waits.

        Raises:
            RuntimeError: it waits no longer.
        """
        job = Job(partial(function, *args, **kwargs))
        with self._mutex:
            if self._has_left:
                raise RuntimeError("The code that waited for this has gone on already.")
            self._jobs.append(job)
        self._woken.put(None)
        return job.future

    def leave(self, _: object = None) -> None:
        """Let the thread go on: what it waits for is done."""
        with self._mutex:
            self._has_left = True
        self._woken.put(None)

    def work(self, begin: Callable[[], object], cancel: Callable[[], object]) -> None:
        """Do what is asked of this thread until :meth:`leave`, whatever interrupts it.

        Args:
            begin: begins what this thread waits for, unless that has begun.
            cancel: called when a signal's handler has raised, say; that is raised in the end.
        """
        # asgiref notes on the thread which loop has asked last, and later calls would run there.
        noted = vars(SyncToAsync.threadlocal)
        before, interruption = noted.copy(), None
        while True:
            try:
                begin()
                if interruption is not None:
                    cancel()
                self._work()
                break
            except BaseException as exc:
                if self._loop.is_closed():
                    raise
                interruption = exc
        noted.clear()
        noted.update(before)
        try:
            if interruption is not None:
                raise interruption
        finally:
            del interruption  # It has this frame, and so would be in a circle.

    def _work(self) -> None:
        while True:
            if self._jobs:
                job = self._jobs[0]
                try:
                    job.do()
                finally:
                    self._loop.call_soon_threadsafe(job.tell)
                self._jobs.popleft()
            elif self._has_left:
                return
            else:
                self._woken.get()


class Job:
    """A function that is called once, and what has come of it."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self.future: Future[Any] = Future()
        self.future.set_running_or_notify_cancel()
        self._has_begun = self._is_done = False
        self._result: Any = None
        self._error: BaseException | None = None

    def do(self) -> None:
        """Call the function, if that has not begun yet."""
        if self._has_begun:
            return
        self._has_begun = True
        try:
            self._result = self._function()
        except BaseException as exc:
            # Without this frame, which has the job, and so would be in a circle.
            self._error = exc.with_traceback(exc.__traceback__ and exc.__traceback__.tb_next)
            if not isinstance(exc, Exception):
                raise
        finally:
            self._is_done = True

    def tell(self) -> None:
        """Tell what has come of it, if that is known and was not told yet."""
        if not self._is_done or self.future.done():
            return
        if self._error is None:
            self.future.set_result(self._result)
        else:
            self.future.set_exception(self._error)


class Call(Generic[T]):
    """A coroutine on another thread's event loop, for which a thread waits."""

    def __init__(self, coroutine: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> None:
        self._coroutine, self._loop = coroutine, loop
        self._context = copy_context()
        self._caller = Caller(loop)
        self._task: asyncio.Task[T] | None = None

    def wait(self) -> T:
        """Return the coroutine's result, once it has ended."""
        call = self._loop.call_soon_threadsafe
        try:
            self._caller.work(
                partial(call, self._begin, context=self._context), partial(call, self._cancel)
            )
            assert self._task is not None
            return self._task.result()
        finally:
            self._task = None  # An error has this frame, and so would be in a circle.
            self._coroutine.close()  # It may never have begun.

    def _begin(self) -> None:
        if self._task is None:
            self._task = asyncio.ensure_future(self._run())
            self._task.add_done_callback(self._end)

    async def _run(self) -> T:
        _restore_context(copy_context())  # Django's language, say, is shown to its own thread only.
        AsyncToSync.executors.current = self._caller
        return await self._coroutine

    def _end(self, task: asyncio.Task[T]) -> None:
        if not task.cancelled():
            task.exception()  # Nobody may ask for it any more: an interruption comes first.
        self._caller.leave()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


_loop: asyncio.AbstractEventLoop | None = None
_thread: threading.Thread | None = None
_mutex = threading.Lock()


def lasting_loop() -> asyncio.AbstractEventLoop:
    """Return the event loop on which sync code has its coroutines run."""
    global _loop, _thread
    if (found := _loop) is not None:
        return found
    with _mutex:
        if _loop is None:
            loop = asyncio.new_event_loop()
            # Daemonic, because nothing goes on there that nobody waits for.
            thread = threading.Thread(
                target=run_until_stopped, args=[loop], name="botsessions-sync", daemon=True
            )
            thread.start()
            _loop, _thread = loop, thread
        return _loop


def run_until_stopped(loop: asyncio.AbstractEventLoop) -> None:
    while True:
        try:
            loop.run_forever()
        except (SystemExit, KeyboardInterrupt):  # Of one coroutine: it is for who waits for that.
            continue
        return


def close_lasting_loop() -> None:
    """End it; the next call makes another one."""
    global _loop, _thread
    with _mutex:
        loop, thread, _loop, _thread = _loop, _thread, None, None
    if loop is not None and thread is not None:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def forget() -> None:
    """In a forked child: there is no thread that runs the loop."""
    global _loop, _thread, _mutex
    _inherited.append(_loop)
    _loop, _thread, _mutex = None, None, threading.Lock()


_inherited: list[Any] = []
"""Kept, for to close it would disturb that of the parent."""

at_fork(after_in_child=forget)
atexit.register(close_lasting_loop)
