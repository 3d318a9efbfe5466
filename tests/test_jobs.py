"""Stored jobs, as authors of bots use them: F13."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import time, timedelta
from datetime import timezone as zones
from functools import partial
from io import StringIO
from itertools import product
from tempfile import TemporaryDirectory
from typing import Any, ClassVar
from unittest import mock, skipUnless

import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.models import JSONField, Value
from django.test import TestCase, TransactionTestCase, override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from telegram import Update
from telegram.ext import CommandHandler, ConversationHandler, PersistenceInput, TypeHandler

from botsessions import DatabaseStorage, enhance_storage, multi_session, session
from botsessions.exceptions import (
    SessionConflict,
    SessionDataError,
    SessionError,
    SessionKeyError,
    StoredJobError,
)
from botsessions.jobs import Place, StoredJob, stored_job
from botsessions.keys import per_user
from botsessions.lookout import Due
from botsessions.maintenance.people import count_user, export_user, forget_user
from botsessions.models import BotSession
from botsessions.persistence import BotPersistence
from botsessions.ptb import build_application
from botsessions.ptb.stored_jobs import SECONDS
from botsessions.testing import AsyncBotClient, BotClient
from botsessions.testing.offline import OfflineBuilder, OfflineTelegram

from .harness import Store
from .statements import noted_statements

HOUR, UTC = timedelta(hours=1), zones.utc
GROUP, SUPERGROUP = -4567, -1001234567890

counting = session(initial=dict)


async def note_job(context: Any) -> None:
    job = context.job
    runs = context.session.setdefault("runs", [])
    runs.append([job.name, job.data, job.chat_id, job.user_id])


def jobs() -> list[Any]:
    """Return what is stored of jobs: key and data of each."""
    found = BotSession.objects.filter(name__startswith="job:").order_by("pk")
    return list(found.values_list("name", "key", "data"))


def let_be_late(name: str) -> None:
    """Let a job be due for so long that no bot seems to run."""
    late = BotSession.objects.filter(name__startswith="job:", key__endswith=f"/{name}")
    assert late.update(expires_at=timezone.now() - HOUR) == 1


def runs(key: str = "5") -> Any:
    """Return the jobs that a chat's session has noted."""
    found = BotSession.objects.filter(name="", key=key).first()
    return [] if found is None else found.data.get("runs", [])


class Bot:
    """A bot of the settings whose commands are given by a test."""

    def __init__(self, declared: Any = counting, **settings: Any) -> None:
        self.commands: dict[str, Callable[..., Any]] = {}
        self.errors: list[Exception] = []
        self.options: dict[str, Any] = {}
        bot = {"SESSION": declared, "APPLICATION": self.build, **settings}
        self.settings = override_settings(BOTSESSIONS={"BOTS": {"shop": bot}})

    def build(self, builder: Any) -> Any:
        application = builder.build()
        for command, callback in self.commands.items():
            application.add_handler(CommandHandler(command, callback, **self.options))
        application.add_error_handler(self._note)
        return application

    async def _note(self, update: object, context: Any) -> None:
        self.errors.append(context.error)


