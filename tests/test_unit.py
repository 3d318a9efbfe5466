"""A unit of work: what it saves without its key, what it leaves behind, and when keys are free."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from typing import Any
from unittest import mock

import pytest
from django.db import connection, transaction
from django.test import SimpleTestCase, TestCase, TransactionTestCase
from telegram.ext import TypeHandler

from botsessions import lazy_session, session
from botsessions.data import Data
from botsessions.exceptions import (
    SessionClosed,
    SessionDataError,
    SessionExpiryError,
    SessionLockTimeout,
    SessionStorageError,
)
from botsessions.locks import Ticket, process_lock
from botsessions.models import BotSession, BotSessionLease
from botsessions.records import About, Move
from botsessions.sources import FromIds, FromKey
from botsessions.storages import Address
from botsessions.testing import BotClient
from botsessions.unit import Unit, current, enclosing, open_unit, whole_chat

from .harness import Store, client, text

MARIA = Address("1", "", "1001")


def counting() -> dict[str, int]:
    return {"count": 0}


async def nested(declared: Any) -> tuple[Unit, Unit]:
    """Return the open units of some code and of code in it, with the same key."""
    outer = Unit(declared.fragments, "1", FromKey("1001"))
    await outer.open()
    inner = Unit(declared.fragments, "1", FromKey("1001"), outer=outer)
    await inner.open()
    return outer, inner


def beside(callback: Any) -> Any:
    return TypeHandler(object, callback, block=False)


class WhomItBelongsTo(TestCase):
    def test_it_is_known_from_a_handler_that_runs_beside(self) -> None:
        async def work(update: Any, context: Any) -> None:
            context.session["count"] += 1

        def build(builder: Any) -> Any:
            application = session(initial=counting).install(builder).build()
            application.add_handler(beside(work))
            return application

        BotClient(build=build).user("Maria Rossi", id=42).send("x")
        row = BotSession.objects.get()
        assert (row.chat_id, row.chat_type, row.title) == (42, "private", "Maria Rossi")


class WhatIsLeft(SimpleTestCase):
    async def test_nothing_of_an_update_waits_for_the_garbage_collector(self) -> None:
        units = []

        async def work(update: Any, context: Any) -> None:
            context.session["count"] += 1
            units.append(weakref.ref(current.get()))

        bot = client(session(initial=counting, storage=Store()), work)
        gc.disable()
        self.addCleanup(gc.enable)
        await bot.application.initialize()
        await bot.application.process_update(text(bot.user()))
        (unit,) = units
        assert unit() is None


class CrossingTransactions(TransactionTestCase):
    def test_two_that_edit_each_others_keys_get_an_error_not_a_deadlock(self) -> None:
        if connection.vendor == "sqlite":
            self.skipTest("SQLite has one writing transaction at a time.")
        declared = session(initial=counting)
        declared.installed("shop")
        both, outcomes = threading.Barrier(2), []

        def view(mine: str, other: str) -> None:
            try:
                with transaction.atomic():
                    with declared.edit(mine) as data:
                        data["count"] += 1
                    both.wait(5)
                    with declared.edit(other) as data:
                        data["count"] += 1
                outcomes.append("done")
            except SessionLockTimeout:
                outcomes.append("refused")
            finally:
                connection.close()

        threads = [threading.Thread(target=view, args=pair) for pair in (("a", "b"), ("b", "a"))]
        with mock.patch("botsessions.holding.WITHIN_SECONDS", 0.5):
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(10)
        assert "refused" in outcomes
        assert not process_lock().busy


class GivingBack(TransactionTestCase):
    async def test_what_changes_nothing_gives_its_key_back_before_the_next_has_its_turn(
        self,
    ) -> None:
        counter = session(initial=counting)
        for _ in range(2):
            unit = Unit(counter.fragments, "bot", FromKey("1001"), lock="database")
            await unit.open()
            assert [row.holder > 0 async for row in BotSessionLease.objects.all()] == [True]
            await unit.save(last=True)
            assert [row.holder > 0 async for row in BotSessionLease.objects.all()] == [False]
            unit.close()
        assert not process_lock().busy


class Life(SimpleTestCase):
    """From the keys to the end, without an application around it."""

    def unit(self, store: Store | None = None, **options: Any) -> Unit:
        declared = session(initial=counting, storage=Store() if store is None else store)
        return Unit(declared.fragments, "1", FromKey("1001"), **options)

    async def test_its_keys_are_held_from_enter_to_close(self) -> None:
        unit = self.unit()
        assert not unit.held
        await unit.enter()
        await unit.enter()
        assert list(unit.held) == [MARIA]
        assert process_lock().busy
        unit.close()
        assert not process_lock().busy
        unit.close()

    async def test_one_that_does_not_hold_holds_nothing(self) -> None:
        unit = self.unit(holds=False)
        await unit.open()
        assert not process_lock().busy
        assert unit.data("").get() == {"count": 0}
        unit.close()

    async def test_a_ticket_may_be_released_by_somebody_else_later(self) -> None:
        unit = self.unit()
        await unit.open()
        kept: list[Ticket] = []
        unit.close(kept.append)
        assert unit.closed
        assert process_lock().busy
        process_lock().release(*kept)
        assert not process_lock().busy
        unit.close(kept.append)
        assert len(kept) == 1

    async def test_a15_there_is_no_data_before_and_after(self) -> None:
        unit = self.unit()
        with pytest.raises(SessionClosed, match="over"):
            unit.data("")
        await unit.open()
        assert unit.data("").get() == {"count": 0}
        with pytest.raises(SessionClosed):
            unit.data("another")
        unit.failed = True
        unit.close()
        with pytest.raises(SessionClosed):
            unit.data("")
        assert unit.data("", over=True).get() == {"count": 0}  # For error handlers.
        with pytest.raises(SessionClosed, match="cannot be saved any more"):
            await unit.save()

    async def test_without_a_failure_nothing_is_left_to_look_at(self) -> None:
        unit = self.unit()
        await unit.open()
        unit.close()
        with pytest.raises(SessionClosed):
            unit.data("", over=True)

    async def test_nothing_is_saved_behind_the_last_save(self) -> None:
        store = Store()
        unit = self.unit(store)
        await unit.open()
        unit.data("").get()["count"] = 1
        assert not unit.over
        await unit.save(last=True)
        assert unit.over
        unit.data("").get()["count"] = 2
        with pytest.raises(SessionClosed):
            await unit.save()
        assert store.values == {"1001": {"count": 1}}
        unit.close()

    async def test_a_last_save_that_fails_may_be_tried_again(self) -> None:
        store = Store()
        store.fails["write"] = error = OSError("gone")
        unit = self.unit(store)
        await unit.open()
        unit.data("").get()["count"] = 1
        with pytest.raises(OSError, match="gone"):
            await unit.save(last=True)
        assert unit.save_error is error
        assert not unit.over
        store.fails.clear()
        await unit.save(last=True)
        assert store.values == {"1001": {"count": 1}}
        unit.close()

    async def test_a12_why_there_is_no_session_is_kept_for_all_who_ask(self) -> None:
        store = Store()
        store.fails["read"] = error = OSError("gone")
        unit = self.unit(store)
        for ask in (unit.open, unit.load, unit.open):
            with pytest.raises(OSError, match="gone"):
                await ask()
        with pytest.raises(OSError, match="gone"):
            unit.data("")
        assert (unit.error, unit.refused, unit.unloaded, unit.opened) == (error, *[True] * 3)
        assert store.operations == ["read"]
        unit.close()

    async def test_only_a_storage_or_a_lock_that_fails_keeps_an_update_from_its_handlers(
        self,
    ) -> None:
        for error, is_unloaded in (
            (OSError("gone"), True),
            (SessionLockTimeout("held"), True),
            (SessionStorageError("locked"), True),
            (SessionExpiryError("told"), False),
        ):
            store = Store()
            store.fails["read"] = error
            unit = self.unit(store)
            with pytest.raises(type(error)):
                await unit.load()
            assert unit.unloaded is is_unloaded
            unit.close()

    async def test_data_that_cannot_be_shown_is_no_failure_of_storage_or_lock(self) -> None:
        declared = session(storage=Store({"1001": {"count": "many"}}), data_type=dict[str, int])
        unit = Unit(declared.fragments, "1", FromKey("1001"))
        with pytest.raises(SessionDataError):
            await unit.open()
        assert unit.refused
        assert not unit.unloaded
        unit.close()

    async def test_what_was_read_is_fresh_until_other_code_has_run(self) -> None:
        unit = self.unit()
        assert unit.fresh == {}
        await unit.open()
        assert unit.fresh == unit.contents.all != {}
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert unit.fresh == {}
        unit.close()

    async def test_what_was_added_before_the_keys_are_found_stays(self) -> None:
        unit, fragment = self.unit(), session(initial=counting, storage=Store()).fragments[""]
        added = Data(fragment, Address("1", "job:go", "5"))
        unit.contents.add(added)
        await unit.enter()
        assert added in unit.contents.own
        assert len(unit.contents.own) == 2
        unit.close()

    async def test_it_knows_what_it_is_for(self) -> None:
        update, other = object(), object()
        unit = self.unit()
        assert not unit.is_for(None)
        unit.subjects += [update]
        assert unit.is_for(other, update)
        assert not unit.is_for(other)
        assert not unit.is_for()


class Around(SimpleTestCase):
    """The units whose code the running one is part of."""

    def another(self, declared: Any) -> Unit:
        return Unit(declared.fragments, "1", FromKey("1002"))

    async def test_those_that_are_not_over_are_found_from_the_inside_out(self) -> None:
        declared = session(initial=counting, storage=Store())
        outer = Unit(declared.fragments, "1", FromKey("1"))
        middle = Unit(declared.fragments, "1", FromKey("2"), outer=outer)
        inner = Unit(declared.fragments, "1", FromKey("3"), outer=middle)
        assert list(enclosing(inner)) == [inner, middle, outer]
        assert list(enclosing(None)) == []
        token = current.set(inner)
        try:
            assert open_unit() is inner
            for unit in (middle, inner):
                unit.close()
            assert list(enclosing(inner)) == [outer]
            assert open_unit() is outer
            outer.close()
            assert open_unit() is None
        finally:
            current.reset(token)
        assert open_unit() is None

    async def test_e8_data_whose_keys_are_held_around_are_shared_and_saved_there(self) -> None:
        store = Store()
        declared = session(initial=counting, storage=store)
        outer, inner = await nested(declared)
        assert inner.data("") is outer.data("")
        assert await inner.value("") is outer.data("").get()
        inner.data("").get()["count"] = 1
        await inner.save(last=True)
        assert store.operations == ["read"]
        inner.close()
        await outer.save()
        assert store.values == {"1001": {"count": 1}}
        outer.close()

    async def test_e8_what_nobody_has_read_yet_is_read_by_the_one_that_holds_it(self) -> None:
        store = Store({"1001": {"count": 3}})
        strict, lazy = session(storage=store), lazy_session(storage=store)
        outer = Unit(lazy.fragments, "1", FromKey("1001"))
        await outer.open()
        assert store.operations == []
        inner = Unit(strict.fragments, "1", FromKey("1001"), outer=outer)
        await inner.open()
        assert store.operations == []  # It is as lazy as the one that holds it.
        assert await inner.value("") == {"count": 3}
        assert await outer.value("") is await inner.value("")
        assert store.operations == ["read"]
        inner.close()
        outer.close()

    async def test_e8_one_that_is_saved_early_has_the_holder_saved(self) -> None:
        store = Store()
        declared = session(initial=counting, storage=store)
        outer, inner = await nested(declared)
        inner.data("").get()["count"] = 1
        await inner.save()
        assert store.values == {"1001": {"count": 1}}
        inner.close()
        outer.close()

    async def test_e8_from_another_thread_it_is_reached_on_its_own_event_loop(self) -> None:
        here = asyncio.get_running_loop()
        declared = session(initial=counting, storage=Store())
        outer = Unit(declared.fragments, "1", FromKey("1001"))
        await outer.open()

        async def where() -> asyncio.AbstractEventLoop:
            return asyncio.get_running_loop()

        assert await outer.reach(where()) is here
        assert await asyncio.to_thread(asyncio.run, outer.reach(where())) is here
        outer.close()
        unopened, left = self.another(declared), self.another(declared)
        await asyncio.to_thread(asyncio.run, left.enter())
        for unit in (unopened, left):  # Whose event loop does not run (any more).
            assert await unit.reach(where()) is here
            unit.close()

    async def test_e8_from_another_thread_data_are_read_on_the_holders_event_loop(self) -> None:
        class Noting(Store):
            async def read_many(self, addresses: Any) -> Any:
                loops.append(asyncio.get_running_loop())
                return await super().read_many(addresses)

        loops: list[Any] = []
        lazy = lazy_session(storage=Noting({"1001": {"count": 3}}))
        outer = Unit(lazy.fragments, "1", FromKey("1001"))
        await outer.open()

        async def work() -> Any:
            inner = Unit(lazy.fragments, "1", FromKey("1001"), outer=outer)
            await inner.open()
            value = await inner.value("")
            inner.close()
            return value

        assert await asyncio.to_thread(asyncio.run, work()) == {"count": 3}
        assert loops == [asyncio.get_running_loop()]
        outer.close()

    async def test_e8_a_failed_one_leaves_the_data_as_they_were(self) -> None:
        declared = session(initial=counting, storage=Store())
        outer = Unit(declared.fragments, "1", FromKey("1001"))
        await outer.open()
        outer.data("").get()["count"] = 1
        inner = Unit(declared.fragments, "1", FromKey("1001"), outer=outer)
        await inner.open()
        inner.contents.step_in()
        inner.data("").get()["count"] = 2
        inner.failed = True
        inner.close()
        assert outer.data("").get() == {"count": 1}
        outer.close()

    async def test_e8_one_that_outlives_the_holder_cannot_save(self) -> None:
        declared = session(initial=counting, storage=Store())
        outer, inner = await nested(declared)
        outer.close()
        with pytest.raises(SessionClosed):
            await inner.save()
        inner.close()

    async def test_f7_it_goes_on_under_the_keys_that_its_sessions_were_given(self) -> None:
        store = Store({"1001": {"count": 3}})
        declared = session(initial=counting, storage=store)
        unit = Unit(declared.fragments, "1", FromKey("1001"))
        await unit.open()
        new, other = Address("1", "", "-1001"), Address("1", "", "7")
        await store.move([Move(MARIA, "-1001", About(chat_id=-1001))])
        await unit.exchange.follow({other: MARIA, MARIA: new})
        unit.data("").get()["count"] += 1
        await unit.save(last=True)
        assert store.values == {"-1001": {"count": 4}}
        unit.close()

    async def test_f7_while_a_chat_gets_other_keys_the_whole_chat_is_waited_for(self) -> None:
        declared = session(initial=counting, storage=Store())
        unit = Unit(declared.fragments, "1", FromIds({"chat": -9}))
        whole = whole_chat("1", -9)
        assert whole == Address("1", "*", "-9")
        assert whole.name not in declared.fragments
        assert list(unit.wanted_besides([MARIA])) == []
        assert list(unit.wanted_besides([MARIA, whole])) == [whole]
        holder = Unit(declared.fragments, "1", FromKey("1001"))
        await holder.enter()
        inner = Unit(declared.fragments, "1", FromIds({"chat": -9}), outer=holder)
        assert list(inner.wanted_besides([MARIA, whole])) == []
        holder.close()
