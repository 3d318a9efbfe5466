"""Bots whose work is done by stored jobs, and whose processes are killed."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from telegram import Update
from telegram.ext import MessageHandler, TypeHandler, filters

from botsessions import SessionApplication, SessionBuilder, SessionContext
from botsessions.jobs import stored_job

from .tally import PAUSE, Handled, handled

__all__ = ["handled"]

SECONDS = float(os.environ.get("SECONDS", "0.3"))
"""Until a job is due."""


@stored_job
async def note(context: SessionContext[Handled]) -> None:
    seen = list(context.session.updates)
    await asyncio.sleep(PAUSE)
    context.session.updates = [*seen, context.job.data]  # type: ignore[union-attr, list-item]


async def schedule(update: Update, context: Any) -> None:
    note.run_once(SECONDS, update.update_id)


def build(builder: SessionBuilder) -> SessionApplication:
    """Note each update by a job of its own, and talk to nobody."""
    application = builder.base_url(f"{os.environ['BOT_API']}/bot").concurrent_updates(True).build()
    application.add_handler(TypeHandler(Update, schedule))
    return application


@stored_job
async def tell(context: SessionContext[Handled]) -> None:
    context.session.updates = [*context.session.updates, 0]
    text = f"{context.job.data} {len(context.session.updates)}"  # type: ignore[union-attr]
    await context.bot.send_message(context.job.chat_id, text)  # type: ignore[union-attr, arg-type]


async def promise(update: Update, context: Any) -> None:
    assert update.message is not None
    tell.run_once(SECONDS, update.message.text)
    await update.message.reply_text("Promised")


def build_telling(builder: SessionBuilder) -> SessionApplication:
    """Say again, by a job, what somebody has said."""
    application = builder.base_url(f"{os.environ['BOT_API']}/bot").build()
    application.add_handler(MessageHandler(filters.TEXT, promise))
    return application
