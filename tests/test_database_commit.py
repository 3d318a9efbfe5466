"""The transaction of sync code: what it is, and keeping something until it ends."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

from django.db import connection, transaction
from django.test import TestCase, TransactionTestCase

from botsessions.database.commit import (
    CallersTransaction,
    at_rollback,
    keep,
    kept_until_commit,
    transaction_of,
)


class InATest(TestCase):
    def test_g3_the_transaction_of_a_test_is_none_that_commits(self) -> None:
        assert transaction_of("default") is CallersTransaction.TEST
        with transaction.atomic():
            assert transaction_of("default") is CallersTransaction.TEST
        released: list[str] = []
        keep("default", "key", released.append)
        assert released == ["key"]

    def test_e8_but_what_is_rolled_back_inside_it_is_undone(self) -> None:
        undone: list[str] = []
        at_rollback("default", partial(undone.append, "nothing around"))
        with suppress(ZeroDivisionError), transaction.atomic():
            at_rollback("default", partial(undone.append, "rolled back"))
            raise ZeroDivisionError
        assert undone == ["rolled back"]


class Undoing(TransactionTestCase):
    def test_e8_only_what_is_rolled_back_is_undone(self) -> None:
        undone: list[str] = []
        at_rollback("default", partial(undone.append, "no transaction"))
        with transaction.atomic():
            at_rollback("default", partial(undone.append, "committed"))
            with suppress(ZeroDivisionError), transaction.atomic():
                at_rollback("default", partial(undone.append, "to a savepoint"))
                raise ZeroDivisionError
            assert undone == ["to a savepoint"]
        assert undone == ["to a savepoint"]
        with suppress(ZeroDivisionError), transaction.atomic():
            at_rollback("default", partial(undone.append, "as a whole"))
            raise ZeroDivisionError
        assert undone == ["to a savepoint", "as a whole"]


class Keeping(TransactionTestCase):
    def setUp(self) -> None:
        self.released: list[str] = []

    def keep(self, key: str) -> None:
        keep("default", key, self.released.append)

    def test_outside_of_a_transaction_it_is_released_now(self) -> None:
        assert transaction_of("default") is CallersTransaction.NONE
        self.keep("key")
        assert self.released == ["key"]
        assert kept_until_commit("default") == []

    def test_e8_it_is_kept_until_the_commit(self) -> None:
        with transaction.atomic():
            assert transaction_of("default") is CallersTransaction.REAL
            self.keep("one")
            with transaction.atomic():
                self.keep("other")
            assert kept_until_commit("default") == ["one", "other"]
            assert self.released == []
        assert sorted(self.released) == ["one", "other"]
        assert kept_until_commit("default") == []

    def test_e8_or_until_it_is_rolled_back(self) -> None:
        with transaction.atomic():
            self.keep("key")
            transaction.set_rollback(True)
        assert self.released == ["key"]
        assert kept_until_commit("default") == []

    def test_what_a_savepoint_keeps_goes_with_it(self) -> None:
        with transaction.atomic():
            self.keep("outer")
            with transaction.atomic():
                self.keep("inner")
                transaction.set_rollback(True)
            assert self.released == ["inner"]
        assert self.released == ["inner", "outer"]

    def test_what_another_hook_raises_does_not_keep_it(self) -> None:
        def broken() -> None:
            raise ValueError("broken")

        with self.assertRaisesMessage(ValueError, "broken"), transaction.atomic():
            transaction.on_commit(broken)
            self.keep("key")
        assert self.released == ["key"]

    def test_it_is_released_once_though_the_connection_is_closed_in_the_midst(self) -> None:
        with transaction.atomic():
            self.keep("key")
            connection.close()
        assert self.released == ["key"]
