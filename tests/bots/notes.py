"""A bot that notes what it is told."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from typing import Any

from telegram import InlineKeyboardButton, InlineKeyboardMarkup, Update
from telegram.ext import (
    CallbackQueryHandler,
    CommandHandler,
    Defaults,
    MessageHandler,
    filters,
)

from botsessions import SessionApplication, SessionBuilder, SessionContext, session

BUTTON = InlineKeyboardMarkup([[InlineKeyboardButton("Forget", callback_data="forget")]])


@dataclass
class Notes:
    texts: list[str] = field(default_factory=list)


notes = session(initial=Notes)


async def note(update: Update, context: SessionContext[Notes]) -> None:
    assert update.message
    assert update.message.text
    context.session.texts.append(update.message.text)
    await update.message.reply_text(f"Noted: {update.message.text}", reply_markup=BUTTON)


async def forget(update: Update, context: SessionContext[Notes]) -> None:
    assert update.callback_query
    context.session.texts.pop()
    await update.callback_query.answer()
    await update.callback_query.edit_message_text("Forgotten")


async def fail(update: Update, context: SessionContext[Notes]) -> None:
    raise RuntimeError(f"This bot has the token {context.bot.token}")


async def leave(update: Update, context: SessionContext[Notes]) -> None:
    context.session.texts.append("left")
    context.application.stop_running()


async def started(application: Any) -> None:
    sys.stdout.write("post_init\n")


async def crash(application: Any) -> None:
    raise RuntimeError(f"Never starts with {application.bot.token}")


async def stopped(application: Any) -> None:
    sys.stdout.write("post_stop\n")


async def shut_down(application: Any) -> None:
    sys.stdout.write("post_shutdown\n")


def build(builder: SessionBuilder) -> SessionApplication:
    builder.base_url(f"{os.environ['BOT_API']}/bot").concurrent_updates(True)
    builder.post_init(started).post_stop(stopped).post_shutdown(shut_down)
    application = builder.build()
    application.add_handler(CommandHandler("fail", fail))
    application.add_handler(CommandHandler("leave", leave))
    application.add_handler(MessageHandler(filters.TEXT, note))
    application.add_handler(CallbackQueryHandler(forget, "forget"))
    return application


def build_non_blocking(builder: SessionBuilder) -> SessionApplication:
    return build(builder.defaults(Defaults(block=False)))


async def schedule(application: Any) -> None:
    application.job_queue.run_repeating(tick, 0.5, first=0)


async def tick(context: Any) -> None:
    await context.bot.send_message(1, f"tick of {os.getpid()}")


async def remind(update: Update, context: SessionContext[Notes]) -> None:
    assert update.effective_chat
    assert context.job_queue
    context.job_queue.run_once(reminder, 0.1, chat_id=update.effective_chat.id)


async def reminder(context: SessionContext[Notes]) -> None:
    assert context.job
    await context.bot.send_message(context.job.chat_id or 0, "Remember!")


def build_with_jobs(builder: SessionBuilder) -> SessionApplication:
    application = build(builder)
    application.post_init = schedule
    application.add_handler(CommandHandler("remind", remind), -1)
    return application


async def report(update: object, context: Any) -> None:
    sys.stdout.write(f"reported: {type(context.error).__name__}\n")


def build_reporting(builder: SessionBuilder) -> SessionApplication:
    application = build(builder)
    application.add_error_handler(report)
    return application


def build_crashing(builder: SessionBuilder) -> SessionApplication:
    application = build(builder)
    application.post_init = crash
    return application


def build_unreachable(builder: SessionBuilder) -> SessionApplication:
    return builder.base_url("http://127.0.0.1:1/bot").build()


def build_nothing(builder: SessionBuilder) -> None:
    build(builder)
