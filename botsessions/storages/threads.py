"""Database work off the event loop, on threads whose connections are looked after.

Django looks at the age and health of a connection only when a request begins or ends, and a bot
has no requests: after one dropped connection it would fail for ever. So a thread of ours works for
each database, and cares for its connection itself.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias, TypeVar

from asgiref.sync import AsyncToSync, sync_to_async
from django.db import connections, reset_queries

T = TypeVar("T")
Job: TypeAlias = "tuple[Callable[[], Any], asyncio.AbstractEventLoop, asyncio.Future[Any]]"
Jobs: TypeAlias = "queue.SimpleQueue[Job | None]"

IDLE_SECONDS = 1.0
"""After so long without work a connection is looked at again before it is used."""


async def run(using: str, function: Callable[[], T]) -> T:
    """Run ``function`` on the thread of the database ``using`` and return its result.

    Where sync code of Django waits for this coroutine (a view that called ``edit()``, a
    ``TestCase``), it runs on that code's thread instead, in its transaction.

    The function is run to its end even if the caller is cancelled.
    """
    if sync_code_waits():
        return await sync_to_async(function)()
    return await thread_of(using).run(function)


def sync_code_waits() -> bool:
    if getattr(AsyncToSync.executors, "current", None) is not None:
        return True
    return asyncio.get_running_loop() in AsyncToSync.loop_thread_executors


class DatabaseThread:
    """One thread with one connection, from the first work until :meth:`close`."""

    def __init__(self, using: str) -> None:
        self.using = using
        self._mutex = threading.Lock()
        self._thread: threading.Thread | None = None
        self._jobs: Jobs = queue.SimpleQueue()

    def run(self, function: Callable[[], T]) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        with self._mutex:
            if self._thread is None or not self._thread.is_alive():
                self._start()
            self._jobs.put((function, loop, future))
        return future

    def close(self) -> None:
        """End the thread and its connection, after the work that is waiting."""
        with self._mutex:
            thread, self._thread = self._thread, None
            if thread is not None:
                self._jobs.put(None)
        if thread is not None:
            thread.join()

    def _start(self) -> None:
        # A queue of its own: a thread that is being closed may still be working at the last one.
        self._jobs = queue.SimpleQueue()
        self._thread = threading.Thread(
            target=work, args=(self._jobs,), name=f"botsessions-{self.using}", daemon=True
        )
        self._thread.start()


def work(jobs: Jobs) -> None:
    try:
        while work_off_one(jobs):
            pass
    finally:
        connections.close_all()  # Of this thread.


def work_off_one(jobs: Jobs) -> bool:
    try:
        job = jobs.get(timeout=IDLE_SECONDS)
    except queue.Empty:
        rest()
        job = jobs.get()
    if job is not None:
        reply(*job)
    return job is not None


def rest() -> None:
    """Close this thread's connection if it may not be kept; otherwise have it looked at later."""
    for connection in connections.all(initialized_only=True):
        if connection.settings_dict["CONN_MAX_AGE"] == 0:
            connection.close()
        else:
            connection.errors_occurred = True


def reply(
    function: Callable[[], Any], loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any]
) -> None:
    try:
        result, error = looked_after(function), None
    except BaseException as exc:
        result, error = None, exc

    def deliver() -> None:
        if future.cancelled():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    with suppress(RuntimeError):  # The loop is closed: nobody waits any more.
        loop.call_soon_threadsafe(deliver)


def looked_after(function: Callable[[], T]) -> T:
    """Call ``function`` with a connection that works, as far as can be known without asking.

    The database is asked only if it has not been for a while, or after an error.
    """
    for connection in connections.all(initialized_only=True):
        if connection.errors_occurred:
            connection.close_if_unusable_or_obsolete()
    try:
        return function()
    finally:
        reset_queries()  # With DEBUG, Django would keep them for ever.


_threads: dict[str, DatabaseThread] = {}
_mutex = threading.Lock()


def thread_of(using: str) -> DatabaseThread:
    with _mutex:
        if using not in _threads:
            _threads[using] = DatabaseThread(using)
        return _threads[using]


def close_threads() -> None:
    """End all threads of this process with their connections."""
    with _mutex:
        threads = list(_threads.values())
    for thread in threads:
        thread.close()


def _forget_threads() -> None:
    """In a forked child: its parent's threads are not its own."""
    global _mutex
    _threads.clear()
    _mutex = threading.Lock()


# A child that inherits a connection may end it for its parent: MySQL's client says goodbye when the
# child's copy is freed.
os.register_at_fork(before=close_threads, after_in_child=_forget_threads)
atexit.register(close_threads)
