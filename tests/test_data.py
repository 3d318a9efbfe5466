"""A fragment's data while a unit of work is open: seen, assigned, compared."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from django.test import SimpleTestCase

from botsessions import enhance_storage, lazy_session, session
from botsessions.data import Data
from botsessions.exceptions import (
    SessionClosed,
    SessionDataError,
    SessionKeyError,
    SessionNotInitialized,
    SessionStorageError,
    SessionVersionError,
)
from botsessions.records import utcnow
from botsessions.storages import ANY, About, Address, Record

from .harness import Store

pytestmark = pytest.mark.once

HERE = Address("1", "", "42")
LATER = datetime(2100, 1, 1, tzinfo=timezone.utc)


def counting() -> dict[str, int]:
    return {"count": 0}


def data_in(store: Any, declare: Any = session, **options: Any) -> Data[Any]:
    """Return a session's data of which nothing is known yet."""
    declared = declare(storage=store, **{"initial": counting, **options})
    return Data(declared.fragments[""], HERE)


class WithoutAKey(SimpleTestCase):
    async def test_a2_a3_it_reads_as_none_and_cannot_be_assigned(self) -> None:
        data = Data(data_in(Store()).fragment, None, no_key="This update has no chat.")
        assert (data.get(), await data.aget(), await data.get_stored()) == (None, None, None)
        assert data.address is data.change() is None
        with pytest.raises(SessionKeyError, match="no chat"):
            data.assign({})

    async def test_reading_raises_where_a_key_was_to_be_expected(self) -> None:
        data = Data(data_in(Store()).fragment, None, no_key="No key for chat.", unreadable=True)
        for read in (data.aget, data.get_stored):
            with pytest.raises(SessionKeyError, match="No key for chat"):
                await read()


class Reading(SimpleTestCase):
    async def test_c2_it_is_read_once_and_is_the_same_object(self) -> None:
        store = Store({"42": {"count": 3}})
        data = data_in(store, lazy_session)
        one, other = await asyncio.gather(data.aget(), data.aget())
        assert one is other is data.get()
        assert one == {"count": 3}
        assert store.operations == ["read"]

    async def test_a9_initial_data_that_was_seen_is_to_be_written(self) -> None:
        data = data_in(Store())
        await data.look()
        assert data.change() is None
        assert data.get() is data.get()
        record = data.change()
        assert record is not None
        assert (record.value, record.revision) == ({"count": 0}, None)

    async def test_a10_without_initial_data_there_is_none_to_be_seen(self) -> None:
        data = data_in(Store(), initial=None)
        with pytest.raises(SessionNotInitialized) as caught:
            await data.aget()
        assert str(caught.value) == (
            "Nothing is stored for session '42' of bot '1', and it declares no initial data. "
            "Give session() an initial=…, or assign data before reading it."
        )
        assert data.change() is None

    async def test_initial_data_that_is_not_to_be_stored_is_written_once_it_has_changed(
        self,
    ) -> None:
        fragment = dataclasses.replace(data_in(Store()).fragment, stores_initial=False)
        data = Data(fragment, HERE)
        await data.look()
        assert data.get() == {"count": 0}
        assert data.change() is None
        data.get()["count"] = 1
        assert data.change() is not None

    async def test_a9_what_was_migrated_is_written_if_somebody_has_seen_it(self) -> None:
        store = Store({"42": 3})
        data = data_in(enhance_storage(store, migrations={1: lambda old: {"count": old}}))
        await data.look()
        assert data.change() is None
        assert data.get() == {"count": 3}
        assert data.change() is not None

    async def test_a11_only_what_has_changed_is_to_be_written(self) -> None:
        data = data_in(Store({"42": {"count": 3}}))
        (await data.aget())["count"] += 1
        record = data.change()
        assert record is not None
        assert record.value == {"count": 4}
        data.get()["count"] -= 1
        assert data.change() is None

    async def test_a12_what_cannot_be_read_raises_for_each_who_asks(self) -> None:
        store = Store()
        store.fails["read"] = error = OSError("gone")
        data = data_in(store)
        for _ in range(2):
            with pytest.raises(OSError, match="gone"):
                await data.aget()
        with pytest.raises(OSError, match="gone"):
            await data.get_stored()
        assert data.error is error
        assert data.change() is None
        assert store.operations == ["read"]

    async def test_what_is_written_says_whose_it_is(self) -> None:
        about = About(chat_id=42)
        data = Data(data_in(Store()).fragment, HERE, lambda: about)
        data.assign({"count": 1})
        record = data.change()
        assert record is not None
        assert record.about == about

    async def test_what_is_only_looked_at_is_not_written(self) -> None:
        data = data_in(Store())
        assert await data.get_stored() is None
        assert data.change() is None
        found = await data_in(Store({"42": {"count": 3}})).get_stored()
        assert found == {"count": 3}

    async def test_d1_who_only_looks_tells_nobody_that_it_has_expired(self) -> None:
        told = []

        def on_expire(key: str, data: Any) -> None:
            told.append((key, data))

        store = Store()
        layered = enhance_storage(store, on_expire=on_expire)
        gone = utcnow() - timedelta(seconds=1)
        await store.write(HERE, Record({"count": 3}, expires_at=gone))
        assert await data_in(layered).get_stored() is None
        assert told == []
        await data_in(layered).look()
        assert told == [("42", {"count": 3})]

    async def test_c2_a_reader_that_gives_up_does_not_take_it_from_others(self) -> None:
        data = data_in(Store({"42": {"count": 3}}))
        one, other = asyncio.ensure_future(data.aget()), asyncio.ensure_future(data.aget())
        await asyncio.sleep(0)
        one.cancel()
        assert await other == {"count": 3}

    async def test_a4_a_read_that_was_cut_short_has_not_told_that_nothing_is_stored(self) -> None:
        store = Store({"42": {"count": 3}})
        store.fails["read"] = asyncio.CancelledError()
        data = data_in(store)
        for _ in range(2):
            with pytest.raises(SessionStorageError, match="ended by CancelledError"):
                await data.aget()
        assert data.change() is None

    async def test_a15_what_is_still_being_read_when_it_is_over_is_closed(self) -> None:
        never: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        class Slow(Store):
            async def read(self, address: Address) -> Record | None:
                await never
                return None

        data = data_in(Slow())
        reader = asyncio.ensure_future(data.aget())
        await asyncio.sleep(0)
        data.close()
        with pytest.raises(SessionClosed, match="over"):
            await reader

    async def test_e12_what_will_expire_is_told_to_who_keeps_the_key(self) -> None:
        told = []

        async def expecting(data: Data[Any], record: Record) -> None:
            told.append((data.address, record.expires_at))

        data = data_in(Store())
        data.expecting = expecting
        await data.accept(Record(1, revision=5))
        await data.accept(None)
        await data.accept(Record(None, expires_at=LATER, revision=5))
        assert told == []
        await data.accept(Record(1, expires_at=LATER, revision=5))
        assert told == [(HERE, LATER)]


