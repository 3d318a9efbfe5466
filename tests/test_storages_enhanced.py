"""Timeouts and migrations: rules D."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from unittest import mock

import pytest
from django.test import SimpleTestCase
from hypothesis import given
from hypothesis import strategies as st

from botsessions import session
from botsessions.exceptions import (
    SessionConflict,
    SessionDataError,
    SessionMigrationError,
    SessionVersionError,
)
from botsessions.storages import (
    About,
    Address,
    DatabaseStorage,
    MemoryStorage,
    Record,
    enhance_storage,
)
from botsessions.storages.layers import read_all, write_all
from botsessions.storages.migrations import exact_version

from .harness import Store, client
from .test_storages import DictStorage

pytestmark = pytest.mark.once

ADDRESS = Address("1", "", "1001")
OTHER = Address("1", "", "1002")
NOON = datetime(2026, 2, 28, 12, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


@contextmanager
def at(moment: datetime) -> Iterator[None]:
    """Let it be ``moment`` for the storages."""
    with (
        mock.patch("botsessions.records.utcnow", return_value=moment),
        mock.patch("botsessions.storages.enhanced.utcnow", return_value=moment),
    ):
        yield


async def value_at(moment: datetime, storage: Any) -> Any:
    with at(moment):
        record = await storage.read(ADDRESS)
    return record and record.value


async def stored(storage: Any) -> Record:
    """Return what is stored, without what has been put around the storage."""
    record = await storage.inner.read(ADDRESS)
    assert record is not None
    return record


def never(value: Any) -> Any:
    raise AssertionError("This migration should not run.")


class Timeouts(SimpleTestCase):
    async def test_d1_what_was_not_changed_for_its_time_to_live_is_gone(self) -> None:
        storage = enhance_storage(MemoryStorage(), time_to_live=HOUR)
        with at(NOON):
            await storage.write(ADDRESS, Record({"count": 1}))
        assert await value_at(NOON + HOUR - MINUTE, storage) == {"count": 1}
        assert await value_at(NOON + HOUR, storage) is None

    async def test_d1_a_change_renews(self) -> None:
        storage = enhance_storage(MemoryStorage(), time_to_live=HOUR)
        with at(NOON):
            revision = await storage.write(ADDRESS, Record({"count": 1}))
        with at(NOON + HOUR - MINUTE):
            await storage.write(ADDRESS, Record({"count": 2}, revision=revision))
        assert await value_at(NOON + HOUR + MINUTE, storage) == {"count": 2}

    async def test_d1_a_read_does_not_renew(self) -> None:
        store = Store()
        storage = enhance_storage(store, time_to_live=HOUR)
        with at(NOON):
            await storage.write(ADDRESS, Record({"count": 1}))
        assert await value_at(NOON + HOUR - MINUTE, storage) == {"count": 1}
        assert await value_at(NOON + HOUR + MINUTE, storage) is None
        assert store.operations == ["write", "read", "read"]

    async def test_d1_a_read_renews_if_that_is_asked_for(self) -> None:
        storage = enhance_storage(MemoryStorage(), time_to_live=HOUR, renew="access")
        with at(NOON):
            await storage.write(ADDRESS, Record({"count": 1}, about=About(chat_id=1)))
        assert await value_at(NOON + HOUR - MINUTE, storage) == {"count": 1}
        assert await value_at(NOON + 2 * HOUR - 2 * MINUTE, storage) == {"count": 1}
        with at(NOON + 2 * HOUR):
            assert (await stored(storage)).about == About(chat_id=1)
        assert await value_at(NOON + 3 * HOUR, storage) is None

    async def test_d1_reads_renew_once_per_tenth_of_the_time_to_live(self) -> None:
        store = Store()
        storage = enhance_storage(store, time_to_live=HOUR, renew="access")
        with at(NOON):
            await storage.write(ADDRESS, Record({"count": 1}))
        for minutes in range(60):
            assert await value_at(NOON + minutes * MINUTE, storage) == {"count": 1}
        assert [store.operations.count(operation) for operation in ("write", "renew")] == [1, 9]

    async def test_d1_what_has_expired_starts_from_initial_again(self) -> None:
        store, seen = Store(), []

        async def count(update: Any, context: Any) -> None:
            seen.append(context.session["count"])
            context.session["count"] += 1

        storage = enhance_storage(store, time_to_live=HOUR)
        maria = client(session(initial=lambda: {"count": 0}, storage=storage), count).user()
        for moment in (NOON, NOON + MINUTE, NOON + 2 * HOUR, NOON + 2 * HOUR + MINUTE):
            with at(moment):
                await maria.send("x")
        assert seen == [0, 1, 0, 1]

    async def test_d2_what_was_stored_before_gets_an_expiry_at_its_next_read(self) -> None:
        for renew in ("change", "access"):
            with self.subTest(renew=renew):
                store = Store({"1001": {"count": 1}})
                storage = enhance_storage(store, time_to_live=HOUR, renew=renew)
                with at(NOON):
                    record = await storage.read(ADDRESS)
                    assert record is not None
                    assert record.expires_at == (await stored(storage)).expires_at == NOON + HOUR
                    await storage.write(ADDRESS, Record({"count": 2}, revision=record.revision))
                assert store.operations == ["read", "renew", "read", "write"]

    async def test_d2_what_was_changed_meanwhile_is_read_anew(self) -> None:
        async def change(store: Store) -> None:
            revision = (await MemoryStorage.read_many(store, [ADDRESS]))[ADDRESS].revision
            await MemoryStorage.write(store, ADDRESS, Record({"count": 2}, revision=revision))

        async def delete(store: Store) -> None:
            revision = (await MemoryStorage.read_many(store, [ADDRESS]))[ADDRESS].revision
            await MemoryStorage.delete(store, ADDRESS, revision)

        class Busy(MemoryStorage):
            """Somebody else is always faster. It renews by writing."""

            renew = None  # type: ignore[assignment]

            def __init__(self, meanwhile: Any) -> None:
                super().__init__()
                self.meanwhile = meanwhile

            async def write(self, address: Address, record: Record) -> int:
                if record.revision is not None and self.meanwhile is not None:
                    meanwhile, self.meanwhile = self.meanwhile, None
                    await meanwhile(self)
                return await super().write(address, record)

        for meanwhile, value in ((change, {"count": 2}), (delete, None)):
            with self.subTest(value=value):
                store = Busy(meanwhile)
                await store.write(ADDRESS, Record({"count": 1}))
                record = await enhance_storage(store, time_to_live=HOUR).read(ADDRESS)
                assert record is not None
                assert record.value == value
                found = await store.read(ADDRESS)
                assert record.revision == (found and found.revision)

    async def test_d3_what_has_expired_is_not_shown_even_if_the_storage_shows_it(self) -> None:
        class Careless(MemoryStorage):
            async def read(self, address: Address) -> Record | None:
                return Record("expired", expires_at=NOON, revision=7)

        storage = enhance_storage(Careless(), time_to_live=HOUR, renew="access")
        with at(NOON + MINUTE):
            record = await storage.read(ADDRESS)
        assert record is not None
        assert (record.value, record.revision, record.expired) == (None, 7, "expired")

    async def test_d3_d10_what_has_expired_is_neither_migrated_nor_renewed(self) -> None:
        store = Store()
        storage = enhance_storage(store, time_to_live=HOUR, renew="access", migrations={2: never})
        await store.write(ADDRESS, Record("expired", Decimal(1), NOON))
        assert await value_at(NOON + MINUTE, storage) is None
        assert store.operations == ["write", "read"]

    async def test_without_a_time_to_live_a_write_ends_the_old_one(self) -> None:
        storage = enhance_storage(MemoryStorage(), migrations={1: never})
        await storage.inner.write(ADDRESS, Record(1, Decimal(1), NOON + HOUR))
        with at(NOON):
            record = await storage.read(ADDRESS)
            assert record is not None
            await storage.write(ADDRESS, Record(2, revision=record.revision))
        assert (await stored(storage)).expires_at is None


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

    def test_a_time_to_live_has_to_be_positive(self) -> None:
        for time_to_live in (timedelta(0), -HOUR):
            with pytest.raises(ValueError, match="time_to_live must be longer"):
                enhance_storage(MemoryStorage(), time_to_live=time_to_live)

    def test_renew_is_change_or_access_and_access_needs_a_time_to_live(self) -> None:
        with pytest.raises(ValueError, match="'change' or 'access', not 'never'"):
            enhance_storage(MemoryStorage(), time_to_live=HOUR, renew="never")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="needs a time_to_live"):
            enhance_storage(MemoryStorage(), renew="access")

    def test_the_database_is_the_default_storage(self) -> None:
        assert enhance_storage(time_to_live=HOUR).inner == DatabaseStorage()


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
                before = store._stored.copy()
                storage = enhance_storage(store, migrations=migrations) if migrations else store
                answers = await client(session(storage=storage), assign_to).user().send("x")
                (error,) = answers.errors
                assert isinstance(error, SessionVersionError)
                assert "'1001'" in str(error)
                assert "version 2.1" in str(error)
                assert store._stored == before

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


class Abilities(SimpleTestCase):
    async def test_d11_conflicts_are_detected_as_inside(self) -> None:
        storage = enhance_storage(MemoryStorage(), time_to_live=HOUR)
        assert storage.detects_conflicts
        assert not enhance_storage(DictStorage(), time_to_live=HOUR).detects_conflicts
        await storage.write(ADDRESS, Record(1))
        for change in (storage.write(ADDRESS, Record(2)), storage.delete(ADDRESS, None)):
            with pytest.raises(SessionConflict):
                await change

    async def test_d11_what_else_the_storage_can_do_is_still_there(self) -> None:
        class Listing(MemoryStorage):
            def keys(self) -> list[str]:
                return [address.key for address in self._stored]

        storage = enhance_storage(
            enhance_storage(Listing(), time_to_live=HOUR), migrations={1: never}
        )
        await storage.write(ADDRESS, Record(1))
        assert storage.keys() == ["1001"]
        assert copy.copy(storage).keys() == ["1001"]
        with pytest.raises(AttributeError, match="nothing_known"):
            storage.nothing_known  # noqa: B018

    async def test_d11_enhanced_and_plain_fragments_of_one_storage_travel_together(self) -> None:
        inner = MemoryStorage()
        one = enhance_storage(inner, time_to_live=HOUR, migrations={1: lambda old: old + 1})
        await inner.write(ADDRESS, Record(1, expires_at=datetime.max.replace(tzinfo=timezone.utc)))
        await inner.write(OTHER, Record(10))
        with (
            mock.patch.object(inner, "read_many", wraps=inner.read_many) as read_many,
            mock.patch.object(inner, "write_many", wraps=inner.write_many) as write_many,
        ):
            read = await read_all([(one, ADDRESS), (inner, OTHER)])
            assert [record and record.value for record in read] == [2, 10]
            changes = [
                (storage, address, Record(0, revision=record and record.revision))
                for storage, address, record in zip(
                    (one, inner), (ADDRESS, OTHER), read, strict=True
                )
            ]
            outcomes = await write_all(changes)
        assert [isinstance(outcome, int) for outcome in outcomes] == [True, True]
        assert (read_many.await_count, write_many.await_count) == (1, 1)
        found = await inner.read_many([ADDRESS, OTHER])
        assert [found[address].version for address in (ADDRESS, OTHER)] == [1, None]
