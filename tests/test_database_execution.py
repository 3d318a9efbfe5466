"""Doing work on the calling thread, with a connection of Django's."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import DatabaseError, connection, connections, transaction
from django.test import TransactionTestCase
from django.test.utils import CaptureQueriesContext

from botsessions.database.execution import execute
from botsessions.database.statements import (
    BEGIN,
    COMMIT,
    ROLLBACK,
    Result,
    Statement,
    Unexpected,
    Work,
    exactly,
    in_transaction,
    one,
)
from botsessions.models import HandledUpdate

TABLE = HandledUpdate._meta.db_table
NONE = Statement("SELECT 1 FROM nowhere_at_all")


def inserting(*numbers: int) -> Statement:
    """Return a statement that stores rows."""
    rows = ", ".join(f"('pizza', {number}, 1, 1)" for number in numbers)
    return Statement(f"INSERT INTO {TABLE} (bot, update_id, claim, claimed_until) VALUES {rows}")  # noqa: S608


def deleting(number: int) -> Statement:
    return Statement(f"DELETE FROM {TABLE} WHERE update_id = %s", [number])  # noqa: S608


def sending(*statements: Statement) -> Work[Any]:
    """Return the answers of statements that are sent together."""
    return (yield statements)


class Execution(TransactionTestCase):
    def done(self, work: Work[Any]) -> Any:
        return execute(connections["default"], work)

    @property
    def stored(self) -> list[int]:
        rows = HandledUpdate.objects.order_by("update_id")
        return list(rows.values_list("update_id", flat=True))

    def test_rows_and_their_number_come_back(self) -> None:
        selecting = Statement(f"SELECT update_id FROM {TABLE} ORDER BY update_id")  # noqa: S608
        answers = self.done(sending(inserting(1, 2), selecting, deleting(2), deleting(9)))
        assert [answer.changed for answer in answers] == [2, 2, 1, 0]
        assert [tuple(row) for row in answers[1].rows] == [(1,), (2,)]

    def test_one_for_each_of_many_parameters(self) -> None:
        self.done(sending(inserting(1, 2, 3)))
        each = deleting(0)._replace(parameters=[(1,), (3,)], each=True)
        (answer,) = self.done(sending(each))
        assert answer.changed == 2
        assert self.stored == [2]

    def test_without_a_transaction_an_error_does_not_stop_what_follows(self) -> None:
        first, second, third = self.done(sending(inserting(1), NONE, inserting(2)))
        assert isinstance(second, DatabaseError)
        assert isinstance(first, Result)
        assert isinstance(third, Result)
        assert self.stored == [1, 2]

    def test_in_one_nothing_is_executed_after_an_error_and_nothing_stays(self) -> None:
        answers = self.done(sending(BEGIN, inserting(1), NONE, inserting(2), COMMIT, inserting(3)))
        assert [isinstance(a, DatabaseError) for a in answers] == [
            *(False, False, True, True, True, False)
        ]
        assert answers[2] is answers[3] is answers[4]
        assert self.stored == [3]

    def test_a_whole_transaction_takes_postgresql_one_round_trip(self) -> None:
        selecting = Statement(f"SELECT update_id FROM {TABLE} WHERE bot = %s", ["pizza"])  # noqa: S608
        inserted = inserting(1, 2)._replace(goes_with_next=True)
        with CaptureQueriesContext(connection) as sent:
            begun, deleted, found, committed = self.done(
                sending(BEGIN, deleting(9), selecting, COMMIT)
            )
            assert (deleted.changed, len(found.rows)) == (0, 0)
            inserted, found = self.done(sending(inserted, selecting))
            assert inserted.changed == found.changed == 2
            assert sorted(tuple(row) for row in found.rows) == [(1,), (2,)]
        assert len(sent) == (2 if connection.vendor == "postgresql" else 6)
        assert isinstance(begun, Result)
        assert isinstance(committed, Result)

    def test_two_transactions_are_not_taken_for_one(self) -> None:
        two = [BEGIN, inserting(1), COMMIT, BEGIN, inserting(2), NONE, COMMIT]
        answers = self.done(sending(*two))
        failed = [isinstance(answer, DatabaseError) for answer in answers]
        assert failed == [False, False, False, False, False, True, True]
        assert self.stored == [1]

    def test_it_is_told_which_statement_of_a_whole_transaction_has_failed(self) -> None:
        answers = self.done(sending(BEGIN, inserting(1), NONE, inserting(2), COMMIT))
        assert [isinstance(a, DatabaseError) for a in answers] == [False, False, True, True, True]
        assert self.stored == []
        first, second = self.done(sending(inserting(1)._replace(goes_with_next=True), NONE))
        assert isinstance(first, Result)
        assert isinstance(second, DatabaseError)

    def test_a_transaction_may_go_on_over_several_steps(self) -> None:
        def work() -> Work[None]:
            yield [BEGIN, inserting(1)]
            yield [inserting(2)]
            yield [ROLLBACK]
            yield [BEGIN, inserting(3)]
            yield [COMMIT]

        self.done(work())
        assert self.stored == [3]

    def test_work_that_raises_leaves_no_transaction_open(self) -> None:
        def work() -> Work[None]:
            yield [BEGIN, inserting(1)]
            raise LookupError("broken")

        with pytest.raises(LookupError, match="broken"):
            self.done(work())
        assert self.stored == []
        self.done(sending(inserting(2)))
        assert self.stored == [2]

    def test_other_rows_than_there_have_to_be_are_an_error(self) -> None:
        self.done(sending(inserting(1)))
        (answer,) = self.done(sending(deleting(9)._replace(expects=1)))
        assert isinstance(answer, Unexpected)
        with pytest.raises(DatabaseError):
            self.done(in_transaction(one(exactly(1, returning(deleting(9)), connection.vendor))))
        self.done(in_transaction(one(exactly(1, returning(deleting(1)), connection.vendor))))
        assert self.stored == []

    def test_in_a_transaction_of_the_callers_it_is_a_savepoint(self) -> None:
        with transaction.atomic():
            self.done(sending(BEGIN, inserting(1), COMMIT))
            answers = self.done(sending(BEGIN, inserting(2), NONE, COMMIT))
            assert isinstance(answers[-1], DatabaseError)
            self.done(sending(BEGIN, inserting(3), COMMIT))
            assert self.stored == [1, 3]
            transaction.set_rollback(True)
        assert self.stored == []


def returning(statement: Statement) -> Statement:
    if connection.vendor == "postgresql":
        return statement._replace(text=f"{statement.text} RETURNING 1")
    return statement
