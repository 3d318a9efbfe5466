"""A bot of conversations that talks to nobody, and whose workers are killed.

It is written as for python-telegram-bot alone: its questions take anything for an answer.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from telegram import Update
from telegram.ext import (
    CallbackQueryHandler,
    CommandHandler,
    ContextTypes,
    ConversationHandler,
    MessageHandler,
    filters,
)

from .dialogues import hurried
from .tally import PAUSE

Context = ContextTypes.DEFAULT_TYPE
END = ConversationHandler.END
FIELDS = ("name", "city", "size", "note")


async def order(update: Update, context: Context) -> int:
    context.user_data["order"] = {}
    return 0


def asking(number: int) -> Any:
    async def answer(update: Update, context: Context) -> int:
        await asyncio.sleep(PAUSE)
        context.user_data["order"][FIELDS[number]] = update.message.text
        if number + 1 < len(FIELDS):
            return number + 1
        orders = context.chat_data.setdefault("orders", [])
        orders.append(context.user_data.pop("order"))
        return END

    return MessageHandler(filters.TEXT & ~filters.COMMAND, answer)


async def family(update: Update, context: Context) -> str:
    context.user_data["family"] = []
    return "menu"


async def add(update: Update, context: Context) -> str:
    return "member"


async def member(update: Update, context: Context) -> int:
    await asyncio.sleep(PAUSE)
    context.user_data["family"].append(update.message.text)
    return END


async def done(update: Update, context: Context) -> int:
    context.chat_data["family"] = context.user_data.pop("family")
    return END


async def up(update: Update, context: Context) -> str:
    await asyncio.sleep(PAUSE)
    ups = context.user_data.setdefault("ups", {})
    number = update.callback_query.message.message_id
    ups[number] = ups.get(number, 0) + 1
    return "counting"


async def close(update: Update, context: Context) -> int:
    number = update.callback_query.message.message_id
    context.user_data.setdefault("closed", []).append(number)
    return END


def said(text: str, callback: Any) -> MessageHandler[Any, Any]:
    return MessageHandler(filters.Regex(f"^{text}"), callback)


def build(builder: Any) -> Any:
    options: dict[str, Any] = {"persistent": True, "fallbacks": []}
    adding = ConversationHandler(
        entry_points=[said("add", add)],
        states={"member": [said("member", member)]},
        map_to_parent={END: "menu"},
        name="adding",
        **options,
    )
    conversations = [
        ConversationHandler(
            entry_points=[CommandHandler("order", order)],
            states={number: [asking(number)] for number in range(len(FIELDS))},
            name="ordering",
            **options,
        ),
        ConversationHandler(
            entry_points=[CommandHandler("family", family)],
            states={"menu": [adding, said("done", done)]},
            name="family",
            **options,
        ),
        ConversationHandler(
            entry_points=[CallbackQueryHandler(up, "^up$")],
            states={"counting": [CallbackQueryHandler(up, "^up$"), CallbackQueryHandler(close)]},
            per_message=True,
            name="counting",
            **options,
        ),
    ]
    builder = builder.base_url(f"{os.environ['BOT_API']}/bot").concurrent_updates(True)
    application = builder.build()
    application.add_handlers(conversations)
    return application


def build_hurried(builder: Any) -> Any:
    """A conversation that is over when nothing has come for three seconds."""
    application = builder.base_url(f"{os.environ['BOT_API']}/bot").build()
    application.add_handler(hurried(3))
    return application
