"""Statements on their way through libpq's pipeline, without waiting for anything."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError

from .errors import Trouble, trouble_of
from .statements import BEGIN, COMMIT, ROLLBACK, Answer, Result, Statement

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

MOST_PREPARED = 64
"""Statements on a connection; the one that was not used for longest goes."""

_numbers = itertools.count()


class Pipeline:
    """What was sent over a connection, and what it has come to."""

    def __init__(self, connection: BaseDatabaseWrapper, driver: Any) -> None:
        from psycopg.adapt import PyFormat, Transformer  # noqa: PLC0415 (not everybody has it)
        from psycopg.errors import error_from_result  # noqa: PLC0415
        from psycopg.pq import ExecStatus  # noqa: PLC0415

        self._server = driver.pgconn
        self._wrapped = connection.wrap_database_errors
        self._error_from_result = error_from_result
        self._transformer = Transformer(driver)
        self._format = PyFormat.TEXT
        self._status = ExecStatus
        self._names: dict[str, bytes] = {}
        """Of statements that are prepared, the one used last at the end."""
        self._sent: deque[str | None] = deque()
        """Of each result that is still to come: ``None`` a statement's, or the text prepared."""
        self._syncs = 0
        self._answers: list[Answer] = []
        self._error: DatabaseError | None = None
        """Of an earlier statement, since when nothing was executed."""
        self._result: Any = None
        self.in_transaction = False
        self.has_more_to_send = False

    def send(self, statements: Sequence[Statement]) -> None:
        """Send statements, of which each is a transaction of its own unless one has begun."""
        for statement in statements:
            if statement is BEGIN:
                self.in_transaction = True
            elif statement is COMMIT or statement is ROLLBACK:
                self.in_transaction = False
            self._send(statement)
            if not self.in_transaction:
                self._sync()
        if self.in_transaction:
            self._sync()
        self.flush()

    def flush(self) -> None:
        """Send what could not be sent before."""
        with self._wrapped:
            self.has_more_to_send = bool(self._server.flush())

    def receive(self) -> list[Answer] | None:
        """Return what all statements sent have come to; ``None``: something is still to come.

        Raises:
            Error: the connection is lost.
        """
        server, status = self._server, self._status
        with self._wrapped:
            server.consume_input()
        while self._syncs:
            if server.is_busy():
                return None
            found = server.get_result()
            if found is None:
                result, self._result = self._result, None
                if result is None:
                    return None
                self._note(result)
            elif found.status == status.PIPELINE_SYNC:
                self._syncs -= 1
                self._error = None
            else:
                self._result = found
        answers, self._answers = self._answers, []
        return answers

    def _send(self, statement: Statement) -> None:
        text, parameters, _, recurs = statement
        values = self._transformer.dump_sequence(parameters, [self._format] * len(parameters))
        if not recurs:
            self._server.send_query_params(numbered(text), values)
        else:
            name = self._names.pop(text, None) or self._prepare(text)
            self._names[text] = name
            self._server.send_query_prepared(name, values)
        self._sent.append(None)

    def _prepare(self, text: str) -> bytes:
        if len(self._names) >= MOST_PREPARED:
            oldest = next(iter(self._names))
            self._server.send_query_params(b"DEALLOCATE " + self._names.pop(oldest), None)
            self._sent.append("")
        name = b"botsessions_%d" % next(_numbers)
        self._server.send_prepare(name, numbered(text))
        self._sent.append(text)
        return name

    def _sync(self) -> None:
        self._server.pipeline_sync()
        self._syncs += 1

    def _note(self, result: Any) -> None:
        """Take note of what a statement has come to."""
        text, status = self._sent.popleft(), result.status
        if status not in (self._status.TUPLES_OK, self._status.COMMAND_OK):
            self._error = self._error or self._error_of(result)
            if text is None:
                self._answers.append(self._error)
            else:
                self._names.pop(text, None)
        elif text is None:
            rows: Sequence[Any] = ()
            if status == self._status.TUPLES_OK:
                self._transformer.set_pgresult(result)
                rows = self._transformer.load_rows(0, result.ntuples, tuple)
                self._transformer.set_pgresult(None)  # Which may be large.
            self._answers.append(Result(rows, result.command_tuples or 0))

    def _error_of(self, result: Any) -> DatabaseError:
        """Return an error as Django has it.

        Raises:
            DatabaseError: with it the connection is lost.
        """
        try:
            with self._wrapped:
                raise self._error_from_result(result)
        except DatabaseError as exc:
            if trouble_of(exc) is Trouble.LOST:
                raise
            return exc


@lru_cache(maxsize=256)
def numbered(text: str) -> bytes:
    """Return a statement with numbered parameters, as the server takes it."""
    first, *others = text.split("%s")
    parts = [part for number, rest in enumerate(others, 1) for part in (f"${number}", rest)]
    return "".join([first, *parts]).encode()
