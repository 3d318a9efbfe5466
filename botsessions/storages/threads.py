"""Database work off the event loop: a thread with a connection for each database."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias

from asgiref.sync import AsyncToSync
from django.db import connections

from .care import looked_after, rest
from .cursors import keep_cursors_in_this_thread
from .prepared import prepare_in_this_thread

logger = logging.getLogger(__name__)

Unit: TypeAlias = "Callable[[bool], Any]"
"""A unit of work; see :func:`looked_after`."""
Deliver: TypeAlias = "Callable[[Any, BaseException | None], object]"
Job: TypeAlias = "tuple[Unit, Deliver]"
Jobs: TypeAlias = "queue.SimpleQueue[Job | None]"

IDLE_SECONDS = 1.0
"""After so long without work a connection is looked at again before it is used."""


def sync_code_waits() -> bool:
    """Whether sync code waits for this coroutine: a view that called ``edit()``, a ``TestCase``.

    Then database work belongs on that code's thread, in its transaction.
    """
    if asyncio.get_running_loop() in AsyncToSync.loop_thread_executors:
        return True
    try:
        waiting = AsyncToSync.executors.current
    except AttributeError:
        # To asgiref that is the same, and found at once: this is asked at every load and save.
        AsyncToSync.executors.current = waiting = None
    return waiting is not None


class DatabaseThread:
    """One thread with one connection, from the first work until :meth:`close`."""

    def __init__(self, using: str) -> None:
        self.using = using
        self._mutex = threading.Lock()
        self._thread: threading.Thread | None = None
        self._jobs: Jobs = queue.SimpleQueue()

    def run(self, unit: Unit) -> asyncio.Future[Any]:
        """Return a future of the unit's result. It is done to its end even if that is cancelled."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def settle(result: Any, error: BaseException | None) -> None:
            if future.cancelled():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        def deliver(result: Any, error: BaseException | None) -> None:
            with suppress(RuntimeError):  # The loop is closed: nobody waits any more.
                loop.call_soon_threadsafe(settle, result, error)

        self._put(unit, deliver)
        return future

    def do(self, unit: Unit) -> None:
        """Have a unit of work done for which nobody waits."""
        self._put(unit, note_failure)

    def _put(self, unit: Unit, deliver: Deliver) -> None:
        with self._mutex:
            if self._thread is None or not self._thread.is_alive():
                self._start()
            self._jobs.put((unit, deliver))

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
    prepare_in_this_thread()
    keep_cursors_in_this_thread()
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


def reply(unit: Unit, deliver: Deliver) -> None:
    try:
        result, error = looked_after(unit), None
    except BaseException as exc:
        result, error = None, exc
    deliver(result, error)


def note_failure(result: Any, error: BaseException | None) -> None:
    if error is not None:
        logger.warning("Work for which nobody waits has failed.", exc_info=error)


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