class WithBot(TestCase):
    """Maria talks to a bot that can remind her."""

    declared: Any = counting
    options: ClassVar[dict[str, Any]] = {}

    def setUp(self) -> None:
        self.bot = Bot(self.declared, **self.options)
        self.bot.settings.enable()
        self.addCleanup(self.bot.settings.disable)
        self.remind: StoredJob[Any] = stored_job(name="remind")(note_job)

    def start(self, **commands: Callable[..., Any]) -> None:
        """Start the bot with some commands more, or other ones."""
        self.bot.commands |= commands
        self.client = BotClient("shop", raise_errors=False)
        self.addCleanup(self.client.close)
        self.maria = self.client.user("Maria", id=5)
        self.group = self.client.group("Pizza", id=GROUP)

    def scheduling(self, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        async def schedule(update: Any, context: Any) -> None:
            self.remind.run_once(*args, **kwargs)

        return schedule

    def cancelling(self, name: str) -> Callable[..., Any]:
        async def cancel(update: Any, context: Any) -> None:
            self.remind.cancel(name)

        return cancel


async def wait(update: Any, context: Any) -> None:
    await asyncio.sleep(1.5 * SECONDS)


class InHandlers(WithBot):
    def test_f13_a_job_runs_once_with_its_session_and_what_it_was_given(self) -> None:
        self.start(go=self.scheduling(HOUR, {"tea": 1}, name="tea"))
        self.maria.send("/go")
        assert jobs() == [("job:remind", "5/tea", {"data": {"tea": 1}})]
        row = BotSession.objects.get(name="job:remind")
        assert (row.chat_id, row.user_id, row.title) == (5, 5, "Maria")
        self.client.let_time_pass(HOUR / 2)
        assert runs() == []
        for _ in range(2):
            self.client.let_time_pass(HOUR)
        assert runs() == [["tea", {"tea": 1}, 5, 5]]
        assert jobs() == []

    def test_g3_a_client_runs_what_is_due_when_it_is_told_to_and_not_in_between(self) -> None:
        self.start(go=self.scheduling(0), wait=wait)
        self.maria.send("/go")
        with CaptureQueriesContext(connection) as queries:
            self.maria.send("/wait")
        assert not [query for query in queries.captured_queries if "job:" in query["sql"]]
        assert runs() == []
        self.client.let_time_pass(timedelta(seconds=1))
        assert len(runs()) == 1

    def test_f13_in_a_group_it_is_for_the_chat_and_the_user(self) -> None:
        self.start(go=self.scheduling(HOUR))
        self.maria.in_chat(self.group).send("/go")
        self.client.let_time_pass(HOUR)
        ((name, data, *ids),) = runs(str(GROUP))
        assert (data, ids) == (None, [GROUP, 5])
        assert name.startswith("job-")

    def test_f13_customers_of_a_channels_direct_messages_have_a_session_each_in_jobs_too(
        self,
    ) -> None:
        self.start(go=self.scheduling(HOUR, name="tea"), stop=self.cancelling("tea"))
        direct = self.client.supergroup("News", id=-9, is_direct_messages=True)
        customers = [
            self.client.user("Customer", id=user).in_chat(direct, topic=topic)
            for user, topic in ((5, 70), (6, 71), (7, 72))
        ]
        for customer in customers:
            customer.send("/go")
        customers[-1].send("/stop")
        self.client.let_time_pass(HOUR)
        assert [customer.session for customer in customers[:2]] == [
            {"runs": [["tea", None, -9, 5]]},
            {"runs": [["tea", None, -9, 6]]},
        ]
        assert BotSession.objects.count() == 2

    def test_f13_a_job_from_a_business_accounts_chat_has_not_the_customers_own_session(
        self,
    ) -> None:
        self.start()
        self.client.application.add_handler(TypeHandler(Update, self.scheduling(HOUR, name="tea")))
        tom = self.client.user("Tom", id=6)
        self.maria.in_chat(tom.place.chat, business="biz").send("Tea!")
        self.client.let_time_pass(HOUR)
        assert runs("biz/6") == [["tea", None, 6, 5]]
        assert tom.session is None

    @skipUnless("guest_message" in Update.ALL_TYPES, "This python-telegram-bot knows no guests.")
    def test_f13_a_job_of_a_guest_is_the_guests_and_not_of_a_chat_with_the_same_id(self) -> None:
        self.start()
        self.client.application.add_handler(TypeHandler(Update, self.scheduling(HOUR, name="tea")))
        tom = self.client.user("Tom", id=6)
        said = {"message_id": 1, "date": 0, "text": "Tea!", "guest_query_id": "1"}
        for chat in (self.group, tom.place.chat):
            places = {"chat": chat, "from": self.maria.place.user}
            self.client.feed({"guest_message": {**said, **places}})
            about = BotSession.objects.values_list("chat_id", "user_id", "chat_type", "title")
            assert about.get(name="job:remind") == (5, 5, "", "Maria")
        self.client.let_time_pass(HOUR)
        assert runs() == [["tea", None, 5, 5]]
        assert tom.session is None

    def test_f13_a_handler_that_raises_schedules_and_cancels_nothing(self) -> None:
        async def fail(update: Any, context: Any) -> None:
            self.remind.run_once(HOUR, name="other")
            self.remind.cancel("tea")
            context.session["changed"] = True
            raise ValueError("no")

        self.start(go=self.scheduling(HOUR, name="tea"), fail=fail)
        self.maria.send("/go")
        before = jobs()
        self.maria.send("/fail")
        assert jobs() == before
        assert [str(error) for error in self.bot.errors] == ["no"]

    def test_f13_one_that_is_scheduled_by_an_error_handler_is_stored_at_once(self) -> None:
        async def fail(update: Any, context: Any) -> None:
            raise ValueError("no")

        async def again(update: Any, context: Any) -> None:
            await self.remind.arun_once(HOUR, name="again")

        self.start(fail=fail)
        self.client.application.add_error_handler(again)
        self.maria.send("/fail")
        assert [key for _, key, _ in jobs()] == ["5/again"]

    def test_f13_in_a_block_that_edits_another_session_it_is_saved_with_the_update(self) -> None:
        async def fail(update: Any, context: Any) -> None:
            async with counting.aedit(chat=6) as data:
                data["changed"] = True
                self.remind.run_once(HOUR)
            raise ValueError("no")

        self.start(fail=fail)
        self.maria.send("/fail")
        assert counting.get(chat=6) == {"changed": True}
        assert jobs() == []

    def test_f13_a_block_of_edit_session_that_raises_schedules_nothing(self) -> None:
        async def go(update: Any, context: Any) -> None:
            self.remind.run_once(HOUR, name="before")
            with suppress(ValueError):
                async with context.edit_session() as data:
                    data["changed"] = True
                    if saves:
                        await context.save_session()
                    self.remind.run_once(HOUR, name="tea")
                    self.remind.cancel("before")
                    raise ValueError("no")

        for block, saves in product((True, False), repeat=2):
            self.bot.options = {"block": block}
            self.start(go=go)
            self.maria.send("/go")
            assert [key for _, key, _ in jobs()] == ["5/before"], (block, saves)
            assert bool(counting.get(chat=5)) is saves
            assert self.bot.errors == []
            BotSession.objects.all().delete()

    def test_f13_what_a_block_has_saved_before_it_raises_stays(self) -> None:
        async def go(update: Any, context: Any) -> None:
            self.remind.run_once(HOUR, name="before")
            with suppress(ValueError):
                async with context.edit_session():
                    self.remind.cancel("before")
                    self.remind.run_once(HOUR, name="tea")
                    await context.save_session()
                    raise ValueError("no")

        for block in (True, False):
            self.bot.options = {"block": block}
            self.start(go=go)
            self.maria.send("/go")
            assert [key for _, key, _ in jobs()] == ["5/tea"], block
            assert self.bot.errors == []
            BotSession.objects.all().delete()

    def test_f13_what_is_scheduled_beside_a_block_stays_if_the_block_raises(self) -> None:
        async def go(update: Any, context: Any) -> None:
            opened, scheduled = asyncio.Event(), asyncio.Event()

            async def edit() -> None:
                async with context.edit_session():
                    self.remind.run_once(HOUR, "of the block", name="tea")
                    self.remind.run_once(HOUR, name="egg")
                    self.remind.cancel("before")
                    opened.set()
                    await scheduled.wait()
                    if last:
                        self.remind.run_once(HOUR, "of the block", name="tea")
                    raise ValueError("no")

            self.remind.run_once(HOUR, name="before")
            block = asyncio.create_task(edit())
            await opened.wait()
            self.remind.run_once(HOUR, "beside", name="tea")
            self.remind.run_once(HOUR, name="toast")
            scheduled.set()
            await asyncio.wait([block])
            block.exception()

        for block, last in product((True, False), repeat=2):
            self.bot.options = {"block": block}
            self.start(go=go)
            self.maria.send("/go")
            found = {key: data["data"] for _, key, data in jobs()}
            assert found == {"5/before": None, "5/tea": "beside", "5/toast": None}, (block, last)
            assert self.bot.errors == []
            BotSession.objects.all().delete()

    def test_f13_beside_others_a_handler_saves_it_at_its_end(self) -> None:
        self.bot.options = {"block": False}
        self.start(go=self.scheduling(HOUR, name="tea"))
        self.maria.send("/go")
        assert [key for _, key, _ in jobs()] == ["5/tea"]

    def test_f13_the_same_name_moves_a_job_and_other_names_are_others(self) -> None:
        async def go(update: Any, context: Any) -> None:
            for word in context.args:
                self.remind.run_once(HOUR, word, name=word[0])
                self.remind.run_once(HOUR)

        self.start(go=go)
        self.maria.send("/go tea egg")
        self.maria.send("/go toast")
        named = {key: data["data"] for _, key, data in jobs() if "job-" not in key}
        assert named == {"5/t": "toast", "5/e": "egg"}
        assert len(jobs()) == 5

    def test_f13_it_can_be_cancelled_also_by_the_update_that_has_scheduled_it(self) -> None:
        async def both(update: Any, context: Any) -> None:
            context.session["job"] = self.remind.run_once(HOUR)
            self.remind.cancel(self.remind.run_once(HOUR))

        async def cancel(update: Any, context: Any) -> None:
            self.remind.cancel(context.session.pop("job"))
            self.remind.cancel("nothing of that name")

        self.start(both=both, cancel=cancel)
        self.maria.send("/both")
        assert len(jobs()) == 1
        self.maria.send("/cancel")
        assert jobs() == []
        assert self.bot.errors == []

    def test_f13_other_chats_and_the_bot_itself_have_jobs_by_name_only(self) -> None:
        async def go(update: Any, context: Any) -> None:
            self.remind.run_once(HOUR, name="a", chat=6)
            self.remind.run_once(HOUR, name="a", user=7)
            self.remind.run_once(HOUR, name="a", chat=GROUP)
            self.remind.run_once(HOUR, name="a", chat=None)

        self.start(go=go)
        self.maria.send("/go")
        assert [key for _, key, _ in jobs()] == ["6/a", "7/a", f"{GROUP}/a", "a"]

    def test_f13_an_update_from_no_chat_and_nobody_says_not_whose_job_it_is(self) -> None:
        self.start()
        self.client.application.add_handler(TypeHandler(object, self.scheduling(HOUR)))
        for update in (Update(1), object()):
            self.client.feed(update)
        assert ["Whose job is it?" in str(error) for error in self.bot.errors] == [True, True]
        assert jobs() == []

    def test_f13_save_session_saves_it_as_it_does_the_session(self) -> None:
        async def fail(update: Any, context: Any) -> None:
            self.remind.run_once(HOUR, name="tea")
            context.session["saved"] = 1
            await context.save_session()
            self.remind.run_once(HOUR, name="egg")
            raise ValueError("no")

        self.start(fail=fail)
        self.maria.send("/fail")
        assert [key for _, key, _ in jobs()] == ["5/tea"]
        assert counting.get(chat=5) == {"saved": 1}

    def test_f13_data_that_cannot_be_stored_is_refused_before_anything_is_written(self) -> None:
        async def go(update: Any, context: Any) -> None:
            context.session["changed"] = True
            self.remind.run_once(HOUR, {"pets": [{1, 2}]})

        self.start(go=go)
        self.maria.send("/go")
        (error,) = self.bot.errors
        assert isinstance(error, SessionDataError)
        assert error.path == "$.pets[0]"
        assert "'remind'" in str(error)
        assert counting.get(chat=5) is None
        assert jobs() == []


class Running(WithBot):
    """What becomes of a job whose time has come."""

    def test_f13_a_callback_schedules_itself_again_under_its_own_name(self) -> None:
        async def repeat(context: Any) -> None:
            await note_job(context)
            remind.run_once(HOUR, context.job.data + 1, name=context.job.name)

        remind = stored_job(name="repeat")(repeat)
        self.start()
        remind.run_once(0, 1, name="daily", chat=5)
        for _ in range(3):
            self.client.let_time_pass(HOUR)
        assert [data for _, data, _, _ in runs()] == [1, 2, 3]
        assert jobs() == [("job:repeat", "5/daily", {"data": 4})]

    def test_f13_a_job_of_the_bot_itself_can_go_on_too(self) -> None:
        async def repeat(context: Any) -> None:
            assert context.session is None
            remind.run_once(HOUR, context.job.data + 1, name=context.job.name)

        remind = stored_job(name="repeat")(repeat)
        self.start()
        remind.run_once(0, 1, name="daily", chat=None)
        for _ in range(2):
            self.client.let_time_pass(HOUR)
        assert jobs() == [("job:repeat", "daily", {"data": 3})]
        assert self.bot.errors == []

    def test_f13_one_that_raises_is_gone_and_saves_nothing(self) -> None:
        seen = []

        async def fail(context: Any) -> None:
            context.session["changed"] = True
            again.run_once(HOUR, name=context.job.name)
            raise ValueError("no")

        async def look(update: Any, context: Any) -> None:
            seen.append((update, context.job.name, context.session))

        again = stored_job(fail)
        self.start()
        self.client.application.add_error_handler(look)
        again.run_once(0, name="tea", chat=5)
        self.client.let_time_pass(HOUR)
        assert seen == [(None, "tea", {"changed": True})]
        assert jobs() == []
        assert counting.get(chat=5) is None

    def test_f13_one_that_has_saved_its_next_run_goes_on_although_it_raises(self) -> None:
        async def fail(context: Any) -> None:
            again.run_once(HOUR, context.job.data + 1, name=context.job.name)
            await context.save_session()
            raise ValueError("no")

        again = stored_job(fail)
        self.start()
        again.run_once(0, 1, name="daily", chat=5)
        for _ in range(2):
            self.client.let_time_pass(HOUR)
        assert jobs() == [("job:fail", "5/daily", {"data": 3})]
        assert len(self.bot.errors) == 2

    def test_f13_one_that_cancels_itself_is_gone_too(self) -> None:
        async def cancel(context: Any) -> None:
            raise asyncio.CancelledError

        async def cancel_the_task(context: Any) -> None:
            asyncio.current_task().cancel()  # type: ignore[union-attr]
            await asyncio.sleep(0)

        self.start()
        for callback in (cancel, cancel_the_task):
            stored_job(callback).run_once(0, chat=5)
            with self.assertLogs("botsessions.lookout", "ERROR"):
                self.client.let_time_pass(HOUR)
            assert jobs() == []

    def test_f13_what_the_session_cannot_store_ends_it_too(self) -> None:
        async def fail(context: Any) -> None:
            context.session["connection"] = object()

        self.start()
        stored_job(fail).run_once(0, chat=5)
        self.client.let_time_pass(HOUR)
        assert [type(error) for error in self.bot.errors] == [SessionDataError]
        assert jobs() == []

    def test_f13_it_is_run_again_where_somebody_else_has_changed_its_session(self) -> None:
        interfering = [True]

        async def go(context: Any) -> None:
            context.session["runs"] = [*context.session.get("runs", []), context.job.data]
            if interfering and interfering.pop():
                await BotSession.objects.filter(name="").aupdate(data={"runs": [0]}, revision=1)

        BotSession.objects.create(bot="shop", key="5", data={})
        stored_job(go).run_once(0, 1, chat=5)
        for _ in range(2):
            self.start()
            self.client.let_time_pass(HOUR)
        assert runs() == [0, 1]
        assert jobs() == []
        assert [type(error) for error in self.bot.errors] == [SessionConflict]

    def test_f13_it_yields_to_whoever_schedules_it_anew_just_then(self) -> None:
        later = timezone.now() + 10 * HOUR

        async def go(context: Any) -> None:
            context.session["runs"] = [*context.session.get("runs", []), context.job.data]
            anew = {"data": {"data": 2}, "revision": 1, "expires_at": later}
            await BotSession.objects.filter(name="job:go").aupdate(**anew)

        self.start()
        stored_job(go).run_once(0, 1, name="tea", chat=5)
        self.client.let_time_pass(timedelta(seconds=1))
        assert runs() == [1]
        assert jobs() == [("job:go", "5/tea", {"data": 2})]
        assert self.bot.errors == []

    def test_f13_one_that_goes_on_yields_to_whoever_cancels_it_or_schedules_it_anew(self) -> None:
        later = timezone.now() + 10 * HOUR

        async def go(context: Any) -> None:
            job.run_once(HOUR, "own", name=context.job.name)
            if context.job.data == "saves":
                await context.save_session()
            rows = BotSession.objects.filter(name="job:go", key=f"5/{context.job.name}")
            if context.job.name == "cancelled":
                await rows.adelete()
            else:
                await rows.aupdate(data={"data": "anew"}, revision=1, expires_at=later)
            context.session["runs"] = [*context.session.get("runs", []), context.job.name]

        job = stored_job(go)
        self.start()
        for data in (None, "saves"):
            for name in ("cancelled", "anew"):
                job.run_once(0, data, name=name, chat=5)
            self.client.let_time_pass(timedelta(seconds=1))
            assert jobs() == [("job:go", "5/anew", {"data": "anew"})]
        assert sorted(runs()) == ["anew", "anew", "cancelled", "cancelled"]
        assert self.bot.errors == []

    def test_f13_one_that_schedules_another_chats_does_not_yield(self) -> None:
        async def go(context: Any) -> None:
            job.run_once(HOUR, 1, name="other", chat=6)
            await context.save_session()
            await BotSession.objects.filter(key="6/other").adelete()
            job.run_once(HOUR, 2, name="other", chat=6)

        job = stored_job(go)
        self.start()
        job.run_once(0, name="own", chat=5)
        self.client.let_time_pass(timedelta(seconds=1))
        assert jobs() == [("job:go", "6/other", {"data": 2})]
        assert self.bot.errors == []

    def test_f13_one_that_is_done_by_its_word_can_still_go_on(self) -> None:
        async def go(context: Any) -> None:
            job.cancel("daily")
            await context.save_session()
            job.cancel("daily")
            job.run_once(HOUR, 2, name="daily")
            await context.save_session()
            job.run_once(HOUR, 3, name="daily")

        job = stored_job(go)
        self.start()
        job.run_once(0, 1, name="daily", chat=5)
        self.client.let_time_pass(timedelta(seconds=1))
        assert jobs() == [("job:go", "5/daily", {"data": 3})]
        assert self.bot.errors == []

    def test_f13_what_only_a_scheduler_knows_a_stored_job_has_not(self) -> None:
        seen = []

        async def go(context: Any) -> None:
            seen.append((repr(context.job), context.job.enabled, hasattr(context.job, "next_t")))

        self.start()
        stored_job(go).run_once(0, name="tea", chat=5)
        self.client.let_time_pass(HOUR)
        assert seen == [("DueJob[name='tea']", True, False)]

    def test_f13_it_stays_where_its_session_cannot_be_loaded(self) -> None:
        BotSession.objects.create(bot="shop", key="5", data={}, version=7)
        self.start()
        self.remind.run_once(0, chat=5)
        for _ in range(3):  # It is not told each time.
            self.client.let_time_pass(HOUR)
        assert len(jobs()) == 1
        assert len(self.bot.errors) == 1

    def test_f13_it_is_told_of_data_that_do_not_fit_any_more_and_it_stays(self) -> None:
        for data in ([], Value(None, JSONField())):
            self.bot.errors.clear()
            self.start()
            BotSession.objects.create(
                bot="shop", name="job:remind", key="5/a", data=data, expires_at=timezone.now()
            )
            self.client.let_time_pass(HOUR)
            (error,) = self.bot.errors
            assert "its data cannot be read" in str(error)
            assert len(jobs()) == 1
            BotSession.objects.all().delete()

    def test_f13_a_callback_that_the_code_has_not_is_told_once_and_its_jobs_stay(self) -> None:
        self.start()
        for n in range(3):
            BotSession.objects.create(
                bot="shop",
                name="job:gone",
                key=f"5/{n}",
                data={"data": None},
                expires_at=timezone.now(),
            )
        for _ in range(2):
            self.client.let_time_pass(HOUR)
        (error,) = self.bot.errors
        assert isinstance(error, StoredJobError)
        assert "'gone'" in str(error)
        assert "'remind'" in str(error)
        assert len(jobs()) == 3
        with pytest.raises(CommandError, match="Something of shop is still due"):
            call_command("sweep_sessions", verbosity=0, stderr=StringIO())
        stored_job(name="gone")(note_job)
        call_command("sweep_sessions", verbosity=0)
        assert jobs() == []
        assert len(runs()) == 3

    def test_f13_renaming_the_fragment_gives_jobs_to_another_callback(self) -> None:
        for key, due in (("5/a", HOUR), ("5/b", -HOUR)):
            BotSession.objects.create(
                bot="shop",
                name="job:gone",
                key=key,
                data={"data": 1},
                expires_at=timezone.now() + due,
            )
        names = ("job:gone", "job:remind")
        call_command("rename_fragment", *names, bot="shop", verbosity=0)
        self.start()
        self.client.let_time_pass(2 * HOUR)
        assert sorted(runs()) == [["a", 1, 5, 5], ["b", 1, 5, 5]]

    def test_f13_a_job_that_is_due_is_in_the_way_of_another_one_like_any_session(self) -> None:
        for name in ("gone", "remind"):
            BotSession.objects.create(
                bot="shop",
                name=f"job:{name}",
                key="5/a",
                data={"data": name},
                expires_at=timezone.now() - HOUR,
            )
        with pytest.raises(CommandError, match="1 session could not be handled"):
            call_command(
                *("rename_fragment", "job:gone", "job:remind"),
                bot="shop",
                verbosity=0,
                stderr=StringIO(),
            )
        assert [data["data"] for _, _, data in jobs()] == ["gone", "remind"]

    def test_f13_one_that_was_put_off_or_deleted_meanwhile_is_not_run(self) -> None:
        self.start()
        self.remind.run_once(0, name="a", chat=5)
        self.remind.run_once(0, name="b", chat=5)
        self.remind.run_once(HOUR, name="a", chat=5)
        self.remind.cancel("b", chat=5)
        self.client.let_time_pass(HOUR / 2)
        assert runs() == []
        assert [key for _, key, _ in jobs()] == ["5/a"]

    def test_f13_a_multi_session_has_all_that_the_ids_lead_to(self) -> None:
        both = multi_session(
            chat=session(initial=dict), user=session(initial=dict, get_session_key=per_user)
        )
        self.bot = Bot(both)
        with self.bot.settings:

            async def go(context: Any) -> None:
                context.session.chat["chat"] = 1
                context.session.user["user"] = 1

            stored_job(go).run_once(0, chat=GROUP, user=5)
            self.start()
            self.client.let_time_pass(HOUR)
            assert both.chat.get(chat=GROUP) == {"chat": 1}
            assert both.user.get(user=5) == {"user": 1}

    def test_f13_the_jobs_of_a_group_that_becomes_a_supergroup_go_along(self) -> None:
        self.start(go=self.scheduling(HOUR, name="tea"))
        person = self.maria.in_chat(self.group)
        person.send("/go")
        self.remind.run_once(0, name="due", chat=GROUP)
        self.remind.run_once(HOUR, name="other", chat=6)
        message = {"message_id": 9, "date": 1, "from": self.maria.place.user, "chat": self.group}
        self.client.feed({"message": {**message, "migrate_to_chat_id": SUPERGROUP}})
        left = {key for _, key, _ in jobs()}
        assert left >= {f"{SUPERGROUP}/5/tea", "6/other"}
        assert not any(str(GROUP) in key for key in left)
        self.client.let_time_pass(HOUR)
        assert {(name, *ids) for name, _, *ids in runs(str(SUPERGROUP))} == {
            ("tea", SUPERGROUP, 5),
            ("due", SUPERGROUP, None),
        }

    def test_f13_the_message_that_a_group_has_moved_schedules_for_the_supergroup(
        self,
    ) -> None:
        self.start()
        self.client.application.add_handler(TypeHandler(object, self.scheduling(HOUR, name="tea")))
        message = {"message_id": 9, "date": 1, "from": self.maria.place.user, "chat": self.group}
        self.client.feed({"message": {**message, "migrate_to_chat_id": SUPERGROUP}})
        assert [key for _, key, _ in jobs()] == [f"{SUPERGROUP}/5/tea"]
        assert self.bot.errors == []

    def test_f13_sweep_sessions_runs_what_is_due_and_leaves_what_is_not(self) -> None:
        self.start()
        self.remind.run_once(0, name="due", chat=5)
        let_be_late("due")
        self.remind.run_once(HOUR, name="later", chat=5)
        BotSession.objects.update(updated_at=timezone.now() - timedelta(days=100))
        call_command("sweep_sessions", "--dry-run", verbosity=0)
        assert len(jobs()) == 2
        said = StringIO()
        call_command("sweep_sessions", "--idle-for", "90d", stdout=said)
        assert "1 job or conversation done that was due, in " in said.getvalue()
        assert [name for name, *_ in runs()] == ["due"]
        assert [key for _, key, _ in jobs()] == ["5/later"]

    def test_f13_a_sweep_leaves_jobs_of_bots_that_it_does_not_know(self) -> None:
        BotSession.objects.create(
            bot="other", name="job:remind", key="5/a", data={}, expires_at=timezone.now()
        )
        call_command("sweep_sessions", verbosity=0)
        assert len(jobs()) == 1


class Sweeping(WithBot):
    """No bot runs."""

    def test_f13_a_sweep_starts_and_ends_the_bot_but_runs_no_job_of_its_start(self) -> None:
        done: list[str] = []

        async def begin(application: Any) -> None:
            application.bot_data["client"] = "client"
            application.job_queue.run_repeating(repeat, HOUR, first=0)

        async def repeat(context: Any) -> None:
            done.append("repeated")

        async def go(context: Any) -> None:
            done.append(context.bot_data["client"])
            context.application.create_task(later())
            await asyncio.sleep(0.1)

        async def later() -> None:
            await asyncio.sleep(0.2)
            done.append("later")

        async def close(application: Any) -> None:
            done.append("closed")

        def build(builder: Any) -> Any:
            return self.bot.build(builder.post_init(begin).post_shutdown(close))

        stored_job(go).run_once(0, name="due", chat=5)
        let_be_late("due")
        bots = {"shop": {"SESSION": counting, "APPLICATION": build}}
        with (
            override_settings(BOTSESSIONS={"BOTS": bots}),
            mock.patch("botsessions.maintenance.overdue.application_here", return_value=None),
            mock.patch(
                "botsessions.maintenance.overdue.build_application",
                lambda bot: build_application(bot, OfflineBuilder(OfflineTelegram())),
            ),
        ):
            call_command("sweep_sessions", verbosity=0)
        assert done == ["client", "later", "closed"]
        assert jobs() == []
        assert self.bot.errors == []


@override_settings(USE_TZ=False, TIME_ZONE="Asia/Kolkata")
class WithoutTimeZones(WithBot):
    """Rule G4."""

    def test_f13_a_running_bot_runs_it_when_it_is_due(self) -> None:
        self.start(go=self.scheduling(HOUR, name="tea"))
        self.maria.send("/go")
        self.client.let_time_pass(HOUR / 2)
        assert runs() == []
        self.client.let_time_pass(HOUR)
        assert [name for name, *_ in runs()] == ["tea"]

    def test_f13_a_sweep_runs_it_when_it_is_due(self) -> None:
        self.start()
        self.remind.run_once(0, name="due", chat=5)
        let_be_late("due")
        self.remind.run_once(HOUR, name="later", chat=5)
        call_command("sweep_sessions", verbosity=0)
        assert [name for name, *_ in runs()] == ["due"]
        assert [key for _, key, _ in jobs()] == ["5/later"]


class InThreads(WithBot):
    def test_f13_sync_code_of_a_handler_schedules_with_its_update(self) -> None:
        async def go(update: Any, context: Any) -> None:
            await sync_to_async(self.remind.run_once)(HOUR, name="tea")
            if context.args:
                raise ValueError("no")

        self.start(go=go)
        self.maria.send("/go wrong")
        assert jobs() == []
        self.maria.send("/go")
        assert [key for _, key, _ in jobs()] == ["5/tea"]

    def test_f13_there_times_are_of_the_bots_zone_too(self) -> None:
        async def go(update: Any, context: Any) -> None:
            await sync_to_async(self.remind.run_once)(time(9), name="tea")

        self.start(go=go)
        self.maria.send("/go")
        assert self.bot.errors == []
        due = BotSession.objects.get(key="5/tea").expires_at
        assert due is not None
        assert due.astimezone(UTC).time() == time(9)


class Outside(WithBot):
    """Views, tasks, the shell."""

    def test_f13_it_is_committed_and_rolled_back_with_the_transaction_around(self) -> None:
        with pytest.raises(ValueError, match="no"), transaction.atomic():
            self.remind.run_once(HOUR, chat=5)
            raise ValueError("no")
        assert jobs() == []
        name = self.remind.run_once(HOUR, chat=5, bot="shop")
        assert [key for _, key, _ in jobs()] == [f"5/{name}"]
        with pytest.raises(ValueError, match="no"), transaction.atomic():
            self.remind.cancel(name, chat=5)
            raise ValueError("no")
        self.remind.cancel(name, chat=5)
        assert jobs() == []

    async def test_f13_on_an_event_loop_there_are_forms_to_await(self) -> None:
        for method, wanted in (
            (self.remind.run_once, "arun_once"),
            (self.remind.cancel, "acancel"),
        ):
            with pytest.raises(SessionError, match=wanted):
                method("x" if method == self.remind.cancel else 1, chat=5)  # type: ignore[arg-type]
        await self.remind.arun_once(HOUR, name="a", chat=5)
        assert await BotSession.objects.filter(name="job:remind").acount() == 1
        await self.remind.acancel("a", chat=5)
        assert await BotSession.objects.filter(name="job:remind").acount() == 0

    def test_f13_whose_job_it_is_has_to_be_said(self) -> None:
        with pytest.raises(TypeError, match="name the chat or the user"):
            self.remind.run_once(HOUR)
        with pytest.raises(SessionKeyError, match="chat=42"):
            self.remind.run_once(HOUR, chat="5")  # type: ignore[arg-type]
        with pytest.raises(SessionKeyError, match="no id of Telegram's: it is too large"):
            self.remind.run_once(HOUR, chat=2**63)
        for name in ("x" * 300, "\ud800"):
            with pytest.raises(SessionKeyError, match="name of a stored job"):
                self.remind.run_once(HOUR, chat=5, name=name)
        with pytest.raises(ImproperlyConfigured, match="no bot 'other'"):
            self.remind.run_once(HOUR, chat=5, bot="other")
        elsewhere = {"node": {"TOKEN": "1:ABC", "FREE_STORAGE": True}}
        with (
            override_settings(BOTSESSIONS={"BOTS": elsewhere}),
            pytest.raises(ImproperlyConfigured, match="'node' only keeps its sessions here"),
        ):
            self.remind.run_once(HOUR, chat=5)
        with pytest.raises(TypeError, match="run_once\\(when, data, name=…, chat=…"):
            self.remind.run_once(HOUR, chat_id=5)  # type: ignore[call-arg]
        assert jobs() == []

    def test_f13_what_a_person_has_is_given_out_and_forgotten(self) -> None:
        self.remind.run_once(HOUR, {"tea": 1}, user=5)
        self.remind.run_once(HOUR, chat=GROUP, user=5)
        self.remind.run_once(HOUR, chat=6)
        assert [row["data"] for row in export_user(5)] == [{"data": {"tea": 1}}, {"data": None}]
        assert count_user(5) == forget_user(5) == 2
        assert [key.partition("/")[0] for _, key, _ in jobs()] == ["6"]


class Declaring(TestCase):
    def test_f13_a_function_keeps_its_name_and_can_be_called(self) -> None:
        declared = stored_job(note_job)
        assert repr(declared) == "<stored job 'note_job'>"
        context = mock.Mock(session={}, job=mock.Mock(name="a", chat_id=1, user_id=1))
        asyncio.run(declared(context))
        assert len(context.session["runs"]) == 1

    def test_f13_the_job_queue_takes_it_too(self) -> None:
        ran = []

        async def go(context: Any) -> None:
            ran.append(context.job.name)

        declared = stored_job(name="other")(go)

        async def main() -> None:
            async with AsyncBotClient(build=lambda builder: counting.install(builder).build()) as c:
                await c.conversation._start()
                await c.application.job_queue.run_once(declared, HOUR).run(c.application)

        asyncio.run(main())
        assert ran == ["go"]

    def test_f13_two_functions_cannot_have_one_name_but_a_module_can_be_imported_anew(self) -> None:
        async def note_job(context: Any) -> None: ...

        stored_job(globals()["note_job"])
        stored_job(globals()["note_job"])
        with pytest.raises(ImproperlyConfigured, match="Two stored jobs are named 'note_job'"):
            stored_job(note_job)
        stored_job(name="other")(note_job)

    def test_f13_what_cannot_be_declared_is_refused(self) -> None:
        for wrong in (lambda context: None, None.__class__):
            with pytest.raises(TypeError, match="A stored job must be an async function"):
                stored_job(wrong)  # type: ignore[arg-type]

        async def nothing() -> None: ...

        with pytest.raises(TypeError, match="Name a stored job by name=: @stored_job\\(name='tea'"):
            stored_job("tea")  # type: ignore[call-overload]
        with pytest.raises(TypeError, match="A partial has no name of its own: give one"):
            stored_job(partial(note_job))
        with pytest.raises(TypeError, match="of a context"):
            stored_job(nothing)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="may have 60 characters"):
            stored_job(name="x" * 61)(note_job)
        with pytest.raises(TypeError, match="name must be"):
            stored_job(name="")
        with pytest.raises(TypeError, match="data_type"):
            stored_job(data_type=object())(note_job)  # type: ignore[type-var]


