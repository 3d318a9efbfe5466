"""The fragment of a bot that a command is for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandError

from ..bots import get_bot
from ..maintenance.origins import Place


def place(options: Mapping[str, Any]) -> Place:
    """Return what the options ``bot`` and ``name`` name; the only bot need not be named.

    Raises:
        CommandError: there is no such fragment.
        ImproperlyConfigured: there is no such bot.
    """
    bot, name = get_bot(options["bot"]), options["name"] or ""
    fragments = bot.fragments
    if name not in fragments:
        known = ", ".join(filter(None, fragments))
        raise CommandError(
            f"Choose a fragment of bot {bot.alias!r} with --fragment: {known}."
            if known
            else f"Bot {bot.alias!r} has a single session: leave --fragment out."
        )
    return Place(bot.alias, name)
