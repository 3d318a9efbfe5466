"""Who may use the free storage: a bot proves itself by its token, and then by what that gave it."""

from __future__ import annotations

import time

from django.core import signing
from django.core.cache import cache
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare, salted_hmac

from ...bots import Bot, all_bots
from ...conf import free_storage_limits
from .answers import Refusal

SALT = "botsessions.api.free"


def bot_with_token(token: str) -> Bot:
    """Return the bot that has this token.

    Raises:
        Refusal: none has that keeps its sessions here.
    """
    found, given = None, token.encode(errors="replace")
    for bot in served_bots().values():  # All of them, so that the time tells nothing.
        if bot.token == given:  # A Secret compares in constant time.
            found = bot
    if found is None:
        raise Refusal(401, "No bot with this token keeps its sessions here.")
    return found


def credential(bot: Bot) -> str:
    """Return what stands for the bot's token for a while, until that is revoked."""
    return signing.dumps({"bot": bot.alias, "of": fingerprint(bot)}, salt=SALT)


def authorized_bot(request: HttpRequest) -> Bot:
    """Return the bot that sent this request.

    Raises:
        Refusal: it has to log in (again).
    """
    kind, _, given = request.headers.get("Authorization", "").partition(" ")
    seconds = free_storage_limits()["LOGIN_SECONDS"]
    try:
        if kind.lower() != "bearer":
            raise signing.BadSignature
        content = signing.loads(given.strip(), salt=SALT, max_age=seconds)
    except signing.BadSignature:
        raise Refusal(401, "Log in.") from None
    bot = served_bots().get(content["bot"])
    if bot is None or not constant_time_compare(fingerprint(bot), content["of"]):
        raise Refusal(401, "Log in.")
    return bot


def count_login(request: HttpRequest) -> None:
    """Note an attempt to log in.

    Raises:
        Refusal: there were too many from this address in this minute.
    """
    minute, passed = divmod(int(time.time()), 60)
    key = f"{SALT}.logins.{minute}.{request.META.get('REMOTE_ADDR')}"
    cache.add(key, 0, timeout=120)
    try:
        count = cache.incr(key)
    except ValueError:  # The cache has forgotten it already.
        return
    if count > free_storage_limits()["LOGINS_PER_MINUTE"]:
        raise Refusal(
            429, "Too many logins from this address.", **{"Retry-After": str(60 - passed)}
        )


def served_bots() -> dict[str, Bot]:
    return {alias: bot for alias, bot in all_bots().items() if bot.token and bot.free_storage}


def fingerprint(bot: Bot) -> str:
    """Return what differs between a bot's tokens and does not tell them."""
    token = bot.token.reveal() if bot.token else ""
    return salted_hmac(SALT, token, algorithm="sha256").hexdigest()
