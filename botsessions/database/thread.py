"""A thread for each database, with a connection of Django's that lives as long as a bot."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

from django.db import connections

from .batch import carry_out
from .callers import refuse_shutdown
from .care import (
    close_broken_connections,
    close_unusable_connections,
    forget_statements,
    looked_after,
    rest,
)
from .cursors import keep_cursors_in_this_thread
from .execution import execute
from .options import connect_as_ours
from .packets import reasons
from .requests import Request
from .watch import watched

Done: TypeAlias = "Callable[[Any, BaseException | None], object]"
"""Is given what work has come to, or why it has failed."""
Job: TypeAlias = "Callable[[], object]"

IDLE_SECONDS = 1.0
"""After so long without work a connection is looked at again before it is used."""


class DatabaseThread:
    """One thread with one connection, from the first work until :meth:`close`."""

    def __init__(self, using: str) -> None:
        self.using = using
        self._mutex = threading.Lock()
        self._worker: Worker | None = None

    def carry_out(self, requests: Sequence[Request], done: Done) -> None:
        """Carry out requests, and tell the running event loop."""

        def unit() -> Any:
            close_unusable_connections()
            connection = connections[self.using]
            try:
                work = carry_out(requests, connection, singly=requests[0].met_lock)
                with watched(connection):
                    return execute(connection, work)
            except Exception as exc:
                close_broken_connections(exc)
                return reasons(exc, requests, connection)
            finally:
                forget_statements()

        self.call(unit, done)

    def run(self, function: Callable[[], Any], done: Done) -> None:
        """Call a function, again if the database fails for a moment, and tell the event loop."""

        def attempt(again: bool) -> Any:
            with watched(*connections.all(initialized_only=True)):  # Of this thread.
                return function()

        self.call(lambda: looked_after(attempt), done)

    def call(self, function: Callable[[], Any], done: Done) -> None:
        """Call a function, and tell the running event loop."""
        loop = asyncio.get_running_loop()

        def job() -> None:
            result, error = outcome_of(function)
            with suppress(RuntimeError):  # The loop is closed: nobody waits any more.
                loop.call_soon_threadsafe(done, result, error)

        self._put(job)

    def _put(self, job: Job) -> None:
        refuse_shutdown()
        with self._mutex:
            if self._worker is None or not self._worker.is_alive():
                worker = Worker(self.using)
                worker.start()
                self._worker = worker
            self._worker.jobs.put(job)

    def close(self) -> None:
        """End the thread and its connection, after the work that is waiting."""
        with self._mutex:
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.jobs.put(None)
            worker.join()


class Worker(threading.Thread):
    """Works off jobs."""

    def __init__(self, using: str) -> None:
        super().__init__(name=f"botsessions-{using}", daemon=True)
        self._using = using
        self.jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()

    def run(self) -> None:
        keep_cursors_in_this_thread()
        connect_as_ours(self._using)
        try:
            while (job := self._next()) is not None:
                job()
                del job
        finally:
            connections.close_all()  # Of this thread.

    def _next(self) -> Job | None:
        try:
            return self.jobs.get(timeout=IDLE_SECONDS)
        except queue.Empty:
            rest()
            return self.jobs.get()


def outcome_of(unit: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return unit(), None
    except BaseException as exc:
        return None, exc
