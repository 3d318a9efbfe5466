"""Storages with timeouts: rules D1 to D3, and D11. Migrations have a file of their own."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from unittest import mock

import pytest
from django.test import SimpleTestCase

from botsessions import session
from botsessions.exceptions import (
    SessionConflict,
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
