"""Conversations: their states are read before a handler is looked for, and saved with the rest."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.test import SimpleTestCase, TestCase, TransactionTestCase, override_settings
from telegram.ext import CommandHandler, ConversationHandler, MessageHandler, filters
from telegram.ext._handlers.conversationhandler import PendingState
from telegram.warnings import PTBUserWarning

from botsessions import multi_session, session
from botsessions.exceptions import ConversationStateError
from botsessions.models import BotSession
from botsessions.persistence import BotPersistence
from botsessions.steps import StepHandler
from botsessions.testing import AsyncBotClient, BotClient

from .bots import dialogues
from .harness import Store, text
from .restarting import Restarting
from .statements import noted_statements

# Of python-telegram-bot, on conversations that are not per message.
pytestmark = pytest.mark.filterwarnings("ignore:If 'per_message=False'")


def with_store(
    build: Callable[[Any], Any],
    store: Any,
    declared: Any = None,
    lock: str = "process",
    **options: Any,
) -> Callable[[Any], Any]:
    """Return what builds a bot that keeps its conversations in ``store``."""
    declared = declared or multi_session()

    def build_kept(builder: Any) -> Any:
        builder.persistence(BotPersistence(storage=store, **options))
        return build(declared.install(builder, lock=lock))

    return build_kept


def states(store: Store) -> dict[str, Any]:
    """Return the stored states by fragment and key."""
    return {
        f"{address.name.rpartition(':')[2]} {address.key}": store.values[address.key]["state"]
        for address in store._stored
        if address.name.startswith("ptb:conversation:")
    }


class Restarted(SimpleTestCase):
    async def test_f12_a_conversation_goes_on_after_each_restart(self) -> None:
        store = Store()
        maria = Restarting(with_store(dialogues.build_ordering, store))
        assert (await maria.send("/order")).text == "Name?"
        assert (await maria.send("Maria")).text == "City?"
        assert (await maria.send("Rome")).text == "Size?"
        assert (await maria.send("huge")).text is None
        assert (await maria.send("large")).text == "Note?"
        assert (await maria.send("Ring twice")).text == "Maria, Rome, large, Ring twice"
        assert states(store) == {}
        assert (await maria.send("Maria")).text is None
        await maria.send("/order")
        assert (await maria.send("/cancel")).text == "Cancelled."
        assert states(store) == {}
        await maria.stop()

    async def test_f12_nested_conversations_go_on_after_each_restart(self) -> None:
        store = Store()
        maria = Restarting(with_store(dialogues.build_family, store))
        await maria.send("/family")
        for name in ("Ann", "Bob"):
            await maria.press("add")
            assert (await maria.send(name)).text == "What?"
        assert (await maria.press("done")).text == "Ann and Bob"
        assert states(store) == {}
        await maria.send("/family")
        await maria.press("add")
        assert (await maria.send("/stop")).text == "Stopped."
        assert states(store) == {}
        await maria.stop()

    async def test_f12_a_conversation_per_message_goes_on_after_each_restart(self) -> None:
        maria = Restarting(with_store(dialogues.build_counters, Store()))
        first = (await maria.send("/poll")).message
        second = (await maria.send("/poll")).message
        assert (await maria.press("close", message=second)).text is None
        assert (await maria.press("up", message=first)).text == "1"
        assert (await maria.press("close", message=second)).text is None
        assert (await maria.press("close", message=first)).text == "closed"
        await maria.stop()

    async def test_f12_conversations_without_names_do_if_all_are_to_be_kept(self) -> None:
        store = Store()
        maria = Restarting(with_store(dialogues.build_household, store, all_conversations=True))
        assert (await maria.send("/start")).text == "What?"
        await maria.press("add")
        await maria.press("parent")
        assert (await maria.press("describe")).text == "Describe:"
        assert set(states(store)) == {
            f"tests.bots.dialogues.{function} 5/5"
            for function in ("enter", "add_relative", "describe")
        }
        assert (await maria.press("name")).text == "Type it."
        assert (await maria.send("Ann")).text == "Describe:"
        assert (await maria.press("done")).text == "Whom?"
        await maria.press("back")
        await maria.press("me")
        await maria.press("describe")
        await maria.press("age")
        await maria.send("31")
        await maria.press("done")
        assert (await maria.press("show")).text == "People: Ann, 31"
        await maria.press("back")
        await maria.press("add")
        assert (await maria.send("/stop")).text == "Stopped."
        assert states(store) == {}
        await maria.stop()

    async def test_f12_conversations_without_names_stay_in_memory_else(self) -> None:
        store = Store()
        maria = Restarting(with_store(dialogues.build_household, store))
        await maria.send("/start")
        assert states(store) == {}
        assert (await maria.press("add")).text is None
        await maria.stop()

    def test_f12_the_log_tells_of_those_where_there_are_several_workers(self) -> None:
        logger = "botsessions.persistence.application"
        with self.assertLogs(logger) as told:
            AsyncBotClient(build=with_store(dialogues.build_household, Store(), lock="database"))
        assert "ConversationHandler without persistent=True" in told.output[0]
        with self.assertNoLogs(logger):
            AsyncBotClient(build=with_store(dialogues.build_household, Store()))
            AsyncBotClient(build=with_store(dialogues.build_ordering, Store(), lock="database"))


def plain(callback: Any = None, **options: Any) -> Callable[[Any], Any]:
    """Return what builds a bot with one small conversation."""

    async def begin(update: Any, context: Any) -> str:
        return "begun"

    def build(builder: Any) -> Any:
        application = builder.build()
        application.add_handler(
            ConversationHandler(
                entry_points=[CommandHandler("start", begin)],
                states={"begun": [MessageHandler(filters.Regex("^x"), callback or begin)]},
                fallbacks=[CommandHandler("cancel", dialogues.cancel)],
                name="plain",
                persistent=True,
                **options,
            )
        )
        return application

    return build


class Costs(SimpleTestCase):
    async def _calls(self, text: str, **options: Any) -> list[str]:
        store = Store()
        bot = AsyncBotClient(build=with_store(plain(**options), store))
        maria = bot.user("Maria", id=5)
        await maria.send("/start")
        store.calls.clear()
        await maria.send(text)
        return store.operations

    async def test_a17_an_update_that_no_step_takes_is_not_looked_up(self) -> None:
        assert await self._calls("nothing like that") == []

    async def test_a17_one_that_a_step_might_take_is_looked_up_once(self) -> None:
        reads = ["read"] * 4  # In one statement: the state, user_data, chat_data and bot_data.
        assert await self._calls("xyz") == reads
        assert await self._calls("/cancel") == [*reads, "delete"]

    async def test_a17_channel_posts_have_no_conversation(self) -> None:
        store = Store()
        bot = AsyncBotClient(build=with_store(plain(), store))
        maria = bot.user("Maria")
        await maria.send("/start")
        store.calls.clear()
        await maria.in_chat(bot.channel()).send("x")
        assert store.calls == []

    async def test_a12_a_state_that_cannot_be_read_is_an_error_and_nothing_is_handled(self) -> None:
        store, errors = Store(), []

        async def note(update: Any, context: Any) -> None:
            errors.append(context.error)

        def build(builder: Any) -> Any:
            application = plain()(builder)
            application.add_error_handler(note)
            return application

        bot = AsyncBotClient(build=with_store(build, store))
        maria = bot.user("Maria")
        await maria.send("/start")
        store.fails["read"] = OSError("gone")
        await maria.send("/cancel")
        assert [str(e) for e in errors] == ["gone"]
        del store.fails["read"]
        assert (await maria.send("/cancel")).text == "Cancelled."


class States(SimpleTestCase):
    async def test_f12_a_step_that_raises_leaves_the_conversation_as_it_was(self) -> None:
        async def fail(update: Any, context: Any) -> None:
            context.user_data["a"] = 1
            raise ValueError

        store = Store()
        bot = AsyncBotClient(build=with_store(plain(fail), store), raise_errors=False)
        maria = bot.user("Maria", id=5)
        await maria.send("/start")
        await maria.send("x")
        assert states(store) == {"plain 5/5": "begun"}
        assert "5" not in store.values

    async def test_f12_a_state_that_the_code_no_longer_has_is_told_and_kept(self) -> None:
        store = Store()
        old = AsyncBotClient(build=with_store(dialogues.build_ordering, store))
        await old.user("Maria", id=5).send("/order")

        def build(builder: Any) -> Any:
            application = builder.build()
            conversation = dialogues.ordering()
            del conversation.states[dialogues.NAME]
            application.add_handler(conversation)
            return application

        new = AsyncBotClient(build=with_store(build, store))
        maria = new.user("Maria", id=5)
        with pytest.raises(ConversationStateError, match="is in state 0, which its"):
            await maria.send("Maria")
        assert states(store) == {"ordering 5/5": 0}
        assert (await maria.send("/cancel")).text == "Cancelled."
        assert states(store) == {}

    async def test_f12_two_people_in_a_group_have_a_conversation_each(self) -> None:
        store = Store()
        bot = AsyncBotClient(build=with_store(dialogues.build_ordering, store))
        group = bot.supergroup("Friends", id=-100)
        maria = bot.user("Maria", id=5).in_chat(group)
        tom = bot.user("Tom", id=6).in_chat(group)
        for word in ("/order", "M", "Rome", "small", "-"):
            answers = [(await who.send(word)).text for who in (maria, tom)]
        assert answers == ["M, Rome, small, -"] * 2

    async def test_f12_a_step_beside_others_lets_the_next_update_wait(self) -> None:
        store = Store()
        bot = AsyncBotClient(build=with_store(dialogues.build_working, store), raise_errors=False)
        maria = bot.user("Maria", id=5)
        for word, state in (("x", "worked"), ("fail", "begun")):
            gate = dialogues.gates["work"] = asyncio.Event()
            await maria.send("/start")
            await maria.send(word, wait=False)
            assert states(store) == {"working 5/5": "begun"}
            assert (await maria.send("y", wait=False)).text == "Wait."
            elsewhere = AsyncBotClient(build=with_store(dialogues.build_working, store))
            assert (await elsewhere.user("Maria", id=5).send("y")).text == "Wait."
            gate.set()
            await bot.conversation._settle()
            assert states(store) == {"working 5/5": state}
            again = AsyncBotClient(build=with_store(dialogues.build_working, store))
            if state == "worked":
                assert (await again.user("Maria", id=5).send("z")).text == "It has worked."
        handler = bot.application.handlers[0][0]
        assert isinstance(handler, ConversationHandler)
        assert handler._conversations._pending == {}  # type: ignore[attr-defined]

    async def test_f12_nobody_waits_for_a_step_whose_process_has_died(self) -> None:
        store = Store()
        bot = AsyncBotClient(build=with_store(dialogues.build_working, store))
        dialogues.gates["work"] = asyncio.Event()
        maria = bot.user("Maria", id=5)
        await maria.send("/start")
        await maria.send("x", wait=False)
        for address, (record, stored) in store._stored.items():
            conversation = json.loads(stored)
            conversation["waiting"] = conversation.get("waiting", 0) - 120
            store._stored[address] = record, json.dumps(conversation)
        dialogues.gates["work"] = asyncio.Event()
        dialogues.gates["work"].set()
        other = AsyncBotClient(build=with_store(dialogues.build_working, store))
        await other.user("Maria", id=5).send("x")
        assert states(store) == {"working 5/5": "worked"}

    async def test_e5_no_conversation_stays_in_memory(self) -> None:
        bot = AsyncBotClient(build=with_store(dialogues.build_ordering, Store()))
        for n in range(20):
            await bot.user(f"P{n}").send("/order")
        (handler,) = bot.application.handlers[0]
        assert isinstance(handler, ConversationHandler)
        conversations: Any = handler._conversations
        assert conversations._pending == {}
        with pytest.raises(TypeError, match="running update's"):
            len(conversations)

    def test_f12_two_conversations_of_one_name_are_refused(self) -> None:
        def build(builder: Any) -> Any:
            application = builder.build()
            application.add_handler(dialogues.ordering())
            application.add_handler(dialogues.ordering(), 1)
            return application

        with pytest.raises(ImproperlyConfigured, match="Two conversations are named 'ordering'"):
            AsyncBotClient(build=with_store(build, Store()))

    async def test_f12_one_that_is_added_while_the_bot_runs_is_kept_from_then_on(self) -> None:
        store = Store()
        bot = AsyncBotClient(build=with_store(lambda builder: builder.build(), store))
        maria = bot.user("Maria", id=5)
        await maria.send("x")
        with pytest.warns(PTBUserWarning, match="discouraged"):
            bot.application.add_handler(dialogues.ordering())
        await maria.send("/order")
        assert states(store) == {"ordering 5/5": 0}

    @pytest.mark.filterwarnings("ignore:A persistent `ConversationHandler` was passed")
    async def test_f12_one_that_takes_the_place_of_another_goes_on_with_its_states(self) -> None:
        store = Store()
        bot = AsyncBotClient(build=with_store(dialogues.build_ordering, store))
        maria = bot.user("Maria", id=5)
        await maria.send("/order")
        (handler,) = bot.application.handlers[0]
        bot.application.remove_handler(handler)
        assert (await maria.send("Maria")).text is None
        bot.application.add_handler(dialogues.ordering())
        assert (await maria.send("Maria")).text == "City?"
        with pytest.raises(ImproperlyConfigured, match="Two conversations"):
            bot.application.add_handler(dialogues.ordering())

    async def test_f12_a_handler_of_the_projects_may_have_handlers_of_its_own(self) -> None:
        class Busy(MessageHandler[Any, Any]):
            handlers = 3

        async def answer(update: Any, context: Any) -> None:
            await update.message.reply_text("here")

        def build(builder: Any) -> Any:
            application = builder.build()
            application.add_handler(Busy(filters.ALL, answer))
            return application

        maria = AsyncBotClient(build=with_store(build, Store())).user("Maria", id=5)
        assert (await maria.send("x")).text == "here"

    async def test_f12_one_behind_a_step_goes_on_after_each_restart(self) -> None:
        def build(builder: Any) -> Any:
            application = builder.build()
            step = StepHandler[Any](lambda data: True, dialogues.ordering())
            application.add_handler(step)
            return application

        declared = session(initial=dict, storage=Store())
        maria = Restarting(with_store(build, Store(), declared))
        assert (await maria.send("/order")).text == "Name?"
        assert (await maria.send("Maria")).text == "City?"
        assert (await maria.send("Rome")).text == "Size?"
        await maria.stop()

    async def test_f12_one_that_is_nested_in_several_is_one(self) -> None:
        store = Store()
        build = with_store(dialogues.build_household, store, all_conversations=True)
        bot = AsyncBotClient(build=build)
        (top,) = bot.application._conversations
        found = {id(one.handler): one for one in top.all()}
        assert len(found) == 3
        assert all(one.handler._conversations is one for one in found.values())


class GivenAgain(SimpleTestCase):
    """Updates that run_bot gets again because it was killed before it had confirmed them."""

    async def _begun(self) -> tuple[Store, AsyncBotClient, Any]:
        store = Store()
        bot = AsyncBotClient(build=with_store(dialogues.build_ordering, store))
        bot.application.handling = lambda update: nullcontext(True)
        maria = bot.user("Maria", id=5)
        await maria.send("/order")
        return store, bot, maria

    async def test_f12_an_answer_that_comes_twice_is_not_taken_for_the_next_one(self) -> None:
        store, bot, maria = await self._begun()
        first, second = text(maria, 1000, "Maria"), text(maria, 1001, "Rome")
        with self.assertLogs("botsessions.persistence.application", "INFO") as told:
            for update in (first, first, second, first, second):
                await bot.application.process_update(update)
        assert len(told.output) == 3
        assert "Update 1000 of bot '1' was handled before." in told.output[0]
        assert states(store) == {"ordering 5/5": dialogues.SIZE}
        assert store.values["5"]["city"] == "Rome"

    async def test_f12_what_the_bot_itself_feeds_is_handled_and_hides_nothing(self) -> None:
        store, bot, maria = await self._begun()
        await bot.application.process_update(text(maria, 1000, "Maria"))
        bot.application.handling = lambda update: nullcontext(False)
        await bot.application.process_update(text(maria, 0, "Rome"))
        await bot.application.process_update(text(maria, 10**9, "small"))
        assert states(store) == {"ordering 5/5": dialogues.NOTE}
        bot.application.handling = lambda update: nullcontext(True)
        await bot.application.process_update(text(maria, 1000, "Maria"))
        assert states(store) == {"ordering 5/5": dialogues.NOTE}
        await bot.application.process_update(text(maria, 1001, "Ring twice"))
        assert states(store) == {}

    async def test_f12_ids_of_another_bot_under_the_alias_are_no_old_ones(self) -> None:
        store, bot, maria = await self._begun()
        await bot.application.process_update(text(maria, 1000, "Maria"))
        for address, (record, stored) in store._stored.items():
            conversation = json.loads(stored)
            if "handled" in conversation:
                conversation["handled"][2] += 1
                store._stored[address] = record, json.dumps(conversation)
        await bot.application.process_update(text(maria, 3, "Rome"))
        assert states(store) == {"ordering 5/5": dialogues.SIZE}

    async def test_f12_ids_that_begin_anew_after_a_week_are_no_old_ones(self) -> None:
        store, bot, maria = await self._begun()
        await bot.application.process_update(text(maria, 1000, "Maria"))
        ((address, (record, stored)),) = [
            item for item in store._stored.items() if item[0].name.endswith("ordering")
        ]
        conversation = json.loads(stored)
        conversation["handled"][1] -= 7 * 24 * 3600
        store._stored[address] = record, json.dumps(conversation)
        await bot.application.process_update(text(maria, 3, "Rome"))
        assert states(store) == {"ordering 5/5": dialogues.SIZE}


class PythonTelegramBot(SimpleTestCase):
    """What we rely on that python-telegram-bot does not document."""

    async def test_it_adds_persistent_conversations_by_one_method_of_the_application(self) -> None:
        bot = AsyncBotClient(build=with_store(dialogues.build_family, Store()))
        added: list[Any] = []

        async def add(handler: Any) -> None:
            added.append(handler)

        bot.application._add_ch_to_persistence = add  # type: ignore[method-assign]
        await bot.application.initialize()
        assert added == bot.application.handlers[0]
        await bot.application.shutdown()

    def test_it_keeps_states_and_nested_conversations_in_these_attributes(self) -> None:
        handler = dialogues.ordering()
        assert handler._conversations == {}
        assert handler._child_conversations == set()
        assert handler.timeout_jobs == {}
        assert PendingState.__slots__ == ("old_state", "task")

    async def test_it_asks_for_the_state_under_the_key_of_the_update(self) -> None:
        handler, asked = dialogues.ordering(), []

        class Asked(dict[Any, Any]):
            def get(self, key: Any, default: Any = None) -> Any:
                asked.append(key)
                return default

        handler._conversations = Asked()
        client = AsyncBotClient(build=with_store(dialogues.build_ordering, Store()))
        maria = client.user("Maria", id=5)
        updates = client.conversation.updates
        message = updates.message(maria.place.sender, maria.place.chat, "/order")
        await client.application.initialize()
        update = client.conversation._update(updates.update(message=message))
        assert handler.check_update(update) is not None
        assert asked == [(5, 5)]
        await client.application.shutdown()


@override_settings(USE_TZ=True)
class Stored(TransactionTestCase):
    async def test_f12_a_step_is_one_read_and_one_write(self) -> None:
        for lock in ("process", "database"):
            build = with_store(dialogues.build_ordering, None, session(initial=dict), lock)
            bot = AsyncBotClient(build=build)
            maria = bot.user("Maria", id=5)
            await maria.send("/order")
            with noted_statements(lambda text: text.split()[0]) as made:
                await maria.send("Maria")
            assert len([m for m in made if m == "SELECT"]) <= (1 if lock == "process" else 2)
            await maria.send("/cancel")
            await bot.conversation.close()

    async def test_f12_the_row_says_whose_the_conversation_is(self) -> None:
        build = with_store(dialogues.build_ordering, None)
        bot = AsyncBotClient(build=build)
        maria = bot.user("Maria", id=5).in_chat(bot.supergroup("Friends", id=-100))
        await maria.send("/order")
        row = await BotSession.objects.aget(name="ptb:conversation:ordering")
        assert (row.key, row.chat_id, row.user_id) == ("-100/5", -100, 5)
        assert row.data == {"state": 0}
        await bot.conversation.close()


def build_unnamed(builder: Any) -> Any:
    application = builder.build()
    application.add_handler(
        ConversationHandler(
            entry_points=[CommandHandler("start", dialogues.begin)],
            states={"begun": [MessageHandler(filters.Regex("^x"), dialogues.cancel)]},
            fallbacks=[],
        )
    )
    return application


@override_settings(
    BOTSESSIONS={
        "BOTS": {
            "shop": {
                "APPLICATION": build_unnamed,
                "PERSISTENCE": "botsessions.persistence.all_conversations",
            }
        }
    }
)
class OfSettings(TestCase):
    def test_f12_one_setting_keeps_conversations_without_names(self) -> None:
        assert BotClient("shop").user("Maria", id=5).send("/start").text == "Begun."
        assert BotClient("shop").user("Maria", id=5).send("x").text == "Cancelled."
        assert BotClient("shop").user("Maria", id=5).send("x").text is None
        call_command("check")

    def test_f12_a_renamed_function_takes_its_conversations_along(self) -> None:
        BotClient("shop").user("Maria", id=5).send("/start")
        name = "ptb:conversation:tests.bots.dialogues.begin"
        BotSession.objects.filter(name=name).update(name=name + "_before")
        assert BotClient("shop").user("Maria", id=5).send("x").text is None
        call_command("rename_fragment", name + "_before", name, bot="shop", verbosity=0)
        assert BotClient("shop").user("Maria", id=5).send("x").text == "Cancelled."
