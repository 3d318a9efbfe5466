"""From older shapes of stored data to the newest: rules D4 to D10."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from django.test import SimpleTestCase
from hypothesis import given
from hypothesis import strategies as st

from botsessions import session
from botsessions.exceptions import (
    SessionDataError,
    SessionMigrationError,
    SessionVersionError,
)
from botsessions.storages import MemoryStorage, Record, enhance_storage
from botsessions.storages.migrations import exact_version

from .harness import Store, client
from .test_storages import DictStorage
from .test_storages_enhanced import ADDRESS, HOUR, MINUTE, NOON, at, never, stored, value_at

pytestmark = pytest.mark.once


NUMBERS = st.decimals(-1000, 1000, places=6) | st.integers(-100, 100)
VERSIONS = st.lists(NUMBERS, min_size=1, max_size=6, unique=True)


def noting(version: Any) -> Any:
    """Return a migration that appends its version to the data, a list."""
    return lambda value: [*value, str(Decimal(version).normalize())]


def migrated(migrations: Any, value: Any, version: Decimal | None) -> Record:
    async def migrate() -> Record | None:
        storage = enhance_storage(MemoryStorage(), migrations=migrations)
        await storage.inner.write(ADDRESS, Record(value, version))
        return await storage.read(ADDRESS)

    record = asyncio.run(migrate())
    assert record is not None
    return record


class Declarations(SimpleTestCase):
    def test_d4_no_migrations_at_all_are_an_error(self) -> None:
        with pytest.raises(ValueError, match="migrations is empty"):
            enhance_storage(MemoryStorage(), migrations={})

    def test_d4_versions_that_are_equal_are_an_error(self) -> None:
        for one, other in ((10.1, Decimal("10.10")), (10.1, "10.1"), (1, "1.0")):
            with self.subTest(one=one), pytest.raises(ValueError, match="are equal"):
                enhance_storage(MemoryStorage(), migrations={one: never, other: never})

    def test_d6_what_is_no_exact_number_is_no_version(self) -> None:
        for version in (
            "one",
            None,
            True,
            float("nan"),
            float("inf"),
            0.1 + 0.2,
            1e-7,
            1e9,
            1e300,
            Decimal("0.0000001"),
            10**9,
        ):
            with (
                self.subTest(version=version),
                pytest.raises(ValueError, match="A version must be"),
            ):
                enhance_storage(MemoryStorage(), migrations={version: never})


class Migrations(SimpleTestCase):
    @given(VERSIONS)
    def test_d5_data_without_a_version_runs_through_all_in_numeric_order(
        self, versions: list[Any]
    ) -> None:
        record = migrated({version: noting(version) for version in versions}, [], None)
        assert record.value == [str(Decimal(v).normalize()) for v in sorted(versions)]
        assert record.version == max(versions)
        assert record.stale

    @given(VERSIONS, st.data())
    def test_d5_data_at_a_version_runs_through_those_above_it(
        self, versions: list[Any], data: st.DataObject
    ) -> None:
        """Also if that version is no longer among the migrations."""
        version = data.draw(NUMBERS.filter(lambda number: number <= max(versions)))
        record = migrated({v: noting(v) for v in versions}, [], Decimal(version))
        assert record.value == [
            str(Decimal(v).normalize()) for v in sorted(versions) if v > version
        ]
        assert record.version == max(versions)

    def test_d5_data_at_the_newest_version_is_untouched(self) -> None:
        record = migrated({1: never, 2: never}, {"count": 1}, Decimal("2.0"))
        assert (record.value, record.version, record.stale) == ({"count": 1}, 2, False)

    def test_d6_ten_and_ten_point_one_are_two_versions_and_each_runs_once(self) -> None:
        migrations = {10.1: noting("10.1"), 1.5: noting("1.5"), 10: noting("10")}
        for version, ran in {
            None: ["1.5", "1E+1", "10.1"],
            "1": ["1.5", "1E+1", "10.1"],
            "1.5": ["1E+1", "10.1"],
            "10": ["10.1"],
            "10.1": [],
        }.items():
            with self.subTest(version=version):
                exact = None if version is None else Decimal(version)
                assert migrated(migrations, [], exact).value == ran

    @given(st.decimals(-(10**9) + 1, 10**9 - 1, places=6))
    def test_d6_versions_are_exactly_what_was_written(self, version: Decimal) -> None:
        assert exact_version(version) == version
        assert exact_version(float(version)) == Decimal(repr(float(version))) == version
        assert str(exact_version(version)) == str(exact_version(float(version)))

    async def test_d7_migrations_may_be_async_and_get_what_the_last_one_returned(self) -> None:
        async def rename(value: Any) -> Any:
            await asyncio.sleep(0)
            return {"pizza_count": value["pizzas"]}

        def double(value: Any) -> Any:
            value["pizza_count"] *= 2
            return value

        storage = enhance_storage(MemoryStorage(), migrations={1: rename, 2: double})
        await storage.inner.write(ADDRESS, Record({"pizzas": 3}))
        record = await storage.read(ADDRESS)
        assert record is not None
        assert record.value == {"pizza_count": 6}
        assert (await stored(storage)).value == {"pizzas": 3}

    async def test_d7_what_does_not_exist_is_not_migrated(self) -> None:
        storage = enhance_storage(MemoryStorage(), migrations={1: never})
        assert await storage.read(ADDRESS) is None
        packed = DictStorage({"1::1001": {"__d": None}})
        assert await enhance_storage(packed, migrations={1: never}).read(ADDRESS) == Record(
            None, revision=0
        )

    async def test_d7_a_write_carries_the_newest_version(self) -> None:
        storage = enhance_storage(MemoryStorage(), migrations={2: never, 10.1: never, 3: never})
        for version in (None, Decimal(2)):
            await storage.write(ADDRESS, Record({}, version))
            assert (await stored(storage)).version == Decimal("10.1")
            await storage.delete(ADDRESS, (await stored(storage)).revision)

    async def test_d7_a_migration_that_forgets_to_return_is_refused(self) -> None:
        def forgetful(value: Any) -> None:
            value["count"] = 1

        store = Store({"1001": {"count": 0}})
        storage = enhance_storage(store, migrations={2: forgetful})
        with pytest.raises(SessionMigrationError, match="version 2 returned None"):
            await storage.read(ADDRESS)
        assert store.values == {"1001": {"count": 0}}

    async def test_d7_what_was_migrated_and_seen_is_written_decoded_and_stamped(self) -> None:
        @dataclass
        class Pizza:
            pizza_count: int

        async def look(update: Any, context: Any) -> None:
            assert context.session == Pizza(3)

        store = Store({"1001": {"pizzas": "3"}})
        storage = enhance_storage(
            store, migrations={1: lambda old: {"pizza_count": int(old["pizzas"])}}
        )
        maria = client(session(storage=storage, data_type=Pizza), look, raise_errors=True).user()
        await maria.send("x")
        assert store.values == {"1001": {"pizza_count": 3}}
        assert (await stored(storage)).version == 1
        await maria.send("x")
        assert store.operations == ["read", "write", "read", "read"]

    async def test_d7_what_was_migrated_and_not_seen_is_not_written(self) -> None:
        async def pass_by(update: Any, context: Any) -> None:
            pass

        store = Store({"1001": 1})
        storage = enhance_storage(store, migrations={1: lambda old: old + 1})
        await client(session(storage=storage), pass_by).user().send("x")
        assert store.operations == ["read"]

    async def test_d7_what_a_migration_returns_has_to_fit(self) -> None:
        store = Store({"1001": {"count": 1}})
        storage = enhance_storage(store, migrations={1: lambda old: {"tags": {1}}})
        answers = await client(session(storage=storage), look_at).user().send("x")
        (error,) = answers.errors
        assert isinstance(error, SessionDataError)
        assert error.path == "$.tags"
        assert store.operations == ["read"]

    async def test_d8_data_of_a_newer_version_is_refused_and_kept_as_it_is(self) -> None:
        for migrations in ({1: never, 2: never}, None):
            with self.subTest(migrations=migrations):
                store = Store()
                await store.write(ADDRESS, Record({"from": "the future"}, Decimal("2.1")))
                before = store.records, store.values
                storage = enhance_storage(store, migrations=migrations) if migrations else store
                answers = await client(session(storage=storage), assign_to).user().send("x")
                (error,) = answers.errors
                assert isinstance(error, SessionVersionError)
                assert "'1001'" in str(error)
                assert "version 2.1" in str(error)
                assert (store.records, store.values) == before

    async def test_d8_a_renewal_does_not_stamp_newer_data_down(self) -> None:
        storage = enhance_storage(MemoryStorage(), time_to_live=HOUR, migrations={1: never})
        await storage.inner.write(ADDRESS, Record({"from": "the future"}, Decimal(2)))
        with pytest.raises(SessionVersionError):
            await storage.read(ADDRESS)
        record = await stored(storage)
        assert (record.value, record.version) == ({"from": "the future"}, 2)

    async def test_d9_what_a_migration_raises_names_key_and_version_and_changes_nothing(
        self,
    ) -> None:
        def break_off(value: Any) -> Any:
            value["count"] = "lost"
            raise LookupError("4242-secret")

        for store in (Store({"1001": {"count": 1}}), DictStorage({"1::1001": {"count": 1}})):
            with self.subTest(store=type(store).__name__):
                storage = enhance_storage(
                    store, migrations={1: lambda old: old, Decimal("2.50"): break_off}
                )
                answers = await client(session(storage=storage), assign_to).user().send("x")
                (error,) = answers.errors
                assert isinstance(error, SessionMigrationError)
                assert "session '1001' of bot '1' to version 2.5 raised LookupError" in str(error)
                assert "secret" not in str(error)
                assert isinstance(error.__cause__, LookupError)
                assert list(store.values.values()) == [{"count": 1}]

    async def test_d10_timeouts_and_migrations_work_together(self) -> None:
        storage = enhance_storage(
            MemoryStorage(), time_to_live=HOUR, migrations={1: lambda old: old + 1}
        )
        await storage.inner.write(ADDRESS, Record(1))
        with at(NOON):
            record = await storage.read(ADDRESS)
            assert record is not None
            assert (record.value, record.version, record.stale) == (2, 1, True)
            # The renewal wrote the data as it was; the migrated data is written by who has seen it.
            assert ((await stored(storage)).value, (await stored(storage)).version) == (1, None)
            await storage.write(ADDRESS, Record(record.value, revision=record.revision))
            assert ((await stored(storage)).value, (await stored(storage)).version) == (2, 1)
        assert await value_at(NOON + HOUR + MINUTE, storage) is None

    async def test_d10_so_they_do_as_two_layers_in_either_order(self) -> None:
        def timed(inner: Any) -> Any:
            return enhance_storage(inner, time_to_live=HOUR)

        def migrating(inner: Any) -> Any:
            return enhance_storage(inner, migrations={1: lambda old: old + 1})

        for outer, inner in ((timed, migrating), (migrating, timed)):
            with self.subTest(outer=outer.__name__), at(NOON):
                store = MemoryStorage()
                await store.write(ADDRESS, Record(1))
                storage = outer(inner(store))
                record = await storage.read(ADDRESS)
                assert record.value == 2
                revision = await storage.write(ADDRESS, Record(5, revision=record.revision))
                found = await store.read(ADDRESS)
                assert found == Record(5, Decimal(1), NOON + HOUR, revision)
                assert storage.newest_version == 1

    def test_two_layers_with_migrations_are_refused(self) -> None:
        inner = enhance_storage(enhance_storage(migrations={1: never}), time_to_live=HOUR)
        with pytest.raises(ValueError, match="has migrations already"):
            enhance_storage(inner, migrations={2: never})


async def look_at(update: Any, context: Any) -> None:
    assert context.session is not None


async def assign_to(update: Any, context: Any) -> None:
    context.session = "assigned"
