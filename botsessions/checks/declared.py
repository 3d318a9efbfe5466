"""What is wrong with what the settings themselves say."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning

from ..bots import BOT_SETTINGS, LOCKS, Bot, check_alias
from ..conf import APP_SETTINGS, FREE_STORAGE_LIMITS
from ..records import MAX_KEY_LENGTH, MAX_NAME_LENGTH
from ..secret import Secret
from ..updates import KINDS
from .named import of_named

SHORTEST_TOKEN = 16
NOT_IN_TOKENS = re.compile(r"[^!-~]")
SECRET = re.compile(r"[A-Za-z0-9_-]{1,256}")
"""What Telegram sends as a webhook's secret token."""


def of_app(settings: object) -> Iterator[CheckMessage]:
    if not isinstance(settings, Mapping):
        yield Error("BOTSESSIONS is not a dict.", id="botsessions.E001")
        return
    yield from unknown(settings, APP_SETTINGS, "BOTSESSIONS")
    if not is_count(settings.get("MAX_BYTES", 1)):
        yield Error("BOTSESSIONS['MAX_BYTES'] is not a number of bytes.", id="botsessions.E003")
    seconds = settings.get("RETRY_SECONDS", 1)
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds > 0:
        yield Error(
            "BOTSESSIONS['RETRY_SECONDS'] is not a number of seconds.", id="botsessions.E015"
        )
    if not is_text_list(settings.get("MASKED_FIELDS", ())):
        yield Error("BOTSESSIONS['MASKED_FIELDS'] is not a list of names.", id="botsessions.E004")
    yield from of_free_storage(settings.get("FREE_STORAGE", {}))
    token = settings.get("METRICS_TOKEN")
    text = token.reveal() if isinstance(token, Secret) else ""
    if token and (len(text) < SHORTEST_TOKEN or text != text.strip()):
        yield Error(
            f"BOTSESSIONS['METRICS_TOKEN'] is not text of at least {SHORTEST_TOKEN} characters "
            "without blanks or line ends at its ends.",
            hint="Make one with secrets.token_urlsafe().",
            id="botsessions.E040",
        )
    bots = settings.get("BOTS", {})
    if not isinstance(bots, Mapping):
        yield Error("BOTSESSIONS['BOTS'] is not a dict of bots by alias.", id="botsessions.E001")
        return
    for alias, bot in bots.items():
        yield from of_bot(alias, bot)
    yield from of_tokens(bots)


def of_free_storage(limits: object) -> Iterator[CheckMessage]:
    where = "BOTSESSIONS['FREE_STORAGE']"
    if not isinstance(limits, Mapping):
        yield Error(f"{where} is not a dict.", id="botsessions.E030")
        return
    yield from unknown(limits, FREE_STORAGE_LIMITS, where)
    for name in FREE_STORAGE_LIMITS:
        if not is_count(limits.get(name, 1)):
            yield Error(f"{where}[{name!r}] is not a positive number.", id="botsessions.E030")
        elif name == "MAX_KEY_LENGTH" and limits.get(name, 1) > MAX_KEY_LENGTH:
            yield Error(
                f"{where}[{name!r}] is more than the {MAX_KEY_LENGTH} that a session key may have.",
                id="botsessions.E030",
            )


def of_bot(alias: Any, settings: object) -> Iterator[CheckMessage]:
    where = f"BOTSESSIONS['BOTS'][{alias!r}]"
    try:
        check_alias("The alias", alias)
    except (TypeError, ValueError):
        yield Error(
            f"{where}: the alias is not text of at most {MAX_NAME_LENGTH} characters without "
            "blanks at its ends.",
            id="botsessions.E005",
        )
        return
    if not isinstance(settings, Mapping):
        yield Error(f"{where} is not a dict.", id="botsessions.E001")
        return
    yield from unknown(settings, BOT_SETTINGS, where)
    if not Bot(alias, settings).is_elsewhere:
        yield from of_named(Bot(alias, settings), where)
    if not isinstance(settings.get("FREE_STORAGE", False), bool):
        yield Error(f"{where}['FREE_STORAGE'] is neither True nor False.", id="botsessions.E031")
    lock = Bot(alias, settings).lock
    if lock not in LOCKS:
        yield Error(
            f"{where}['LOCK'] is {lock!r}, which is no lock.",
            hint=f"Choose one of {', '.join(map(repr, LOCKS))}.",
            id="botsessions.E008",
        )
    if settings.get("WEBHOOK_SECRET") and lock == "process":
        yield Error(
            f"{where} has a WEBHOOK_SECRET together with LOCK='process'.",
            hint="Webhooks are handled by several processes: leave LOCK out.",
            id="botsessions.E009",
        )
    token, secret = settings.get("TOKEN"), settings.get("WEBHOOK_SECRET")
    if token and not isinstance(token, Secret):
        yield Error(f"{where}['TOKEN'] is not text.", id="botsessions.E013")
    elif token and NOT_IN_TOKENS.search(token.reveal()):
        yield Error(
            f"{where}['TOKEN'] has blanks, a line end, or other characters that no token has.",
            hint="Look at its ends, and copy it again from @BotFather if need be.",
            id="botsessions.E013",
        )
    if secret and not (isinstance(secret, Secret) and SECRET.fullmatch(secret.reveal())):
        yield Error(
            f"{where}['WEBHOOK_SECRET'] is not 1 to 256 characters of A-Z, a-z, 0-9, _ and -.",
            hint="Telegram takes no others. Make one with secrets.token_urlsafe().",
            id="botsessions.E012",
        )
    updates = settings.get("ALLOWED_UPDATES")
    if updates is not None and not is_text_list(updates):
        yield Error(
            f"{where}['ALLOWED_UPDATES'] is not a list of kinds of update.", id="botsessions.E010"
        )
    elif unheard_of := sorted(set(updates or ()) - set(KINDS)):
        yield Error(
            f"{where}['ALLOWED_UPDATES'] names kinds of update that python-telegram-bot does not "
            f"know: {', '.join(unheard_of)}.",
            hint=f"It knows {', '.join(KINDS)}.",
            id="botsessions.E010",
        )


def of_tokens(bots: Mapping[Any, Any]) -> Iterator[CheckMessage]:
    """Tell of bots that would take each other's updates."""
    aliases: dict[Secret, list[str]] = {}
    for alias, bot in bots.items():
        token = bot.get("TOKEN") if isinstance(bot, Mapping) else None
        if isinstance(token, Secret):
            aliases.setdefault(token, []).append(repr(alias))
    for same in aliases.values():
        if len(same) > 1:
            yield CheckWarning(
                f"BOTSESSIONS['BOTS'] has one TOKEN for several bots: {', '.join(same)}.",
                hint="Telegram gives each update to one of them. Get each a token of its own from "
                "@BotFather.",
                id="botsessions.W009",
            )


def unknown(
    settings: Mapping[Any, Any], known: Collection[str], where: str
) -> Iterator[CheckMessage]:
    for name in settings:
        if name not in known:
            yield Error(
                f"{where} has an unknown setting {name!r}.",
                hint=f"There are {', '.join(sorted(known))}.",
                id="botsessions.E002",
            )


def is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def is_text_list(value: object) -> bool:
    return isinstance(value, (list, tuple, set, frozenset)) and all(
        isinstance(item, str) for item in value
    )
