"""A bot that takes orders, step by step: with a timeout, a migration, and a history."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias

from telegram import Update
from telegram.ext import CommandHandler, MessageHandler, filters

from botsessions import (
    DatabaseStorage,
    SessionApplication,
    SessionBuilder,
    SessionContext,
    enhance_storage,
    session,
)
from botsessions.steps import StepHandler

WORDS = filters.TEXT & ~filters.COMMAND
MONTH = timedelta(days=30)


@dataclass
class OrderSession:
    step: str = ""
    pizza: str = ""
    address: str = ""
    orders: int = 0


def call_it_address(data: dict[str, Any]) -> dict[str, Any]:
    """Bring data of version 1 to version 2, where the address is no longer called street."""
    address = data.pop("street", "")
    return {**data, "address": address}


orders = session(
    initial=OrderSession,
    storage=enhance_storage(
        DatabaseStorage(history=20), time_to_live=MONTH, migrations={2: call_it_address}
    ),
)

Context: TypeAlias = SessionContext[OrderSession]


async def say(update: Update, text: str) -> None:
    assert update.effective_message
    await update.effective_message.reply_text(text)


async def start(update: Update, context: Context) -> None:
    await say(update, "Hi! I bring pizza, and ask for it step by step. Send /order.")


async def order(update: Update, context: Context) -> None:
    context.session.step = "pizza"
    await say(update, "Which pizza? (You may /cancel at any time.)")


async def take_pizza(update: Update, context: Context) -> None:
    assert update.effective_message
    context.session.pizza = update.effective_message.text or ""
    context.session.step = "address"
    await say(update, "And where do you live?")


async def take_address(update: Update, context: Context) -> None:
    assert update.effective_message
    data = context.session
    data.address, data.step = update.effective_message.text or "", ""
    data.orders += 1
    await say(update, f"One {data.pizza} to {data.address}! That was order no. {data.orders}.")


async def cancel(update: Update, context: Context) -> None:
    context.session.step = ""
    await say(update, "Another time, then. /order")


def build(builder: SessionBuilder) -> SessionApplication:
    application = builder.concurrent_updates(True).build()
    application.add_handlers(
        [
            CommandHandler("start", start),
            CommandHandler("order", order),
            CommandHandler("cancel", cancel),
            StepHandler(lambda data: data.step == "pizza", MessageHandler(WORDS, take_pizza)),
            StepHandler(lambda data: data.step == "address", MessageHandler(WORDS, take_address)),
            MessageHandler(filters.ALL, start),
        ]
    )
    return application
