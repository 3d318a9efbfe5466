"""What buttons stand for is known after a restart, and to every worker."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import SimpleTestCase, TransactionTestCase
from telegram import InlineKeyboardButton, InlineKeyboardMarkup
from telegram.ext import CallbackDataCache, CommandHandler

from botsessions.exceptions import SessionDataError
from botsessions.models import BotSession
from botsessions.persistence.callback_data import CALLBACK_DATA, KeptCallbackData
from botsessions.testing import AsyncBotClient

from .bots import dialogues
from .harness import Store
from .restarting import Restarting
from .test_persistence_conversations import with_store


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

    async def test_f12_what_cannot_be_stored_is_not_sent(self) -> None:
        async def send(update: Any, context: Any) -> None:
            button = InlineKeyboardButton("x", callback_data=object())
            await update.message.reply_text("x", reply_markup=InlineKeyboardMarkup([[button]]))

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
