"""Code that runs beside its update: its own session, and the key for moments only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import product
from typing import Any

from django.test import SimpleTestCase
from telegram.ext import TypeHandler

from botsessions import lazy_session, multi_session, session
from botsessions.exceptions import SessionConflict
from botsessions.locks import process_lock
from botsessions.snapshots import inside
from botsessions.storages import ANY, Address, Record

from .harness import Store, client, turns

MARIA = Address("1", "", "1001")


SLOW_SECONDS = 0.2


class SlowStore(Store):
    async def write(self, address: Address, record: Record) -> int:
        revision = await super().write(address, record)
        await asyncio.sleep(SLOW_SECONDS)
        return revision


class LosingStore(Store):
    async def write(self, address: Address, record: Record) -> int:
        raise OSError


def counting() -> dict[str, int]:
    return {"count": 0}


def beside(callback: Any) -> Any:
    return TypeHandler(object, callback, block=False)


class EditSession(SimpleTestCase):
    async def test_what_was_changed_before_is_saved_first(self) -> None:
        store = Store({"1001": {"count": 1}})

        async def work(update: Any, context: Any) -> None:
            context.session["count"] += 1
            async with context.edit_session() as data:
                assert store.values == {"1001": {"count": 2}}
                assert data is context.session
                data["count"] += 10

        answers = (
            await client(session(initial=counting, storage=store), beside(work)).user().send("x")
        )
        assert answers.errors == []
        assert store.values == {"1001": {"count": 12}}

    async def test_e8_blocks_may_be_left_in_any_order(self) -> None:
        store = Store()
        declared = session(initial=counting, storage=store)

        async def work(update: Any, context: Any) -> None:
            other = declared.aedit("42")
            async with context.edit_session():
                await other.__aenter__()
            async with declared.aedit("42") as data:
                data["count"] += 1
            await other.__aexit__(None, None, None)

        assert (await client(declared, beside(work)).user().send("x")).errors == []
        assert store.values["42"] == {"count": 1}
        assert not process_lock().busy

    async def test_what_was_changed_before_and_by_somebody_else_is_a_conflict(self) -> None:
        store = Store({"1001": {"count": 1}})

        async def work(update: Any, context: Any) -> None:
            context.session["count"] += 1
            await store.write(MARIA, Record({"count": 50}, revision=ANY))
            async with context.edit_session():
                raise AssertionError("never entered")

        answers = (
            await client(session(initial=counting, storage=store), beside(work)).user().send("x")
        )
        assert [type(error) for error in answers.errors] == [SessionConflict]
        assert store.values == {"1001": {"count": 50}}
        assert not process_lock().busy

    async def test_it_is_saved_on_leaving_and_the_key_is_free(self) -> None:
        store = Store({"1001": {"count": 1}})

        async def work(update: Any, context: Any) -> None:
            async with context.edit_session() as data:
                data["count"] += 1
                assert process_lock().busy
            assert not process_lock().busy
            assert store.values == {"1001": {"count": 2}}

        answers = (
            await client(session(initial=counting, storage=store), beside(work)).user().send("x")
        )
        assert answers.errors == []

    async def test_what_a_block_has_saved_before_it_raised_is_no_conflict_later(self) -> None:
        for declare in (session, lazy_session):
            store = Store({"1001": {"count": 1}})

            async def work(update: Any, context: Any) -> None:
                await context.get_session()
                with suppress(ZeroDivisionError):
                    async with context.edit_session() as data:
                        data["saved"] = True
                        await context.save_session()
                        data["half"] = True
                        raise ZeroDivisionError
                (await context.get_session())["count"] += 1

            declared = declare(initial=counting, storage=store)
            assert (await client(declared, beside(work)).user().send("x")).errors == []
            assert store.values == {"1001": {"count": 2, "saved": True}}

    async def test_a2_a_block_whose_save_was_cancelled_has_saved_and_is_no_conflict_later(
        self,
    ) -> None:
        for declare in (session, lazy_session):
            store = SlowStore({"1001": {"count": 1}})

            async def edit(context: Any) -> None:
                async with context.edit_session() as data:
                    data["count"] += 1

            async def work(update: Any, context: Any) -> None:
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(edit(context), SLOW_SECONDS / 2)
                data = await context.get_session()
                assert data == {"count": 2}
                data["count"] += 10

            declared = declare(initial=counting, storage=store)
            assert (await client(declared, beside(work)).user().send("x")).errors == []
            assert store.values == {"1001": {"count": 12}}

    async def test_a2_what_was_saved_by_half_is_no_conflict_later(self) -> None:
        store = Store()

        async def work(update: Any, context: Any) -> None:
            with suppress(OSError):
                async with context.edit_session() as both:
                    both.stored["count"] += 1
                    both.lost["count"] += 1
            context.session.stored["count"] += 10

        declared = multi_session(
            stored=session(initial=counting, storage=store),
            lost=session(initial=counting, storage=LosingStore()),
        )
        assert (await client(declared, beside(work)).user().send("x")).errors == []
        assert store.values == {"1001": {"count": 11}}

    async def test_a2_what_is_changed_beside_a_block_of_the_handler_is_a_conflict(
        self,
    ) -> None:
        store = Store({"1001": {"count": 1}})

        async def edit(context: Any, entered: asyncio.Event, go: asyncio.Event) -> None:
            async with context.edit_session() as data:
                entered.set()
                await go.wait()
                data["count"] += 1

        async def work(update: Any, context: Any) -> None:
            entered, go = asyncio.Event(), asyncio.Event()
            editing = asyncio.create_task(edit(context, entered, go))
            await entered.wait()
            context.session["other"] = 1
            go.set()
            await editing

        declared = session(initial=counting, storage=store)
        errors = (await client(declared, beside(work)).user().send("x")).errors
        assert [type(error) for error in errors] == [SessionConflict]
        assert store.values == {"1001": {"count": 2}}

    async def test_what_a_block_that_raised_has_not_saved_leaves_no_trace(self) -> None:
        store = Store({"1001": {"count": 1}})

        async def work(update: Any, context: Any) -> None:
            before = context.session
            with suppress(ZeroDivisionError):
                async with context.edit_session() as data:
                    data["half"] = True
                    raise ZeroDivisionError
            before["count"] += 1

        declared = session(initial=counting, storage=store)
        assert (await client(declared, beside(work)).user().send("x")).errors == []
        assert store.values == {"1001": {"count": 2}}

    async def test_c5_an_awaitable_that_was_replaced_before_it_is_closed(self) -> None:
        async def never() -> None: ...

        async def work(update: Any, context: Any) -> None:
            context.session = never()
            context.session = {"count": 5}
            async with context.edit_session() as data:
                data["count"] += 1

        store = Store()
        declared = lazy_session(initial=counting, storage=store)
        assert (await client(declared, beside(work)).user().send("x")).errors == []
        assert store.values == {"1001": {"count": 6}}

    async def test_a_lazy_session_is_read_anew(self) -> None:
        store = Store({"1001": {"count": 1}})

        async def work(update: Any, context: Any) -> None:
            assert await context.session == {"count": 1}
            await store.write(MARIA, Record({"count": 50}, revision=ANY))
            async with context.edit_session() as data:
                assert data == {"count": 50}
                data["count"] += 1
            assert await context.session is data

        declared = lazy_session(initial=counting, storage=store)
        assert (await client(declared, beside(work)).user().send("x")).errors == []
        assert store.values == {"1001": {"count": 51}}


async def outcome(
    work: Any, *given: Any, declare: Any = session
) -> tuple[list[type[Exception]], Any]:
    """Return the errors of a handler, and what is stored then of ``{"count": 1}``."""
    store = Store({"1001": {"count": 1}})
    declared = declare(initial=counting, storage=store)

    async def handler(update: Any, context: Any) -> None:
        await work(declared, context, *given)

    answers = await client(declared, handler).user().send("x")
    assert not process_lock().busy
    return [type(error) for error in answers.errors], store.values.get("1001")


async def half_of(block: Any) -> None:
    """Change half of what a block is to change, and wait for its end that never comes."""
    async with block as data:
        data["half"] = True
        await asyncio.sleep(60)


async def cut_off(work: Any, meanwhile: Any = turns) -> None:
    """Cancel what has come as far as it gets."""
    task = asyncio.create_task(work)
    await turns()
    await meanwhile()
    task.cancel()
    await asyncio.wait([task])


class BesideABlockThatIsUndone(SimpleTestCase):
    """Whose change it was cannot be told, so one that others may have made is never undone."""

    async def test_e8_what_the_handler_changes_meanwhile_is_a_conflict(self) -> None:
        async def change(context: Any) -> None:
            (await context.get_session())["count"] += 10

        async def assign(context: Any) -> None:
            context.session = {"count": 10}

        async def work(declared: Any, context: Any, act: Any, is_own: bool) -> None:
            block = context.edit_session() if is_own else declared.aedit("1001")
            await cut_off(half_of(block), lambda: act(context))

        ways = product((session, lazy_session), (change, assign), (True, False))
        for declare, act, is_own in ways:
            with self.subTest(declare=declare, act=act, is_own=is_own):
                found = await outcome(work, act, is_own, declare=declare)
                assert found == ([SessionConflict], {"count": 1})

    async def test_e8_a_handler_that_only_waits_for_it_goes_on(self) -> None:
        async def work(declared: Any, context: Any, is_own: bool) -> None:
            data = context.session
            data["count"] += 1
            block = context.edit_session() if is_own else declared.aedit("1001")
            await cut_off(half_of(block))
            assert context.session is data
            data["count"] += 1

        for is_own in (True, False):
            with self.subTest(is_own=is_own):
                assert await outcome(work, is_own) == ([], {"count": 3})

    async def test_e8_a_block_may_use_the_session_by_any_name(self) -> None:
        async def edit(declared: Any, context: Any) -> None:
            async with declared.aedit("1001"), context.edit_session():
                context.session["half"] = True
                async with declared.aedit("1001") as data:
                    data["count"] = 5
                context.session = {"half": True}
                await asyncio.sleep(60)

        async def work(declared: Any, context: Any) -> None:
            await cut_off(edit(declared, context))
            context.session["count"] += 1

        assert await outcome(work) == ([], {"count": 2})

    async def test_e8_what_an_earlier_block_is_still_changing_is_a_conflict(self) -> None:
        async def work(declared: Any, context: Any) -> None:
            entered, go = asyncio.Event(), asyncio.Event()

            async def change() -> None:
                async with context.edit_session() as data:
                    entered.set()
                    await turns()
                    data["count"] += 10
                    await go.wait()

            changing = asyncio.create_task(change())
            await entered.wait()
            await cut_off(half_of(declared.aedit("1001")))
            go.set()
            await changing

        assert await outcome(work) == ([SessionConflict], {"count": 1})

    async def test_e8_what_is_changed_after_a_generator_was_left_in_a_block_is_a_conflict(
        self,
    ) -> None:
        async def editing(block: Any) -> AsyncIterator[Any]:
            async with block as data:
                yield data

        async def work(declared: Any, context: Any, is_own: bool, in_block: bool) -> None:
            block = context.edit_session() if is_own else declared.aedit("1001")
            async for _ in editing(block):
                break
            if in_block:
                async with declared.aedit("1001") as data:
                    data["count"] += 10
            else:
                context.session["count"] += 10
            await turns()  # The event loop closes the generator.

        for is_own, in_block in product((True, False), repeat=2):
            with self.subTest(is_own=is_own, in_block=in_block):
                found = await outcome(work, is_own, in_block)
                assert found == ([SessionConflict], {"count": 1})

    async def test_e8_generators_that_were_left_leave_nothing_behind(self) -> None:
        async def editing(declared: Any) -> AsyncIterator[Any]:
            async with declared.aedit("1001") as data:
                yield data

        async def work(declared: Any, context: Any) -> None:
            async for _ in editing(declared):
                break
            await turns()

        async def nested() -> None:
            async with declared.aedit("1001"):
                await work(declared, None)

        declared = session(initial=counting, storage=Store())
        maria = client(declared, lambda _, context: work(declared, context)).user()
        for _ in range(3):
            await maria.send("x")
            assert not inside.get()
        declared.installed("1")
        for _ in range(3):
            await nested()
            assert len(inside.get()) == 1

    async def test_e8_a_generator_that_was_left_in_a_block_without_a_change_is_none(self) -> None:
        async def editing(declared: Any) -> AsyncIterator[Any]:
            async with declared.aedit("1001") as data:
                yield data

        async def work(declared: Any, context: Any) -> None:
            context.session["count"] += 1
            async for _ in editing(declared):
                break
            await turns()
            context.session["count"] += 1

        assert await outcome(work) == ([], {"count": 3})
