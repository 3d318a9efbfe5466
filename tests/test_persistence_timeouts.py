"""Timeouts of conversations come true, once, whatever ran or did not run when they were due."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import timedelta
from functools import partial
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import SimpleTestCase, TransactionTestCase, override_settings
from msgspec.structs import replace
from telegram.ext import CommandHandler, ConversationHandler, MessageHandler, filters

from botsessions import session
from botsessions.lookout import Due
from botsessions.models import BotSession
from botsessions.persistence.timeouts import NoJobs
from botsessions.records import utcnow
from botsessions.testing import AsyncBotClient, BotClient

from .bots import dialogues
from .harness import Store
from .test_persistence_conversations import states, with_store

LATE = "Too late, Maria."
BEGIN = "ptb:conversation:tests.bots.dialogues.begin"
LONG_AGO = timedelta(minutes=5)


def expire(store: Store) -> None:
    """Let the time of stored conversations be over."""
    for address, (record, text) in store._stored.items():
        if record.expires_at is not None:
            over = replace(record, expires_at=record.expires_at - LONG_AGO)
            store._stored[address] = over, text


class NextUpdate(SimpleTestCase):
    async def test_f12_the_next_update_finds_that_the_time_is_over(self) -> None:
        store = Store()
        bot = AsyncBotClient(build=with_store(dialogues.build_hurried, store))
        maria = bot.user("Maria", id=5)
        await maria.send("/order")
        await maria.send("Maria")
        expire(store)
        answers = await maria.send("Rome")
        assert answers.texts == [LATE]
        assert states(store) == {}
        assert store.values["5"]["late"] == 1
        assert (await maria.send("Rome")).text is None

    async def test_f12_an_update_in_time_renews_it_whatever_the_state(self) -> None:
        store = Store()
        bot = AsyncBotClient(build=with_store(dialogues.build_hurried, store))
        maria = bot.user("Maria", id=5)
        await maria.send("/order")
        ends = [r.expires_at for r, _ in store._stored.values() if r.expires_at]
        await maria.send("Maria")
        later = [r.expires_at for r, _ in store._stored.values() if r.expires_at]
        assert later[0] is not None
        assert ends[0] is not None
        assert later[0] > ends[0]
        await maria.send("/cancel")
        assert [r.expires_at for r, _ in store._stored.values() if r.expires_at] == []

    async def test_f12_a_timeout_handler_that_raises_is_told_and_ends_it(self) -> None:
        store, errors = Store(), []

        async def fail(update: Any, context: Any) -> None:
            raise ValueError("no")

        async def note(update: Any, context: Any) -> None:
            errors.append(str(context.error))

        def build(builder: Any) -> Any:
            application = builder.build()
            conversation = dialogues.hurried()
            conversation.states[ConversationHandler.TIMEOUT] = [MessageHandler(filters.ALL, fail)]
            application.add_handler(conversation)
            application.add_error_handler(note)
            return application

        bot = AsyncBotClient(build=with_store(build, store))
        maria = bot.user("Maria", id=5)
        await maria.send("/order")
        expire(store)
        assert (await maria.send("/order")).text == "Name?"
        assert errors == ["no"]
        assert states(store) == {"ordering 5/5": 0}

    async def test_f12_no_job_is_kept_for_a_conversation(self) -> None:
        bot = AsyncBotClient(build=with_store(dialogues.build_hurried, Store()))
        for n in range(3):
            await bot.user(f"P{n}").send("/order")
        (handler,) = bot.application.handlers[0]
        assert isinstance(handler, ConversationHandler)
        assert isinstance(handler.timeout_jobs, NoJobs)
        assert handler.timeout_jobs == {}
        assert bot.application.job_queue is not None
        assert bot.application.job_queue.jobs() == ()

    @pytest.mark.filterwarnings("ignore:Using `conversation_timeout` with nested")
    async def test_f12_a_nested_conversation_has_a_timeout_of_its_own(self) -> None:
        store = Store()

        def build(builder: Any) -> Any:
            application = builder.build()
            application.add_handler(
                ConversationHandler(
                    entry_points=[CommandHandler("start", dialogues.begin)],
                    states={"begun": [dialogues.ordering(conversation_timeout=3600)]},
                    fallbacks=[],
                    conversation_timeout=60,
                )
            )
            return application

        bot = AsyncBotClient(build=with_store(build, store, all_conversations=True))
        maria = bot.user("Maria", id=5)
        await maria.send("/start")
        await maria.send("/order")
        ends = {address.name: record.expires_at for address, record in store.records.items()}
        inner, outer = ends["ptb:conversation:ordering"], ends[BEGIN]
        assert inner is not None
        assert outer is not None
        assert inner - outer > timedelta(minutes=50)

    async def test_f12_a_step_beside_others_has_a_timeout_when_it_has_ended(self) -> None:
        store = Store()

        bot = AsyncBotClient(
            build=with_store(partial(dialogues.build_working, conversation_timeout=60), store)
        )
        maria = bot.user("Maria", id=5)
        dialogues.gates["work"] = asyncio.Event()
        dialogues.gates["work"].set()
        await maria.send("/start")
        await maria.send("x")
        assert states(store) == {"working 5/5": "worked"}
        assert [r.expires_at is not None for r, _ in store._stored.values() if r.about] == [True]


def build_late(builder: Any) -> Any:
    return dialogues.build_hurried(builder)


def telling(words: str) -> Any:
    async def tell(update: Any, context: Any) -> None:
        await update.effective_message.reply_text(words)

    return tell


BOTS = {"shop": {"APPLICATION": build_late, "PERSISTENCE": True}}


async def let_time_pass() -> None:
    due = BotSession.objects.filter(expires_at__isnull=False)
    assert await due.aupdate(expires_at=utcnow() - LONG_AGO) == 1


@override_settings(BOTSESSIONS={"BOTS": BOTS})
class Processes(TransactionTestCase):
    """The process that began the conversation is gone."""

    async def _begin(self) -> None:
        bot = AsyncBotClient("shop")
        maria = bot.user("Maria", id=5)
        await maria.send("/order")
        await maria.send("Maria")
        await bot.conversation.close()
        await let_time_pass()

    async def test_f12_a_bot_that_starts_tells_it_once(self) -> None:
        await self._begin()
        told = []
        for _ in range(2):
            bot = AsyncBotClient("shop")
            await bot.conversation._start()
            await bot.application.lookout().look()
            told += [
                call.parameters["text"] for call in bot.telegram.calls if "text" in call.parameters
            ]
            await bot.conversation.close()
        assert told == [LATE]
        assert await BotSession.objects.filter(name__startswith="ptb:conv").acount() == 0
        user_data = await BotSession.objects.aget(name="ptb:user_data")
        assert user_data.data == {"name": "Maria", "late": 1}

    async def test_f12_of_many_processes_one_tells_it(self) -> None:
        await self._begin()
        bots = [AsyncBotClient("shop") for _ in range(4)]
        for bot in bots:
            await bot.application.initialize()
            await bot.conversation._start()
        await asyncio.gather(*(bot.application.lookout().look() for bot in bots))
        for bot in bots:
            await bot.conversation.close()
        told = [c for bot in bots for c in bot.telegram.calls if c.parameters.get("text") == LATE]
        assert len(told) == 1

    async def test_f12_a_running_bot_looks_by_itself(self) -> None:
        await self._begin()
        told = asyncio.Event()
        bot = AsyncBotClient("shop")
        bot.telegram.on_call = lambda call: told.set() if "text" in call.parameters else None
        await bot.conversation._start()
        await asyncio.wait_for(told.wait(), 20)
        await bot.conversation.close()

    @pytest.mark.filterwarnings("ignore:A persistent `ConversationHandler` was passed")
    async def test_f12_it_also_looks_for_those_that_are_added_while_it_runs(self) -> None:
        for name in ("first", "second"):  # Of which the second takes the first one's place.
            async with AsyncBotClient("shop") as bot:
                maria = bot.user("Maria", id=5)
                await maria.send("hello")
                (handler,) = bot.application.handlers[0]
                bot.application.remove_handler(handler)
                bot.application.add_handler(hurry := dialogues.hurried())
                hurry.states[hurry.TIMEOUT] = [MessageHandler(filters.ALL, telling(name))]
                await maria.send("/order")
                assert (await bot.let_time_pass(LONG_AGO)).texts == [name]

    @pytest.mark.filterwarnings("ignore:A persistent `ConversationHandler` was passed")
    async def test_f12_one_that_was_removed_does_not_end_what_has_its_name(self) -> None:
        async with AsyncBotClient("shop") as bot:
            await bot.user("Maria", id=5).send("/order")
            (handler,) = bot.application.handlers[0]
            bot.application.remove_handler(handler)
            bot.application.add_handler(dialogues.ordering())
            assert (await bot.let_time_pass(LONG_AGO)).texts == []
            assert await BotSession.objects.filter(name__startswith="ptb:conv").acount() == 1

    async def test_f12_one_whose_last_update_somebody_has_deleted_ends_in_silence(self) -> None:
        await self._begin()
        await BotSession.objects.filter(name__startswith="ptb:conv").aupdate(data={"state": 0})
        bot = AsyncBotClient("shop")
        await bot.conversation._start()
        await bot.application.lookout().look()
        assert not [call for call in bot.telegram.calls if "text" in call.parameters]
        await bot.conversation.close()
        assert await BotSession.objects.filter(name__startswith="ptb:conv").acount() == 0

    async def test_f12_so_does_one_that_somebody_has_made_unreadable(self) -> None:
        await self._begin()
        await BotSession.objects.filter(name__startswith="ptb:conv").aupdate(data=[1])
        bot = AsyncBotClient("shop")
        await bot.conversation._start()
        await bot.application.lookout().look()
        await bot.conversation.close()
        assert await BotSession.objects.filter(name__startswith="ptb:conv").acount() == 0

    async def test_f12_it_is_left_alone_for_a_while_if_its_session_cannot_be_loaded(self) -> None:
        store, errors = Store(bot="shop"), []

        async def note(update: Any, context: Any) -> None:
            errors.append(str(context.error))

        def build(builder: Any) -> Any:
            application = build_late(builder)
            application.add_error_handler(note)
            return application

        declared = {"SESSION": session(initial=dict, storage=store), "APPLICATION": build}
        bots = {"shop": {**BOTS["shop"], **declared}}
        with override_settings(BOTSESSIONS={"BOTS": bots}):
            await self._begin()
            store.fails["read"] = OSError("down")
            bot = AsyncBotClient("shop")
            for _ in range(3):
                await bot.let_time_pass(timedelta(seconds=1))
            assert errors == ["down"]
            await bot.aclose()
            store.fails.clear()
            bot = AsyncBotClient("shop")
            assert (await bot.let_time_pass(timedelta(seconds=1))).texts == [LATE]
            await bot.aclose()

    async def test_f12_one_that_goes_on_in_time_is_not_told(self) -> None:
        bot = AsyncBotClient("shop")
        maria = bot.user("Maria", id=5)
        await maria.send("/order")
        await bot.application.lookout().look()
        assert (await maria.send("Maria")).text == "City?"
        await bot.conversation.close()

    async def test_f12_one_whose_handler_ends_the_process_does_not_do_so_at_each_start(
        self,
    ) -> None:
        async def leave(update: Any, context: Any) -> None:
            sys.exit("Enough.")

        await self._ends_by(leave, SystemExit)

    async def test_f12_nor_does_one_whose_handler_cancels_its_task(self) -> None:
        async def leave(update: Any, context: Any) -> None:
            asyncio.current_task().cancel()  # type: ignore[union-attr]
            await asyncio.sleep(0)

        await self._ends_by(leave, asyncio.CancelledError)

    async def _ends_by(self, leave: Any, end: type[BaseException]) -> None:
        await self._begin()
        async with AsyncBotClient("shop") as bot:
            bot.application.looks_by_itself = False
            handler = bot.application.handlers[0][0]
            assert isinstance(handler, ConversationHandler)
            handler.states[handler.TIMEOUT] = [MessageHandler(filters.ALL, leave)]
            await bot.conversation._start()
            row = await BotSession.objects.aget(name__startswith="ptb:conv")
            (watched,) = bot.application.watched()
            with pytest.raises(end):  # Not in a task, for it would end this loop.
                await watched.do(Due(row.pk, row.name, row.key, row.data))
        assert not await BotSession.objects.filter(name__startswith="ptb:conv").aexists()

    async def test_f12_one_whose_session_is_not_read_because_that_is_cancelled_stays(self) -> None:
        store = Store(bot="shop")
        declared = {"SESSION": session(initial=dict, storage=store)}
        bots = {"shop": {**BOTS["shop"], **declared}}
        with override_settings(BOTSESSIONS={"BOTS": bots}):
            await self._begin()
            store.fails["read"] = asyncio.CancelledError()
            async with AsyncBotClient("shop") as bot:
                bot.application.looks_by_itself = False
                await bot.conversation._start()
                row = await BotSession.objects.aget(name__startswith="ptb:conv")
                (watched,) = bot.application.watched()
                with pytest.raises(asyncio.CancelledError):
                    await watched.do(Due(row.pk, row.name, row.key, row.data))
        assert await BotSession.objects.filter(name__startswith="ptb:conv").aexists()


@override_settings(BOTSESSIONS={"BOTS": {**BOTS, "unreachable": BOTS["shop"]}})
class Sweep(TransactionTestCase):
    def test_f12_sweep_sessions_tells_it_once_where_no_bot_runs(self) -> None:
        bot = BotClient("shop")
        maria = bot.user("Maria", id=5)
        maria.send("/order")
        maria.send("Maria")
        BotSession.objects.filter(expires_at__isnull=False).update(expires_at=utcnow() - LONG_AGO)
        bot.telegram.calls.clear()
        call_command("sweep_sessions", "--dry-run", verbosity=0)
        assert BotSession.objects.filter(name__startswith="ptb:conv").count() == 1
        said = StringIO()
        for options in ([], ["--json"]):
            call_command("sweep_sessions", *options, stdout=said)
        first, second = said.getvalue().splitlines()
        assert first.startswith("0 sessions deleted, 1 job or conversation done that was due, in ")
        assert json.loads(second)["done"] == 0
        assert [call.parameters["text"] for call in bot.telegram.calls] == [LATE]
        assert BotSession.objects.filter(name__startswith="ptb:conv").count() == 0

    def test_f12_a_test_can_let_the_time_pass(self) -> None:
        bot = BotClient("shop")
        maria = bot.user("Maria", id=5)
        maria.send("/order")
        maria.send("Maria")
        assert bot.let_time_pass(timedelta(seconds=1)).texts == []
        assert bot.let_time_pass(LONG_AGO).texts == [LATE]
        assert bot.let_time_pass(LONG_AGO).texts == []

    def test_f12_a_test_can_let_the_time_pass_before_all_else(self) -> None:
        BotClient("shop").user("Maria", id=5).send("/order")
        assert BotClient("shop").let_time_pass(LONG_AGO).texts == ["Too late, None."]

    def test_f12_it_names_a_conversation_that_the_code_does_not_have_and_leaves_it(self) -> None:
        BotClient("shop").user("Maria", id=5).send("/order")
        stored = BotSession.objects.filter(name="ptb:conversation:ordering")
        stored.update(name="ptb:conversation:gone", expires_at=utcnow() - LONG_AGO)
        told = StringIO()
        with pytest.raises(CommandError, match="Something of shop is still due"):
            call_command("sweep_sessions", verbosity=0, stderr=told)
        assert "conversations 'gone' of bot 'shop' is over" in told.getvalue()
        assert BotSession.objects.filter(name="ptb:conversation:gone").exists()

    def test_f12_a_bot_that_cannot_be_reached_is_told_and_nothing_is_lost(self) -> None:
        BotSession.objects.create(
            bot="unreachable",
            name="ptb:conversation:ordering",
            key="5/5",
            data={},
            expires_at=utcnow() - LONG_AGO,
        )
        with pytest.raises(Exception, match="Something of unreachable is still due"):
            call_command("sweep_sessions", verbosity=0)
        assert BotSession.objects.count() == 1
