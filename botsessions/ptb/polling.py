"""Running a bot of the settings by polling Telegram."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.exceptions import ImproperlyConfigured
from telegram.error import InvalidToken

from ..bots import Bot
from .builder import build_application


def poll(bot: Bot) -> None:
    """Poll Telegram and handle what comes, until the process is told to stop.

    Raises:
        ImproperlyConfigured: the settings are wrong, or Telegram does not know the token.
    """
    application = build_application(bot)
    try:
        with tokens_unlogged():
            application.run_polling(allowed_updates=bot.allowed_updates)
    except InvalidToken:
        raise ImproperlyConfigured(
            f"Telegram does not know the token in BOTSESSIONS['BOTS'][{bot.alias!r}]['TOKEN']: "
            "copy it again from @BotFather."
        ) from None


@contextmanager
def tokens_unlogged() -> Iterator[None]:
    """Keep PTB from logging the token that Telegram refused: the error's text contains it."""
    logger = logging.getLogger("telegram.ext")
    logger.addFilter(shows_no_token)
    try:
        yield
    finally:
        logger.removeFilter(shows_no_token)


def shows_no_token(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], InvalidToken))
