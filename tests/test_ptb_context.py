"""``context.session``: what it shows when, and what it says to who uses it wrongly."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from django.test import SimpleTestCase
from telegram.ext import MessageHandler, filters

from botsessions import lazy_session, multi_session, session
from botsessions.exceptions import SessionClosed, SessionConflict
from botsessions.keys import per_user
from botsessions.locks import process_lock
from botsessions.storages import ANY, Address, Record

from .harness import Store, client

pytestmark = pytest.mark.once

HERE = Address("1", "", "1001")
"""Where the first user's session is stored."""


def counting() -> dict[str, Any]:
    return {"count": 0}


async def seen(declared: Any, look: Any) -> Any:
    """Return what a handler returns that looks at its context, and says so to nobody."""
    found = []

    async def work(update: Any, context: Any) -> None:
        found.append(look(context))

    answers = await client(declared, work).user().send("x")
    assert answers.errors == []
    return found[0]


class ClosedSessions(SimpleTestCase):
    async def test_a15_a_context_that_was_kept_raises_instead_of_losing_a_change(self) -> None:
        kept = []

        async def keep(update: Any, context: Any) -> None:
            kept.append(context)

        await client(session(initial=counting, storage=Store()), keep).user().send("x")
        (context,) = kept
        with pytest.raises(SessionClosed, match="over"):
            _ = context.session
        with pytest.raises(SessionClosed, match="over"):
            context.session = {}
        with pytest.raises(SessionClosed, match="over"):
            del context.session
        with pytest.raises(SessionClosed, match="over"):
            await context.get_session()
        with pytest.raises(SessionClosed, match="over"):
            await context.save_session()
        with pytest.raises(SessionClosed, match="over"):
            async with context.edit_session():
                pass
        assert not process_lock().busy

    async def test_a15_the_context_of_a_handler_that_failed_raises_too(self) -> None:
        kept = []

        async def keep(update: Any, context: Any) -> None:
            kept.append(context)
            context.session["count"] += 1
            raise ValueError

        await client(session(initial=counting, storage=Store()), keep).user().send("x")
        with pytest.raises(SessionClosed):
            _ = kept[0].session

    async def test_a15_what_a_non_blocking_handler_leaves_running_sees_no_closed_session(
        self,
    ) -> None:
        over, left = asyncio.Event(), []

        async def later(context: Any) -> None:
            await over.wait()
            with pytest.raises(SessionClosed):
                _ = context.session

        async def work(update: Any, context: Any) -> None:
            context.session["count"] += 1
            left.append(asyncio.create_task(later(context)))

        handler = MessageHandler(filters.ALL, work, block=False)
        await client(session(initial=counting, storage=Store()), handler).user().send("x")
        over.set()
        await left[0]

    async def test_a15_a_lazy_session_that_was_kept_raises(self) -> None:
        kept = []

        async def keep(update: Any, context: Any) -> None:
            kept.append(context)

        await client(lazy_session(initial=counting, storage=Store()), keep).user().send("x")
        with pytest.raises(SessionClosed):
            await kept[0].session

    async def test_a15_a_multi_session_that_was_kept_raises(self) -> None:
        kept = []

        async def keep(update: Any, context: Any) -> None:
            kept.append(context.session)

        declared = multi_session(chat=session(initial=counting, storage=Store()))
        await client(declared, keep).user().send("x")
        with pytest.raises(SessionClosed):
            _ = kept[0].chat
        with pytest.raises(SessionClosed):
            kept[0].chat = {}

    async def test_a15_the_next_updates_session_is_not_reached_through_an_old_context(self) -> None:
        kept = []

        async def use_the_first(update: Any, context: Any) -> None:
            kept.append(context)
            kept[0].session["count"] += 1

        store = Store()
        bot = client(session(initial=counting, storage=store), use_the_first)
        assert (await bot.user().send("x")).errors == []
        assert [type(e) for e in (await bot.user().send("x")).errors] == [SessionClosed]


class SavedEarly(SimpleTestCase):
    async def test_a18_save_session_writes_at_once_and_a_later_error_does_not_undo_it(self) -> None:
        store = Store()

        async def work(update: Any, context: Any) -> None:
            context.session["count"] = 1
            await context.save_session()
            assert store.values == {"1001": {"count": 1}}
            context.session["count"] = 2
            raise ValueError

        await client(session(initial=counting, storage=store), work).user().send("x")
        assert store.operations == ["read", "write"]
        assert store.values == {"1001": {"count": 1}}

    async def test_a18_a_conflict_is_raised_to_the_handler_that_saves(self) -> None:
        store, seen = Store({"1001": {"count": 1}}), []

        async def work(update: Any, context: Any) -> None:
            await store.write(HERE, Record({"count": 50}, revision=ANY))
            context.session["count"] += 1
            try:
                await context.save_session()
            except SessionConflict as exc:
                seen.append(exc)
                raise

        answers = await client(session(storage=store), work).user().send("x")
        assert answers.errors == seen
        assert store.values == {"1001": {"count": 50}}


class Keys(SimpleTestCase):
    async def test_the_key_is_that_of_the_update(self) -> None:
        declared = session(initial=counting, storage=Store())
        assert await seen(declared, lambda context: context.session_key) == "1001"

    async def test_of_a_multi_session_it_is_one_for_each_fragment(self) -> None:
        declared = multi_session(
            user=session(initial=counting, storage=Store(), get_session_key=per_user),
            nobody=session(initial=counting, storage=Store(), get_session_key=lambda update: None),
        )
        keys: Mapping[str, Any] = await seen(declared, lambda context: context.session_key)
        assert keys == {"user": "1001", "nobody": None}


class Mistakes(SimpleTestCase):
    """Type checkers find them, too; this is for who uses none."""

    async def test_a_lazy_session_that_is_used_like_data_says_to_await_it(self) -> None:
        def look(context: Any) -> None:
            with pytest.raises(TypeError, match="has to be awaited"):
                context.session["count"] += 1
            with pytest.raises(AttributeError, match="no 'count' here"):
                _ = context.session.count
            with pytest.raises(TypeError, match="awaited"):
                bool(context.session)

        await seen(lazy_session(initial=counting, storage=Store()), look)

    async def test_a_multi_session_that_is_used_like_data_names_its_fragments(self) -> None:
        def look(context: Any) -> None:
            assert context.session
            assert "chat" in dir(context.session)
            with pytest.raises(TypeError, match=r"in its fragments: context\.session\.chat"):
                context.session["count"] = 1
            with pytest.raises(TypeError, match="in its fragments"):
                len(context.session)

        await seen(multi_session(chat=session(initial=counting, storage=Store())), look)