@dataclass
class Order:
    pizzas: list[str]


class Typed(WithBot):
    def test_f13_data_is_of_the_declared_type(self) -> None:
        seen = []

        async def deliver(context: Any) -> None:
            seen.append(context.job.data)

        self.start()
        delivery = stored_job(data_type=Order)(deliver)
        delivery.run_once(0, Order(["Napoli"]), chat=5)
        assert jobs()[0][2] == {"data": {"pizzas": ["Napoli"]}}
        with pytest.raises(SessionDataError, match="deliver") as caught:
            delivery.run_once(0, Order([1]), chat=5)  # type: ignore[list-item]
        assert caught.value.path == "$.pizzas[0]"
        self.client.let_time_pass(HOUR)
        assert seen == [Order(["Napoli"])]


class Persistent(WithBot):
    options: ClassVar = {"PERSISTENCE": True}

    def test_f13_user_data_and_chat_data_are_there_and_saved(self) -> None:
        async def go(context: Any) -> None:
            context.user_data["user"] = context.chat_data["chat"] = 1

        self.start()
        stored_job(go).run_once(0, chat=GROUP, user=5)
        self.client.let_time_pass(HOUR)
        kept = BotSession.objects.exclude(name="").values_list("name", "key", "data")
        assert sorted(kept) == [
            ("ptb:chat_data", str(GROUP), {"chat": 1}),
            ("ptb:user_data", "5", {"user": 1}),
        ]


