"""What a request to a webhook has to be, whichever way it comes."""

from __future__ import annotations

import json
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.crypto import constant_time_compare

from ..bots import Bot, get_bot

MAX_UPDATE_BYTES = 1024 * 1024
"""How long the JSON of an update may be. Telegram's are some kilobytes."""
CONTENT_TYPE = "application/json"
SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105 (the header's name)


def bot_with_webhook(alias: str) -> Bot | None:
    """Return the bot of that alias; ``None`` if there is none, or it has no webhook."""
    try:
        bot = get_bot(alias)
    except ImproperlyConfigured:
        return None
    return bot if bot.webhook_secret else None


def is_telegrams(bot: Bot, secret: bytes | str) -> bool:
    """Whether a request with this secret comes from Telegram."""
    return constant_time_compare(secret, bot.webhook_secret or "")


def is_too_long(declared: str) -> bool:
    """Whether a body is too long, from what its header says; what says nonsense is read."""
    return declared.isdecimal() and (len(declared) > 20 or int(declared) > MAX_UPDATE_BYTES)


def update_in(body: bytes) -> dict[str, Any] | None:
    """Return the JSON object of an update; ``None`` if it is none."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    update_id = content.get("update_id")
    return content if type(update_id) is int and 0 <= update_id < 2**63 else None
