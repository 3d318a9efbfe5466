"""An application with a session: how updates come in, and what handlers of every kind see."""

from __future__ import annotations

import asyncio
import socket
import warnings
from contextlib import suppress
from typing import Any
from unittest.mock import patch

import httpx
import pytest
from django.test import SimpleTestCase
from telegram import Update
from telegram.ext import (
    ApplicationHandlerStop,
    CommandHandler,
    Defaults,
    MessageHandler,
    StringCommandHandler,
    TypeHandler,
    filters,
)

from botsessions import lazy_session, multi_session, session
from botsessions.exceptions import (
    SessionClosed,
    SessionConflict,
    SessionKeyError,
    SessionLockTimeout,
)
from botsessions.locks import ProcessLock, process_lock
from botsessions.storages import Address

from .harness import Store, client, running, text

pytestmark = pytest.mark.once

HERE = Address("1", "", "1001")
"""Where the first user's session is stored."""


def counting() -> dict[str, Any]:
    return {"count": 0}


async def count(update: Any, context: Any) -> None:
    context.session["count"] += 1


async def fail(update: Any, context: Any) -> None:
    raise ValueError("broken handler")


class WaysIn(SimpleTestCase):
    async def test_f1_process_update_can_be_called_directly(self) -> None:
        store = Store()
        bot = client(session(initial=counting, storage=store), count)
        async with bot.application:
            await bot.application.process_update(text(bot.user()))
        assert store.values == {"1001": {"count": 1}}

    async def test_f1_a_custom_webhook_may_feed_the_update_queue(self) -> None:
        for concurrent in (False, True):
            store = Store()
            bot = client(
                session(initial=counting, storage=store),
                count,
                builder=lambda b, c=concurrent: b.updater(None).concurrent_updates(c),
            )
            ann, bob = bot.user("Ann", id=1), bot.user("Bob", id=2)
            async with running(bot) as application:
                for person in (ann, bob, ann):
                    await application.update_queue.put(text(person))
                await application.update_queue.join()
            assert store.values == {"1": {"count": 2}, "2": {"count": 1}}

    async def test_f1_polling(self) -> None:
        store, handled = Store(), asyncio.Event()

        async def last(update: Any, context: Any) -> None:
            if update.update_id == 2:
                handled.set()

        bot = client(session(initial=counting, storage=store), count, last)
        maria = bot.user()
        updates = [text(maria, number).to_dict() for number in (1, 2)]
        bot.telegram.answers = Once(bot.telegram.answers, getUpdates=updates)
        async with running(bot) as application:
            await application.updater.start_polling(poll_interval=0.01)
            await asyncio.wait_for(handled.wait(), 5)
            await application.updater.stop()
        assert store.values == {"1001": {"count": 2}}

    def test_f1_run_polling(self) -> None:
        store = Store()

        async def stop(update: Any, context: Any) -> None:
            asyncio.get_running_loop().call_later(0.01, context.application.stop_running)

        bot = client(session(initial=counting, storage=store), count, stop)
        updates = [text(bot.user()).to_dict()]
        bot.telegram.answers = Once(bot.telegram.answers, getUpdates=updates)
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            bot.application.run_polling(poll_interval=0.01, stop_signals=None)
        finally:
            asyncio.set_event_loop(None)
        assert store.values == {"1001": {"count": 1}}

    async def test_f1_the_webhook_of_python_telegram_bot(self) -> None:
        pytest.importorskip("tornado", reason="python-telegram-bot[webhooks] is not installed")
        store = Store()
        bot = client(session(initial=counting, storage=store), count)
        body = text(bot.user()).to_dict()
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.setblocking(False)
            url = f"http://127.0.0.1:{server.getsockname()[1]}/"
            async with running(bot) as application, httpx.AsyncClient() as telegram:
                await application.updater.start_webhook(unix=server, webhook_url=url)
                assert (await telegram.post(url, json=body)).status_code == 200
                await application.update_queue.join()
                await application.updater.stop()
        assert store.values == {"1001": {"count": 1}}

    async def test_f9_updates_that_are_not_telegrams_reach_their_handlers(self) -> None:
        store, seen = Store(), []

        async def note(update: Any, context: Any) -> None:
            seen.append((update, context.session, context.session_key))

        async def assign(update: Any, context: Any) -> None:
            context.session = {}

        bot = client(
            session(initial=counting, storage=store),
            StringCommandHandler("hello", note),
            TypeHandler(int, note),
            TypeHandler(int, assign),
        )
        async with running(bot) as application:
            await application.update_queue.put("/hello")
            await application.update_queue.join()
            answers = await bot.feed(7)
        assert seen == [("/hello", None, None), (7, None, None)]
        assert store.calls == []
        (error,) = answers.errors
        assert isinstance(error, SessionKeyError)
        assert "int" in str(error)

    async def test_a17_an_update_that_no_handler_takes_costs_no_storage_call_and_no_lock(
        self,
    ) -> None:
        store, keys = Store(), []

        def key(update: Update) -> str:
            keys.append(update)
            return "key"

        for declare in (session, lazy_session):
            declared = declare(initial=counting, storage=store, get_session_key=key)
            bot = client(declared, CommandHandler("start", count), CommandHandler("stop", count))
            with patch.object(ProcessLock, "request", side_effect=AssertionError):
                await bot.user().send("Hello")
        assert (store.calls, keys) == ([], [])