class Elsewhere(WithBot):
    """The session is not in the database."""

    def setUp(self) -> None:
        self.store = Store(bot="shop")
        self.declared = session(initial=dict, storage=self.store)
        super().setUp()

    def test_f13_jobs_are_stored_in_the_database_all_the_same(self) -> None:
        async def go(update: Any, context: Any) -> None:
            context.session["started"] = True
            self.remind.run_once(HOUR, name="tea")

        async def fail(update: Any, context: Any) -> None:
            self.remind.run_once(HOUR)
            raise ValueError("no")

        self.start(go=go, fail=fail)
        for command in ("/fail", "/go"):
            self.maria.send(command)
        assert [key for _, key, _ in jobs()] == ["5/tea"]
        self.client.let_time_pass(HOUR)
        assert self.store.values["5"]["runs"] == [["tea", None, 5, 5]]
        assert jobs() == []

    def test_f13_also_where_conversations_are_in_a_table_of_their_own(self) -> None:
        nothing = PersistenceInput(False, False, False, False)
        own = DatabaseStorage(history=2)
        seen = []

        async def go(update: Any, context: Any) -> int:
            seen.append(Place.of(None).storage)
            return ConversationHandler.END

        def build(builder: Any) -> Any:
            talk = ConversationHandler(
                [CommandHandler("go", go)], {}, [], name="talk", persistent=True
            )
            application = self.bot.build(builder)
            application.add_handler(talk)
            return application

        persistence = partial(BotPersistence, store_data=nothing, storage=own)
        bot = {"SESSION": self.declared, "APPLICATION": build, "PERSISTENCE": persistence}
        with override_settings(BOTSESSIONS={"BOTS": {"shop": bot}}):
            self.start()
            self.maria.send("/go")
            (looked_for,) = [one.storage for one in self.client.application.watched()]
        assert seen == [looked_for]

    def test_f13_they_go_along_with_a_group(self) -> None:
        self.start()
        self.remind.run_once(HOUR, name="tea", chat=GROUP)
        message = {"message_id": 9, "date": 1, "from": self.maria.place.user, "chat": self.group}
        self.client.feed({"message": {**message, "migrate_to_chat_id": SUPERGROUP}})
        assert [key for _, key, _ in jobs()] == [f"{SUPERGROUP}/tea"]


