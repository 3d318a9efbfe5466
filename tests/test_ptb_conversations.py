"""ConversationHandler: its decisions with concurrent updates (G6), and its timeouts (F5)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.test import SimpleTestCase
from telegram import Update
from telegram.ext import CommandHandler, ConversationHandler, MessageHandler, TypeHandler, filters

from botsessions import session
from botsessions.exceptions import SessionClosed
from botsessions.keys import per_chat, per_user_chat
from botsessions.locks import process_lock

from .harness import Store, client, running, text

pytestmark = pytest.mark.once


NAME = 0
TIMED_OUT = ConversationHandler.TIMEOUT


async def slow_key(update: Update) -> str | None:
    await asyncio.sleep(0)
    return per_chat(update)


class Decisions(SimpleTestCase):
    async def test_g6_a_conversation_decides_on_the_state_that_the_update_before_left(self) -> None:
        for key in (per_chat, per_user_chat, slow_key):
            store, begun, finish = Store(), asyncio.Event(), asyncio.Event()

            async def start(
                update: Any, context: Any, begun: Any = begun, finish: Any = finish
            ) -> int:
                begun.set()
                await finish.wait()
                return NAME

            async def name(update: Any, context: Any) -> int:
                context.session["name"] = update.effective_message.text
                return ConversationHandler.END

            conversation = ConversationHandler(
                entry_points=[CommandHandler("start", start)],
                states={NAME: [MessageHandler(filters.TEXT, name)]},
                fallbacks=[],
            )
            bot = client(
                session(initial=dict, storage=store, get_session_key=key),
                conversation,
                builder=lambda b: b.concurrent_updates(True),
            )
            maria = bot.user("Maria")
            async with running(bot) as application:
                await application.update_queue.put(text(maria, 1, "/start"))
                await application.update_queue.put(text(maria, 2, "Maria"))
                await begun.wait()
                finish.set()
                await application.update_queue.join()
            assert [*store.values.values()] == [{"name": "Maria"}]

    async def test_g6_no_step_of_many_at_once_is_lost_or_taken_twice(self) -> None:
        store, steps = Store(), 20

        def step(state: int) -> MessageHandler[Any, Any]:
            async def take(update: Any, context: Any) -> int:
                await asyncio.sleep(0)
                context.session.append([state, update.update_id])
                return state + 1

            return MessageHandler(filters.ALL, take)

        conversation = ConversationHandler(
            entry_points=[step(0)],
            states={state: [step(state)] for state in range(1, steps + 1)},
            fallbacks=[],
        )
        bot = client(
            session(initial=list, storage=store),
            conversation,
            builder=lambda b: b.concurrent_updates(True),
        )
        people = [bot.user(id=1), bot.user(id=2)]
        async with running(bot) as application:
            for number in range(steps):
                for person in people:
                    await application.update_queue.put(text(person, number))
            await application.update_queue.join()
        in_order = [[number, number] for number in range(steps)]
        assert store.values == {"1": in_order, "2": in_order}

    async def test_f3_a_non_blocking_conversation_has_its_session(self) -> None:
        store = Store()

        async def start(update: Any, context: Any) -> int:
            context.session["started"] = True
            return NAME

        async def name(update: Any, context: Any) -> int:
            context.session["name"] = update.effective_message.text
            return ConversationHandler.END

        conversation = ConversationHandler(
            entry_points=[CommandHandler("start", start)],
            states={NAME: [MessageHandler(filters.TEXT, name)]},
            fallbacks=[],
            block=False,
        )
        maria = client(session(initial=dict, storage=store), conversation).user("Maria")
        await maria.send("/start")
        await maria.send("Maria")
        assert store.values == {"1001": {"started": True, "name": "Maria"}}


class Timeouts(SimpleTestCase):
    async def test_f5_a_timeout_handler_has_the_session_as_it_is_then(self) -> None:
        for block in (True, False):
            store, timed_out = Store(), asyncio.Event()

            async def start(update: Any, context: Any) -> int:
                context.session["count"] = 1
                return NAME

            async def time_out(update: Any, context: Any, timed_out: Any = timed_out) -> None:
                context.session["count"] += 10
                context.session["chat"] = update.effective_chat.id
                timed_out.set()

            conversation = ConversationHandler(
                entry_points=[CommandHandler("start", start, block=block)],
                states={NAME: [], TIMED_OUT: [TypeHandler(Update, time_out)]},
                fallbacks=[],
                conversation_timeout=0.05,
            )
            declared = session(initial=dict, storage=store)
            bot = client(declared, conversation)
            await bot.user().send("/start")
            async with declared.aedit("1001") as data:
                data["count"] = 2
            await asyncio.wait_for(timed_out.wait(), 5)
            await bot.aclose()
            assert store.values == {"1001": {"count": 12, "chat": 1001}}

    async def test_f5_a_timeout_handler_that_fails_is_not_saved_and_its_error_is_told(self) -> None:
        store, seen, told = Store(), [], asyncio.Event()

        async def start(update: Any, context: Any) -> int:
            context.session["count"] = 1
            return NAME

        async def time_out(update: Any, context: Any) -> None:
            context.session["count"] += 10
            raise ValueError("broken timeout")

        async def on_error(update: Any, context: Any) -> None:
            seen.append((str(context.error), context.session))
            told.set()

        conversation = ConversationHandler(
            entry_points=[CommandHandler("start", start)],
            states={NAME: [], TIMED_OUT: [TypeHandler(Update, time_out)]},
            fallbacks=[],
            conversation_timeout=0.01,
        )
        bot = client(session(initial=dict, storage=store), conversation, errors=on_error)
        await bot.user().send("/start")
        await asyncio.wait_for(told.wait(), 5)
        await bot.aclose()
        assert seen == [("broken timeout", {"count": 11})]
        assert store.values == {"1001": {"count": 1}}
        assert not process_lock().busy

    async def test_a15_the_context_of_a_timed_out_conversation_is_closed_again(self) -> None:
        kept, timed_out, errors = [], asyncio.Event(), []

        async def start(update: Any, context: Any) -> int:
            context.session["count"] = 1
            kept.append(context)
            return NAME

        async def time_out(update: Any, context: Any) -> None:
            assert context is kept[0]
            context.session["count"] += 1
            timed_out.set()

        conversation = ConversationHandler(
            entry_points=[CommandHandler("start", start)],
            states={NAME: [], TIMED_OUT: [TypeHandler(Update, time_out)]},
            fallbacks=[],
            conversation_timeout=0.01,
        )
        bot = client(session(initial=dict, storage=Store()), conversation)
        await bot.user().send("/start")
        await asyncio.wait_for(timed_out.wait(), 5)
        await bot.aclose()
        try:
            _ = kept[0].session
        except SessionClosed as exc:
            errors.append(exc)
        assert len(errors) == 1
