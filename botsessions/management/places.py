"""What a command is for: ``--bot``, ``--fragment`` and ``--database``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandError
from django.db import connections

from ..bots import all_bots, get_bot
from ..callbacks import fragments_of_jobs
from ..codec import UNSTORABLE_TEXT
from ..due import CONVERSATION
from ..maintenance import tables
from ..maintenance.declared import declared
from ..maintenance.origins import Place
from ..maintenance.renaming import is_remembered
from ..records import MAX_NAME_LENGTH


def place(options: Mapping[str, Any], *, is_new: bool = False) -> Place:
    """Return what the options ``bot`` and ``name`` name; the only bot need not be named.

    Args:
        is_new: whether the name is an argument NEW. It may be that of a conversation: which there
            are only the bot's application knows.

    Raises:
        CommandError: there is no such fragment.
        ImproperlyConfigured: there is no such bot.
    """
    bot, name = get_bot(options["bot"]), options["name"] or ""
    if is_new and name.startswith(CONVERSATION) and bot.persistence is not None:
        return Place(bot.alias, name)
    fragments = bot.fragments
    if name not in fragments and name not in fragments_of_jobs():
        if known := ", ".join(filter(None, fragments)):
            how = "as NEW" if is_new else "with --fragment"
            raise CommandError(f"Choose a fragment of bot {bot.alias!r} {how}: {known}.")
        remedy = 'NEW is ""' if is_new else "leave --fragment out"
        raise CommandError(f"Bot {bot.alias!r} has a single session: {remedy}.")
    return Place(bot.alias, name)


def refuse_misspelt(options: Mapping[str, Any]) -> None:
    """Refuse a bot or fragment that there is not: 0 sessions would look like success.

    :func:`refuse_impossible` goes first. What the settings do not name may still have sessions.
    Where they name no bots at all, all are installed elsewhere, under whatever names.

    Raises:
        CommandError: there is no such bot or fragment.
        ImproperlyConfigured: the settings are wrong.
    """
    bot, name, bots = options["bot"], options.get("name"), all_bots()
    if not bots:
        return
    if bot is not None and not (bot in bots or bot.isdecimal() or has_sessions(bot=bot)):
        raise no_bot(bot)
    if name is None or any(declared(alias, name) for alias in (bots if bot is None else [bot])):
        return
    if not has_sessions(name=name):
        raise CommandError(f"There is no fragment {name!r}, and no session of such a fragment.")


def refuse_unknown_bot(old: str) -> None:
    """Refuse the alias of a bot that is to be renamed if nothing knows it.

    Raises:
        CommandError: neither the settings know it nor anything that is stored.
    """
    if not (old in all_bots() or has_sessions(bot=old) or is_remembered(old)):
        raise no_bot(old)


def refuse_unknown_fragment(bot: str, old: str) -> None:
    """Refuse a fragment of a bot that is to be renamed if nothing knows it.

    Raises:
        CommandError: neither the code knows it nor any session.
    """
    known = (*get_bot(bot).fragments, *fragments_of_jobs())
    if not (old in known or has_sessions(bot=bot, name=old)):
        raise CommandError(
            f"There is no fragment {old!r} of bot {bot!r}, and no session of such a fragment."
        )


def no_bot(bot: str) -> CommandError:
    known = ", ".join(map(repr, all_bots())) or "none"
    return CommandError(
        f"There is no bot {bot!r}, and no session of such a bot: BOTSESSIONS['BOTS'] declares "
        f"{known}."
    )


def refuse_impossible(options: Mapping[str, Any]) -> None:
    """Refuse a database that there is not, and names that no database can be asked for.

    Raises:
        CommandError: there is none of that alias or name.
    """
    for option in ("bot", "name", "old"):
        name = options.get(option) or ""
        is_too_long = len(name) > MAX_NAME_LENGTH and option != "old"  # Which may be a path.
        if is_too_long or UNSTORABLE_TEXT.search(name):
            raise CommandError(
                f"There is no {name!r}: a name has at most {MAX_NAME_LENGTH} characters, and no "
                "NUL or lone surrogate among them."
            )
    using = options["database"]
    if using is not None and using not in connections:
        raise CommandError(f"There is no database {using!r} in DATABASES.")


def has_sessions(**which: str) -> bool:
    """Whether any session is stored of this bot, or of this fragment."""
    return any(
        model._default_manager.using(using).filter(**which).exists() for model, using in tables()
    )