class Assigning(SimpleTestCase):
    async def test_c3_what_was_assigned_needs_no_reading(self) -> None:
        store = Store({"42": {"count": 3}})
        data = data_in(store, lazy_session)
        assert not data.replaces_unread
        data.assign({"count": 9})
        assert data.replaces_unread
        assert await data.aget() == {"count": 9}
        record = data.change()
        assert record is not None
        assert (record.value, record.revision) == ({"count": 9}, ANY)
        assert store.operations == []

    async def test_once_it_is_written_what_is_read_counts_again(self) -> None:
        data = data_in(Store(), lazy_session)
        data.assign({"count": 9})
        record = data.change()
        assert record is not None
        data.written(record, 5)
        await data.accept(Record({"count": 10}, revision=6))
        assert data.get() == {"count": 10}

    async def test_c4_a_read_that_ends_after_it_is_dropped(self) -> None:
        data = data_in(Store(), lazy_session)
        data.assign({"count": 9})
        await data.accept(Record({"count": 3}, revision=5))
        assert data.get() == {"count": 9}
        record = data.change()
        assert record is not None
        assert record.revision == 5
        assert not data.replaces_unread

    async def test_a6_none_deletes_what_there_is(self) -> None:
        data = data_in(Store({"42": {"count": 3}}))
        await data.look()
        data.assign(None)
        record = data.change()
        assert record is not None
        assert record.value is None
        assert record.revision == data.stored.record.revision  # type: ignore[union-attr]

    async def test_a6_none_deletes_nothing_where_nothing_is(self) -> None:
        data = data_in(Store())
        await data.look()
        data.assign(None)
        assert data.change() is None
        assert data.get() is None

    async def test_it_heals_what_could_not_be_read(self) -> None:
        store = Store({"42": {"count": "many"}})
        data = data_in(store, initial=None, data_type=dict[str, int])
        await data.look()
        assert data.error is not None
        data.assign({"count": 1})
        assert data.get() == {"count": 1}

    async def test_d8_but_not_what_newer_code_has_stored(self) -> None:
        data = data_in(Store())
        await data.accept(Record({"new": 1}, Decimal(2), revision=5))
        with pytest.raises(SessionVersionError, match="version 2"):
            data.assign({"count": 1})

    async def test_c5_a_strict_session_takes_no_awaitable(self) -> None:
        async def later() -> dict[str, int]:
            return {"count": 9}

        coroutine = later()
        with pytest.raises(
            TypeError, match=r"not coroutine: await it first, or declare a lazy_session\(\)\."
        ):
            data_in(Store()).assign(coroutine)
        await coroutine

    async def test_c5_an_awaitable_is_awaited_by_who_reads_or_saves(self) -> None:
        async def later() -> dict[str, int]:
            return {"count": 9}

        for settle in ("aget", "settle"):
            data = data_in(Store(), lazy_session)
            data.assign(later())
            assert data.is_promised
            await getattr(data, settle)()
            assert not data.is_promised
            assert data.replaces_unread
            assert data.get() == {"count": 9}

    async def test_c5_one_that_was_replaced_meanwhile_does_not_count(self) -> None:
        ready: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        data = data_in(Store(), lazy_session)
        data.assign(ready)
        settling = asyncio.ensure_future(data.settle())
        await asyncio.sleep(0)
        data.assign({"count": 1})
        ready.set_result({"count": 9})
        await settling
        assert await data.aget() == {"count": 1}


