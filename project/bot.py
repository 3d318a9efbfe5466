"""A bot that counts how many messages of a chat speak of pizza: grammY's example, in Python."""

from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

from telegram import InlineKeyboardButton, InlineKeyboardMarkup, Update
from telegram.error import BadRequest
from telegram.ext import CallbackQueryHandler, CommandHandler, MessageHandler, filters

from botsessions import SessionApplication, SessionBuilder, SessionContext, session

BOT = "default"
"""The bot's alias in the settings."""
GREETING = (
    "Hi! I count the pizza in this chat. Send me 🍕 or press the button, then ask for your /hunger."
)
EAT_ONE = InlineKeyboardMarkup([[InlineKeyboardButton("🍕 Eat one", callback_data="eat")]])


@dataclass
class PizzaSession:
    pizza_count: int = 0


pizza = session(initial=PizzaSession)

Context: TypeAlias = SessionContext[PizzaSession]


async def start(update: Update, context: Context) -> None:
    assert update.effective_message
    await update.effective_message.reply_text(GREETING, reply_markup=EAT_ONE)


async def hunger(update: Update, context: Context) -> None:
    assert update.effective_message
    await update.effective_message.reply_text(
        f"Your hunger level is {context.session.pizza_count}!"
    )


async def count(update: Update, context: Context) -> None:
    assert update.effective_message
    context.session.pizza_count += 1
    await update.effective_message.reply_text(f"🍕 no. {context.session.pizza_count}. Yum!")


async def eat(update: Update, context: Context) -> None:
    assert update.callback_query
    context.session.pizza_count += 1
    await update.callback_query.answer("Yum!")
    with suppress(BadRequest):  # Telegram refuses an edit that changes nothing, as after a /reset.
        await update.callback_query.edit_message_text(
            f"Pizza so far: {context.session.pizza_count}", reply_markup=EAT_ONE
        )


async def reset(update: Update, context: Context) -> None:
    assert update.effective_message
    del context.session
    await update.effective_message.reply_text("Everything forgotten. Are you hungry again?")


def build(builder: SessionBuilder) -> SessionApplication:
    application = builder.concurrent_updates(True).build()
    application.add_handler(CommandHandler("start", start))
    application.add_handler(CommandHandler("hunger", hunger))
    application.add_handler(CommandHandler("reset", reset))
    application.add_handler(CallbackQueryHandler(eat, "eat"))
    application.add_handler(MessageHandler(filters.Regex("🍕"), count))
    return application
