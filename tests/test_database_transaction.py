"""What a unit of work does on one database, in whatever transaction it is done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection, transaction
from django.test import TestCase, TransactionTestCase
from django.test.utils import CaptureQueriesContext

from botsessions.database.connections import close_databases
from botsessions.database.transaction import DatabaseTransaction, is_seen_by_others
from botsessions.exceptions import SessionConflict, SessionLockError
from botsessions.models import BotSession
from botsessions.storages import Address, Record

from .test_database_leases import (
    STORAGE,
    address_of,
    ask,
    ask_again_and_again,
    ask_alone,
    end_all_leases,
    in_thread_of_its_own,
    lease_on,
    statements,
    unit_on,
)


class InTransactions(TransactionTestCase):
    """E7: sync code that waits, with the lock that the bot has."""

    def setUp(self) -> None:
        self.addCleanup(close_databases)

    def edit(self, lose: Callable[[], None] = lambda: None) -> None:
        async def work() -> None:
            unit = unit_on("42")
            record = (await unit.read([address_of("42")])).get(address_of("42"), Record(0))
            await asyncio.to_thread(lose)
            value: Any = record.value
            changed = Record(value + 1, revision=record.revision)
            await unit.write([(address_of("42"), changed)], last=True)
            unit.give_up()

        async_to_sync(work)()

    def stored(self) -> Any:
        return BotSession.objects.get().data

    def test_outside_a_transaction_the_lease_goes_along(self) -> None:
        self.edit()
        with statements() as made:
            self.edit()
        made = [statement for statement in made if statement.split()[1:]]
        assert made == ["INSERT lease", "SELECT session", "UPDATE lease", "UPDATE session"]
        assert async_to_sync(ask_again_and_again)(lease_on("42"))

    def test_in_a_transaction_others_see_the_lease_at_once(self) -> None:
        if connection.vendor == "sqlite":
            self.skipTest("Nobody else can write: that is enough.")
        unit = unit_on("42")
        with transaction.atomic():
            async_to_sync(unit.read)([])
            assert not unit.protects_writes
            assert not in_thread_of_its_own(ask_alone, lease_on("42"))
        unit.give_up()
        assert async_to_sync(ask_again_and_again)(lease_on("42"))

    def test_a_transaction_of_sqlite_does_not_wait_for_what_cannot_happen(self) -> None:
        if connection.vendor != "sqlite":
            self.skipTest("Of SQLite.")
        assert async_to_sync(ask)(lease_on("42"))
        with pytest.raises(SessionLockError, match=r"outside atomic\(\)"), transaction.atomic():
            self.edit()

    def test_e7_a_holder_that_was_cut_off_in_a_transaction_cannot_write(self) -> None:
        if connection.vendor == "sqlite":
            self.skipTest("There nobody could have succeeded it.")

        def lose() -> None:
            in_thread_of_its_own(end_all_leases)
            assert in_thread_of_its_own(ask_alone, lease_on("42"))

        self.edit()
        with pytest.raises(SessionConflict), transaction.atomic():
            self.edit(lose)
        assert self.stored() == 1


class InATest(TestCase):
    """Nobody outside a test's transaction can see what is in it, so no leases are taken there."""

    def test_no_lease_is_taken(self) -> None:
        async def work() -> None:
            unit = unit_on("42")
            await unit.read([address_of("42")])
            await unit.write([(address_of("42"), Record(1))], last=True)
            unit.give_up()

        with CaptureQueriesContext(connection) as captured:
            async_to_sync(work)()
        assert "lease" not in str(captured.captured_queries)
        assert BotSession.objects.get().data == 1


class Seen(TransactionTestCase):
    """Whether others can see what is stored now: else there is no use in telling them of keys."""

    def is_seen(self) -> bool:
        return async_to_sync(is_seen_by_others)("default")

    def test_outside_of_transactions_it_is(self) -> None:
        assert self.is_seen()

    def test_in_one_it_is_where_others_can_write(self) -> None:
        with transaction.atomic():
            assert self.is_seen() is (connection.vendor != "sqlite")


class WithoutALease(TestCase):
    def test_reads_and_writes_are_those_of_the_tables(self) -> None:
        here, there = Address("pizza", "", "42"), Address("pizza", "", "43")

        async def work() -> Any:
            unit = DatabaseTransaction("default", dict.fromkeys((here, there), STORAGE.table))
            assert not unit.has_rights
            assert await unit.read([]) == {}
            revision, none = await unit.write([(here, Record(1)), (there, Record(None))])
            assert none is None
            found = await unit.read([here, there])
            assert found == {here: Record(1, revision=revision)}
            unit.give_up()
            return await unit.write([])

        assert async_to_sync(work)() == []

    def test_no_sessions_are_seen_in_a_tests_transaction_by_others(self) -> None:
        assert not async_to_sync(is_seen_by_others)("default")
