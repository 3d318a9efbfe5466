"""Writing what has changed in a unit of work, and telling of what was refused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.test import SimpleTestCase

from botsessions import enhance_storage, lazy_session, multi_session, session
from botsessions.data import Data
from botsessions.exceptions import SessionConflict
from botsessions.records import utcnow
from botsessions.saving import Change, changes_of, write_changes
from botsessions.signals import session_conflict
from botsessions.storages import ANY, Address, Record
from botsessions.storages.transactions import PlainTransaction, begin

from .harness import Store

pytestmark = pytest.mark.once

HERE = Address("1", "", "42")


def data_in(store: Any, name: str = "", declared: Any = None) -> Data[Any]:
    declared = declared or session(initial=dict, storage=store)
    return Data(declared.fragments[name], HERE._replace(name=name))


async def changed(data: Data[Any], value: Any) -> Change:
    """Return the change after the data was read and something else was assigned."""
    await data.look()
    data.assign(value)
    (change,) = await changes_of([data])
    return change


@contextmanager
def noted_conflicts() -> Iterator[list[Any]]:
    noted: list[Any] = []

    def note(sender: Any, signal: Any, **what: Any) -> None:
        noted.append((sender, what))

    session_conflict.connect(note)
    try:
        yield noted
    finally:
        session_conflict.disconnect(note)


class WhatHasChanged(SimpleTestCase):
    async def test_it_is_found_with_its_address_and_awaited_where_it_was_promised(self) -> None:
        async def later() -> Any:
            return {"count": 9}

        store = Store()
        plain, seen = data_in(store), data_in(store)
        promised = data_in(store, declared=lazy_session(initial=dict, storage=store))
        await plain.look()
        await seen.look()
        seen.assign({"count": 1})
        promised.assign(later())
        found = await changes_of([plain, seen, promised])
        assert [(c.data, c.address, c.record.value) for c in found] == [
            (seen, HERE, {"count": 1}),
            (promised, HERE, {"count": 9}),
        ]

    async def test_without_a_key_there_is_nothing_to_be_written(self) -> None:
        assert await changes_of([Data(data_in(Store()).fragment, None)]) == []


class Writing(SimpleTestCase):
    async def test_what_is_written_is_known_as_stored(self) -> None:
        store = Store()
        data = data_in(store)
        change = await changed(data, {"count": 1})
        await write_changes(PlainTransaction(store), [change], last=True, hand_on=False)
        assert store.values == {"42": {"count": 1}}
        assert await changes_of([data]) == []
        data.assign({"count": 2})
        await write_changes(
            PlainTransaction(store), await changes_of([data]), last=True, hand_on=False
        )
        assert store.values == {"42": {"count": 2}}

    async def test_layers_see_what_goes_out(self) -> None:
        store = Store()
        layered = enhance_storage(store, time_to_live=timedelta(hours=1))
        change = await changed(data_in(layered), {"count": 1})
        await write_changes(PlainTransaction(store), [change], last=True, hand_on=False)
        record = await store.read(HERE)
        assert record is not None
        assert record.expires_at is not None
        assert record.expires_at > utcnow()

    async def test_a19_a_conflict_is_raised_and_signalled_and_nothing_is_known_as_stored(
        self,
    ) -> None:
        store = Store({"42": {"count": 1}})
        data = data_in(store)
        change = await changed(data, {"count": 2})
        read = change.record.revision
        await store.write(HERE, Record({"count": 50}, revision=ANY))
        with noted_conflicts() as noted, pytest.raises(SessionConflict, match="'42' of bot '1'"):
            await write_changes(PlainTransaction(store), [change], last=False, hand_on=False)
        assert noted == [(Store, {**HERE._asdict(), "revision": read})]
        assert store.values == {"42": {"count": 50}}
        assert len(await changes_of([data])) == 1

    async def test_what_had_expired_and_was_swept_meanwhile_is_no_conflict(self) -> None:
        store = Store()
        gone = Record({"count": 1}, expires_at=utcnow() - timedelta(seconds=1))
        await store.write(HERE, gone)
        change = await changed(data_in(store), {"count": 2})
        await store.delete(HERE, ANY)
        with noted_conflicts() as noted:
            await write_changes(PlainTransaction(store), [change], last=False, hand_on=False)
        assert noted == []
        assert store.values == {"42": {"count": 2}}

    async def test_what_had_expired_and_was_written_anew_meanwhile_is_one(self) -> None:
        store = Store()
        gone = Record({"count": 1}, expires_at=utcnow() - timedelta(seconds=1))
        await store.write(HERE, gone)
        change = await changed(data_in(store), {"count": 2})
        await store.write(HERE, Record({"count": 50}, revision=ANY))
        with noted_conflicts() as noted, pytest.raises(SessionConflict):
            await write_changes(PlainTransaction(store), [change], last=False, hand_on=False)
        assert len(noted) == 1
        assert store.values == {"42": {"count": 50}}

    async def test_one_storages_failure_does_not_keep_what_another_has_written(self) -> None:
        good, broken = Store(name="good"), Store(name="broken")
        broken.fails["write"] = OSError("gone")
        declared = multi_session(
            good=session(initial=dict, storage=good), broken=session(initial=dict, storage=broken)
        )
        parts = [data_in(None, name, declared) for name in ("good", "broken")]
        changes = [await changed(data, {"count": 1}) for data in parts]
        transaction = begin({c.address: c.data.fragment.innermost for c in changes})
        with noted_conflicts() as noted, pytest.raises(OSError, match="gone"):
            await write_changes(transaction, changes, last=True, hand_on=False)
        assert noted == []
        assert good.values == {"42": {"count": 1}}
        (left,) = await changes_of(parts)
        assert left.address.name == "broken"

    async def test_e9_a_cancelled_caller_is_told_once_it_is_written(self) -> None:
        begun, finish = asyncio.Event(), asyncio.Event()

        class Slow(Store):
            async def write_many(self, changes: Any) -> Any:
                begun.set()
                await finish.wait()
                return await super().write_many(changes)

        store = Slow()
        data = data_in(store)
        change = await changed(data, {"count": 1})
        task = asyncio.ensure_future(
            write_changes(PlainTransaction(store), [change], last=True, hand_on=False)
        )
        await begun.wait()
        task.cancel()
        finish.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert store.values == {"42": {"count": 1}}
        assert await changes_of([data]) == []

    async def test_keys_that_cannot_be_given_back_are_no_error_where_nothing_is_lost(self) -> None:
        class Broken(PlainTransaction):
            async def write(self, *args: Any, **options: Any) -> Any:
                raise OSError("gone")

        await write_changes(Broken(Store()), [], last=True, hand_on=False)
        change = await changed(data_in(Store()), {"count": 1})
        with pytest.raises(OSError, match="gone"):
            await write_changes(Broken(Store()), [change], last=True, hand_on=False)
