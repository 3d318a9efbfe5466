"""What the bots of the settings declare of stored sessions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..bots import all_bots
from ..callbacks import fragment_of, storage_of_jobs
from ..declaration import Fragment
from ..due import CONVERSATION, KEPT, is_job
from ..models import AbstractBotSession
from ..persistence.conversations import conversation_of
from ..ptb.builder import kept_fragments
from ..storages import DatabaseStorage, Storage


def declared(bot: str, name: str) -> Fragment[Any] | None:
    """Return the fragment that a bot declares; ``None`` where the settings know none.

    Raises:
        ImproperlyConfigured: the bot's settings are wrong.
    """
    known = all_bots().get(bot)
    if known is None:
        return None
    if name.startswith(CONVERSATION) and (persistence := known.persistence) is not None:
        return conversation_of(name, persistence.storage)
    if is_job(name):
        return fragment_of(name, storage_of_jobs(known.fragments))
    return known.fragments.get(name)


class DeclaredInCode:
    """The fragments as the bots' applications have them, which may know more of what they keep.

    That is the types of its data, and whose conversations are. Each application is built once.
    """

    def __init__(self) -> None:
        self._kept: dict[str, Mapping[str, Fragment[Any]]] = {}

    def fragment(self, bot: str, name: str) -> Fragment[Any] | None:
        """Return a fragment; ``None`` where the settings know none.

        Raises:
            ImproperlyConfigured: the bot's settings are wrong, or its application cannot be built.
        """
        known = all_bots().get(bot)
        if known is None or not name.startswith(KEPT):
            return declared(bot, name)
        if bot not in self._kept:
            self._kept[bot] = {} if known.persistence is None else kept_fragments(known)
        return self._kept[bot].get(name) or declared(bot, name)


def fragments_in(
    model: type[AbstractBotSession], using: str
) -> dict[tuple[str, str], Fragment[Any]]:
    """Return the fragments, by bot and name, whose sessions are in this table."""
    return {
        (alias, name): fragment
        for alias, bot in all_bots().items()
        for name, fragment in bot.fragments.items()
        if is_kept_in(fragment, model, using)
    }


def is_kept_in(fragment: Fragment[Any], model: type[AbstractBotSession], using: str) -> bool:
    """Whether a fragment's sessions are in this table."""
    storage = fragment.innermost
    return isinstance(storage, DatabaseStorage) and (storage.model, storage.using) == (model, using)


def unlisted() -> list[tuple[str, str, Storage]]:
    """Return bot, name and storage of fragments with migrations that are in no table."""
    return [
        (alias, name, storage)
        for alias, bot in all_bots().items()
        for name, fragment in bot.fragments.items()
        if fragment.newest_version is not None
        and not isinstance(storage := fragment.innermost, DatabaseStorage)
    ]