class WithHistory(WithBot):
    declared = session(initial=dict, storage=DatabaseStorage(history=3))

    def test_f13_jobs_are_saved_in_one_transaction_with_a_session_whose_past_is_kept(self) -> None:
        async def fail(update: Any, context: Any) -> None:
            context.session["changed"] = True
            self.remind.run_once(HOUR)
            context.session["connection"] = object()

        self.start(go=self.scheduling(HOUR, name="tea"), fail=fail)
        for command in ("/fail", "/go"):
            self.maria.send(command)
        assert [key for _, key, _ in jobs()] == ["5/tea"]
        self.client.let_time_pass(HOUR)
        assert [name for name, *_ in runs()] == ["tea"]
        assert jobs() == []


class Moving(WithBot):
    def test_f13_jobs_that_wait_and_are_due_are_exported_and_imported(self) -> None:
        self.remind.run_once(HOUR, {"tea": 1}, name="tea", chat=5)
        self.remind.run_once(0, name="due", chat=5)
        let_be_late("due")
        with TemporaryDirectory() as directory:
            file = f"{directory}/shop.jsonl"
            call_command("export_sessions", "--output", file, verbosity=0)
            BotSession.objects.all().delete()
            call_command("import_sessions", "jsonl", file, verbosity=0)
        assert sorted(key for _, key, _ in jobs()) == ["5/due", "5/tea"]
        self.start()
        self.client.let_time_pass(HOUR)
        assert sorted(runs()) == [["due", None, 5, 5], ["tea", {"tea": 1}, 5, 5]]


