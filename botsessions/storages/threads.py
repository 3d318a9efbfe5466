"""Database work off the event loop: a thread with a connection for each database."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias

from asgiref.sync import AsyncToSync
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from .care import looked_after, rest
from .cursors import keep_cursors_in_this_thread
from .nonblocking import Loan, Watch, may_be_lent
from .prepared import names_of, prepare_in_this_thread

logger = logging.getLogger(__name__)

Unit: TypeAlias = "Callable[[bool], Any]"
"""A unit of work; see :func:`looked_after`."""
Deliver: TypeAlias = "Callable[[Any, BaseException | None], object]"
Job: TypeAlias = "tuple[Unit, Deliver]"

IDLE_SECONDS = 1.0
"""After so long without work a connection is looked at again before it is used."""
LOOK_AGAIN_SECONDS = 0.1
"""So often it is asked whether who has borrowed a connection can still give it back."""


def sync_code_waits(loop: asyncio.AbstractEventLoop | None = None) -> bool:
    """Whether sync code waits for this coroutine: a view that called ``edit()``, a ``TestCase``.

    Then database work belongs on that code's thread, in its transaction.

    Args:
        loop: the running one, if it is known.
    """
    if (loop or asyncio.get_running_loop()) in AsyncToSync.loop_thread_executors:
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
        self._worker: Worker | None = None

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

    def lend(self) -> Loan | None:
        """Return the connection for the running event loop, if the thread has nothing to do."""
        worker = self._worker
        return None if worker is None else worker.lend()

    def _put(self, unit: Unit, deliver: Deliver) -> None:
        with self._mutex:
            if self._worker is None or not self._worker.is_alive():
                self._worker = Worker(self.using)
                self._worker.start()
            self._worker.put((unit, deliver))

    def close(self) -> None:
        """End the thread and its connection, after the work that is waiting."""
        with self._mutex:
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.end()


class Worker(threading.Thread):
    """Works off jobs, and lends its connection while there are none."""

    def __init__(self, using: str) -> None:
        super().__init__(name=f"botsessions-{using}", daemon=True)
        self._using = using
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._mutex = threading.Lock()
        self._unfinished = 0
        self._connection: BaseDatabaseWrapper | None = None
        self._in_use = threading.Lock()
        """Held by whoever uses the connection: this thread, or who has borrowed it."""
        self._loan: Loan | None = None
        self._watch: Watch | None = None
        self._given_back_at = 0.0

    def put(self, job: Job | None) -> None:
        with self._mutex:
            self._unfinished += 1
        self._jobs.put(job)

    def end(self) -> None:
        """End the thread, after the work that is waiting."""
        self.put(None)
        self._recall()  # What waits here may be the loop that has it.
        self.join()

    def lend(self) -> Loan | None:
        with self._mutex:
            if self._unfinished or not self._in_use.acquire(blocking=False):
                return None
        try:
            self._loan = self._new_loan()
        finally:
            if self._loan is None:
                self._in_use.release()
        return self._loan

    def _new_loan(self) -> Loan | None:
        connection = self._connection
        if connection is None or not may_be_lent(connection):
            return None
        driver, loop = connection.connection, asyncio.get_running_loop()
        if self._watch is None or self._watch.is_over(driver, loop):
            names = names_of(driver)
            if names is None:
                return None
            try:
                self._watch = Watch(driver, names, loop)
            except OSError:  # There are too many open files.
                return None
        return Loan(connection, self._watch, self._take_back)

    def run(self) -> None:
        prepare_in_this_thread()
        keep_cursors_in_this_thread()
        try:
            while self._work_off_one():
                pass
        finally:
            with self._used():
                connections.close_all()  # Of this thread.

    def _work_off_one(self) -> bool:
        try:
            job = self._jobs.get(timeout=IDLE_SECONDS)
        except queue.Empty:
            if time.monotonic() - self._given_back_at < IDLE_SECONDS:
                return True
            with self._used():
                rest()
            job = self._jobs.get()
        if job is not None:
            unit, deliver = job
            with self._used():
                result, error = outcome_of(unit)
            if self._connection is None:
                opened = connections.all(initialized_only=True)  # Of this thread.
                self._connection = next((c for c in opened if c.alias == self._using), None)
            with self._mutex:
                self._unfinished -= 1
            deliver(result, error)
        return job is not None

    @contextmanager
    def _used(self) -> Iterator[None]:
        """Use the connection, once it has been given back."""
        while not self._in_use.acquire(timeout=LOOK_AGAIN_SECONDS):
            self._recall()
        try:
            yield
        finally:
            self._in_use.release()

    def _recall(self) -> None:
        loan = self._loan
        if loan is not None and loan.recall():
            self._take_back(loan)

    def _take_back(self, loan: Loan) -> None:
        """Note that a loan has ended: it was given back, or recalled."""
        with self._mutex:
            if self._loan is not loan:
                return
            self._loan = None
            self._given_back_at = time.monotonic()
            self._in_use.release()


def outcome_of(unit: Unit) -> tuple[Any, BaseException | None]:
    try:
        return looked_after(unit), None
    except BaseException as exc:
        return None, exc


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
