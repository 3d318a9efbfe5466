"""The storages: the contract on each of them, what they cost, and what each does of its own."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, ClassVar
from unittest import IsolatedAsyncioTestCase

import pytest
from asgiref.sync import async_to_sync
from django.db import DataError, connection, connections, models
from django.test import SimpleTestCase, TestCase, TransactionTestCase, override_settings
from django.test.utils import CaptureQueriesContext, isolate_apps
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase as HypothesisTestCase

from botsessions.database.changes import Change
from botsessions.database.sessions_table import Table
from botsessions.exceptions import SessionConflict
from botsessions.models import AbstractBotSession, BotSession
from botsessions.records import new_revision
from botsessions.storages import (
    ANY,
    About,
    Address,
    CacheStorage,
    DatabaseStorage,
    FileStorage,
    FreeStorage,
    MemoryStorage,
    Record,
    Storage,
    ValueStorage,
    enhance_storage,
)
from botsessions.testing import StorageContract

from .caches import LOCAL_MEMORY, redis_cache
from .free_storage.server import TOKEN, serving
from .strategies import TEXT, strict_json

ADDRESS = Address("pizza", "", "42")
NAMED = Address("pizza", "user", "42")


class DictStorage(ValueStorage):
    def __init__(self, values: dict[str, Any] | None = None) -> None:
        self.values = {} if values is None else values

    def get_value(self, key: str) -> Any:
        return self.values.get(key)

    def set_value(self, key: str, value: Any) -> None:
        self.values[key] = value

    def delete_value(self, key: str) -> None:
        self.values.pop(key, None)


class AsyncDictStorage(DictStorage):
    async def get_value(self, key: str) -> Any:
        return super().get_value(key)

    async def set_value(self, key: str, value: Any) -> None:
        super().set_value(key, value)

    async def delete_value(self, key: str) -> None:
        super().delete_value(key)


class PlainStorage:
    """The least that a storage can be: a plain class with three ordinary functions."""

    detects_conflicts = True

    def __init__(self) -> None:
        self.stored: dict[Address, tuple[str, Record]] = {}

    def read(self, address: Address) -> Record | None:
        if address not in self.stored:
            return None
        text, record = self.stored[address]
        version, expires_at, revision = record.version, record.expires_at, record.revision
        return Record(json.loads(text), version, expires_at, revision).live()

    def write(self, address: Address, record: Record) -> int:
        self.compare(address, record.revision)
        revision = new_revision()
        kept = Record(None, record.version, record.expires_at, revision)
        self.stored[address] = (json.dumps(record.value), kept)
        return revision

    def delete(self, address: Address, revision: Any) -> None:
        if address in self.stored:
            self.compare(address, revision)
            del self.stored[address]

    def compare(self, address: Address, revision: Any) -> None:
        found = self.stored[address][1].revision if address in self.stored else None
        if revision not in (ANY, found):
            raise SessionConflict(address)


class MemoryStorageTests(StorageContract, SimpleTestCase):
    def make_storage(self) -> Storage:
        return MemoryStorage()


class PlainStorageTests(StorageContract, SimpleTestCase):
    def make_storage(self) -> Storage:
        return PlainStorage()


class DictStorageTests(StorageContract, SimpleTestCase):
    def make_storage(self) -> Storage:
        return DictStorage()


class AsyncDictStorageTests(StorageContract, IsolatedAsyncioTestCase):
    def make_storage(self) -> Storage:
        return AsyncDictStorage()


class Files(StorageContract):
    def make_storage(self) -> Storage:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        return FileStorage(directory.name)


class FileStorageTests(Files, SimpleTestCase):
    pass


class FileStorageInThreadsTests(Files, IsolatedAsyncioTestCase):
    pass


@override_settings(CACHES=LOCAL_MEMORY)
class CacheStorageTests(StorageContract, SimpleTestCase):
    def make_storage(self) -> Storage:
        return CacheStorage()


class RedisCacheStorageTests(StorageContract, IsolatedAsyncioTestCase):
    def make_storage(self) -> Storage:
        stack = ExitStack()
        self.addCleanup(stack.close)
        stack.enter_context(redis_cache())
        return CacheStorage()


class Free(StorageContract):
    def make_storage(self) -> Storage:
        stack = ExitStack()
        self.addCleanup(stack.close)
        return FreeStorage(TOKEN, stack.enter_context(serving()).url)


class FreeStorageTests(Free, SimpleTestCase):
    pass


class FreeStorageOnItsEventLoopTests(Free, IsolatedAsyncioTestCase):
    def make_storage(self) -> Storage:
        storage: Any = super().make_storage()
        self.addAsyncCleanup(storage.close)
        return storage


with isolate_apps("botsessions"):

    class Nowhere(AbstractBotSession):
        """Sessions in a table that nobody has made."""

        class Meta(AbstractBotSession.Meta):
            app_label = "botsessions"


class Database(StorageContract):
    def make_storage(self) -> Storage:
        return DatabaseStorage()

    def make_broken_storage(self) -> Storage:
        return DatabaseStorage(model=Nowhere)


class DatabaseStorageTests(Database, TestCase):
    pass


@override_settings(USE_TZ=False, TIME_ZONE="Asia/Kolkata")
class DatabaseStorageWithoutTimeZonesTests(Database, TestCase):
    """Rule G4."""


@pytest.mark.django_db(transaction=True)
class DatabaseStorageOnItsThreadTests(Database, IsolatedAsyncioTestCase):
    def make_storage(self) -> Storage:
        storage = DatabaseStorage()
        self.addAsyncCleanup(storage.close)
        return storage


class Enhanced(StorageContract):
    keeps_versions = False
    keeps_expiries = False

    def enhanced(self, storage: Storage) -> Storage:
        """Return the storage with everything switched on that does not change the data."""
        return enhance_storage(
            storage, time_to_live=timedelta(days=1), renew="access", migrations={1: lambda old: old}
        )


class EnhancedMemoryStorageTests(Enhanced, SimpleTestCase):
    def make_storage(self) -> Storage:
        return self.enhanced(MemoryStorage())


class EnhancedPlainStorageTests(Enhanced, SimpleTestCase):
    def make_storage(self) -> Storage:
        return self.enhanced(PlainStorage())


class EnhancedDictStorageTests(Enhanced, SimpleTestCase):
    def make_storage(self) -> Storage:
        return self.enhanced(DictStorage())


class EnhancedFileStorageTests(Files, Enhanced, SimpleTestCase):
    def make_storage(self) -> Storage:
        return self.enhanced(super().make_storage())


class EnhancedDatabaseStorageTests(Enhanced, TestCase):
    def make_storage(self) -> Storage:
        return self.enhanced(DatabaseStorage())


class Costs(TestCase):
    """Of the database storage, in statements. There is no SAVEPOINT: nothing needs atomic()."""

    storages: ClassVar = [DatabaseStorage(), enhance_storage(time_to_live=timedelta(days=1))]

    def test_any_number_of_sessions_is_one_statement(self) -> None:
        addresses = [Address("pizza", "", str(key)) for key in range(2000)]
        self.assert_costs(["SELECT"], lambda storage: storage.read_many(addresses))

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


EXPIRY = datetime(2100, 1, 2, 3, 4, 5, 678_000, timezone.utc)
MILLISECONDS = 4_102_542_245_678


class GrammyPacking(SimpleTestCase):
    """As ``enhanceStorage`` in grammY's ``src/convenience/session.ts`` packs."""

    def test_data_that_grammy_wrote_is_read(self) -> None:
        for packed, record in [
            ({"pizzaCount": 3}, Record({"pizzaCount": 3})),
            (0, Record(0)),
            ({"__d": {"pizzaCount": 3}}, Record({"pizzaCount": 3})),
            ({"__d": {"pizzaCount": 3}, "v": 1}, Record({"pizzaCount": 3}, Decimal(1))),
            ({"__d": 0, "v": 10.1}, Record(0, Decimal("10.1"))),
            ({"__d": {}, "e": MILLISECONDS}, Record({}, None, EXPIRY)),
            ({"__d": {}, "v": 2, "e": MILLISECONDS}, Record({}, Decimal(2), EXPIRY)),
            ({"v": 1}, Record({"v": 1})),
        ]:
            with self.subTest(packed=packed):
                found = asyncio.run(DictStorage({"pizza::42": packed}).read(ADDRESS))
                assert found is not None
                assert found == Record(
                    record.value, record.version, record.expires_at, found.revision
                )

    def test_what_is_written_is_packed_as_grammy_does(self) -> None:
        for record, packed in [
            (Record({"pizzaCount": 3}), {"pizzaCount": 3}),
            (Record({}, Decimal("1.0")), {"__d": {}, "v": 1}),
            (Record({}, Decimal("10.1")), {"__d": {}, "v": 10.1}),
            (Record({}, None, EXPIRY), {"__d": {}, "e": MILLISECONDS}),
            (Record({}, Decimal(2), EXPIRY), {"__d": {}, "v": 2, "e": MILLISECONDS}),
            (Record({"__d": 1}), {"__d": {"__d": 1}}),
        ]:
            with self.subTest(record=record):
                storage = DictStorage()
                asyncio.run(storage.write(ADDRESS, record))
                assert json.dumps(storage.values) == json.dumps({"pizza::42": packed})

    def test_what_grammy_let_expire_is_not_shown(self) -> None:
        storage = DictStorage({"pizza::42": {"__d": {"pizzaCount": 3}, "e": 1_700_000_000_000}})
        found = asyncio.run(storage.read(ADDRESS))
        assert found is not None
        assert found.value is None

    def test_a_flat_key_of_ones_own_reads_what_another_bot_has_written(self) -> None:
        class GrammyStorage(DictStorage):
            def flat_key(self, address: Address) -> str:
                return address.key

        found = asyncio.run(GrammyStorage({"42": {"pizzaCount": 3}}).read(ADDRESS))
        assert found is not None
        assert found.value == {"pizzaCount": 3}

    @given(*[st.tuples(TEXT, TEXT, TEXT)] * 2)
    def test_different_addresses_have_different_flat_keys(
        self, one: tuple[str, str, str], other: tuple[str, str, str]
    ) -> None:
        flat_key = DictStorage().flat_key
        assert (flat_key(Address(*one)) == flat_key(Address(*other))) == (one == other)


class MemoryKeepsAbout(SimpleTestCase):
    async def test_what_a_write_does_not_know_about_whom_it_is_stays(self) -> None:
        storage, about = MemoryStorage(), About(chat_id=42, title="Pizza")
        revision = await storage.write(ADDRESS, Record(1, about=about))
        await storage.write(ADDRESS, Record(2, revision=revision))
        record = await storage.read(ADDRESS)
        assert record is not None
        assert record.about == about


def new(record: Record, address: Address = ADDRESS) -> Change:
    return Change(address, record, new_revision())
