"""Sessions of jobs: rule F5."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from apscheduler.events import EVENT_JOB_EXECUTED
from django.test import SimpleTestCase
from telegram import Update
from telegram.ext import CommandHandler, Job

from botsessions import lazy_session, multi_session, session
from botsessions.exceptions import SessionConflict, SessionKeyError
from botsessions.keys import per_user, per_user_chat
from botsessions.locks import process_lock
from botsessions.storages import ANY, Address, Record

from .harness import Store, client, running

pytestmark = pytest.mark.once


def counting() -> dict[str, Any]:
    return {"count": 0}


async def count(context: Any) -> None:
    context.session["count"] += 1


async def run(bot: Any, callback: Any, **ids: int) -> None:
    """Let ``callback`` be a job of a running application, and wait for its end."""
    ended = asyncio.Event()
    async with running(bot) as application:
        scheduler = application.job_queue.scheduler
        scheduler.add_listener(lambda event: ended.set(), EVENT_JOB_EXECUTED)
        application.job_queue.run_once(callback, 0, **ids)
        await asyncio.wait_for(ended.wait(), 5)


class Jobs(SimpleTestCase):
    async def test_f5_a_job_has_the_session_of_its_chat(self) -> None:
        store = Store({"5": {"count": 1}})
        await run(client(session(storage=store)), count, chat_id=5, user_id=7)
        assert store.calls == [("read", "5"), ("write", "5")]
        assert store.values == {"5": {"count": 2}}

    async def test_f5_a_job_has_the_session_of_its_user(self) -> None:
        store = Store()
        declared = session(initial=counting, storage=store, get_session_key=per_user)
        await run(client(declared), count, user_id=7)
        assert store.values == {"7": {"count": 1}}

    async def test_f5_a_job_has_the_session_of_its_user_in_its_chat(self) -> None:
        store = Store()
        declared = session(initial=counting, storage=store, get_session_key=per_user_chat)
        await run(client(declared), count, chat_id=-5, user_id=7)
        assert store.values == {"7/-5": {"count": 1}}

    async def test_f5_a_lazy_session_is_read_when_a_job_awaits_it(self) -> None:
        store = Store()

        async def look_away(context: Any) -> None:
            pass

        async def count_lazily(context: Any) -> None:
            (await context.session)["count"] += 1

        for job in (look_away, count_lazily):
            await run(client(lazy_session(initial=counting, storage=store)), job, chat_id=5)
        assert store.operations == ["read", "write"]

    async def test_f5_fragments_take_the_ids_that_their_keys_are_made_of(self) -> None:
        chats, users, seen = Store(name="chat"), Store(name="user"), []
        declared = multi_session(
            chat=session(initial=counting, storage=chats),
            user=session(initial=counting, storage=users, get_session_key=per_user),
        )

        async def work(context: Any) -> None:
            context.session.chat["count"] += 1
            seen.append(context.session_key)
            with pytest.raises(SessionKeyError):
                _ = context.session.user

        await run(client(declared), work, chat_id=5)
        assert seen == [{"chat": "5", "user": None}]
        assert chats.values == {"5": {"count": 1}}
        assert users.calls == []

    async def test_f5_a_job_without_ids_has_no_session(self) -> None:
        store, seen = Store(), []

        async def work(context: Any) -> None:
            seen.append((context.session, context.session_key))
            with pytest.raises(SessionKeyError, match="no session"):
                context.session = {}
            seen.append("assigned")

        await run(client(session(initial=counting, storage=store)), work)
        assert seen == [(None, None), "assigned"]
        assert store.calls == []

    async def test_f5_a_key_function_that_takes_no_ids_gives_none_and_reading_says_why(
        self,
    ) -> None:
        def by_language(update: Update) -> str:
            raise AssertionError

        store, seen = Store(), []

        async def work(context: Any) -> None:
            seen.append(context.session_key)
            with pytest.raises(SessionKeyError, match=r"by_language takes updates only.*chat=None"):
                _ = context.session
            seen.append("done")

        declared = session(initial=counting, storage=store, get_session_key=by_language)
        await run(client(declared), work, chat_id=5)
        assert seen == [None, "done"]
        assert store.calls == []

    async def test_f5_a_key_function_of_ones_own_may_take_ids(self) -> None:
        async def by_tens(update: Update | None = None, *, chat: int = 0) -> str:
            return f"tens {chat // 10}"

        store = Store()
        declared = session(initial=counting, storage=store, get_session_key=by_tens)
        await run(client(declared), count, chat_id=57, user_id=3)
        assert store.values == {"tens 5": {"count": 1}}

    async def test_f5_each_run_of_a_repeating_job_has_a_session_of_its_own(self) -> None:
        store, thrice = Store(), asyncio.Event()

        async def work(context: Any) -> None:
            context.session["count"] += 1
            if context.session["count"] == 3:
                thrice.set()
                context.job.schedule_removal()

        async with running(client(session(initial=counting, storage=store))) as application:
            application.job_queue.run_repeating(work, 0.01, chat_id=5)
            await asyncio.wait_for(thrice.wait(), 5)
        assert store.operations == ["read", "write"] * 3
        assert store.values == {"5": {"count": 3}}


class JobsOfHandlers(SimpleTestCase):
    async def test_f5_a_job_waits_for_the_handler_that_scheduled_it_and_sees_what_it_saved(
        self,
    ) -> None:
        store, begun, finish = Store(), asyncio.Event(), asyncio.Event()
        seen: list[Any] = []

        async def work(update: Any, context: Any) -> None:
            context.job_queue.run_once(remind, 0, chat_id=update.effective_chat.id)
            begun.set()
            await finish.wait()
            context.session["count"] += 1

        async def remind(context: Any) -> None:
            seen.append(dict(context.session))
            context.session["reminded"] = True
            ended.set()

        ended = asyncio.Event()
        bot = client(session(initial=counting, storage=store), work)
        task = asyncio.ensure_future(bot.user().send("x"))
        await begun.wait()
        await asyncio.sleep(0.02)
        assert seen == []
        finish.set()
        await task
        await asyncio.wait_for(ended.wait(), 5)
        await bot.aclose()
        assert seen == [{"count": 1}]
        assert store.values == {"1001": {"count": 1, "reminded": True}}

    async def test_f5_a_job_for_another_chat_has_that_ones_session(self) -> None:
        store, ended = Store({"5": {"count": 5}}), asyncio.Event()

        async def work(update: Any, context: Any) -> None:
            context.session["count"] += 1
            context.job_queue.run_once(count_and_end, 0, chat_id=5)
            await asyncio.wait_for(ended.wait(), 5)

        async def count_and_end(context: Any) -> None:
            context.session["count"] += 1
            ended.set()

        bot = client(session(initial=counting, storage=store), work)
        assert (await bot.user().send("x")).errors == []
        await bot.aclose()
        assert store.values == {"5": {"count": 6}, "1001": {"count": 1}}

    async def test_f5_a_job_without_ids_does_not_see_the_session_of_its_handler(self) -> None:
        seen, ended = [], asyncio.Event()

        async def work(update: Any, context: Any) -> None:
            context.job_queue.run_once(look, 0)
            await asyncio.wait_for(ended.wait(), 5)

        async def look(context: Any) -> None:
            seen.append(context.session)
            ended.set()

        await client(session(initial=counting, storage=Store()), work).user().send("x")
        assert seen == [None]

    async def test_e1_jobs_and_updates_of_one_chat_run_one_after_another(self) -> None:
        store, running_now = Store(), []

        async def slowly(context: Any) -> None:
            running_now.append(1)
            assert len(running_now) == 1
            value = context.session["count"]
            await asyncio.sleep(0.001)
            context.session["count"] = value + 1
            running_now.pop()

        async def handler(update: Any, context: Any) -> None:
            await slowly(context)

        async def job(context: Any) -> None:
            await slowly(context)
            jobs.append(context.job)
            if len(jobs) == 5:
                all_run.set()

        jobs, all_run = [], asyncio.Event()
        bot = client(session(initial=counting, storage=store), handler)
        maria = bot.user()
        await maria.send("x")
        for _ in range(5):
            bot.application.job_queue.run_once(job, 0, chat_id=maria.id)
        answers = await asyncio.gather(*(maria.send("x") for _ in range(5)))
        await asyncio.wait_for(all_run.wait(), 5)
        await bot.aclose()
        assert [error for answer in answers for error in answer.errors] == []
        assert store.values == {"1001": {"count": 11}}


class JobsRunByHand(SimpleTestCase):
    """F10: ``await job.run(application)``."""

    async def test_f10_it_has_its_own_session(self) -> None:
        store = Store({"5": {"count": 5}})
        async with running(client(session(initial=counting, storage=store))) as application:
            job = application.job_queue.run_once(count, 3600, chat_id=5)
            await job.run(application)
            await job.run(application)
        assert store.values == {"5": {"count": 7}}

    async def test_f10_so_it_has_in_a_handler_of_another_chat(self) -> None:
        store, seen = Store({"5": {"count": 5}}), []

        async def work(update: Any, context: Any) -> None:
            context.session["count"] += 1
            for ids in ({"chat_id": 5}, {}):
                await context.job_queue.run_once(look, 3600, **ids).run(context.application)
            context.session["count"] += 1

        async def look(context: Any) -> None:
            seen.append(context.session_key)
            if context.session_key is not None:
                await count(context)

        bot = client(session(initial=counting, storage=store), work)
        assert (await bot.user().send("x")).errors == []
        assert seen == ["5", None]
        assert store.values == {"5": {"count": 6}, "1001": {"count": 2}}

    async def test_f10_in_a_handler_of_its_own_chat_it_works_on_the_handlers_session(self) -> None:
        store = Store()

        async def work(update: Any, context: Any) -> None:
            context.session["count"] += 1
            job = context.job_queue.run_once(count, 3600, chat_id=update.effective_chat.id)
            await asyncio.wait_for(job.run(context.application), 5)
            context.session["count"] += 1

        bot = client(session(initial=counting, storage=store), work)
        assert (await bot.user().send("x")).errors == []
        assert store.values == {"1001": {"count": 3}}

    async def test_f10_so_it_has_in_an_error_handler_and_in_another_job(self) -> None:
        store = Store({"5": {"count": 5}})

        async def work(update: Any, context: Any) -> None:
            raise ValueError("x")

        async def by_job(context: Any) -> None:
            context.session["count"] += 1
            await context.job_queue.run_once(count, 3600, chat_id=5).run(context.application)

        async def on_error(update: Any, context: Any) -> None:
            await context.job_queue.run_once(by_job, 3600, chat_id=6).run(context.application)

        bot = client(session(initial=counting, storage=store), work, errors=on_error)
        await bot.user().send("x")
        assert store.values == {"5": {"count": 6}, "6": {"count": 1}}

    async def test_f10_one_that_no_queue_has_made_does_not_see_its_handlers_session(self) -> None:
        async def look(context: Any) -> None:
            seen.append(context.session)

        async def work(update: Any, context: Any) -> None:
            context.session["count"] += 1
            await Job(look, chat_id=5).run(context.application)

        store, seen = Store({"5": {"count": 5}}), list[Any]()
        await client(session(initial=counting, storage=store), work).user().send("x")
        assert seen == [None]
        assert store.values == {"5": {"count": 5}, "1001": {"count": 1}}

    async def test_f10_many_at_once_lose_nothing(self) -> None:
        store = Store()
        async with running(client(session(initial=counting, storage=store))) as application:
            jobs = [application.job_queue.run_once(count, 3600, chat_id=5) for _ in range(20)]
            await asyncio.gather(*(job.run(application) for job in jobs))
        assert store.values == {"5": {"count": 20}}


class JobsThatFail(SimpleTestCase):
    async def test_f5_a_job_that_fails_is_not_saved_and_error_handlers_see_its_session(
        self,
    ) -> None:
        for block in (True, False):
            store, seen = Store({"5": {"count": 1}}), []

            async def work(context: Any) -> None:
                context.session["count"] += 1
                raise ValueError("broken job")

            async def on_error(update: Any, context: Any, seen: Any = seen) -> None:
                seen.append((update, str(context.error), dict(context.session)))

            bot = client(session(storage=store))
            bot.application.add_error_handler(on_error, block)
            await run(bot, work, chat_id=5)
            assert seen == [(None, "broken job", {"count": 2})]
            assert store.operations == ["read"]
            assert not process_lock().busy

    async def test_a18_error_handlers_may_save_the_session_of_a_job(self) -> None:
        store = Store({"5": {"count": 1}})

        async def work(context: Any) -> None:
            raise ValueError

        async def on_error(update: Any, context: Any) -> None:
            context.session["errors"] = 1
            await context.save_session()

        await run(client(session(storage=store), errors=on_error), work, chat_id=5)
        assert store.values == {"5": {"count": 1, "errors": 1}}

    async def test_a12_a_job_whose_session_cannot_be_loaded_does_not_run(self) -> None:
        store, ran, seen = Store(), [], []
        store.fails["read"] = OSError("away")

        async def work(context: Any) -> None:
            ran.append(context)

        async def on_error(update: Any, context: Any) -> None:
            with pytest.raises(OSError, match="away"):
                _ = context.session
            seen.append((str(context.error), context.job.chat_id))

        await run(client(session(storage=store), errors=on_error), work, chat_id=5)
        assert (ran, seen) == ([], [("away", 5)])

    async def test_a13_error_handlers_are_told_when_a_job_cannot_be_saved(self) -> None:
        store, seen = Store({"5": {"count": 1}}), []

        async def work(context: Any) -> None:
            context.session["count"] += 1
            await store.write(Address("1", "", "5"), Record({"count": 50}, revision=ANY))

        async def on_error(update: Any, context: Any) -> None:
            seen.append((type(context.error), context.job.chat_id))

        await run(client(session(storage=store), errors=on_error), work, chat_id=5)
        assert seen == [(SessionConflict, 5)]
        assert store.values == {"5": {"count": 50}}

    async def test_stopping_the_application_waits_for_a_job_that_runs_and_its_save(self) -> None:
        store, begun = Store(), asyncio.Event()

        async def work(context: Any) -> None:
            begun.set()
            await asyncio.sleep(0.02)
            context.session["count"] += 1

        async with running(client(session(initial=counting, storage=store))) as application:
            application.job_queue.run_once(work, 0, chat_id=5)
            await asyncio.wait_for(begun.wait(), 5)
        assert store.values == {"5": {"count": 1}}

    async def test_a_job_that_has_begun_is_saved_although_the_job_queue_was_stopped(self) -> None:
        begun, finish, saved = asyncio.Event(), asyncio.Event(), asyncio.Event()

        class Told(Store):
            async def write_many(self, changes: Any) -> Any:
                saved.set()
                return await super().write_many(changes)

        async def work(context: Any) -> None:
            begun.set()
            await finish.wait()
            context.session["count"] += 1

        bot = client(session(initial=counting, storage=Told()))
        async with running(bot) as application:
            application.job_queue.run_once(work, 0, chat_id=5)
            await asyncio.wait_for(begun.wait(), 5)
            await application.job_queue.stop(wait=False)
            finish.set()
            await asyncio.wait_for(saved.wait(), 5)


class JobsAndEdits(SimpleTestCase):
    async def test_a_job_may_edit_the_session_of_a_chat_that_is_not_its_own(self) -> None:
        store = Store({"6": {"count": 1}})
        declared = session(initial=counting, storage=store)

        async def work(context: Any) -> None:
            context.session["count"] += 1
            async with declared.aedit(chat=6) as data:
                data["count"] += 1

        await run(client(declared, CommandHandler("x", count)), work, chat_id=5)
        assert store.values == {"5": {"count": 1}, "6": {"count": 2}}
