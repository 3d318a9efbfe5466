"""Sessions from outside a handler: get, edit and delete, and their asynchronous forms."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, suppress
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any
from unittest import mock

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction
from django.test import SimpleTestCase, TestCase, TransactionTestCase, override_settings

from botsessions import holding, lazy_session, multi_session, session
from botsessions.database.callers import lasting_loop
from botsessions.database.commit import kept_until_commit
from botsessions.database.connections import close_databases
from botsessions.exceptions import (
    SessionConflict,
    SessionDataError,
    SessionError,
    SessionKeyError,
    SessionNotInitialized,
)
from botsessions.keys import per_user_chat
from botsessions.locks import process_lock
from botsessions.models import BotSession
from botsessions.storages import ANY, Address, Record
from botsessions.testing import BotClient
from botsessions.unit import current

from .bots.elsewhere import counter
from .harness import Store, client
from .locked import both_locks


@dataclass
class Pizza:
    count: int = 0


stored = session(initial=Pizza)
bot_settings = override_settings(
    BOTSESSIONS={
        "BOTS": {"shop": {"SESSION": f"{__name__}.stored", "APPLICATION": f"{__name__}.build"}}
    }
)


def build(builder: Any) -> Any:
    return builder.build()


def shop(declared: Any, alias: str = "shop") -> Any:
    """Return the session as the one of a bot that is stored under ``alias``."""
    declared.installed(alias)
    return declared


class OnItsThread(TransactionTestCase):
    def test_edits_leave_nothing_in_the_context_of_their_thread(self) -> None:
        """Each event loop that they make would leave a variable, and more time for the next."""
        pizza = shop(session(initial=Pizza))
        for lock in ("process", "database"):
            pizza.installed("shop", lock)
            with pizza.edit(chat=42) as data:
                data.count += 1
            before = len(copy_context())
            for _ in range(3):
                with pizza.edit(chat=42) as data:
                    data.count += 1
                assert pizza.get(chat=42) is not None
            assert len(copy_context()) == before


class ByKeyAndIds(SimpleTestCase):
    def test_what_edit_changed_is_stored_when_its_block_ends(self) -> None:
        store = Store()
        pizza = shop(session(initial=Pizza, storage=store))
        with pizza.edit(chat=42) as data:
            data.count += 1
            assert store.values == {}
        assert store.values == {"42": {"count": 1}}
        assert pizza.get("42") == Pizza(1)
        assert pizza.get(chat=42) == Pizza(1)

    def test_what_a_block_that_raised_changed_is_not_stored(self) -> None:
        store = Store()
        pizza = shop(session(initial=Pizza, storage=store))
        with pytest.raises(ValueError, match="no"), pizza.edit("42") as data:
            data.count += 1
            raise ValueError("no")
        assert store.values == {}
        assert not process_lock().busy

    def test_one_that_is_open_is_not_opened_again_and_leaves_no_key_held(self) -> None:
        pizza = shop(session(initial=Pizza, storage=Store()))
        edit = pizza.edit("42")
        for count in (1, 2):
            with edit as data:
                data.count += 1
                with pytest.raises(SessionError, match="Edit is open already"), edit:
                    pass
            assert pizza.get("42") == Pizza(count)
            assert not process_lock().busy

    def test_e8_blocks_may_be_left_in_any_order(self) -> None:
        pizza = shop(session(initial=Pizza, storage=Store()))
        one, other = pizza.edit("1"), pizza.edit("2")
        with ExitStack() as outer, ExitStack() as inner:
            inner.enter_context(one)
            data = outer.enter_context(other)
            inner.close()
            with pizza.edit("2") as joined:
                assert joined is data
                joined.count += 1
        assert pizza.get("2") == Pizza(1)
        assert current.get() is None
        with pizza.edit("2") as data:
            data.count += 1
        assert pizza.get("2") == Pizza(2)
        assert not process_lock().busy

    async def test_e8_generators_may_be_closed_in_any_order(self) -> None:
        pizza = shop(session(initial=Pizza, storage=Store()))

        async def editing(key: str) -> AsyncIterator[Pizza]:
            async with pizza.aedit(key) as data:
                yield data

        one, other = editing("1"), editing("2")
        await anext(one)
        data = await anext(other)
        await anext(one, None)
        async with pizza.aedit("2") as joined:
            assert joined is data
            joined.count += 1
        await anext(other, None)
        assert await pizza.aget("2") == Pizza(1)
        assert not process_lock().busy

    async def test_e8_what_others_change_in_a_generators_block_is_a_conflict_if_it_is_closed(
        self,
    ) -> None:
        pizza = shop(session(initial=Pizza, storage=Store()))

        async def editing() -> AsyncIterator[Pizza]:
            async with pizza.aedit("1") as data:
                yield data

        def editing_here() -> Iterator[Pizza]:
            with pizza.edit("1") as data:
                yield data

        def edit_here() -> None:
            block = editing_here()
            next(block)
            with pizza.edit("1") as data:
                data.count += 1
            block.close()

        block = editing()
        await anext(block)
        async with pizza.aedit("1") as data:
            data.count += 1
        with pytest.raises(SessionConflict, match="generator was closed"):
            await block.aclose()
        with pytest.raises(SessionConflict, match="generator was closed"):
            await sync_to_async(edit_here)()
        block = editing()
        await anext(block)
        await block.aclose()
        assert await pizza.aget("1") is None
        assert not process_lock().busy

    def test_the_data_can_be_replaced_and_deleted_as_a_whole(self) -> None:
        store = Store({"42": 1}, bot="shop")
        counter = shop(session(storage=store))
        edit = counter.edit("42")
        with edit as number:
            edit.data = number + 1
        assert store.values == {"42": 2}
        edit = counter.edit("42")
        with edit:
            edit.data = None
        assert store.values == {}

    def test_get_gives_none_where_nothing_is_stored_and_does_not_wait(self) -> None:
        pizza = shop(session(initial=Pizza, storage=Store()))
        assert pizza.get("42") is None
        with pizza.edit("42"):
            assert pizza.get("42") is None

    def test_delete_does_not_read(self) -> None:
        store = Store({"42": {"count": 1}}, bot="shop")
        pizza = shop(session(initial=Pizza, storage=store))
        pizza.delete(chat=42)
        pizza.delete(chat=42)
        assert store.operations == ["delete", "delete"]
        assert store.values == {}

    def test_edit_without_initial_says_what_to_do(self) -> None:
        with pytest.raises(SessionNotInitialized), shop(session(storage=Store())).edit("42"):
            pass
        assert not process_lock().busy

    def test_data_that_cannot_be_stored_is_refused_on_leaving(self) -> None:
        loose = shop(session(initial=dict, storage=Store()))
        with pytest.raises(SessionDataError), loose.edit("42") as data:
            data["tags"] = {1}

    def test_ids_are_those_of_the_key_function(self) -> None:
        store = Store()
        declared = shop(session(initial=dict, storage=store, get_session_key=per_user_chat))
        with declared.edit(user=5, chat=-9) as data:
            data["x"] = 1
        assert store.values == {"5/-9": {"x": 1}}
        with pytest.raises(SessionKeyError, match="topic"):
            declared.get(topic=1)
        with pytest.raises(SessionKeyError, match="no key"):
            declared.get(user=5)
        with pytest.raises(TypeError, match="edit"):
            declared.get()
        with pytest.raises(TypeError, match="edit"):
            declared.get("5", user=5)

    def test_a_key_function_that_takes_updates_only_is_reached_by_key_only(self) -> None:
        declared = shop(session(initial=dict, storage=Store(), get_session_key=lambda update: "k"))
        with pytest.raises(SessionKeyError, match="updates only"):
            declared.get(chat=1)
        assert declared.get("k") is None

    def test_a_key_that_cannot_be_stored_is_refused(self) -> None:
        with pytest.raises(SessionKeyError, match="blank"):
            shop(session(storage=Store())).get("42 ")

    def test_a_fragment_of_a_multi_session_is_its_attribute(self) -> None:
        store = Store(name="user")
        declared = shop(multi_session(user=lazy_session(initial=dict, storage=store)))
        with declared.user.edit("5") as data:
            data["x"] = 1
        assert store.values == {"5": {"x": 1}}
        with pytest.raises(AttributeError, match=r"'chat'.*user"):
            declared.chat.edit("5")

    async def test_the_asynchronous_forms_do_the_same(self) -> None:
        store = Store()
        pizza = shop(session(initial=Pizza, storage=store))
        async with pizza.aedit(chat=42) as data:
            data.count += 1
        assert await pizza.aget("42") == Pizza(1)
        with pytest.raises(ValueError, match="no"):
            async with pizza.aedit(chat=42) as data:
                data.count += 1
                raise ValueError("no")
        assert await pizza.aget("42") == Pizza(1)
        await pizza.adelete("42")
        assert store.values == {}

    async def test_on_an_event_loop_the_sync_forms_name_the_asynchronous_ones(self) -> None:
        pizza = shop(session(initial=Pizza, storage=Store()))
        for name in ("get", "edit", "delete"):
            with pytest.raises(SessionError, match=f"a{name}\\(\\)"):
                getattr(pizza, name)("42")

    def test_the_bot_must_be_named_only_where_several_have_the_session(self) -> None:
        declared = session(initial=dict, storage=Store())
        with pytest.raises(ImproperlyConfigured, match="No bot"):
            declared.get("1")
        shop(declared, "one")
        assert declared.get("1") is None
        shop(declared, "two")
        with pytest.raises(ImproperlyConfigured, match="one, two"):
            declared.get("1")
        with declared.edit("1", bot="two") as data:
            data["x"] = 1
        assert declared.get("1", bot="one") is None
        with pytest.raises(ImproperlyConfigured, match="'three'"):
            declared.get("1", bot="three")

    def test_e8_an_edit_inside_an_edit_of_the_same_key_works_on_the_same_data(self) -> None:
        store = Store()
        pizza = shop(session(initial=Pizza, storage=store))
        with pizza.edit("42") as outer, pizza.edit("42") as inner:
            assert inner is outer
            inner.count += 1
        assert store.values == {"42": {"count": 1}}
        with pizza.edit("42"), pizza.edit("43"):
            pass
        assert not process_lock().busy


class BesideHandlers(SimpleTestCase):
    async def test_edits_and_handlers_of_one_key_wait_for_each_other(self) -> None:
        store = Store()
        declared = session(initial=lambda: {"count": 0}, storage=store)

        async def slow_count(update: Any, context: Any) -> None:
            before = context.session["count"]
            await asyncio.sleep(0.001)
            context.session["count"] = before + 1

        def view() -> None:
            with declared.edit(chat=7) as data:
                data["count"] += 1

        async def task() -> None:
            async with declared.aedit(chat=7) as data:
                before = data["count"]
                await asyncio.sleep(0.001)
                data["count"] = before + 1

        maria = client(declared, slow_count).user(id=7)
        await maria.send("x")
        threads = [asyncio.to_thread(view) for _ in range(10)]
        updates = [maria.send("x") for _ in range(10)]
        await asyncio.wait_for(asyncio.gather(*threads, *updates, *(task() for _ in range(10))), 20)
        assert store.values == {"7": {"count": 31}}

    async def test_a_handler_edits_another_chat(self) -> None:
        store = Store()
        declared = session(initial=lambda: {"count": 0}, storage=store)

        async def tell_other(update: Any, context: Any) -> None:
            async with declared.aedit(chat=8) as data:
                data["count"] += 1
                context.session["count"] += 10

        await client(declared, tell_other).user(id=7).send("x")
        assert store.values == {"8": {"count": 1}, "7": {"count": 10}}

    async def test_a_handler_calls_sync_code_that_edits_another_chat(self) -> None:
        store = Store()
        declared = session(initial=lambda: {"count": 0}, storage=store)

        def sync_code() -> None:
            with declared.edit(chat=8) as data:
                data["count"] += 1
            with declared.edit(chat=7) as data:
                data["count"] += 100

        async def tell_other(update: Any, context: Any) -> None:
            await sync_to_async(sync_code)()
            context.session["count"] += 10

        answers = await client(declared, tell_other).user(id=7).send("x")
        assert answers.errors == []
        assert store.values == {"8": {"count": 1}, "7": {"count": 110}}

    async def test_e8_a_block_that_raises_beside_another_undoes_nothing_in_silence(self) -> None:
        assert await overlapping_blocks(nested=True) == ([], {"1001": {"count": 0, "seen": True}})
        assert await overlapping_blocks(nested=False) == ([SessionConflict], {})


async def overlapping_blocks(*, nested: bool) -> tuple[list[type[Exception]], dict[str, Any]]:
    """Return errors and what is stored after a block that raises and one that ends well in it."""
    store = Store()
    counted = session(initial=lambda: {"count": 0}, storage=store)
    entered, go = asyncio.Event(), asyncio.Event()

    async def fail() -> None:
        async with counted.aedit("1001"):
            entered.set()
            await (change() if nested else go.wait())
            raise ZeroDivisionError

    async def change() -> None:
        await entered.wait()
        async with counted.aedit("1001") as data:
            data["count"] += 1
        go.set()

    async def work(update: Any, context: Any) -> None:
        some = [fail()] if nested else [fail(), change()]
        await asyncio.gather(*some, return_exceptions=True)
        context.session["seen"] = True

    told: list[Any] = []
    with mock.patch("botsessions.unit.tell", told.append):
        answers = await client(counted, work).user().send("x")
    assert len(told) == len(answers.errors)
    return [type(error) for error in answers.errors], store.values


@bot_settings
class InTheDatabase(TestCase):
    def test_edit_works_inside_a_test_case_and_with_a_bot_in_it(self) -> None:
        for _ in range(2):
            with transaction.atomic(), stored.edit(chat=42) as data:
                data.count += 1
        BotClient().user(id=42).send("x")
        assert stored.get(chat=42) == Pizza(2)
        row = BotSession.objects.get()
        assert (row.bot, row.key, row.chat_id, row.data) == ("shop", "42", 42, {"count": 2})
        assert not process_lock().busy

    def test_ids_do_not_erase_what_is_known_about_a_chat(self) -> None:
        BotSession.objects.create(
            bot="shop", key="42", data={"count": 1}, chat_id=42, title="Maria"
        )
        with stored.edit(chat=42) as data:
            data.count += 1
        row = BotSession.objects.get()
        assert (row.title, row.data) == ("Maria", {"count": 2})

    def test_e7_an_edit_that_finds_the_session_changed_raises_and_changes_nothing(self) -> None:
        with stored.edit(chat=42) as data:
            data.count = 1
        with pytest.raises(SessionConflict), stored.edit(chat=42) as data:
            BotSession.objects.update(revision=1, data={"count": 50})
            data.count = 2
        assert stored.get(chat=42) == Pizza(50)

    async def test_the_asynchronous_forms_are_part_of_the_tests_transaction(self) -> None:
        async with stored.aedit(chat=42) as data:
            data.count += 1
        assert await BotSession.objects.acount() == 1
        assert await sync_to_async(lambda: connection.in_atomic_block)()


@bot_settings
class InTransactions(TransactionTestCase):
    def tearDown(self) -> None:
        close_databases()

    def test_e8_an_edit_in_a_transaction_commits_and_rolls_back_with_it(self) -> None:
        with pytest.raises(ValueError, match="no"), transaction.atomic():
            with stored.edit(chat=42) as data:
                data.count = 1
            raise ValueError("no")
        assert stored.get(chat=42) is None
        with transaction.atomic(), stored.edit(chat=42) as data:
            data.count = 1
        assert stored.get(chat=42) == Pizza(1)

    async def test_e8_edits_one_after_another_are_rolled_back_and_the_update_is_saved(self) -> None:
        counted = session(initial=lambda: {"count": 0})

        def edit_twice() -> None:
            with suppress(ZeroDivisionError), transaction.atomic():
                for _ in range(2):
                    with counted.edit("1001") as data:
                        data["count"] += 1
                raise ZeroDivisionError

        async def work(update: Any, context: Any) -> None:
            await sync_to_async(edit_twice)()
            context.session["seen"] = True

        assert (await client(counted, work).user().send("x")).errors == []
        assert await counted.aget("1001") == {"count": 0, "seen": True}

    def test_an_edit_below_async_to_sync_has_the_keys_that_the_transaction_keeps(self) -> None:
        async def edit() -> None:
            async with stored.aedit(chat=42) as data:
                data.count += 1

        with transaction.atomic():
            with stored.edit(chat=42) as data:
                data.count += 1
            async_to_sync(edit)()
        assert stored.get(chat=42) == Pizza(2)

    def test_a_block_that_the_garbage_collector_ends_on_the_event_loop_waits_for_nothing(
        self,
    ) -> None:
        def edit() -> Iterator[None]:
            itself = yield
            with stored.edit(chat=42) as data:
                data.count += 1
                yield itself

        block = edit()
        next(block)
        block.send(block)
        del block
        lasting_loop().call_soon_threadsafe(gc.collect)
        assert stored.get(chat=42) is None
        assert not process_lock().busy

    def test_the_key_is_held_until_the_transaction_ends(self) -> None:
        def rolled_back() -> None:
            with transaction.atomic():
                with stored.edit(chat=42):
                    pass
                assert process_lock().busy
                transaction.set_rollback(True)

        def savepoint_rolled_back() -> None:
            with transaction.atomic():
                with transaction.atomic():
                    with stored.edit(chat=42):
                        pass
                    transaction.set_rollback(True)
                assert not process_lock().busy

        def committed() -> None:
            with transaction.atomic():
                with transaction.atomic(), stored.edit(chat=42):
                    pass
                assert process_lock().busy

        for end in (rolled_back, savepoint_rolled_back, committed):
            end()
            assert not process_lock().busy

    def test_a_transaction_edits_a_key_again_that_it_keeps(self) -> None:
        with transaction.atomic():
            for _ in range(3):
                with stored.edit(chat=42) as data:
                    data.count += 1
            stored.delete(chat=43)
        assert stored.get(chat=42) == Pizza(3)
        assert not process_lock().busy

    def test_another_thread_waits_for_the_commit(self) -> None:
        kept, order = threading.Event(), []

        def other() -> None:
            kept.wait(5)
            with stored.edit(chat=42) as data:
                order.append(("other", data.count))
                data.count += 1
            connection.close()

        thread = threading.Thread(target=other)
        thread.start()
        with transaction.atomic():
            with stored.edit(chat=42) as data:
                data.count = 1
            kept.set()
            (ticket,) = kept_until_commit("default")
            while not process_lock().has_heir(ticket):
                time.sleep(0.001)
            order.append(("commits", 1))
        thread.join(5)
        assert order == [("commits", 1), ("other", 1)]
        assert stored.get(chat=42) == Pizza(2)

    async def test_without_a_transaction_the_storages_own_thread_is_used(self) -> None:
        await sync_to_async(lambda: None)()
        address = Address("shop", "", "1")
        storage = stored.fragment.storage
        await storage.write(address, Record({"count": 1}, revision=ANY))
        assert await stored.aget("1") == Pizza(1)


@both_locks
@pytest.mark.django_db(transaction=True)
def test_e8_a_transaction_edits_several_chats_one_after_another(
    lock: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "WITHIN_SECONDS", 5.0)
    bot = {
        "SESSION": "tests.bots.elsewhere.counter",
        "APPLICATION": "tests.bots.elsewhere.nothing",
        "LOCK": lock,
    }
    with override_settings(BOTSESSIONS={"BOTS": {"shop": bot}}), transaction.atomic():
        for key in "121323":
            with counter.edit(key) as data:
                data["count"] += 1
    found = dict(BotSession.objects.values_list("key", "data"))
    assert found == {key: {"count": 2} for key in "123"}
