"""Ending conversations whose time is over, where no bot that runs has done it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

from asgiref.sync import async_to_sync, sync_to_async

from ..bots import Bot, all_bots
from ..database.storage import DatabaseStorage
from ..persistence.conversations import CONVERSATION
from ..ptb.builder import build_application
from ..ptb.registry import application_here
from ..records import utcnow
from ..storages.layers import peel


def end_overdue(
    bot: str | None = None, using: str | None = None
) -> Iterator[tuple[str, Exception]]:
    """End conversations whose ``conversation_timeout`` is over: run what is to be run then.

    Args:
        bot: only of the bot of this alias.
        using: only in this database.

    Yields:
        The aliases of bots that could not be made ready for it, and why.
    """
    for alias, declared in all_bots().items():
        if bot in (None, alias) and has_overdue(declared, using):
            try:
                async_to_sync(end_of)(declared)
            except Exception as exc:
                yield alias, exc


def has_overdue(bot: Bot, using: str | None) -> bool:
    storage: Any = peel(getattr(bot.persistence, "storage", None))[1]  # type: ignore[arg-type]
    if not isinstance(storage, DatabaseStorage) or using not in (None, storage.using):
        return False
    rows = storage.model._default_manager.using(storage.using)
    overdue = rows.filter(bot=bot.alias, name__startswith=CONVERSATION, expires_at__lte=utcnow())
    return bool(overdue.exists())


async def end_of(bot: Bot) -> None:
    """End those of a bot, by its application that runs in this event loop, or another one."""
    application, running = application_here(bot.alias), True
    if application is None:
        # In a thread, because the author's function may use the database.
        application, running = await sync_to_async(build_application)(bot), False
    async with nullcontext() if running else application.bot:
        await application.initialize()
        watch = application.watch()
        while await watch.look():
            pass
