"""A conversation's timeout comes true with its last update, as that was."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import TransactionTestCase
from telegram.ext import CommandHandler, ConversationHandler, MessageHandler, filters

from botsessions.models import BotSession
from botsessions.testing import AsyncBotClient

from .test_persistence_conversations import with_store

# Of python-telegram-bot, on conversations that are not per message.
pytestmark = pytest.mark.filterwarnings("ignore:If 'per_message=False'")

LONG = timedelta(minutes=5)


class TimedOut(TransactionTestCase):
    def setUp(self) -> None:
        self.seen: list[Any] = []

    def _bot(self, timeout: Any, *begun: Any) -> AsyncBotClient:
        async def begin(update: Any, context: Any) -> str:
            context.chat_data["begun"] = True
            return "begun"

        def build(builder: Any) -> Any:
            application = builder.build()
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
            kept = BotSession.objects.exclude(data={}).order_by("name").values_list("name", "key")
            assert [row async for row in kept] == [("ptb:chat_data", "-1007")]
