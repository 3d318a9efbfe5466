"""Counting stored sessions by version."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal, NamedTuple, TypeAlias

from django.db.models import Count, Q
from django.utils import timezone

from ..declaration import Fragment
from ..due import coming_due
from ..models import AbstractBotSession
from ..records import plain
from .declared import fragments_in

Way: TypeAlias = Literal["migrate", "newest", "newer", "undeclared"]


class Versions(NamedTuple):
    """How many live sessions of a fragment have a version, and what migrating does with them."""

    bot: str
    name: str
    version: Decimal | None
    newest: Decimal | None
    """The newest version that the code has."""
    sessions: int
    way: Way


def versions(
    model: type[AbstractBotSession], using: str, *, bot: str | None = None, name: str | None = None
) -> list[Versions]:
    """Return how many sessions there are by version, those of undeclared fragments, too.

    Args:
        bot: only of this alias.
        name: only of this fragment.
    """
    declared = fragments_in(model, using)
    sessions = live(all_sessions(model, using))
    if bot is not None:
        sessions = sessions.filter(bot=bot)
    if name is not None:
        sessions = sessions.filter(name=name)
    found = sessions.values_list("bot", "name", "version").annotate(Count("pk"))
    return [
        counted(alias, fragment, exact(version), count, declared.get((alias, fragment)))
        for alias, fragment, version, count in found.order_by("bot", "name", "version")
    ]


def counted(
    bot: str, name: str, version: Decimal | None, count: int, fragment: Fragment[Any] | None
) -> Versions:
    newest = None if fragment is None else fragment.newest_version
    way: Way = "migrate"
    if fragment is None:
        way = "undeclared"
    elif version == newest:
        way = "newest"
    elif version is not None and (newest is None or version > newest):
        way = "newer"
    return Versions(bot, name, version, newest, count, way)


def all_sessions(model: type[AbstractBotSession], using: str) -> Any:
    return model._base_manager.using(using)


def live(sessions: Any) -> Any:
    """Return those that have not expired, or are due only."""
    lasting = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
    return sessions.filter(lasting | coming_due())


def exact(version: Decimal | None) -> Decimal | None:
    return None if version is None else plain(version)
