"""Talking to Telegram from anywhere: in the bot's process, in cron's, in a test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from telegram.ext import ExtBot

from ..bots import get_bot
from ..storages.hearing import reach_bots_by
from .builder import build_application
from .registry import application_here


@asynccontextmanager
async def telegram_bot(alias: str) -> AsyncIterator[ExtBot[Any]]:
    """Yield python-telegram-bot's bot of that alias, ready to be used.

    It is that of the application that runs in this event loop, or else one of its own, made as
    the bot's ``APPLICATION`` makes it.

    Raises:
        ImproperlyConfigured: there is no such bot, or it has no token here.
        TelegramError: Telegram cannot be reached.
    """
    application = application_here(alias)
    if application is not None:
        yield application.bot
        return
    declared = get_bot(alias)
    if not declared.token:
        raise ImproperlyConfigured(
            f"BOTSESSIONS['BOTS'][{alias!r}]['TOKEN'] is not set in this process: give it the "
            "environment that the bot's own process has."
        )
    # In a thread, because the author's function may use the database.
    application = await sync_to_async(build_application)(declared)
    async with application.bot as bot:
        yield bot


reach_bots_by(telegram_bot)
