"""bot_data outside of updates and jobs: in filters, post_init, post_stop, and tasks."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any
from unittest.mock import patch

import pytest
from django.test import SimpleTestCase, TransactionTestCase
from telegram.ext import MessageHandler, filters

from botsessions import enhance_storage, multi_session
from botsessions.exceptions import SessionConflict, SessionDataError, SessionVersionError
from botsessions.models import BotSession
from botsessions.persistence import BotPersistence
from botsessions.persistence.fragments import BOT_DATA
from botsessions.persistence.outside import OutsideBotData
from botsessions.storages import ANY, Address, Record
from botsessions.testing import AsyncBotClient

from .harness import Store, client
from .locked import eventually

LOGGER = OutsideBotData.__module__
PLACE = Address("1", BOT_DATA, "bot")


def bot_with(store: Store, *handlers: Any) -> AsyncBotClient:
    return client(
        multi_session(),
        *handlers,
        builder=lambda b: b.persistence(BotPersistence(storage=store)),
        raise_errors=True,
    )


async def count(update: Any, context: Any) -> None:
    context.bot_data["n"] = context.bot_data.get("n", 0) + 1


class Starting(SimpleTestCase):
    async def _start(self, store: Store, *put: dict[str, Any]) -> None:
        """Start processes at once whose ``post_init`` puts something into ``bot_data``."""
        bots = [bot_with(store) for _ in put]
        for bot, data in zip(bots, put, strict=True):
            await bot.application.initialize()
            for name, value in data.items():
                bot.application.bot_data[name] = value
        for bot in bots:
            await bot.application.start()
        for bot in bots:
            await bot.conversation.close()

    async def test_f12_of_processes_that_start_at_once_the_last_has_its_entries(self) -> None:
        store = Store()
        with self.assertLogs(LOGGER, "WARNING") as told:
            await self._start(
                store,
                {"started": "10:00", "boots": 1, "of": {"a": 1, "n": 1}, "first": 1},
                {"started": "10:01", "boots": 1, "of": {"b": 1, "n": 2}},
            )
        (line,) = told.output
        assert line.endswith("What it has put there replaces theirs: $.started, $.of.n.")
        assert store.values["bot"] == {
            "started": "10:01",
            "boots": 1,
            "of": {"a": 1, "b": 1, "n": 2},
            "first": 1,
        }

    async def test_f12_what_goes_together_is_not_told(self) -> None:
        store = Store()
        with self.assertNoLogs(LOGGER, "INFO"):
            await self._start(store, {"languages": ["it"]}, {"languages": ["it"]})
        assert store.values["bot"] == {"languages": ["it"]}

    async def test_f12_the_log_names_what_handlers_changed_while_it_started(self) -> None:
        store = Store({"bot": {"users": [1], "n": 1}}, name=BOT_DATA)

        async def add(update: Any, context: Any) -> None:
            context.bot_data["users"].append(5)
            context.bot_data["n"] += 1

        running, starting = bot_with(store, add), bot_with(store)
        await starting.application.initialize()
        starting.application.bot_data["users"].append(99)
        await running.user("Maria").send("x")
        with self.assertLogs(LOGGER, "WARNING") as told:
            await starting.application.start()
        assert told.output[0].endswith("replaces theirs: $.users.")
        await starting.conversation.close()
        assert store.values["bot"] == {"users": [1, 99], "n": 2}

    async def test_f12_what_was_deleted_meanwhile_holds_what_it_has_put_there(self) -> None:
        store = Store({"bot": {"old": 1}}, name=BOT_DATA)
        bot = bot_with(store)
        await bot.application.initialize()
        bot.application.bot_data["started"] = 1
        await store.delete(PLACE, ANY)
        await bot.application.start()
        await bot.conversation.close()
        assert store.values["bot"] == {"started": 1}


async def changed_outside(store: Store, **changes: Any) -> AsyncBotClient:
    """Return a bot that counts, after changes of its ``bot_data`` between two updates."""
    bot = bot_with(store, count)
    maria = bot.user("Maria")
    await maria.send("x")
    bot.application.bot_data.update(changes)
    await maria.send("x")
    return bot


class Running(SimpleTestCase):
    async def test_f12_a_filter_sees_what_handlers_have_changed(self) -> None:
        class Banned(filters.UpdateFilter):
            def filter(self, update: Any) -> bool:
                return update.effective_user.id in bot.application.bot_data.get("banned", ())

        async def refuse(update: Any, context: Any) -> None:
            await update.message.reply_text("You are banned.")

        async def ban(update: Any, context: Any) -> None:
            context.bot_data.setdefault("banned", set()).add(update.effective_user.id)

        bot = bot_with(Store(), MessageHandler(Banned(), refuse), ban)
        maria = bot.user("Maria", id=5)
        assert [(await maria.send("x")).text for _ in range(2)] == [None, "You are banned."]

    async def test_f12_so_does_code_that_keeps_the_object(self) -> None:
        bot = bot_with(Store(), count)
        await bot.conversation._start()
        bot_data = bot.application.bot_data
        await bot.user("Maria").send("x")
        assert bot.application.bot_data is bot_data == {"n": 1}
        async with bot.application.persistence.edit_bot_data() as edited:  # type: ignore[union-attr]
            edited["n"] = 7
        assert bot.application.bot_data is bot_data == {"n": 7}

    async def test_f12_what_it_has_changed_since_is_not_replaced(self) -> None:
        store = Store()
        bot = await changed_outside(store, task=1)
        assert bot.application.bot_data == {"n": 1, "task": 1}
        await bot.application.update_persistence()
        assert bot.application.bot_data == store.values["bot"] == {"n": 2, "task": 1}

    async def test_e2_a_lost_change_is_a_conflict_once(self) -> None:
        store = Store()
        bot = await changed_outside(store, n=100)
        with pytest.raises(SessionConflict):
            await bot.application.update_persistence()
        assert bot.application.bot_data == {"n": 2}
        bot.application.bot_data["task"] = 1
        await bot.application.update_persistence()
        assert store.values["bot"] == {"n": 2, "task": 1}

    async def test_e2_a_bot_that_ends_with_one_ends_and_the_log_tells_it(self) -> None:
        store = Store()
        bot = await changed_outside(store, n=100)
        with self.assertLogs("botsessions.persistence.data", "ERROR") as told:
            await bot.aclose()
        assert "SessionConflict" in told.output[0]
        assert store.values["bot"] == {"n": 2}

    @patch.object(BotPersistence, "update_interval", 0.01)
    async def test_f12_it_is_saved_in_time_also_after_an_error(self) -> None:
        store = Store()
        bot = bot_with(store)
        await bot.conversation._start()
        await store.write(PLACE, Record({"n": 2}, revision=ANY))
        bot.application.bot_data["n"] = 100
        with self.assertLogs("botsessions.persistence.data", "ERROR") as told:
            await eventually(lambda: told.output)
            store.fails["write"] = OSError("no space")
            bot.application.bot_data["task"] = 1
            await eventually(lambda: len(told.output) > 1)
            del store.fails["write"]
            await eventually(lambda: "task" in store.values["bot"])
            await bot.aclose()
        assert [record.getMessage().rpartition("bot_data ")[2] for record in told.records] == [
            "is lost.",
            *["is not saved yet."] * (len(told.records) - 1),
        ]
        assert store.values["bot"] == {"n": 2, "task": 1}

    async def test_f12_what_cannot_be_stored_stays_until_that_is_mended(self) -> None:
        store = Store()
        bot = await changed_outside(store, task=object())
        assert "task" in bot.application.bot_data
        del bot.application.bot_data["task"]
        assert bot.application.bot_data == {"n": 2}

    async def test_e2_what_is_stored_after_a_conflict_is_migrated_once_it_is_read(self) -> None:
        store = Store({"bot": {"n": 1}}, name=BOT_DATA)
        newer = enhance_storage(store, migrations={1: lambda data: {"count": data["n"]}})
        bot = bot_with(newer)  # type: ignore[arg-type]
        await bot.conversation._start()
        kept = bot.application.bot_data
        kept["count"] = 100
        await store.write(PLACE, Record({"n": 7}, revision=ANY))
        with pytest.raises(SessionConflict):
            await bot.application.update_persistence()
        assert bot.application.bot_data is kept == {"count": 7}
        kept["task"] = 1
        await bot.application.update_persistence()
        assert store.values["bot"] == {"count": 7, "task": 1}
        assert store.records[PLACE].version == 1

    async def test_e2_newer_data_that_is_stored_after_a_conflict_is_left_as_it_is(self) -> None:
        store = Store({"bot": {"n": 1}}, name=BOT_DATA)
        bot = bot_with(store)
        await bot.conversation._start()
        bot.application.bot_data["n"] = 100
        await store.write(PLACE, Record({"n": 7}, Decimal(9), revision=ANY))
        for _ in range(2):
            with pytest.raises(SessionVersionError):
                await bot.application.update_persistence()
                _ = bot.application.bot_data
        assert store.records[PLACE].version == 9

    async def test_f12_what_is_put_there_after_a_deletion_is_stored_though_it_was_there(
        self,
    ) -> None:
        store = Store({"bot": {"a": 1}}, name=BOT_DATA)
        bot = bot_with(store)
        await bot.conversation._start()
        assert bot.application.bot_data == {"a": 1}
        await bot.application.persistence.update_bot_data(None)  # type: ignore[union-attr]
        bot.application.bot_data = {"a": 1}
        await bot.application.update_persistence()
        assert store.values == {"bot": {"a": 1}}

    async def test_f12_what_could_not_be_read_is_seen_once_somebody_has_mended_it(self) -> None:
        store = Store({"bot": {"__type__": "nothing like that"}}, name=BOT_DATA)
        bot = bot_with(store, count)
        await bot.conversation._start()
        with pytest.raises(SessionDataError):
            _ = bot.application.bot_data
        await store.write(PLACE, Record({"n": 1}, revision=ANY))
        await bot.user("Maria").send("x")
        assert bot.application.bot_data == {"n": 2}


class Workers(TransactionTestCase):
    async def test_f12_many_that_start_at_once_do_start(self) -> None:
        def build(builder: Any) -> Any:
            builder = builder.persistence(BotPersistence())
            return multi_session().install(builder, lock="database").build()

        bots = [AsyncBotClient(build=build) for _ in range(4)]
        for number, bot in enumerate(bots):
            await bot.application.initialize()
            bot.application.bot_data.update({"started": number, number: 1})
        await asyncio.gather(*(bot.application.start() for bot in bots))
        for bot in bots:
            await bot.application.stop()
            await bot.aclose()
        row = await BotSession.objects.aget(name="ptb:bot_data")
        entries = dict(row.data["value"])
        assert entries.pop("started") in range(4)
        assert entries == dict.fromkeys(range(4), 1)