class GoingBack(SimpleTestCase):
    async def test_the_data_is_what_it_was_in_the_same_object(self) -> None:
        data = data_in(Store({"42": {"count": 3}}))
        shown = await data.aget()
        before = data.snapshot()
        shown["count"] = 9
        data.restore(before)
        assert data.get() is shown
        assert shown == {"count": 3}
        assert data.change() is None

    async def test_an_assignment_is_taken_back(self) -> None:
        data = data_in(Store({"42": {"count": 3}}))
        shown = await data.aget()
        for assigned in ({"count": 9}, None):
            before = data.snapshot()
            data.assign(assigned)
            data.restore(before)
            assert data.get() is shown
            assert data.change() is None

    async def test_what_was_changed_before_is_to_be_written_still(self) -> None:
        data = data_in(Store({"42": {"count": 3}}))
        (await data.aget())["count"] = 5
        before = data.snapshot()
        data.get()["count"] = 9
        data.restore(before)
        record = data.change()
        assert record is not None
        assert record.value == {"count": 5}

    async def test_what_was_assigned_unread_before_is_so_again(self) -> None:
        data = data_in(Store({"42": {"count": 3}}), lazy_session)
        data.assign({"count": 5})
        before = data.snapshot()
        data.assign(None)
        data.restore(before)
        assert data.replaces_unread
        assert await data.aget() == {"count": 5}

    async def test_a_promise_that_was_read_meanwhile_is_one_again(self) -> None:
        async def later() -> dict[str, int]:
            return {"count": 5}

        data = data_in(Store(), lazy_session)
        data.assign(later())
        before = data.snapshot()
        given = await data.aget()
        for _ in range(2):
            given["count"], given["half"] = 9, True
            data.restore(before)
            assert data.is_promised
            assert await data.aget() is given
            assert given == {"count": 5}

    async def test_a_promise_that_was_replaced_meanwhile_is_one_again(self) -> None:
        async def later() -> dict[str, int]:
            return {"count": 5}

        data = data_in(Store({"42": {"count": 3}}), lazy_session)
        data.assign(later())
        before = data.snapshot()
        data.assign({"count": 9})
        data.restore(before)
        assert data.is_promised
        assert await data.aget() == {"count": 5}

    async def test_what_was_read_meanwhile_is_as_it_is_stored(self) -> None:
        for stored in ({"42": {"count": 3}}, {}):
            data = data_in(Store(stored), lazy_session)
            before = data.snapshot()
            (await data.aget())["count"] = 9
            data.restore(before)
            assert data.change() is None
            assert await data.aget() == (stored or {"42": counting()})["42"]

    async def test_what_was_assigned_before_it_was_read_is_so_again(self) -> None:
        data = data_in(Store({"42": {"count": 3}}), lazy_session)
        data.assign({"count": 5})
        before = data.snapshot()
        await data.accept(Record({"count": 3}, revision=7))
        data.assign({"count": 9})
        data.restore(before)
        assert data.get() == {"count": 5}
        record = data.change()
        assert record is not None
        assert record.value == {"count": 5}

    async def test_a4_a_storage_that_has_failed_meanwhile_has_not_told_that_nothing_is_stored(
        self,
    ) -> None:
        store = Store({"42": {"count": 3}})
        store.fails["read"] = OSError("down")
        data = data_in(store, lazy_session)
        before = data.snapshot()
        with pytest.raises(OSError, match="down"):
            await data.aget()
        data.restore(before)
        with pytest.raises(OSError, match="down"):
            await data.aget()
        assert data.change() is None

    async def test_what_could_not_be_read_cannot_be_again(self) -> None:
        store = Store({"42": {"count": "many"}})
        data = data_in(store, initial=None, data_type=dict[str, int])
        await data.look()
        before = data.snapshot()
        data.assign({"count": 1})
        data.restore(before)
        with pytest.raises(SessionDataError):
            data.get()

    async def test_without_a_key_there_is_nothing_to_go_back_to(self) -> None:
        data = Data(data_in(Store()).fragment, None)
        data.restore(data.snapshot())
        assert data.get() is None

    async def test_data_that_nobody_had_seen_is_unseen_again(self) -> None:
        data = data_in(Store())
        await data.look()
        before = data.snapshot()
        data.get()
        data.restore(before)
        assert data.change() is None

    async def test_an_awaitable_is_taken_back_too(self) -> None:
        data = data_in(Store({"42": {"count": 3}}), lazy_session)
        before = data.snapshot()

        async def later() -> None: ...

        coroutine = later()
        data.assign(coroutine)
        data.restore(before)
        assert not data.is_promised
        assert await data.aget() == {"count": 3}
        with pytest.raises(RuntimeError, match="already awaited"):
            await coroutine

    async def test_what_was_written_since_stays_and_what_follows_goes(self) -> None:
        data = data_in(Store({"42": {"count": 3}}))
        shown = await data.aget()
        before = data.snapshot()
        shown["count"] = 9
        record = data.change()
        assert record is not None
        data.written(record, 7)
        shown["count"] = 10
        data.restore(before)
        assert data.get() is shown
        assert shown == {"count": 9}
        assert data.change() is None

    async def test_a6_what_was_deleted_since_stays_so(self) -> None:
        data = data_in(Store({"42": {"count": 3}}))
        await data.look()
        before = data.snapshot()
        data.assign(None)
        record = data.change()
        assert record is not None
        data.written(record, None)
        data.assign({"count": 10})
        data.restore(before)
        assert data.get() is None
        assert data.change() is None


