"""What the bots of the settings declare of stored sessions."""

from __future__ import annotations

from typing import Any

from ..bots import all_bots
from ..declaration import Fragment
from ..models import AbstractBotSession
from ..persistence.conversations import CONVERSATION, conversation_of
from ..storages import DatabaseStorage, Storage
from ..storages.layers import peel


def declared(bot: str, name: str) -> Fragment[Any] | None:
    """Return the fragment that a bot declares; ``None`` where the settings know none.

    Raises:
        ImproperlyConfigured: the bot's settings are wrong.
    """
    bots = all_bots()
    if bot not in bots:
        return None
    persistence = bots[bot].persistence
    if persistence is not None and name.startswith(CONVERSATION):
        conversation: Fragment[Any] = conversation_of(name, persistence.storage)
        return conversation
    return bots[bot].fragments.get(name)


def fragments_in(
    model: type[AbstractBotSession], using: str
) -> dict[tuple[str, str], Fragment[Any]]:
    """Return the fragments, by bot and name, whose sessions are in this table."""
    return {
        (alias, name): fragment
        for alias, bot in all_bots().items()
        for name, fragment in bot.fragments.items()
        if isinstance(storage := peel(fragment.storage)[1], DatabaseStorage)
        and (storage.model, storage.using) == (model, using)
    }


def unlisted() -> list[tuple[str, str, Storage]]:
    """Return bot, name and storage of fragments with migrations that are in no table."""
    return [
        (alias, name, storage)
        for alias, bot in all_bots().items()
        for name, fragment in bot.fragments.items()
        if fragment.newest_version is not None
        and not isinstance(storage := peel(fragment.storage)[1], DatabaseStorage)
    ]