class HandlerGroups(SimpleTestCase):
    async def test_f2_groups_share_one_session_one_load_and_one_save(self) -> None:
        store, seen = Store(), []

        async def note(update: Any, context: Any) -> None:
            seen.append(context.session)
            context.session["count"] += 1

        await client(session(initial=counting, storage=store), note, note, note).user().send("x")
        assert all(data is seen[0] for data in seen)
        assert store.calls == [("read", "1001"), ("write", "1001")]
        assert store.values == {"1001": {"count": 3}}

    async def test_f2_application_handler_stop_saves_and_skips_later_groups(self) -> None:
        store = Store()

        async def stop(update: Any, context: Any) -> None:
            context.session["count"] += 1
            raise ApplicationHandlerStop

        await client(session(initial=counting, storage=store), stop, count).user().send("x")
        assert store.values == {"1001": {"count": 1}}

    async def test_groups_after_a_failed_one_still_run_but_nothing_is_saved(self) -> None:
        store, ran = Store({"1001": {"count": 1}}), []

        async def note(update: Any, context: Any) -> None:
            ran.append(dict(context.session))

        bot = client(session(storage=store), count, fail, count, note)
        await bot.user().send("x")
        assert ran == [{"count": 3}]
        assert store.operations == ["read"]

    async def test_an_error_handler_can_stop_later_groups(self) -> None:
        ran = []

        async def note(update: Any, context: Any) -> None:
            ran.append(update)

        async def stop(update: Any, context: Any) -> None:
            raise ApplicationHandlerStop

        declared = session(initial=counting, storage=Store())
        await client(declared, fail, note, errors=stop).user().send("x")
        assert ran == []


