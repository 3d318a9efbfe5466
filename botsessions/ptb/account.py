"""What Telegram knows of a bot's webhook, asked and told for commands."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from telegram import Bot as TelegramBot
from telegram.error import TelegramError

from ..bots import Bot
from .builder import build_application
from .lifecycle import reason

T = TypeVar("T")


class TelegramRefused(Exception):
    """Telegram cannot be reached, or has refused a call. The message shows no token."""


@dataclass(frozen=True)
class Info:
    """A bot, as Telegram reports it."""

    id: int
    username: str | None
    webhook: str | None
    """The URL that Telegram sends updates to; ``None`` where the bot has to poll."""
    pending_updates: int
    last_error: str | None
    """What went wrong last when Telegram sent an update."""
    last_error_at: datetime | None
    max_connections: int | None
    allowed_updates: list[str] | None


def info(bot: Bot) -> Info:
    """Ask Telegram for what it knows of the bot.

    Raises:
        TelegramRefused: it does not say.
    """
    return with_account(bot, asked)


async def asked(telegram: TelegramBot) -> Info:
    webhook = await telegram.get_webhook_info()
    return Info(
        telegram.id,
        telegram.username,
        webhook.url or None,
        webhook.pending_update_count,
        webhook.last_error_message,
        webhook.last_error_date,
        webhook.max_connections,
        list(webhook.allowed_updates) if webhook.allowed_updates else None,
    )


def set_webhook(bot: Bot, url: str, *, drop_pending: bool, max_connections: int | None) -> None:
    """Have Telegram send updates to ``url``.

    Raises:
        TelegramRefused: it does not want to.
    """

    async def tell(telegram: TelegramBot) -> None:
        await telegram.set_webhook(
            url,
            # Without any list Telegram would go on with the one it was given last.
            allowed_updates=list(bot.allowed_updates or ()),
            drop_pending_updates=drop_pending,
            max_connections=max_connections,
            secret_token=bot.webhook_secret.reveal() if bot.webhook_secret else None,
        )

    with_account(bot, tell)


def delete_webhook(bot: Bot, *, drop_pending: bool) -> None:
    """Have Telegram keep updates until somebody polls.

    Raises:
        TelegramRefused: it does not want to.
    """

    async def tell(telegram: TelegramBot) -> None:
        await telegram.delete_webhook(drop_pending_updates=drop_pending)

    with_account(bot, tell)


def with_account(bot: Bot, call: Callable[[TelegramBot], Awaitable[T]]) -> T:
    return asyncio.run(account(bot, call)())


def account(
    bot: Bot, call: Callable[[TelegramBot], Awaitable[T]]
) -> Callable[[], Coroutine[Any, Any, T]]:
    """Return a function that makes a call to Telegram as the bot's application would.

    It raises TelegramRefused.
    """
    # Its application says how it reaches Telegram: the server, proxies, time limits.
    telegram = build_application(bot).bot

    async def run() -> T:
        try:
            async with telegram:
                return await call(telegram)
        except TelegramError as exc:
            raise TelegramRefused(reason(bot, exc)) from None

    return run
