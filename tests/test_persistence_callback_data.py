"""What buttons stand for is known after a restart, and to every worker."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import pytest
from django.test import SimpleTestCase, TransactionTestCase
from telegram import InlineKeyboardButton, InlineKeyboardMarkup
from telegram.ext import CallbackDataCache, CallbackQueryHandler, CommandHandler

from botsessions.exceptions import SessionDataError, SessionError
from botsessions.models import BotSession
from botsessions.persistence.callback_data import CALLBACK_DATA, KeptCallbackData
from botsessions.testing import AsyncBotClient

from .bots import dialogues
from .harness import Store
from .restarting import Restarting
from .test_persistence_conversations import with_store


def button(stands_for: object) -> InlineKeyboardMarkup:
    return InlineKeyboardMarkup.from_button(InlineKeyboardButton("more", callback_data=stands_for))


def build_clearing(builder: Any) -> Any:
    """The shelf, whose buttons can all be cleared, or those of long ago."""

    async def clear(update: Any, context: Any) -> None:
        moment = datetime.fromisoformat(context.args[0]) if context.args else None
        context.bot.callback_data_cache.clear_callback_data(moment)

    application = dialogues.build_shelf(builder)
    application.add_handler(CommandHandler("clear", clear))
    return application


def keyboards(store: Store) -> list[str]:
    return [address.key for address in store._stored if address.name == CALLBACK_DATA]


class Buttons(SimpleTestCase):
    async def test_f12_buttons_work_after_each_restart(self) -> None:
        store = Store()
        maria = Restarting(with_store(dialogues.build_shelf, store))
        first = (await maria.send("/shop")).message
        assert (await maria.press("plum")).text == "Basket: plum"
        assert (await maria.press("apple")).text == "Basket: plum, apple"
        assert (await maria.press("plum", message=first)).text == "Basket: plum"
        assert len(keyboards(store)) == 4
        assert (await maria.press("done")).text == "Basket: plum. Bye!"
        assert len(keyboards(store)) == 3
        await maria.stop()

    async def test_f12_a_button_that_nobody_knows_is_told_as_python_telegram_bot_does(self) -> None:
        store = Store()
        maria = Restarting(with_store(dialogues.build_shelf, store))
        await maria.send("/shop")
        store._stored.clear()
        assert (await maria.press("plum")).notice == "This button is too old."
        await maria.stop()

    async def test_f12_buttons_of_an_update_that_failed_work(self) -> None:
        store = Store()

        def build(builder: Any) -> Any:
            application = dialogues.build_shelf(builder)

            async def fail(update: Any, context: Any) -> None:
                await dialogues.shop(update, context)
                raise ValueError

            application.add_handler(CommandHandler("fail", fail))
            application.add_error_handler(fail_silently)
            return application

        maria = Restarting(with_store(build, store))
        assert (await maria.send("/fail")).text == "Basket:"
        assert (await maria.press("plum")).text == "Basket: plum"
        await maria.stop()

    async def test_f12_what_a_button_stands_for_may_be_changed_and_then_dropped(self) -> None:
        async def send(update: Any, context: Any) -> None:
            await update.message.reply_text("Basket:", reply_markup=button(["apple"]))

        async def pick(update: Any, context: Any) -> None:
            basket = update.callback_query.data
            basket.append("plum")
            await update.callback_query.edit_message_text(
                ", ".join(basket), reply_markup=button(basket)
            )
            context.drop_callback_data(update.callback_query)

        def build(builder: Any) -> Any:
            application = builder.arbitrary_callback_data(True).build()
            application.add_handler(CommandHandler("send", send))
            application.add_handler(CallbackQueryHandler(pick, list))
            return application

        store = Store()
        maria = Restarting(with_store(build, store))
        await maria.send("/send")
        assert (await maria.press("more")).text == "apple, plum"
        assert (await maria.press("more")).text == "apple, plum, plum"
        assert len(keyboards(store)) == 1
        await maria.stop()

    async def test_f12_what_another_process_has_dropped_is_not_known_here_either(self) -> None:
        store = Store()
        maria = AsyncBotClient(build=with_store(dialogues.build_shelf, store)).user("Maria")
        await maria.send("/shop")
        store._stored.clear()
        assert (await maria.press("plum")).notice == "This button is too old."

    async def test_f12_an_error_at_storing_buttons_is_told_however_long_the_handler_takes(
        self,
    ) -> None:
        async def send(update: Any, context: Any) -> None:
            await update.message.reply_text("Basket:", reply_markup=button(["apple"]))
            await asyncio.sleep(0.01)

        def build(builder: Any) -> Any:
            application = builder.arbitrary_callback_data(True).build()
            application.add_handler(CommandHandler("send", send))
            return application

        store = Store()
        store.fails["write"] = OSError("The disk is full.")
        maria = AsyncBotClient(build=with_store(build, store)).user("Maria")
        with pytest.raises(OSError, match="full"):
            await maria.send("/send")
        store.fails.clear()
        assert (await maria.send("/send")).text == "Basket:"

    async def test_f12_what_a_storage_cannot_list_is_not_cleared_in_silence(self) -> None:
        bot = AsyncBotClient(build=with_store(build_clearing, Store()))
        with pytest.raises(SessionError, match="Store cannot be asked for all callback data"):
            await bot.user("Maria").send("/clear")

    async def test_f12_what_cannot_be_stored_is_not_sent(self) -> None:
        async def send(update: Any, context: Any) -> None:
            await update.message.reply_text("x", reply_markup=button(object()))

        def build(builder: Any) -> Any:
            application = builder.arbitrary_callback_data(True).build()
            application.add_handler(CommandHandler("send", send))
            return application

        bot = AsyncBotClient(build=with_store(build, Store()))
        with pytest.raises(SessionDataError, match="is object, which is not stored"):
            await bot.user("Maria").send("/send")
        assert not [call for call in bot.telegram.calls if call.method == "sendMessage"]

    async def test_a17_only_a_pressed_button_is_looked_up_before_a_handler_is_found(self) -> None:
        store = Store()
        bot = AsyncBotClient(build=with_store(dialogues.build_shelf, store))
        maria = bot.user("Maria")
        await maria.send("/shop")
        store.calls.clear()
        await maria.send("nothing for the bot")
        assert store.calls == []
        await maria.press("plum")
        # bot_data, chat_data, user_data and the keyboard in one go; the new keyboard.
        assert store.operations.count("read") == 4
        assert store.operations.count("write") == 1

    async def test_we_replace_what_python_telegram_bot_keeps_it_in(self) -> None:
        bot = AsyncBotClient(build=with_store(dialogues.build_shelf, Store()))
        telegram_bot: Any = bot.application.bot
        assert type(telegram_bot.callback_data_cache) is CallbackDataCache
        await bot.application.initialize()
        assert type(telegram_bot.callback_data_cache) is KeptCallbackData
        assert {"_keyboard_data", "_callback_queries"} <= {*CallbackDataCache.__slots__}
        await bot.application.shutdown()


async def fail_silently(update: Any, context: Any) -> None:
    pass


class Stored(TransactionTestCase):
    async def test_f12_a_keyboard_is_kept_for_90_days_and_says_whose_it_is(self) -> None:
        bot = AsyncBotClient(build=with_store(dialogues.build_shelf, None))
        await bot.user("Maria", id=5).send("/shop")
        row = await BotSession.objects.aget(name=CALLBACK_DATA)
        assert row.user_id == 5
        assert row.expires_at is not None
        assert (row.expires_at - row.created_at).days in (89, 90)
        await bot.conversation.close()

    async def test_f12_all_buttons_can_be_cleared_whichever_process_has_sent_them(self) -> None:
        await BotSession.objects.acreate(bot="2", name=CALLBACK_DATA, key="another bot's", data={})
        maria = Restarting(with_store(build_clearing, None))
        await maria.send("/shop")
        await maria.send("/clear 2020-01-01T12:00")
        assert (await maria.press("plum")).text == "Basket: plum"
        await maria.send("/clear 2090-01-01T12:00+02:00")
        assert (await maria.press("apple")).notice == "This button is too old."
        await maria.send("/shop")
        await maria.send("/clear")
        assert (await maria.press("plum")).notice == "This button is too old."
        assert await BotSession.objects.filter(name=CALLBACK_DATA).acount() == 1
        await maria.stop()