class Failures(SimpleTestCase):
    async def test_a12_later_groups_do_not_run_when_loading_failed(self) -> None:
        store, ran = Store(), []
        store.fails["read"] = OSError("away")

        async def note(update: Any, context: Any) -> None:
            ran.append(update)

        bot = client(
            session(initial=counting, storage=store),
            MessageHandler(filters.ALL, note, block=False),
            note,
            MessageHandler(filters.ALL, note, block=False),
        )
        answers = await bot.user().send("x")
        assert ran == []
        assert [str(error) for error in answers.errors] == ["away"]
        assert store.operations == ["read"]

    async def test_a12_a13_the_update_queue_survives_a_failing_storage(self) -> None:
        for concurrent in (False, True):
            for operation in ("read", "write"):
                for error_handlers in (False, True):
                    with self.subTest(
                        concurrent=concurrent, operation=operation, error_handlers=error_handlers
                    ):
                        await self._survives(concurrent, operation, error_handlers)

    async def _survives(self, concurrent: bool, operation: str, error_handlers: bool) -> None:
        store = Store({"1001": {"count": 1}})
        store.fails[operation] = OSError("away")
        bot = client(
            session(storage=store), count, builder=lambda b: b.concurrent_updates(concurrent)
        )
        if not error_handlers:
            bot.application.error_handlers.clear()
        async with running(bot) as application:
            await application.update_queue.put(text(bot.user(id=1001)))
            await application.update_queue.join()
            store.fails.clear()
            await application.update_queue.put(text(bot.user(id=1001)))
            await application.update_queue.join()
        assert store.values == {"1001": {"count": 2}}

    async def test_a13_a_save_that_failed_can_be_tried_again_by_an_error_handler(self) -> None:
        store = Store({"1001": {"count": 1}})
        store.fails["write"] = OSError("away")

        async def again(update: Any, context: Any) -> None:
            store.fails.clear()
            await context.save_session()

        await client(session(storage=store), count, errors=again).user().send("x")
        assert store.values == {"1001": {"count": 2}}

    async def test_a_filter_that_raises_shows_the_session_to_error_handlers_and_saves_nothing(
        self,
    ) -> None:
        class Broken(filters.MessageFilter):
            def filter(self, message: Any) -> bool:
                raise ValueError("broken filter")

        store, seen = Store({"1001": {"count": 1}}), []

        async def on_error(update: Any, context: Any) -> None:
            seen.append((str(context.error), dict(context.session)))

        bot = client(
            session(storage=store), MessageHandler(Broken(), count), count, errors=on_error
        )
        await bot.user().send("x")
        assert seen == [("broken filter", {"count": 1})]
        assert store.operations == ["read"]

    async def test_a_filter_that_raises_costs_nothing_where_nobody_handles_errors(self) -> None:
        class Broken(filters.MessageFilter):
            def filter(self, message: Any) -> bool:
                raise ValueError("broken filter")

        store = Store()
        bot = client(session(storage=store), MessageHandler(Broken(), count))
        bot.application.error_handlers.clear()
        await bot.user().send("x")
        assert store.calls == []

    async def test_process_error_returns_whether_an_error_handler_stopped_the_update(self) -> None:
        returned = []

        async def stop(update: Any, context: Any) -> None:
            raise ApplicationHandlerStop

        async def ask(update: Any, context: Any) -> None:
            returned.append(await context.application.process_error(update, ValueError()))

        declared = session(initial=counting, storage=Store())
        await client(declared, ask).user().send("x")
        await client(declared, ask, errors=stop).user().send("x")
        assert returned == [False, True]

    async def test_an_error_handler_that_raises_harms_nobody(self) -> None:
        store = Store({"1001": {"count": 1}})

        async def raise_too(update: Any, context: Any) -> None:
            context.session["count"] += 1
            raise LookupError

        bot = client(session(storage=store), fail, errors=raise_too)
        answers = await bot.user().send("x")
        assert [type(error) for error in answers.errors] == [ValueError]
        assert store.operations == ["read"]


