"""Database work off the event loop, on threads whose connections are looked after.

Django looks at the age and health of a connection only when a request begins or ends, and a bot
has no requests: after one dropped connection it would fail for ever. So a thread of ours works for
each database, and cares for its connection itself.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from asgiref.sync import AsyncToSync, sync_to_async
from django.db import connections, reset_queries

T = TypeVar("T")
Job: TypeAlias = "tuple[Callable[[], Any], asyncio.AbstractEventLoop, asyncio.Future[Any]]"

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
    """One thread with one connection; ends by itself after some idle time."""

    def __init__(self, using: str) -> None:
        self.using = using
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._mutex = threading.Lock()
        self._thread: threading.Thread | None = None

    def run(self, function: Callable[[], T]) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        with self._mutex:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name=f"botsessions-{self.using}", daemon=True
                )
                self._thread.start()
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

    def _work(self) -> None:
        connection = connections[self.using]
        try:
            while (job := self._next(connection)) is not None:
                reply(*job)
                if connection.errors_occurred:
                    connection.close_if_unusable_or_obsolete()
                reset_queries()
        finally:
            connection.close()

    def _next(self, connection: Any) -> Job | None:
        try:
            return self._jobs.get(timeout=IDLE_SECONDS)
        except queue.Empty:
            pass
        if connection.settings_dict["CONN_MAX_AGE"] == 0:
            connection.close()
        job = self._jobs.get()
        connection.close_if_unusable_or_obsolete()
        connection.health_check_done = False
        return job


def reply(
    function: Callable[[], Any], loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any]
) -> None:
    try:
        result, error = function(), None
    except Exception as exc:
        result, error = None, exc

    def deliver() -> None:
        if future.cancelled():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    try:
        loop.call_soon_threadsafe(deliver)
    except RuntimeError:  # The loop is closed: nobody waits any more.
        pass


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
        _threads.clear()
    for thread in threads:
        thread.close()


def _forget_threads() -> None:
    """In a forked child: its parent's threads and connections are not its own."""
    global _mutex
    _threads.clear()
    _mutex = threading.Lock()


os.register_at_fork(after_in_child=_forget_threads)
