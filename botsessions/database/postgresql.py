"""An event loop's own connection to PostgreSQL.

To wake a thread and be woken by it takes longer than the server needs to answer. So the event loop
itself sends statements, those that go together at once, and is told when the answers have come.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from django.db import OperationalError

from ..conf import retry_seconds
from .care import is_too_old
from .options import manner_of, our_connection
from .pipeline import Pipeline
from .statements import Answer, Work
from .watch import watched

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

Done: TypeAlias = "Callable[[Any, BaseException | None], object]"

TICK_SECONDS = 1.0
"""So often it is looked after: after so long without work it need not be kept."""
DECIDED_BY = {"pool", "prepare_threshold", "server_side_binding"}
"""Options of a database by which its user has decided, or which lend the connection to others."""


def connect(using: str) -> BaseDatabaseWrapper | None:
    """Open a connection for an event loop; ``None``: there may be none of that kind.

    It may not be where a pooler between the two may hand every transaction to another server
    process, nor where somebody wants to see the statements that Django executes.

    Raises:
        DatabaseError: it could not be opened.
    """
    connection = our_connection(using)
    given = connection.settings_dict
    if (
        connection.vendor != "postgresql"
        or sys.platform == "win32"  # Whose usual loop cannot wait for a socket of others.
        or given.get("DISABLE_SERVER_SIDE_CURSORS")
        or DECIDED_BY & set(given["OPTIONS"])
        or connection.queries_logged
    ):
        return None
    connection.inc_thread_sharing()
    with watched(connection):
        connection.ensure_connection()
    driver: Any = connection.connection
    manner = manner_of(connection)
    is_ours_alone = manner is not None and not manner.prefix
    if hasattr(driver, "pgconn") and is_ours_alone and not connection.execute_wrappers:
        driver.pgconn.nonblocking = 1
        driver.pgconn.enter_pipeline_mode()
        return connection
    connection.close()
    return None


class LoopConnection:
    """A connection, and the work that it is at.

    Nothing here refers to the event loop, for which it is kept as long as that lives.
    """

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        driver: Any = connection.connection
        self.connection = connection
        self._driver = driver
        self._pipeline = Pipeline(connection, driver)
        # The driver may close its own at any time, which may then be given to something else.
        self._descriptor: int | None = os.dup(driver.pgconn.socket)
        self._process = os.getpid()
        self._is_writing = False
        self._work: Work[Any] | None = None
        self._done: Done | None = None
        self._used_at = time.monotonic()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._descriptor, self._go_on)
        loop.call_later(TICK_SECONDS, self._tick)

    @property
    def is_usable(self) -> bool:
        """Whether work can be begun."""
        if self._descriptor is None or self._work is not None:
            return False
        # Else somebody wants to see the statements that Django executes.
        return not (self.connection.queries_logged or self.connection.execute_wrappers)

    @property
    def is_open(self) -> bool:
        return self._descriptor is not None

    def do(self, work: Work[Any], done: Done) -> None:
        """Begin work, and tell what it has come to."""
        self._work, self._done = work, done
        self._used_at = time.monotonic()
        try:
            self._step(None)
            self._watch_for_writing(self._pipeline.has_more_to_send)
        except Exception as exc:
            self._fail(exc)

    def _step(self, answers: Sequence[Answer] | None) -> None:
        """Send what the work wants next, or end it."""
        assert self._work is not None
        try:
            statements = next(self._work) if answers is None else self._work.send(answers)
        except StopIteration as end:
            self._end(end.value, None)
        except BaseException as exc:
            self._end(None, exc)
        else:
            self._pipeline.send(statements)

    def _go_on(self) -> None:
        """Send and receive what can be, and go on with the work."""
        if self._work is None:
            self.close()  # The server has ended it, or says what nobody has asked for.
            return
        try:
            if self._pipeline.has_more_to_send:
                self._pipeline.flush()
            answers = self._pipeline.receive()
            if answers is not None:
                self._step(answers)
            self._watch_for_writing(self._pipeline.has_more_to_send)
        except Exception as exc:
            self._fail(exc)

    def _watch_for_writing(self, wanted: bool) -> None:
        if wanted != self._is_writing and self._descriptor is not None:
            self._is_writing = wanted
            loop = asyncio.get_running_loop()
            if wanted:
                loop.add_writer(self._descriptor, self._go_on)
            else:
                loop.remove_writer(self._descriptor)

    def _end(self, outcome: Any, error: BaseException | None) -> None:
        done, self._work, self._done = self._done, None, None
        if self._pipeline.in_transaction:
            self.close()
        assert done is not None
        done(outcome, error)

    def _fail(self, error: BaseException) -> None:
        """End the work and the connection, which is lost."""
        work, self._work = self._work, None
        done, self._done = self._done, None
        self.close()
        if work is not None and done is not None:
            work.close()
            done(None, error)

    def _tick(self) -> None:
        if self._descriptor is None:
            return
        idle = time.monotonic() - self._used_at
        if self._work is not None:
            if idle > retry_seconds():
                self._fail(OperationalError(f"The database has not answered for {idle:.0f} s."))
        elif is_too_old(self.connection) or (
            idle > TICK_SECONDS and self.connection.settings_dict["CONN_MAX_AGE"] == 0
        ):
            self.close()
        if self._descriptor is not None:
            asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)

    def close(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Close it, on its event loop or when that does not run.

        Args:
            loop: the event loop, if that is not running.
        """
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None or self._process != os.getpid():
            return
        with suppress(RuntimeError):  # There is no loop any more that could watch.
            loop = loop or asyncio.get_running_loop()
            loop.remove_reader(descriptor)
            loop.remove_writer(descriptor)
        os.close(descriptor)
        self._driver.close()
        self.connection.connection = None
        if self._work is not None:
            self._fail(OperationalError("The connection was closed."))

    def __del__(self) -> None:
        self.close()