class ErrorHandlers(SimpleTestCase):
    async def test_f4_they_see_the_session_as_the_handler_left_it(self) -> None:
        seen = []

        async def on_error(update: Any, context: Any) -> None:
            seen.append(dict(context.session))

        for block in (True, False):
            bot = client(session(initial=counting, storage=Store()), count, fail)
            bot.application.add_error_handler(on_error, block)
            await bot.user().send("x")
        assert seen == [{"count": 1}, {"count": 1}]

    async def test_f4_they_see_the_session_of_a_non_blocking_handler(self) -> None:
        async def count_and_fail(update: Any, context: Any) -> None:
            context.session["count"] += 10
            raise ValueError

        seen = []

        async def on_error(update: Any, context: Any) -> None:
            seen.append(dict(context.session))

        store = Store()
        handler = MessageHandler(filters.ALL, count_and_fail, block=False)
        for block in (True, False):
            bot = client(session(initial=counting, storage=store), handler)
            bot.application.add_error_handler(on_error, block)
            await bot.user().send("x")
        assert seen == [{"count": 10}, {"count": 10}]
        assert store.values == {}

    async def test_f4_what_they_change_is_not_saved(self) -> None:
        store = Store()

        async def on_error(update: Any, context: Any) -> None:
            context.session["count"] += 1
            context.session = {"count": 100}

        bot = client(session(initial=counting, storage=store), fail, errors=on_error)
        await bot.user().send("x")
        assert store.operations == ["read"]

    async def test_a18_what_they_save_is_saved(self) -> None:
        async def on_error(update: Any, context: Any) -> None:
            context.session["errors"] = 1
            await context.save_session()
            context.session["errors"] = 2

        store = Store()
        bot = client(session(initial=counting, storage=store), count, fail, errors=on_error)
        await bot.user().send("x")
        assert store.values == {"1001": {"count": 1, "errors": 1}}

    async def test_a18_what_they_save_for_a_non_blocking_handler_is_saved(self) -> None:
        async def on_error(update: Any, context: Any) -> None:
            context.session["errors"] = 1
            await context.save_session()

        store = Store()
        handler = MessageHandler(filters.ALL, fail, block=False)
        bot = client(session(initial=counting, storage=store), handler, errors=on_error)
        await bot.user().send("x")
        assert store.values == {"1001": {"count": 0, "errors": 1}}

    async def test_f4_one_that_outlives_its_update_reads_but_cannot_assign_or_save(self) -> None:
        seen, over = [], asyncio.Event()

        async def on_error(update: Any, context: Any) -> None:
            await over.wait()
            seen.append(dict(context.session))
            assert await context.get_session() == {"count": 1}
            with pytest.raises(SessionClosed):
                context.session = {}
            with pytest.raises(SessionClosed):
                del context.session
            with pytest.raises(SessionClosed):
                await context.save_session()
            seen.append("done")

        store = Store()
        bot = client(session(initial=counting, storage=store), count, fail)
        bot.application.add_error_handler(on_error, block=False)
        await bot.user().send("x", wait=False)
        assert seen == []
        over.set()
        await bot.aclose()  # It waits for the bot's tasks.
        assert seen == [{"count": 1}, "done"]
        assert store.values == {}

    async def test_f4_of_a_multi_session_they_see_every_fragment(self) -> None:
        seen, over = [], asyncio.Event()
        declared = multi_session(
            chat=session(initial=counting, storage=Store()),
            lazy=lazy_session(initial=counting, storage=Store()),
        )

        async def change(update: Any, context: Any) -> None:
            context.session.chat["count"] += 1
            (await context.session.lazy)["count"] += 2

        async def on_error(update: Any, context: Any) -> None:
            await over.wait()
            seen.extend([context.session.chat, await context.session.lazy])
            with pytest.raises(SessionClosed):
                context.session.chat = {}

        bot = client(declared, change, fail)
        bot.application.add_error_handler(on_error, block=False)
        await bot.user().send("x", wait=False)
        over.set()
        await bot.aclose()  # It waits for the bot's tasks.
        assert seen == [{"count": 1}, {"count": 2}]

    async def test_an_error_without_an_update_has_no_session(self) -> None:
        seen = []

        async def on_error(update: Any, context: Any) -> None:
            seen.append((update, context.session, context.session_key))
            await context.save_session()
            async with context.edit_session() as data:
                seen.append(data)
            with pytest.raises(SessionClosed, match="outside updates"):
                context.session = {}

        bot = client(session(initial=counting, storage=Store()), errors=on_error)
        async with running(bot) as application:
            await application.process_error(None, ValueError())
        assert seen == [(None, None, None), None]


