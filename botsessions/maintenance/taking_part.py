"""Which stored sessions a Telegram user takes part in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from asgiref.sync import async_to_sync
from django.db.models import F, Q, QuerySet

from ..arguments import wrong
from ..bots import all_bots
from ..declaration import Fragment
from ..finding import BeginsWith
from ..keys import KeyFunction, key_of, per_topic, per_user_chat, takes_ids
from ..models import AbstractBotSession
from ..records import MAX_ID
from ..storages import Address, DatabaseStorage
from .declared import is_kept_in
from .tables import tables

if TYPE_CHECKING:
    Sessions: TypeAlias = QuerySet[AbstractBotSession]

BEGIN_WITH_A_USER: tuple[KeyFunction, ...] = (per_user_chat, per_topic)
"""Key functions whose keys may go on after the id of a user, or of the private chat."""


@dataclass(frozen=True)
class Place:
    """A fragment of a bot of the settings."""

    bot: str
    fragment: Fragment[Any]

    def __str__(self) -> str:
        name = f"fragment {self.fragment.name!r} of " if self.fragment.name else ""
        return f"{name}bot {self.bot!r} ({type(self.fragment.innermost).__name__})"

    def key(self, user_id: int) -> str | None:
        """Return the key of the user, or of the user's private chat."""
        function = self.fragment.get_session_key
        ids = dict.fromkeys({"user", "chat"} & (takes_ids(function) or set()), user_id)
        return async_to_sync(key_of)(function, ids) if ids else None

    def address(self, user_id: int) -> Address | None:
        key = self.key(user_id)
        return None if key is None else Address(self.bot, self.fragment.name, key)


def in_tables(user_id: int, bot: str | None, using: str | None) -> Iterator[Sessions]:
    """Yield the rows of a user, or of the user's private chat: each in one query set only.

    There is a query set for each index that helps. The last ones, by key, find rows of which it is
    not known to whom they belong, because they were made from outside by their key.

    Raises:
        TypeError: that is no number.
        ValueError: that is no user's id.
    """
    if type(user_id) is not int:
        wrong("user_id", user_id, "Telegram's id of a user, a number")
    if user_id < 1:
        raise ValueError(f"{user_id} is no user's id: those below 0 are of groups and channels.")
    if user_id > MAX_ID:
        raise ValueError(f"{user_id} is no user's id: it is too large.")
    for model, alias in tables(using):
        rows = model._default_manager.using(alias)
        if bot is not None:
            rows = rows.filter(bot=bot)
        there = [one for one in places(bot) if is_kept_in(one.fragment, model, alias)]
        for condition in (Q(user_id=user_id), Q(chat_id=user_id), *by_key(there, user_id)):
            yield rows.filter(condition)
            rows = rows.exclude(condition)


def elsewhere(bot: str | None, using: str | None) -> list[Place]:
    """Return the places that cannot be searched: those outside the database."""
    if using is not None:
        return []
    return [
        place for place in places(bot) if not isinstance(place.fragment.innermost, DatabaseStorage)
    ]


def places(bot: str | None) -> Iterator[Place]:
    for alias, declared in all_bots().items():
        if bot in (None, alias):
            for fragment in declared.fragments.values():
                yield Place(alias, fragment)


def by_key(places: Iterable[Place], user_id: int) -> Iterator[Q]:
    """Yield a condition for all places where a user has the same keys, as indexes begin by them."""
    found: dict[tuple[str | None, bool], Q] = {}
    for place in places:
        begins = place.fragment.get_session_key in BEGIN_WITH_A_USER
        there = Q(bot=place.bot, name=place.fragment.name)
        keys = place.key(user_id), begins
        found[keys] = found.get(keys, Q()) | there
    for (key, begins), there in found.items():
        same = Q() if key is None else Q(key=key)
        if begins:
            same |= Q(BeginsWith(F("key"), f"{user_id}/"))
        if same:
            yield same & there