def longest(before: Any, mine: Any, theirs: Any) -> Any:
    """Put two changes together unless one of them shortened the list, or deleted it."""
    if before is not None and theirs is None:
        return None
    found = [*(before or []), *mine[len(before or []) :], *(theirs or [])[len(before or []) :]]
    return None if len(mine) < len(before or []) else found


class Merging(SimpleTestCase):
    """Data whose changes can be put together with others'."""

    async def changed(self, store: Store, *, merge: Any = longest) -> tuple[Data[Any], Record]:
        """Return data after a change, and the record that is to be written of it."""
        declared = session(initial=list, storage=store)
        data = Data(dataclasses.replace(declared.fragments[""], merge=merge), HERE)
        (await data.aget()).append("mine")
        record = data.change()
        assert record is not None
        return data, record

    async def test_others_changes_are_taken_into_the_same_object(self) -> None:
        store = Store({"42": ["old"]})
        data, refused = await self.changed(store)
        shown = data.get()
        revision = await store.write(HERE, Record(["old", "theirs"], revision=ANY))
        merged = await data.merge(refused)
        assert (merged.value, merged.revision) == (["old", "mine", "theirs"], revision)
        assert data.get() is shown
        assert shown == ["old", "mine", "theirs"]
        data.written(merged, await store.write(HERE, merged))
        assert data.change() is None
        shown.append("more")
        assert data.change() is not None

    async def test_what_somebody_deleted_is_not_made_anew(self) -> None:
        store = Store({"42": ["old"]})
        data, refused = await self.changed(store)
        await store.delete(HERE, ANY)
        assert await data.merge(refused) is refused

    async def test_what_clashes_or_cannot_be_put_together_stays_refused(self) -> None:
        for merge in (None, lambda before, mine, theirs: None):
            store = Store({"42": ["old"]})
            data, refused = await self.changed(store, merge=merge)
            await store.write(HERE, Record(["theirs"], revision=ANY))
            assert await data.merge(refused) is refused
            assert data.get() == ["old", "mine"]

    async def test_what_nobody_has_changed_is_not_put_together(self) -> None:
        data, refused = await self.changed(Store({"42": ["old"]}))
        assert await data.merge(refused) is refused