class NonBlockingHandlers(SimpleTestCase):
    async def test_f3_an_update_that_only_they_take_is_loaded_once(self) -> None:
        for declare in (session, lazy_session):
            store = Store({"1001": {"count": 1}})

            async def change(update: Any, context: Any) -> None:
                (await context.get_session())["count"] += 1

            handler = MessageHandler(filters.ALL, change, block=False)
            await client(declare(storage=store), handler).user().send("x")
            assert store.operations == ["read", "write"]
            assert store.values == {"1001": {"count": 2}}

    async def test_f3_defaults_make_all_handlers_non_blocking(self) -> None:
        begun, finish, store = asyncio.Event(), asyncio.Event(), Store()

        async def work(update: Any, context: Any) -> None:
            begun.set()
            await finish.wait()
            context.session["count"] += 1

        bot = client(
            session(initial=counting, storage=store),
            work,
            builder=lambda b: b.defaults(Defaults(block=False)),
        )
        task = asyncio.ensure_future(bot.user().send("x"))
        await begun.wait()
        assert not process_lock().busy
        finish.set()
        await task
        assert store.operations == ["read", "write"]
        assert store.values == {"1001": {"count": 1}}

    async def test_f3_they_do_not_hold_their_key(self) -> None:
        begun, cancelled, store = asyncio.Event(), asyncio.Event(), Store({"1001": {"count": 1}})

        async def work(update: Any, context: Any) -> None:
            begun.set()
            await cancelled.wait()

        async def cancel(update: Any, context: Any) -> None:
            context.session["cancelled"] = True
            cancelled.set()

        bot = client(
            session(storage=store),
            CommandHandler("work", work, block=False),
            CommandHandler("cancel", cancel),
        )
        maria = bot.user()
        task = asyncio.ensure_future(maria.send("/work"))
        await begun.wait()
        await asyncio.wait_for(maria.send("/cancel"), 5)
        assert (await task).errors == []
        assert store.values == {"1001": {"count": 1, "cancelled": True}}

    async def test_f3_if_both_changed_the_session_the_error_handlers_get_a_conflict(self) -> None:
        begun, finish, store = asyncio.Event(), asyncio.Event(), Store({"1001": {"count": 1}})

        async def work(update: Any, context: Any) -> None:
            begun.set()
            await finish.wait()
            context.session["count"] += 10

        bot = client(
            session(storage=store),
            CommandHandler("work", work, block=False),
            CommandHandler("count", count),
        )
        maria = bot.user()
        task = asyncio.ensure_future(maria.send("/work"))
        await begun.wait()
        assert (await maria.send("/count", wait=False)).errors == []
        finish.set()
        assert [type(error) for error in (await task).errors] == [SessionConflict]
        assert store.values == {"1001": {"count": 2}}

    async def test_f3_edit_session_gets_the_freshest_data_and_avoids_the_conflict(self) -> None:
        begun, finish, store = asyncio.Event(), asyncio.Event(), Store({"1001": {"count": 1}})

        async def work(update: Any, context: Any) -> None:
            assert context.session == {"count": 1}
            begun.set()
            await finish.wait()
            async with context.edit_session() as data:
                assert process_lock().busy
                data["count"] += 10
            assert not process_lock().busy
            assert context.session == {"count": 12}

        bot = client(
            session(storage=store),
            CommandHandler("work", work, block=False),
            CommandHandler("count", count),
        )
        maria = bot.user()
        task = asyncio.ensure_future(maria.send("/work"))
        await begun.wait()
        await maria.send("/count", wait=False)
        finish.set()
        assert (await task).errors == []
        assert store.values == {"1001": {"count": 12}}

    async def test_f3_edit_session_waits_for_the_blocking_handlers_of_its_own_update(self) -> None:
        edited, store = [], Store({"1001": {"count": 1}})

        async def edit(update: Any, context: Any) -> None:
            async with context.edit_session() as data:
                data["count"] += 10
            edited.append(True)

        async def slow(update: Any, context: Any) -> None:
            context.session["count"] += 1
            await asyncio.sleep(0.01)
            assert not edited

        bot = client(session(storage=store), MessageHandler(filters.ALL, edit, block=False), slow)
        assert (await bot.user().send("x")).errors == []
        assert store.values == {"1001": {"count": 12}}

    async def test_f3_a_block_of_edit_session_that_raises_saves_nothing(self) -> None:
        store = Store({"1001": {"count": 1}})

        async def work(update: Any, context: Any) -> None:
            with suppress(ValueError):
                async with context.edit_session() as data:
                    data["count"] += 10
                    raise ValueError
            assert context.session == {"count": 1}
            context.session["count"] += 1

        bot = client(session(storage=store), MessageHandler(filters.ALL, work, block=False))
        assert (await bot.user().send("x")).errors == []
        assert store.values == {"1001": {"count": 2}}

    async def test_edit_session_of_a_handler_that_holds_its_key_is_its_session(self) -> None:
        store = Store({"1001": {"count": 1}})

        async def work(update: Any, context: Any) -> None:
            async with context.edit_session() as data:
                assert data is context.session
                data["count"] += 1
            assert store.operations == ["read"]

        assert (await client(session(storage=store), work).user().send("x")).errors == []
        assert store.values == {"1001": {"count": 2}}

    async def test_f3_a_non_blocking_handler_that_raised_is_not_saved(self) -> None:
        store = Store({"1001": {"count": 1}})

        async def work(update: Any, context: Any) -> None:
            context.session["count"] += 1
            raise ValueError

        bot = client(session(storage=store), MessageHandler(filters.ALL, work, block=False))
        assert len((await bot.user().send("x")).errors) == 1
        assert store.operations == ["read"]

    async def test_f3_a_non_blocking_handler_that_raises_application_handler_stop_is_saved(
        self,
    ) -> None:
        store = Store({"1001": {"count": 1}})

        async def work(update: Any, context: Any) -> None:
            context.session["count"] += 1
            raise ApplicationHandlerStop

        bot = client(session(storage=store), MessageHandler(filters.ALL, work, block=False))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            await bot.user().send("x")
        assert ["ApplicationHandlerStop" in str(warning.message) for warning in caught] == [True]
        assert store.values == {"1001": {"count": 2}}

    async def test_f3_a_failed_blocking_handler_does_not_keep_a_non_blocking_one_from_saving(
        self,
    ) -> None:
        store = Store({"1001": {"count": 1}})
        handler = MessageHandler(filters.ALL, count, block=False)
        answers = await client(session(storage=store), handler, fail).user().send("x")
        assert [type(error) for error in answers.errors] == [ValueError]
        assert store.values == {"1001": {"count": 2}}


