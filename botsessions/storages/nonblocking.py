"""Statements that the event loop itself waits for, on PostgreSQL.

To wake a thread and be woken by it takes longer than the server needs to answer. So while the
thread of a database has nothing to do, it lends its connection to the event loop, which sends a
statement and is told when the answer has come. That is for statements of which each is a
transaction of its own. Whatever fails is left to the thread, which tries again and tells why.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from .care import is_too_old

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from .sql import Query

Rows: TypeAlias = "list[tuple[Any, ...]]"
Done: TypeAlias = "Callable[[list[Rows] | None], object]"
"""Is given the rows of each statement; ``None``: one failed, and some may have landed."""

STUCK_SECONDS = 1.0
"""When somebody else needs the connection, a loop that does nothing for so long loses it."""
SQLSTATE = ord("C")
"""PG_DIAG_SQLSTATE, which every error has."""

_numbers = itertools.count()


def may_be_lent(connection: BaseDatabaseWrapper) -> bool:
    """Whether the connection of a thread that has nothing to do may be used in this way.

    Not if anybody wants to see the statements that Django executes, and not while it has to be
    looked after.
    """
    return (
        connection.vendor == "postgresql"
        and connection.connection is not None
        and connection.autocommit
        and not connection.errors_occurred
        and not connection.queries_logged
        and not connection.execute_wrappers
        and not is_too_old(connection)
        and sys.platform != "win32"  # Whose usual loop cannot wait for a socket of others.
    )


class Watch:
    """An event loop's watch over a connection's socket, from one loan to the next.

    It goes by a descriptor of its own: the thread may close the connection's at any time, which
    may then be given to something else. When nothing is lent and yet there is something to be read,
    the thread is using the connection, or it has ended: then the watch ends, too.
    """

    def __init__(
        self, driver: Any, names: dict[str, bytes], loop: asyncio.AbstractEventLoop
    ) -> None:
        from psycopg.adapt import Transformer  # noqa: PLC0415 (not everybody has it)

        self.driver = driver
        self.names = names
        """Of the statements that have been prepared."""
        self.loop = loop
        self.transformer = Transformer(driver)
        self.on_news: Callable[[], object] | None = None
        """Called when there is something to be read, or written if that is waited for."""
        self._descriptor: int | None = os.dup(driver.pgconn.socket)
        self._writing = False
        loop.add_reader(self._descriptor, self._look)

    def is_over(self, driver: Any, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether it has ended, or is not for this connection and loop."""
        return self._descriptor is None or driver is not self.driver or loop is not self.loop

    def wait_for_writing(self, wanted: bool) -> None:
        """Watch also for that the socket takes more."""
        if wanted == self._writing or self._descriptor is None:
            return
        self._writing = wanted
        if wanted:
            self.loop.add_writer(self._descriptor, self._look)
        else:
            self.loop.remove_writer(self._descriptor)

    def end(self) -> None:
        if self._descriptor is not None:
            self.wait_for_writing(False)
            self.loop.remove_reader(self._descriptor)
            self._close()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    __del__ = _close

    def _look(self) -> None:
        if self.on_news is None:
            self.end()
        else:
            self.on_news()


class Loan:
    """A connection that an event loop has borrowed.

    Args:
        watch: the running loop's watch over it.
        give_back: called when it is no longer used.
    """

    def __init__(
        self, connection: BaseDatabaseWrapper, watch: Watch, give_back: Callable[[Loan], object]
    ) -> None:
        self.connection = connection
        self._watch = watch
        self._give_back = give_back
        self._loop = watch.loop
        self._thread = threading.get_ident()
        self._mutex = threading.Lock()
        self._over = False
        self._asked_at: float | None = None
        self._done: Done | None = None

    def execute(self, queries: Sequence[Query], done: Done) -> None:
        """Execute statements one after another, give the connection back, and call ``done``."""
        self._done = done
        self._steps = steps(self._watch, queries)
        self._watch.on_news = self._go_on
        self._go_on()

    def end(self) -> None:
        """Give the connection back."""
        self._give_back(self)

    def recall(self) -> bool:
        """Take the connection away if its loop cannot go on now, and return whether that is so.

        Then the thread has to open another one; the loop closes this one if it ever goes on.
        """
        is_here = self._thread == threading.get_ident()
        if self._loop.is_running() and not is_here and not self._is_stuck():
            return False
        with self._mutex:
            if not self._over:
                self._over = True
                self.connection.connection = None
                try:
                    self._loop.call_soon_threadsafe(self._was_recalled)
                except RuntimeError:  # The loop is closed: nobody waits any more.
                    self._watch.driver.close()
        return True

    def _is_stuck(self) -> bool:
        """Whether the loop has done nothing for long: a handler blocks it."""
        asked_at = self._asked_at  # The loop may answer meanwhile.
        if asked_at is not None:
            return time.monotonic() - asked_at > STUCK_SECONDS
        self._asked_at = time.monotonic()
        with suppress(RuntimeError):  # The loop was closed.
            self._loop.call_soon_threadsafe(self._note_alive)
        return False

    def _note_alive(self) -> None:
        self._asked_at = None

    def _go_on(self) -> None:
        with self._mutex:
            if self._over:
                return
            try:
                writing = next(self._steps)
            except StopIteration as end:
                rows: list[Rows] | None = end.value
            except Exception:  # The thread will find out.
                rows = None
                self.connection.errors_occurred = True
                self._watch.names.clear()
            else:
                self._watch.wait_for_writing(writing)
                return
            self._over = True
            self._watch.wait_for_writing(False)
            self._watch.on_news = None
        self.end()
        self._answer(rows)

    def _was_recalled(self) -> None:
        self._watch.end()
        self._watch.driver.close()
        self._answer(None)

    def _answer(self, rows: list[Rows] | None) -> None:
        assert self._done is not None
        self._done(rows)


def steps(watch: Watch, queries: Sequence[Query]) -> Generator[bool, None, list[Rows]]:
    """Execute prepared statements and return their rows.

    Yields whenever the server has to be waited for: whether the socket has to take more, too.

    Raises:
        Exception: one failed.
    """
    from psycopg.adapt import PyFormat  # noqa: PLC0415 (not everybody has it)

    server, transformer, answers = watch.driver.pgconn, watch.transformer, []
    names = watch.names
    for text, parameters in queries:
        name = names.get(text)
        if name is None:
            name = b"botsessions_%d" % next(_numbers)
            server.send_prepare(name, numbered(text))
            yield from result(server)
            names[text] = name
        values = transformer.dump_sequence(parameters, [PyFormat.TEXT] * len(parameters))
        server.send_query_prepared(name, values)
        found = yield from result(server)
        transformer.set_pgresult(found)
        answers.append(transformer.load_rows(0, found.ntuples, tuple))
        transformer.set_pgresult(None)  # Which may be large.
    return answers


def result(server: Any) -> Generator[bool, None, Any]:
    """Return the result of the statement that was sent last.

    Raises:
        Exception: it failed.
    """
    while server.flush():
        yield True
        server.consume_input()
    results = []
    while True:
        while server.is_busy():
            yield False
            server.consume_input()
        found = server.get_result()
        if found is None:
            break
        results.append(found)
    (only,) = results
    if only.error_field(SQLSTATE) is not None:
        raise RuntimeError
    return only


@lru_cache(maxsize=128)
def numbered(text: str) -> bytes:
    """Return a statement with numbered parameters, as the server takes it."""
    first, *others = text.split("%s")
    parts = [part for number, rest in enumerate(others, 1) for part in (f"${number}", rest)]
    return "".join([first, *parts]).encode()
