"""A bot that books tables, as python-telegram-bot's users write it: it knows nothing of sessions.

``"PERSISTENCE": True`` in the settings keeps its ``user_data`` and its conversations.
"""

from datetime import timedelta
from typing import Any

from telegram import Update
from telegram.ext import (
    CommandHandler,
    ContextTypes,
    ConversationHandler,
    MessageHandler,
    filters,
)

from botsessions import SessionApplication, SessionBuilder

PEOPLE, TIME = range(2)
WORDS = filters.TEXT & ~filters.COMMAND
PATIENCE = timedelta(minutes=30)
Context = ContextTypes.DEFAULT_TYPE


async def say(update: Update, text: str) -> None:
    assert update.effective_message
    await update.effective_message.reply_text(text)


async def start(update: Update, context: Context) -> None:
    await say(update, "Hi! Send /book, and restart this site in the middle of it, if you like.")


async def book(update: Update, context: Context) -> int:
    await say(update, "For how many people? (You may /cancel at any time.)")
    return PEOPLE


async def take_people(update: Update, context: Context) -> int:
    assert context.user_data is not None
    assert update.effective_message
    context.user_data["people"] = update.effective_message.text
    await say(update, "And at what time?")
    return TIME


async def take_time(update: Update, context: Context) -> int:
    assert context.user_data is not None
    assert update.effective_message
    tables = context.user_data.setdefault("tables", [])
    tables.append((context.user_data.pop("people"), update.effective_message.text))
    people, time = tables[-1]
    await say(update, f"A table for {people} at {time}! That is your table no. {len(tables)}.")
    return ConversationHandler.END


async def cancel(update: Update, context: Context) -> int:
    await say(update, "Another time, then.")
    return ConversationHandler.END


async def forget(update: Update, context: Context) -> None:
    await say(update, "You have not answered for half an hour. Send /book to begin again.")


def build(builder: SessionBuilder) -> SessionApplication:
    application = builder.concurrent_updates(True).build()
    conversation: ConversationHandler[Any] = ConversationHandler(
        entry_points=[CommandHandler("book", book)],
        states={
            PEOPLE: [MessageHandler(WORDS, take_people)],
            TIME: [MessageHandler(WORDS, take_time)],
            ConversationHandler.TIMEOUT: [MessageHandler(filters.ALL, forget)],
        },
        fallbacks=[CommandHandler("cancel", cancel)],
        conversation_timeout=PATIENCE,
        name="booking",
        persistent=True,
    )
    application.add_handler(conversation)
    application.add_handler(CommandHandler("start", start))
    return application