class Tasks(SimpleTestCase):
    async def test_f3_a_task_of_the_update_has_a_session_of_its_own_saved_at_its_end(self) -> None:
        begun, finish, store = asyncio.Event(), asyncio.Event(), Store({"1001": {"count": 1}})

        async def later(context: Any) -> None:
            context.session["count"] += 1
            begun.set()
            await finish.wait()
            context.session["count"] += 1

        async def work(update: Any, context: Any) -> None:
            context.application.create_task(later(context), update=update)

        bot = client(session(storage=store), work)
        task = asyncio.ensure_future(bot.user().send("x"))
        await begun.wait()
        assert not process_lock().busy
        finish.set()
        await task
        assert store.operations == ["read", "write"]
        assert store.values == {"1001": {"count": 3}}

    async def test_f3_a_task_may_be_awaited_and_returns_its_result(self) -> None:
        store = Store({"1001": {"count": 1}})

        async def add(context: Any) -> int:
            context.session["count"] += 1
            return int(context.session["count"])

        async def work(update: Any, context: Any) -> None:
            task = context.application.create_task(add(context), update=update, name="adding")
            assert task.get_name() == "adding"
            assert await task == 2
            assert store.values == {"1001": {"count": 2}}

        assert (await client(session(storage=store), work).user().send("x")).errors == []
        assert store.values == {"1001": {"count": 2}}

    async def test_f3_a_handler_and_its_task_that_both_changed_the_session_conflict(self) -> None:
        store = Store({"1001": {"count": 1}})

        async def add(context: Any) -> None:
            context.session["count"] += 10

        async def work(update: Any, context: Any) -> None:
            context.session["count"] += 1
            await context.application.create_task(add(context), update=update)
            assert context.session == {"count": 2}

        answers = await client(session(storage=store), work).user().send("x")
        assert [type(error) for error in answers.errors] == [SessionConflict]
        assert store.values == {"1001": {"count": 11}}

    async def test_e8_a_task_that_takes_the_key_of_the_handler_that_waits_for_it_gets_an_error(
        self,
    ) -> None:
        store = Store({"1001": {"count": 1}})

        async def add(context: Any) -> None:
            async with context.edit_session() as data:
                data["count"] += 10

        async def work(update: Any, context: Any) -> None:
            await context.application.create_task(add(context), update=update)

        with patch("botsessions.holding.WITHIN_SECONDS", 0.1):
            answers = await client(session(storage=store), work).user().send("x")
        assert {type(error) for error in answers.errors} == {SessionLockTimeout}
        assert store.values == {"1001": {"count": 1}}

    async def test_e8_a_task_that_its_handler_waits_for_only_later_gets_an_error_too(self) -> None:
        async def add(context: Any) -> None:
            async with context.edit_session():
                pass

        async def work(update: Any, context: Any) -> None:
            task = context.application.create_task(add(context), update=update)
            await asyncio.sleep(0.01)
            await task

        bot = client(session(initial=counting, storage=Store()), work)
        with patch("botsessions.holding.WITHIN_SECONDS", 0.1):
            answers = await bot.user().send("x")
        assert {type(error) for error in answers.errors} == {SessionLockTimeout}

    async def test_f3_a_task_may_edit_the_session_when_its_handler_is_done(self) -> None:
        store = Store({"1001": {"count": 1}})

        async def add(context: Any) -> None:
            async with context.edit_session() as data:
                data["count"] += 10

        async def work(update: Any, context: Any) -> None:
            context.session["count"] += 1
            context.application.create_task(add(context), update=update)

        bot = client(session(storage=store), work)
        assert (await bot.user().send("x")).errors == []
        assert store.values == {"1001": {"count": 12}}

    async def test_f3_a_task_that_fails_is_not_saved_and_told_to_the_error_handlers(self) -> None:
        store = Store({"1001": {"count": 1}})

        async def add(context: Any) -> None:
            context.session["count"] += 10
            raise LookupError("broken task")

        async def work(update: Any, context: Any) -> None:
            context.session["count"] += 1
            context.application.create_task(add(context), update=update)

        answers = await client(session(storage=store), work).user().send("x")
        assert [str(error) for error in answers.errors] == ["broken task"]
        assert store.values == {"1001": {"count": 2}}

    async def test_f3_a_task_whose_load_fails_does_not_run(self) -> None:
        store, ran = Store({"1001": {"count": 1}}), []

        async def add(context: Any) -> None:
            ran.append(context)

        async def work(update: Any, context: Any) -> None:
            await asyncio.sleep(0)
            store.fails["read"] = OSError("away")
            context.application.create_task(add(context), update=update)

        answers = await client(session(storage=store), work).user().send("x")
        assert [str(error) for error in answers.errors] == ["away"]
        assert ran == []

    async def test_f3_a_task_of_another_update_has_that_ones_session(self) -> None:
        store = Store({"5": {"count": 1}})
        bot = client(
            session(initial=counting, storage=store), lambda update, context: work(context)
        )
        other = text(bot.user(id=5))

        async def add(update: Update, context: Any) -> None:
            async with context.application.session.aedit(chat=5) as data:
                data["count"] += 1

        async def work(context: Any) -> None:
            context.application.create_task(add(other, context), update=other)

        assert (await bot.user().send("x")).errors == []
        assert store.values["5"] == {"count": 2}

    async def test_a15_a_task_without_an_update_sees_no_closed_session(self) -> None:
        over, seen = asyncio.Event(), []

        async def later(context: Any) -> None:
            await over.wait()
            with pytest.raises(SessionClosed, match="create_task"):
                _ = context.session
            with pytest.raises(SessionClosed):
                context.session = {}
            seen.append("done")

        async def work(update: Any, context: Any) -> None:
            context.application.create_task(later(context))
            plain.append(asyncio.create_task(later(context)))

        plain: list[asyncio.Task[None]] = []
        bot = client(session(initial=counting, storage=Store()), work)
        await bot.user().send("x", wait=False)
        over.set()
        await bot.aclose()  # It waits for the bot's tasks.
        await asyncio.gather(*plain)
        assert seen == ["done", "done"]


