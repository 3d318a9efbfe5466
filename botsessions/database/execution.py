"""Doing work on the calling thread, with a connection of Django's."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import DatabaseError, Error, transaction

from .cursors import cursor_of
from .errors import Trouble, trouble_of
from .options import local, manner_of
from .statements import (
    BEGIN,
    COMMIT,
    IMPATIENT,
    PATIENT,
    ROLLBACK,
    Answer,
    Result,
    Statement,
    Unexpected,
    Work,
)

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

T = TypeVar("T")

BEGINNINGS = {"sqlite": "BEGIN IMMEDIATE"}
"""On SQLite it is waited there until something may be changed."""


def execute(connection: BaseDatabaseWrapper, work: Work[T]) -> T:
    """Do work and return its result.

    Raises:
        DatabaseError: the connection was lost, or the work itself raised it.
    """
    return Execution(connection).do(work)


class Execution:
    """One work's way over a connection.

    In a transaction of the caller's, the work's own is a savepoint.
    """

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self._manner = manner_of(connection)
        self._block: transaction.Atomic | None = None
        self._begun = False
        self._leaving = ExitStack()

    def do(self, work: Work[T]) -> T:
        with self._leaving:
            try:
                statements = next(work)
                while True:
                    statements = work.send(self._answers(statements))
            except StopIteration as end:
                result: T = end.value
                return result
            finally:
                work.close()
                if self._is_within:
                    self._answer(ROLLBACK)

    def _answers(self, statements: Sequence[Statement]) -> list[Answer]:
        answers: list[Answer] = []
        error: DatabaseError | None = None
        within = self._is_within
        for statement in statements:
            if error is None or statement is ROLLBACK:
                answer = self._answer(statement)
            elif statement is COMMIT and self._is_within:
                self._answer(ROLLBACK)
                answer = error
            else:
                answer = error
            within = within or statement is BEGIN
            if isinstance(answer, DatabaseError) and within:
                error = answer
            if statement is COMMIT or statement is ROLLBACK:
                error, within = None, False
            answers.append(answer)
        return answers

    @property
    def _is_within(self) -> bool:
        """Whether a transaction of the work's own has begun."""
        return self._begun or self._block is not None

    def _answer(self, statement: Statement) -> Answer:
        try:
            if statement is BEGIN or statement is COMMIT or statement is ROLLBACK:
                self._bound(statement)
                return Result((), 0)
            if statement is PATIENT or statement is IMPATIENT:
                self._note_patience(statement)
                return Result((), 0)
            return self._fetched(statement)
        except Error as exc:
            if isinstance(exc, DatabaseError) and trouble_of(exc) is not Trouble.LOST:
                return exc
            self._connection.errors_occurred = True
            self._begun, self._block = False, None
            raise

    def _bound(self, statement: Statement) -> None:
        """Begin or end a transaction."""
        connection = self._connection
        if statement is BEGIN:
            if connection.in_atomic_block or not connection.autocommit:
                self._block = transaction.atomic(using=connection.alias)
                self._block.__enter__()
            else:
                self._cursor.execute(BEGINNINGS.get(connection.vendor, "START TRANSACTION"))
                self._begun = True
        elif self._block is not None:
            block, self._block = self._block, None
            if statement is ROLLBACK:
                transaction.set_rollback(True, using=connection.alias)
            block.__exit__(None, None, None)
        elif self._begun:
            self._begun = False
            try:
                self._cursor.execute(statement.text)
            except Error:  # Nor is there a transaction without a connection.
                if statement is ROLLBACK:
                    connection.close()
                raise

    @cached_property
    def _cursor(self) -> Any:
        """One for all statements of the work: to make one takes longer than to use it."""
        return self._leaving.enter_context(cursor_of(self._connection))

    def _note_patience(self, statement: Statement) -> None:
        manner = self._manner
        if manner is None or self._connection.vendor != "postgresql":
            return
        if manner.prefix:
            manner.prefix = local(statement)
        else:
            self._cursor.execute(statement.text)

    def _fetched(self, statement: Statement) -> Result:
        """Execute a statement and return what has come of it."""
        prefix = self._manner.prefix if self._manner is not None else ""
        rows: Sequence[Any] = ()
        if statement.each:
            self._cursor.executemany(statement.text, statement.parameters)
        else:
            self._cursor.execute(prefix + statement.text, statement.parameters)
            if prefix:
                self._cursor.nextset()
            if self._cursor.description:
                rows = self._cursor.fetchall()
        changed = len(rows) or self._cursor.rowcount
        if statement.expects not in (None, max(0, changed)):
            raise Unexpected(f"{changed} rows instead of {statement.expects}.")
        return Result(rows, changed)