class Expiring(WithBot):
    def test_f13_nobody_is_told_that_a_job_has_expired(self) -> None:
        told = []
        self.bot = Bot(
            session(
                initial=dict,
                storage=enhance_storage(
                    time_to_live=10 * HOUR, on_expire=lambda key, data: told.append(key)
                ),
            )
        )
        with self.bot.settings:
            self.start()
            self.remind.run_once(0, name="tea", chat=5)
            self.client.let_time_pass(HOUR)
            assert [name for name, *_ in runs()] == ["tea"]
        assert told == []

    def test_f13_what_on_expire_schedules_is_stored_even_if_the_handler_raises(self) -> None:
        async def schedule(key: str, data: Any) -> None:
            await self.remind.arun_once(HOUR, name="gone", chat=int(key))

        async def fail(update: Any, context: Any) -> None:
            raise ValueError("no")

        layers = enhance_storage(time_to_live=HOUR, on_expire=schedule)
        self.bot = Bot(session(initial=dict, storage=layers))
        with self.bot.settings:
            BotSession.objects.create(bot="shop", key="5", data={}, expires_at=timezone.now())
            self.start(fail=fail)
            self.maria.send("/fail")
        assert [key for _, key, _ in jobs()] == ["5/gone"]


class WithoutScheduler(WithBot):
    def test_f13_stored_jobs_need_no_job_queue(self) -> None:
        build = self.bot.build

        def without(builder: Any) -> Any:
            return build(builder.job_queue(None))

        settings = {"SESSION": counting, "APPLICATION": without}
        with (
            override_settings(BOTSESSIONS={"BOTS": {"shop": settings}}),
            mock.patch("telegram.ext._jobqueue.APS_AVAILABLE", new=False),
        ):
            self.start()
            self.remind.run_once(0, name="tea", chat=5)
            self.client.let_time_pass(HOUR)
        assert [name for name, *_ in runs()] == ["tea"]