class UpdatesInsideUpdates(SimpleTestCase):
    async def test_e8_an_update_of_the_same_chat_joins_and_shares_data_load_and_save(self) -> None:
        store, seen = Store(), []

        async def outer(update: Any, context: Any) -> None:
            context.session["count"] += 1
            await context.application.process_update(text(maria, words="/inner"))
            seen.append(context.session)

        async def inner(update: Any, context: Any) -> None:
            context.session["count"] += 10
            seen.append(context.session)

        bot = client(
            session(initial=counting, storage=store),
            CommandHandler("outer", outer),
            CommandHandler("inner", inner),
        )
        maria = bot.user()
        assert (await maria.send("/outer")).errors == []
        assert seen[0] is seen[1]
        assert store.operations == ["read", "write"]
        assert store.values == {"1001": {"count": 11}}

    async def test_e8_an_error_in_an_update_that_joined_undoes_what_that_has_changed(self) -> None:
        store = Store()

        async def outer(update: Any, context: Any) -> None:
            data = context.session
            await context.application.process_update(text(maria, words="/inner"))
            assert data is context.session
            data["count"] += 1

        async def change_and_fail(update: Any, context: Any) -> None:
            context.session["count"] += 10
            raise ValueError("broken handler")

        bot = client(
            session(initial=counting, storage=store),
            CommandHandler("outer", outer),
            CommandHandler("inner", change_and_fail),
        )
        maria = bot.user()
        assert [str(error) for error in (await maria.send("/outer")).errors] == ["broken handler"]
        assert store.operations == ["read", "write"]
        assert store.values == {"1001": {"count": 1}}

    async def test_an_update_of_another_chat_has_its_own_session(self) -> None:
        store = Store()

        async def outer(update: Any, context: Any) -> None:
            context.session["count"] += 1
            await context.application.process_update(text(bob, words="/inner"))
            assert store.values == {"2": {"count": 1}}

        bot = client(
            session(initial=counting, storage=store),
            CommandHandler("outer", outer),
            CommandHandler("inner", count),
        )
        ann, bob = bot.user("Ann", id=1), bot.user("Bob", id=2)
        assert (await ann.send("/outer")).errors == []
        assert store.values == {"1": {"count": 1}, "2": {"count": 1}}

    async def test_an_update_inside_a_non_blocking_handler_has_its_own_session(self) -> None:
        store = Store()

        async def outer(update: Any, context: Any) -> None:
            await context.application.process_update(text(maria, words="/inner"))
            assert store.values == {"1001": {"count": 1}}

        bot = client(
            session(initial=counting, storage=store),
            CommandHandler("outer", outer, block=False),
            CommandHandler("inner", count),
        )
        maria = bot.user()
        assert (await maria.send("/outer")).errors == []
        assert store.values == {"1001": {"count": 1}}

    async def test_a7_a_key_function_that_fails_for_an_inner_update_is_its_error(self) -> None:
        store, returned = Store(), []

        def key(update: Update) -> str:
            if update.effective_message.text == "/inner":
                raise LookupError("no key")
            return "key"

        async def outer(update: Any, context: Any) -> None:
            context.session["count"] += 1
            await context.application.process_update(text(maria, words="/inner"))
            returned.append(True)

        bot = client(
            session(initial=counting, storage=store, get_session_key=key),
            CommandHandler("outer", outer),
            CommandHandler("inner", count),
        )
        maria = bot.user()
        assert [str(error) for error in (await maria.send("/outer")).errors] == ["no key"]
        assert returned == [True]
        assert store.values == {"key": {"count": 1}}


class Once(dict[str, Any]):
    """Telegram's answers, of which the updates are given out once."""

    def __getitem__(self, method: str) -> Any:
        answer = super().__getitem__(method)
        if method == "getUpdates":
            self[method] = []
        return answer
