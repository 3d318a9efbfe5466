"""How applications begin and end, and why they could not go on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from django.core.exceptions import ImproperlyConfigured
from telegram.error import InvalidToken

from ..bots import Bot
from ..logs import hide
from .application import SessionApplication


async def initialize(application: SessionApplication) -> None:
    """Reach Telegram, and call ``post_init``, as PTB's ``run_polling()`` does."""
    await application.initialize()
    if application.post_init:
        await application.post_init(application)


async def end(
    application: SessionApplication, *, when_stopped: Callable[[], Awaitable[object]] | None = None
) -> None:
    """End an application in the order of PTB's ``run_polling()``, however far it had come.

    Args:
        when_stopped: awaited when all that had begun is handled, unless it was never started.
    """
    async with AsyncExitStack() as steps:  # The last one first, and each even if one fails.
        if application.post_shutdown:
            steps.push_async_callback(application.post_shutdown, application)
        steps.push_async_callback(application.bot.shutdown)
        steps.push_async_callback(application.shutdown)
        if application.running:
            if application.post_stop:
                steps.push_async_callback(application.post_stop, application)
            if when_stopped:
                steps.push_async_callback(when_stopped)
            steps.push_async_callback(application.stop)


def reason(bot: Bot, exc: BaseException) -> str:
    """Return why a bot failed, to be shown to people."""
    if isinstance(exc, InvalidToken):
        return (
            f"Telegram does not know the token in BOTSESSIONS['BOTS'][{bot.alias!r}]['TOKEN']: "
            "copy it again from @BotFather."
        )
    if isinstance(exc, ImproperlyConfigured):
        return hide(str(exc))
    return hide(f"{type(exc).__name__}: {exc}")
