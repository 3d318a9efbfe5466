"""The storage in Django's databases: the contract, what it costs, and what the database holds."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, ClassVar

from asgiref.sync import async_to_sync
from django.db import DataError, connection, connections, models
from django.test import SimpleTestCase, TestCase, TransactionTestCase, override_settings
from django.test.utils import CaptureQueriesContext, isolate_apps
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase as HypothesisTestCase

from botsessions.database.changes import Change
from botsessions.database.sessions_table import Table
from botsessions.database.storage import DatabaseStorage
from botsessions.models import AbstractBotSession, BotSession
from botsessions.records import new_revision
from botsessions.storages import (
    ANY,
    About,
    Address,
    MemoryStorage,
    Record,
    enhance_storage,
)

from .strategies import strict_json

ADDRESS = Address("pizza", "", "42")
NAMED = Address("pizza", "user", "42")


class Costs(TestCase):
    """Of the database storage, in statements. There is no SAVEPOINT: nothing needs atomic()."""

    storages: ClassVar = [
        DatabaseStorage(),
        enhance_storage(DatabaseStorage(), time_to_live=timedelta(days=1)),
    ]

    def test_any_number_of_sessions_is_one_statement(self) -> None:
        addresses = [Address("pizza", "", str(key)) for key in range(2000)]
        self.assert_costs(["SELECT"], lambda storage: storage.read_many(addresses))

    def test_postgresql_leaves_room_to_update_rows_in_their_pages(self) -> None:
        if connection.vendor != "postgresql":
            self.skipTest(f"{connection.vendor} has no pages to be filled.")
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT relname FROM pg_class WHERE 'fillfactor=80' = ANY (reloptions) "
                "ORDER BY relname"
            )
            assert [name for (name,) in cursor.fetchall()] == [
                "botsessions_botsession",
                "botsessions_botsessionlease",
                "botsessions_handledupdate",
            ]

    def test_a_read_costs_one_statement(self) -> None:
        self.assert_costs(["SELECT"], lambda storage: storage.read(ADDRESS))

    def test_a_read_of_many_costs_one_statement(self) -> None:
        addresses = [ADDRESS, NAMED, Address("pizza", "", "43")]
        self.assert_costs(["SELECT"], lambda storage: storage.read_many(addresses))

    def test_a_creation_costs_one_statement(self) -> None:
        self.assert_costs(["INSERT"], lambda storage: storage.write(NAMED, Record({})))

    def test_a_change_costs_one_statement(self) -> None:
        self.assert_costs(
            ["UPDATE"],
            lambda storage: storage.write(ADDRESS, Record({}, revision=self.revision)),
        )

    def test_an_assignment_costs_one_statement(self) -> None:
        self.assert_costs(
            ["INSERT"], lambda storage: storage.write(ADDRESS, Record(1, revision=ANY))
        )

    def test_a_delete_costs_one_statement(self) -> None:
        self.assert_costs(["DELETE"], lambda storage: storage.delete(ADDRESS, self.revision))
        self.assert_costs(["DELETE"], lambda storage: storage.delete(ADDRESS, ANY))

    def test_a_renewal_costs_one_statement(self) -> None:
        later = datetime(2100, 1, 1, tzinfo=timezone.utc)
        self.assert_costs(
            ["UPDATE"],
            lambda storage: storage.renew(ADDRESS, Record(None, None, later, self.revision)),
        )

    def test_a_write_of_many_costs_one_transaction_and_a_statement_each(self) -> None:
        is_checked = connection.vendor == "postgresql"  # By the statements themselves.
        made = ["WITH", "WITH"] if is_checked else ["UPDATE", "INSERT"]
        self.assert_costs(
            ["SAVEPOINT", *made, "RELEASE"],
            lambda storage: storage.write_many(
                [(ADDRESS, Record({}, revision=self.revision)), (NAMED, Record({}))]
            ),
        )

    def assert_costs(self, verbs: list[str], operation: Callable[[Any], Any]) -> None:
        async def operate(storage: Any) -> None:
            await operation(storage)

        for storage in self.storages:
            with self.subTest(storage=type(storage).__name__):
                BotSession.objects.all().delete()
                self.revision = async_to_sync(storage.write)(ADDRESS, Record({"old": 1}))
                with CaptureQueriesContext(connection) as queries:
                    async_to_sync(operate)(storage)
                assert [query["sql"].split()[0] for query in queries] == verbs


class Plans(TestCase):
    """The index on the address answers, however many rows there are."""

    def test_a_read_uses_the_index_on_the_address(self) -> None:
        many = [Address("pizza", name, str(key)) for key in range(8) for name in ("", "user")]
        for addresses in ([ADDRESS], [ADDRESS, NAMED], many):
            with self.subTest(count=len(addresses)):
                self.assert_uses_index(lambda table, a=addresses: table.select(a))

    def test_a_write_and_a_delete_use_the_index_on_the_address(self) -> None:
        for count in (1, 5):
            addresses = [Address("pizza", "", str(key)) for key in range(count)]
            for value in (1, None):
                stored = self.table.select(addresses)
                changes = [
                    new(Record(value, revision=record.revision), address)
                    for address, record in stored.items()
                ]
                with self.subTest(count=count, value=value):
                    self.assert_uses_index(lambda table, c=changes: table.write(c))

    @property
    def table(self) -> Table:
        return Table(BotSession, "default")

    def setUp(self) -> None:
        BotSession.objects.bulk_create(
            BotSession(bot="pizza", name=name, key=str(key), data={})
            for key in range(2000)
            for name in ("", "user")
        )
        if connection.vendor == "postgresql":  # Without statistics it may choose another one.
            with connection.cursor() as cursor:
                cursor.execute(f"ANALYZE {BotSession._meta.db_table}")

    def assert_uses_index(self, statement: Callable[[Table], Any]) -> None:
        with CaptureQueriesContext(connection) as queries:
            statement(self.table)
        (query,) = [q for q in queries if "SAVEPOINT" not in q["sql"]]
        if " times: " in query["sql"]:  # The statement for a single session, for each of them.
            return
        with connection.cursor() as cursor:
            explain = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
            cursor.execute(f"{explain} {query['sql']}")
            plan = str(cursor.fetchall())
        assert "botsession_address" in plan or "(bot=? AND name=? AND key=?)" in plan, plan
        assert "Seq Scan" not in plan


class WhatTheDatabaseHolds(TestCase):
    about = About(chat_id=-(2**52), user_id=2**52, chat_type="supergroup", title="Pizza 🍕")

    def test_a_row_tells_what_it_is_and_whose(self) -> None:
        before = datetime.now(timezone.utc)
        expires_at = datetime(2100, 1, 2, 3, 4, 5, 678_000, timezone.utc)
        record = Record({"pizza": "🍕"}, Decimal("1.5"), expires_at, about=self.about)
        revision = self.write(record, NAMED)
        row = BotSession.objects.get()
        assert (row.bot, row.name, row.key) == NAMED
        assert row.data == {"pizza": "🍕"}
        assert (row.version, row.expires_at, row.revision) == (Decimal("1.5"), expires_at, revision)
        assert row.size == len('{"pizza":"🍕"}'.encode())
        assert before <= row.created_at == row.updated_at <= datetime.now(timezone.utc)
        shown = About(row.chat_id, row.user_id, row.chat_type, row.title)
        assert shown == self.about

    def test_what_a_write_does_not_know_about_whom_it_is_stays(self) -> None:
        revision = self.write(Record(1, about=self.about))
        for about in (None, About()):
            revision = self.write(Record(2, revision=revision, about=about))
        self.write(Record(3, revision=ANY))
        row = BotSession.objects.get()
        assert row.data == 3
        assert About(row.chat_id, row.user_id, row.chat_type, row.title) == self.about

    def test_about_whom_it_is_follows_what_is_known_now(self) -> None:
        revision = self.write(Record(1, about=self.about))
        self.write(Record(1, revision=revision, about=About(title="Pasta")))
        row = BotSession.objects.get()
        assert (row.chat_id, row.title) == (self.about.chat_id, "Pasta")

    def test_a_title_that_is_too_long_is_cut_off(self) -> None:
        self.write(Record(1, about=About(title="🍕" * 300)))
        assert BotSession.objects.get().title == "🍕" * 255

    def test_a_session_without_chat_and_user_has_empty_columns(self) -> None:
        self.write(Record(1))
        row = BotSession.objects.get()
        assert (row.chat_id, row.user_id, row.chat_type, row.title) == (None, None, "", "")

    def test_a_renewal_keeps_data_revision_and_the_time_of_the_last_change(self) -> None:
        revision = self.write(Record({"pizza": 1}, Decimal(1), about=self.about))
        before = BotSession.objects.values().get()
        later = datetime(2100, 1, 1, tzinfo=timezone.utc)
        record = Record("ignored", Decimal(2), later, revision)
        async_to_sync(DatabaseStorage().renew)(ADDRESS, record)
        assert BotSession.objects.values().get() == before | {"expires_at": later}

    def test_a_change_keeps_the_time_of_creation(self) -> None:
        revision = self.write(Record(1))
        created = BotSession.objects.get()
        self.write(Record(2, revision=revision))
        self.write(Record(3, revision=ANY))
        changed = BotSession.objects.get()
        assert changed.pk == created.pk
        assert changed.created_at == created.created_at < changed.updated_at

    def test_a_row_that_the_orm_has_made_is_read(self) -> None:
        row = BotSession.objects.create(bot="pizza", key="42", data=[1.5], version=Decimal("10.1"))
        record = async_to_sync(DatabaseStorage().read)(ADDRESS)
        assert record == Record([1.5], Decimal("10.1"), revision=row.revision)

    def test_a_key_that_is_too_long_is_no_other_session(self) -> None:
        """SQLite has no limit; the others refuse, and cut nothing off."""
        long = Address("pizza", "", "k" * 256)
        try:
            self.write(Record(1), long)
        except DataError:
            assert connection.vendor != "sqlite"
        else:
            assert BotSession.objects.get().key == long.key

    def write(self, record: Record, address: Address = ADDRESS) -> int:
        return async_to_sync(DatabaseStorage().write)(address, record)


class Json(HypothesisTestCase):
    @given(strict_json(floats=st.floats(-1e15, 1e15)))
    @settings(max_examples=50, deadline=None)
    def test_a20_what_is_written_reads_back_equal(self, value: Any) -> None:
        """But for PostgreSQL, which gives large floats back as integers."""
        async_to_sync(DatabaseStorage().write)(ADDRESS, Record([value]))
        record = async_to_sync(DatabaseStorage().read)(ADDRESS)
        assert record is not None
        assert record.value == [value]


class DatabaseStorages(SimpleTestCase):
    def test_two_with_the_same_table_are_equal(self) -> None:
        assert DatabaseStorage() == DatabaseStorage(model=BotSession)
        assert len({DatabaseStorage(), DatabaseStorage(model="botsessions.botsession")}) == 1

    def test_another_database_is_another_storage(self) -> None:
        assert DatabaseStorage() != DatabaseStorage(using="other")
        assert DatabaseStorage() != MemoryStorage()

    def test_repr_names_table_and_database(self) -> None:
        storage = DatabaseStorage(using="other")
        assert repr(storage) == "DatabaseStorage(model='botsessions.botsession', using='other')"

    @override_settings(DATABASE_ROUTERS=[f"{__name__}.Router"])
    def test_the_routers_say_where_sessions_are_written(self) -> None:
        assert DatabaseStorage().using == "for_writing"
        assert DatabaseStorage(using="other").using == "other"


class Router:
    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "for_reading"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "for_writing"


class Concurrency(TransactionTestCase):
    """Connections side by side, as several processes have them."""

    threads = 8

    def test_of_many_creations_side_by_side_one_wins(self) -> None:
        def create(number: int) -> bool:
            return bool(self.table.write([new(Record(number))]))

        assert sum(self.side_by_side(create)) == 1
        assert BotSession.objects.count() == 1

    def test_no_increment_is_lost(self) -> None:
        self.table.write([new(Record(0))])

        def increment(_: int) -> None:
            for _ in range(10):
                landed: set[Change] = set()
                while not landed:
                    record = self.table.select([ADDRESS])[ADDRESS]
                    value: Any = record.value
                    landed = self.table.write([new(Record(value + 1, revision=record.revision))])

        self.side_by_side(increment)
        assert BotSession.objects.get().data == 10 * self.threads

    @property
    def table(self) -> Table:
        return Table(BotSession, "default")

    def side_by_side(self, work: Callable[[int], Any]) -> list[Any]:
        if connection.vendor == "sqlite" and connection.is_in_memory_db():
            self.skipTest("A database in memory does not wait for other connections.")

        def run(number: int) -> Any:
            try:
                return work(number)
            finally:
                connections.close_all()

        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(run, range(self.threads)))


class ModelsOfYourOwn(TransactionTestCase):
    @isolate_apps("tests")
    def test_columns_that_a_subclass_adds_are_filled(self) -> None:
        class PizzaSession(AbstractBotSession):
            note = models.CharField(max_length=10, default="new")
            tag = models.CharField(max_length=10, blank=True)
            seen_at = models.DateTimeField(auto_now_add=True)

            class Meta(AbstractBotSession.Meta):
                app_label = "tests"

        with connection.schema_editor() as editor:
            editor.create_model(PizzaSession)
        try:
            Table(PizzaSession, "default").write([new(Record({"pizza_count": 1}))])
            row = PizzaSession.objects.get()
        finally:
            with connection.schema_editor() as editor:
                editor.delete_model(PizzaSession)
        assert (row.data, row.note, row.tag) == ({"pizza_count": 1}, "new", "")
        assert row.seen_at is not None


def new(record: Record, address: Address = ADDRESS) -> Change:
    return Change(address, record, new_revision())
