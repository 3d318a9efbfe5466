"""Statements on their way through libpq's pipeline, without waiting for anything."""

from __future__ import annotations

import enum
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


class Sent(enum.Enum):
    """What was sent, besides statements that are prepared, of which it is the text."""

    STATEMENT = enum.auto()
    DEALLOCATION = enum.auto()
    BOUND = enum.auto()
    """Nothing: the beginning or end of a transaction that the next sync is."""
    SYNC = enum.auto()
    """The end of a transaction, unless one was begun that goes on."""


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
        self._sent: deque[Sent | str] = deque()
        """What is still to be answered."""
        self._syncs = 0
        self._answers: list[Answer] = []
        self._committed = 0
        """So many of the answers are of transactions that have ended."""
        self._error: DatabaseError | None = None
        """Since when nothing was executed."""
        self._result: Any = None
        self.in_transaction = False
        """Whether one was begun that goes on."""
        self.has_more_to_send = False

    def send(self, statements: Sequence[Statement]) -> None:
        """Send statements, of which each is a transaction of its own unless one has begun.

        Raises:
            Error: the connection is lost.
        """
        with self._wrapped:
            self._put(statements)
        self.flush()

    def _put(self, statements: Sequence[Statement]) -> None:
        """Have statements sent; what is between two syncs is a transaction, and need not begin."""
        is_whole = False
        for statement in statements:
            if statement is BEGIN:
                is_whole = COMMIT in statements
                self.in_transaction = not is_whole
            elif statement is COMMIT or statement is ROLLBACK:
                self.in_transaction = False
            if is_whole and (statement is BEGIN or statement is COMMIT):
                self._sent.append(Sent.BOUND)
                is_whole = statement is BEGIN
            else:
                self._send(statement)
            if not (self.in_transaction or is_whole or statement.goes_with_next):
                self._sync()
        if self.in_transaction:
            self._sync()

    def flush(self) -> None:
        """Send what could not be sent before."""
        with self._wrapped:
            self.has_more_to_send = bool(self._server.flush())

    def receive(self) -> list[Answer] | None:
        """Return what all statements sent have come to; ``None``: something is still to come.

        Raises:
            Error: the connection is lost.
        """
        server, synced = self._server, self._status.PIPELINE_SYNC
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
            elif found.status == synced:
                self._note_sync()
            else:
                self._result = found
        answers, self._answers, self._committed = self._answers, [], 0
        return answers

    def _send(self, statement: Statement) -> None:
        text, parameters = statement.text, statement.parameters
        values = self._transformer.dump_sequence(parameters, [self._format] * len(parameters))
        if statement.recurs:
            name = self._names.pop(text, None) or self._prepare(text)
            self._names[text] = name
            self._server.send_query_prepared(name, values)
        else:
            self._server.send_query_params(numbered(text), values)
        self._sent.append(Sent.STATEMENT)

    def _prepare(self, text: str) -> bytes:
        if len(self._names) >= MOST_PREPARED:
            oldest = next(iter(self._names))
            self._server.send_query_params(b"DEALLOCATE " + self._names.pop(oldest), None)
            self._sent.append(Sent.DEALLOCATION)
        name = b"botsessions_%d" % next(_numbers)
        self._server.send_prepare(name, numbered(text))
        self._sent.append(text)
        return name

    def _sync(self) -> None:
        self._server.pipeline_sync()
        self._sent.append(Sent.SYNC)
        self._syncs += 1

    def _note(self, result: Any) -> None:
        """Take note of what a statement, or the end of a transaction, has come to."""
        if not self._sent:  # Nobody has asked: it is the end of the connection.
            raise self._error_of(result)
        self._note_bounds()
        status = result.status
        is_fine = status in (self._status.TUPLES_OK, self._status.COMMAND_OK)
        if self._sent[0] is Sent.SYNC:  # It could not be committed.
            undone = len(self._answers) - self._committed
            self._answers[self._committed :] = [self._error_of(result)] * undone
            return
        sent = self._sent.popleft()
        if not is_fine:
            self._error = self._error or self._error_of(result)
        if sent is Sent.STATEMENT:
            self._answers.append(self._error or self._result_of(result))
        elif isinstance(sent, str) and not is_fine:
            self._names.pop(sent, None)

    def _note_bounds(self) -> None:
        while self._sent[0] is Sent.BOUND:
            self._sent.popleft()
            self._answers.append(self._error or Result((), 0))

    def _note_sync(self) -> None:
        self._note_bounds()
        self._sent.popleft()
        self._syncs -= 1
        self._error, self._committed = None, len(self._answers)

    def _result_of(self, result: Any) -> Result:
        rows: Sequence[Any] = ()
        if result.status == self._status.TUPLES_OK:
            self._transformer.set_pgresult(result)
            rows = self._transformer.load_rows(0, result.ntuples, tuple)
            self._transformer.set_pgresult(None)  # Which may be large.
        return Result(rows, result.command_tuples or 0)

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
