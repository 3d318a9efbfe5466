"""What python-telegram-bot's own persistences store, written by a bot of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connections
from telegram import Update
from telegram.ext import (
    Application,
    BasePersistence,
    ContextTypes,
    ConversationHandler,
    MessageHandler,
    filters,
)

from botsessions.testing.offline import OfflineTelegram

HEARING = 0
Remember = Callable[[Any, str], None]


def talk(
    persistence: BasePersistence[Any, Any, Any],
    messages: Sequence[tuple[int, int, str]],
    remember: Remember,
    context_types: Any = None,
) -> None:
    """Let people talk to a bot: each message has a chat, a user and a text.

    Args:
        remember: called with the context and the text.
    """
    asyncio.run(told(persistence, messages, remember, context_types or ContextTypes()))


async def told(persistence: Any, messages: Any, remember: Remember, context_types: Any) -> None:
    async def hear(update: Update, context: Any) -> int:
        assert update.message is not None
        remember(context, update.message.text or "")
        return HEARING

    telegram = OfflineTelegram()
    builder = Application.builder().token("1:x").request(telegram).get_updates_request(telegram)
    application = builder.persistence(persistence).context_types(context_types).build()
    hearing = MessageHandler(filters.TEXT, hear)
    application.add_handler(
        ConversationHandler([hearing], {HEARING: [hearing]}, [], name="order", persistent=True)
    )
    async with application:
        for number, (chat, user, text) in enumerate(messages, 1):
            place = {"id": chat, "type": "private" if chat > 0 else "supergroup"}
            sender = {"id": user, "is_bot": False, "first_name": "Maria"}
            message = {"message_id": number, "date": 0, "chat": place, "from": sender, "text": text}
            update = Update.de_json({"update_id": number, "message": message}, application.bot)
            await application.process_update(update)
    await sync_to_async(connections.close_all)()  # A persistence may have opened some there.
