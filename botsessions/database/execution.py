"""Doing work on the calling thread, with a connection of Django's."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
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

BOUNDS = {statement.text for statement in (BEGIN, COMMIT, ROLLBACK)}
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
        if self._are_one(statements) and (found := self._at_once(statements)) is not None:
            return found
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

    def _are_one(self, statements: Sequence[Statement]) -> bool:
        """Whether statements are a transaction, and can be sent as one text."""
        connection = self._connection
        if len(statements) < 2 or connection.vendor != "postgresql" or self._is_within:
            return False
        *others, last = statements
        bounds = [n for n, statement in enumerate(statements) if statement.text in BOUNDS]
        is_whole = bounds == [0, len(others)] and others[0] is BEGIN and last is COMMIT
        goes_together = not bounds and all(statement.goes_with_next for statement in others)
        return (
            (is_whole or goes_together)
            and not any(statement.each for statement in statements)
            and connection.autocommit
            and not connection.in_atomic_block
            and self._takes_many
        )

    def _at_once(self, statements: Sequence[Statement]) -> list[Answer] | None:
        """Send statements as one text; ``None``: one of them has failed, so nothing was done."""
        first = 1 if statements[0] is BEGIN else 0
        texts = [statement.text for statement in statements]
        texts[first] = self._prefix + texts[first]
        parameters = [value for statement in statements for value in statement.parameters]
        try:
            self._cursor.execute("; ".join(texts), parameters)
        except Error as exc:
            self._refuse_lost(exc)
            if statements[0] is BEGIN:
                self._begun = True
                self._answer(ROLLBACK)
            return None
        answers: list[Answer] = []
        for number, _ in enumerate(statements):
            if number == first and self._prefix:
                self._cursor.nextset()
            answers.append(self._result())
            self._cursor.nextset()
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
            return self._refuse_lost(exc)

    def _refuse_lost(self, error: Error) -> DatabaseError:
        """Return an error, unless with it the connection is lost: then raise it."""
        if isinstance(error, DatabaseError) and trouble_of(error) is not Trouble.LOST:
            return error
        self._connection.errors_occurred = True
        self._begun, self._block = False, None
        raise error

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
        cursor, prefix = self._cursor, self._prefix
        if statement.each:
            cursor.executemany(statement.text, statement.parameters)
        elif not prefix:
            cursor.execute(statement.text, statement.parameters)
        elif self._takes_many:
            cursor.execute(prefix + statement.text, statement.parameters)
            cursor.nextset()
        else:
            alias = self._connection.alias
            with nullcontext() if self._is_within else transaction.atomic(using=alias):
                cursor.execute(prefix)
                cursor.execute(statement.text, statement.parameters)
        result = self._result()
        if statement.expects not in (None, max(0, result.changed)):
            raise Unexpected(f"{result.changed} rows instead of {statement.expects}.")
        return result

    def _result(self) -> Result:
        cursor = self._cursor
        found = getattr(cursor, "pgresult", None)  # psycopg describes each column by an object.
        rows = cursor.fetchall() if (found.nfields if found else cursor.description) else ()
        return Result(rows, len(rows) or cursor.rowcount)

    @property
    def _prefix(self) -> str:
        """What is put before each statement."""
        return "" if self._manner is None else self._manner.prefix

    @cached_property
    def _takes_many(self) -> bool:
        """Whether the connection takes several statements as one text, with their parameters.

        psycopg 3 does, and shows what has come of each, unless the server puts the parameters in.
        """
        is_bound_there = self._connection.settings_dict["OPTIONS"].get("server_side_binding")
        return hasattr(self._connection.connection, "pgconn") and not is_bound_there
