"""What a request to a webhook has to be, whichever way it comes."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from ..bots import Bot, get_bot
from ..records import loads

METHOD = "POST"
MAX_UPDATE_BYTES = 1024 * 1024
"""How long the JSON of an update may be. Telegram's are some kilobytes."""
SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105 (the header's name)


def addressee(alias: str, method: str, header: Callable[[str], str]) -> Bot | HTTPStatus:
    """Return the bot that Telegram sends a request to, or the answer to whoever else does.

    Args:
        header: returns the value of a header, by its name; without one, nothing.
    """
    bot = bot_with_webhook(alias)
    if bot is None:
        return HTTPStatus.NOT_FOUND
    if method != METHOD:
        return HTTPStatus.METHOD_NOT_ALLOWED
    if bot.webhook_secret != header(SECRET_HEADER):  # A Secret compares in constant time.
        return HTTPStatus.FORBIDDEN
    if header("Content-Type").partition(";")[0].strip().lower() != "application/json":
        return HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    if is_too_long(header("Content-Length")):
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    return bot


@lru_cache(maxsize=128)
def bot_with_webhook(alias: str) -> Bot | None:
    try:
        bot = get_bot(alias)
    except ImproperlyConfigured:
        return None
    return bot if bot.webhook_secret else None


def forget_bots(**kwargs: Any) -> None:
    """Have bots looked up anew: a test has changed settings."""
    bot_with_webhook.cache_clear()


setting_changed.connect(forget_bots, dispatch_uid="botsessions.webhook.delivery")


def is_too_long(declared: str) -> bool:
    # What says nonsense is read; Python refuses to convert a number of thousands of digits.
    return declared.isdecimal() and (len(declared) > 20 or int(declared) > MAX_UPDATE_BYTES)


def update_in(body: bytes) -> dict[str, Any] | HTTPStatus:
    """Return the JSON object of an update, or the answer to what is none."""
    if len(body) > MAX_UPDATE_BYTES:
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    try:
        content: Any = loads(body)
        update_id = content["update_id"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return HTTPStatus.BAD_REQUEST
    if type(update_id) is not int or not 0 <= update_id < 2**63:
        return HTTPStatus.BAD_REQUEST
    return dict(content)
