"""A conversation's timeout comes true with its last update, as that was."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from django.test import TransactionTestCase
from telegram import InlineKeyboardButton, InlineKeyboardMarkup
from telegram.ext import (
    CallbackQueryHandler,
    CommandHandler,
    ConversationHandler,
    InvalidCallbackData,
    MessageHandler,
    filters,
)

from botsessions.models import BotSession
from botsessions.persistence.callback_data import CALLBACK_DATA
from botsessions.testing import AsyncBotClient

from .test_persistence_conversations import with_store

# Of python-telegram-bot, on conversations that are not per message.
pytestmark = pytest.mark.filterwarnings("ignore:If 'per_message=False'")

LONG = timedelta(minutes=5)
MEANT = {"tuple": ("t", {1: 2}), "day": date(2026, 1, 2), "text": "t"}
KEYBOARD = InlineKeyboardMarkup.from_column(
    [InlineKeyboardButton(text, callback_data=value) for text, value in MEANT.items()]
)


class TimedOut(TransactionTestCase):
    def setUp(self) -> None:
        self.seen: list[Any] = []

    def _bot(self, timeout: Any, *begun: Any) -> AsyncBotClient:
        async def begin(update: Any, context: Any) -> str:
            context.chat_data["begun"] = True
            await update.message.reply_text("Pick.", reply_markup=KEYBOARD)
            return "begun"

        def build(builder: Any) -> Any:
            application = builder.arbitrary_callback_data(True).build()
            conversation = ConversationHandler(
                entry_points=[CommandHandler("start", begin)],
                states={"begun": [*begun], ConversationHandler.TIMEOUT: [timeout]},
                fallbacks=[],
                name="hurried",
                persistent=True,
                conversation_timeout=60,
            )
            application.add_handler(conversation)
            return application

        return AsyncBotClient(build=with_store(build, None))

    async def test_f7_that_of_a_group_that_has_become_a_supergroup_is_in_the_supergroup(
        self,
    ) -> None:
        async def too_late(update: Any, context: Any) -> None:
            reply = update.message.reply_to_message
            self.seen.append((update.effective_chat.id, reply.chat.id, dict(context.chat_data)))
            context.chat_data["late"] = True
            await update.effective_chat.send_message("Too late.")

        async with self._bot(MessageHandler(filters.TEXT, too_late)) as bot:
            group = bot.group("Friends", id=-7)
            maria = bot.user("Maria", id=5).in_chat(group)
            before = {"message_id": 1, "date": 1, "chat": group, "text": "Begin!"}
            await maria.send("/start", reply_to_message=before)
            await maria.send(migrate_to_chat_id=-1007)
            answers = await bot.let_time_pass(LONG)
            assert self.seen == [(-1007, -1007, {"begun": True})]
            assert answers.message is not None
            assert answers.message.chat_id == -1007
            kept = BotSession.objects.filter(name="ptb:chat_data").values_list("key", flat=True)
            assert [key async for key in kept] == ["-1007"]

    async def _press(self, update: Any, context: Any) -> None:
        query = update.callback_query
        (column,) = zip(*query.message.reply_markup.inline_keyboard, strict=True)
        self.seen.append((query.data, [button.callback_data for button in column]))

    async def test_f12_buttons_stand_for_what_they_have_stood_for(self) -> None:
        timeout = CallbackQueryHandler(self._press, pattern=tuple)
        async with self._bot(timeout, CallbackQueryHandler(self._press)) as bot:
            maria = bot.user("Maria", id=5)
            await maria.send("/start")
            await maria.press("tuple")
            await bot.let_time_pass(LONG)
        assert self.seen == [(MEANT["tuple"], [*MEANT.values()])] * 2

    async def test_f12_a_button_that_nobody_knows_is_as_unknown_as_it_was(self) -> None:
        timeout = CallbackQueryHandler(self._press, pattern=InvalidCallbackData)
        async with self._bot(timeout, CallbackQueryHandler(self._press)) as bot:
            maria = bot.user("Maria", id=5)
            await maria.send("/start")
            await BotSession.objects.filter(name=CALLBACK_DATA).adelete()
            await maria.press("tuple")
            await bot.let_time_pass(LONG)
        first, second = self.seen
        assert first[0].callback_data == second[0].callback_data
        assert [type(value) for value in second[1]] == [InvalidCallbackData] * len(MEANT)