class Processes(TransactionTestCase):
    """Several applications stand for several processes."""

    def setUp(self) -> None:
        self.bot = Bot()
        self.bot.settings.enable()
        self.addCleanup(self.bot.settings.disable)

    async def test_f13_a_running_bot_looks_by_itself(self) -> None:
        ran = asyncio.Event()

        async def go(context: Any) -> None:
            ran.set()

        job = stored_job(go)

        async def schedule(update: Any, context: Any) -> None:
            job.run_once(0.1)

        self.bot.commands["go"] = schedule
        async with AsyncBotClient("shop") as client:
            await client.user("Maria", id=5).send("/go")
            await asyncio.wait_for(ran.wait(), 20)

    async def test_f13_one_that_ends_the_process_does_not_do_so_at_each_start(self) -> None:
        async def leave(context: Any) -> None:
            sys.exit("Enough.")

        await stored_job(leave).arun_once(0, chat=5)
        async with AsyncBotClient("shop") as client:
            client.application.looks_by_itself = False
            await client.conversation._start()
            row = await BotSession.objects.aget(name="job:leave")
            (watched,) = client.application.watched()
            with pytest.raises(SystemExit):  # Not in a task, for it would end this loop.
                await watched.do(Due(row.pk, row.name, row.key, row.data))
        assert not await BotSession.objects.aexists()

    async def test_f13_a_bot_that_stops_ends_what_runs_and_leaves_what_waits_for_that(self) -> None:
        ran: list[Any] = []
        begun, end = asyncio.Event(), asyncio.Event()

        async def go(context: Any) -> None:
            ran.append(context.job.name)
            begun.set()
            await end.wait()

        for _ in range(3):
            await stored_job(go).arun_once(0, chat=5)
        client = AsyncBotClient("shop")
        await client.conversation._start()
        await asyncio.wait_for(begun.wait(), 20)
        stopping = asyncio.create_task(client.aclose())
        await asyncio.sleep(0.1)
        end.set()
        await stopping
        left = [row.key async for row in BotSession.objects.filter(name="job:go")]
        assert len(ran) == 1
        assert len(left) == 2
        assert f"5/{ran[0]}" not in left

    async def test_f13_of_many_processes_each_job_is_run_by_one(self) -> None:
        ran: list[Any] = []

        async def go(context: Any) -> None:
            ran.append(context.job.data)
            context.session["runs"] = context.session.get("runs", 0) + 1

        job = stored_job(go)
        for n in range(40):
            await job.arun_once(0, n, chat=1 + n % 4)
        clients = [AsyncBotClient("shop") for _ in range(3)]
        await asyncio.gather(*(client.let_time_pass(HOUR) for client in clients))
        for client in clients:
            await client.aclose()
        assert sorted(ran) == list(range(40))
        found = [row.data["runs"] async for row in BotSession.objects.all()]
        assert found == [10] * 4


@mock.patch("botsessions.ptb.stored_jobs.SECONDS", 3600)
@mock.patch("botsessions.lookout.MOST_SECONDS", 3600)
class Costs(TestCase):
    """Statements, counted, of a bot that does not look by itself just now."""

    def statements(
        self, act: Callable[[BotClient[Any]], object], job: StoredJob[Any] | None = None
    ) -> list[str]:
        """Return the first words of the statements of what is done after the first update."""

        async def count(update: Any, context: Any) -> None:
            context.session["count"] = context.session.get("count", 0) + 1
            if job is not None and context.args:
                job.run_once(HOUR, name=context.args[0])

        bot = Bot()
        bot.commands["count"] = count
        with bot.settings, BotClient("shop") as client:
            client.user("Maria", id=5).send("/count")
            client.let_time_pass(HOUR)
            if job is not None:
                job.run_once(HOUR, chat=5)
            with noted_statements(lambda sql: sql.split()[0]) as made:
                act(client)
        return [word for word in made if word not in ("SAVEPOINT", "RELEASE")]

    @staticmethod
    def send(text: str) -> Callable[[BotClient[Any]], object]:
        return lambda client: client.user("Maria", id=5).send(text)

    def test_f13_a_bot_without_stored_jobs_makes_no_statement_more(self) -> None:
        assert self.statements(self.send("/count")) == ["SELECT", "UPDATE"]
        assert self.statements(lambda client: client.let_time_pass(HOUR)) == ["UPDATE"]

    def test_f13_scheduling_adds_one_statement_to_the_save(self) -> None:
        made = self.statements(self.send("/count tea"), stored_job(note_job))
        assert made == ["SELECT", "UPDATE", "INSERT"]

    def test_f13_jobs_for_thousands_of_chats_are_few_statements(self) -> None:
        job = stored_job(note_job)

        async def go(update: Any, context: Any) -> None:
            for chat in range(1, 3001):
                job.run_once(HOUR, chat=chat)

        bot = Bot()
        bot.commands["go"] = go
        with bot.settings, BotClient("shop") as client, noted_statements(str) as made:
            client.user("Maria", id=5).send("/go")
        assert len(jobs()) == 3000
        assert len(made) < 20

    def test_f13_a_job_is_read_and_deleted_with_its_session(self) -> None:
        made = self.statements(lambda client: client.let_time_pass(HOUR), stored_job(note_job))
        # Time passes, it is found, nobody is busy with it, and then it goes as its session does.
        assert made[:6] == ["UPDATE", "SELECT", "SELECT", "SELECT", "UPDATE", "DELETE"]
        assert len(made) <= 7  # There may be a look whether it is gone.
