"""Filters of the list. Their choices come from the settings: to ask the table takes too long."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..bots import all_bots
from ..declaration import SINGLE
from ..finding import (
    BY_AGE,
    MAX_ID,
    Age,
    State,
    age_parts,
    any_of,
    fragments,
    in_state,
    of_age,
)
from ..models import AbstractBotSession
from .contents import Contents
from .hints import Hint
from .sorting import SORTS, Sort

NO_NAME = "-"
"""In the address of the page, for the fragment of a single session."""
UNKNOWN = "-"
"""There, for bots that are not in the settings."""
UNREADABLE = "unreadable"
TRIED = 500
"""Of so many of the newest sessions it is tried whether their bots can read them."""


class SortFilter(admin.SimpleListFilter):
    """The order of the list; the newest come first where none is chosen."""

    title = _("order")
    parameter_name = "sort"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [(name, sort.label) for name, sort in SORTS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset

    def choices(self, changelist: Any) -> Iterator[Any]:
        for choice in super().choices(changelist):
            usual = choice["query_string"] == changelist.get_query_string(remove=["sort"])
            yield {**choice, "display": _("Newest first")} if usual else choice

    @property
    def sort(self) -> Sort | None:
        return SORTS.get(str(self.value()))


class StateFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "state"
    hint: Hint | None = None

    def __init__(self, request: HttpRequest, params: Any, model: Any, model_admin: Any) -> None:
        self.model_admin = model_admin
        super().__init__(request, params, model, model_admin)

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [*State.choices, (UNREADABLE, _("Unreadable"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        state = str(self.value())
        if state == UNREADABLE:
            parts = self._refused(request, queryset)
            self.hint = (parts, [])
            return queryset.filter(any_of(parts))
        if state not in State.values:
            return queryset
        if state in (State.SOON, State.EXPIRED):
            self.hint = ([Q()], ["-expires_at"])
        return in_state(queryset, state, self.model_admin.expires_soon)

    def _refused(self, request: HttpRequest, sessions: QuerySet[Any]) -> list[Q]:
        """Return where data is that bots refuse: of the newest it was tried, if that may be."""
        newest = self.model_admin.judged(request, sessions).order_by("-pk")[:TRIED]
        refused = [session.pk for session in newest if Contents(session).is_refused]
        return [*age_parts(Age.NEWER), Q(pk__in=refused)]


class BotFilter(admin.SimpleListFilter):
    title = _("bot")
    parameter_name = "bot"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        # A bot may have left the settings.
        asked = [bot for bot in request.GET.getlist(self.parameter_name) if bot != UNKNOWN]
        return [
            *((alias, alias) for alias in dict.fromkeys([*all_bots(), *asked])),
            (UNKNOWN, _("Not in the settings")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == UNKNOWN:
            return queryset.exclude(bot__in=[*all_bots()]).filter(any_of(unknown_bots()))
        return queryset.filter(bot=self.value()) if self.value() else queryset

    @property
    def hint(self) -> Hint | None:
        return (unknown_bots(), []) if self.value() == UNKNOWN else None


class FragmentFilter(admin.SimpleListFilter):
    title = _("fragment")
    parameter_name = "fragment"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        names = dict.fromkeys(fragment.name for _bot, fragment in fragments())
        return [(name or NO_NAME, name or _("Single session")) for name in names]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        name = SINGLE if self.value() == NO_NAME else self.value()
        return queryset.filter(bot__in=[*all_bots()], name=name)


class VersionFilter(admin.SimpleListFilter):
    title = _("version")
    parameter_name = "version"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return Age.choices

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return of_age(queryset, str(self.value())) if self.value() in Age.values else queryset

    @property
    def hint(self) -> Hint | None:
        age = self.value()
        return (age_parts(age), BY_AGE) if age in (Age.BEHIND, Age.NEWER) else None


def unknown_bots() -> list[Q]:
    """Return conditions of which one holds for bots that are not in the settings.

    An index answers each, whatever the order of the letters is there.
    """
    known = sorted(all_bots())
    between = [Q(bot__gt=one, bot__lt=next_one) for one, next_one in pairwise(known)]
    return [Q(bot__lt=known[0]), *between, Q(bot__gt=known[-1])] if known else [Q()]


@dataclass(frozen=True)
class Whose:
    """A chat or a user whose sessions are looked for."""

    parameter: ClassVar[str] = "of"

    kind: str
    id: int

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"

    @classmethod
    def parse(cls, text: str | None) -> Whose | None:
        """Return what an address of the list says, ``None`` for nonsense."""
        kind, _colon, number = (text or "").partition(":")
        digits = number.removeprefix("-")
        if kind not in ("chat", "user") or not (digits.isascii() and digits.isdecimal()):
            return None
        return cls(kind, int(number)) if int(digits) <= MAX_ID else None

    @property
    def label(self) -> str:
        pattern = gettext("Chat {id}") if self.kind == "chat" else gettext("User {id}")
        return pattern.format(id=self.id)

    @property
    def title(self) -> str:
        """Return a heading over their sessions, seen from one of them."""
        if self.kind == "chat":
            return gettext("Other sessions of this chat")
        return gettext("Other sessions of this user")

    def sessions(self, sessions: QuerySet[Any]) -> QuerySet[Any]:
        if self.kind == "chat":
            return sessions.filter(chat_id=self.id)
        # A private chat has the id of the user whose it is.
        return sessions.filter(Q(user_id=self.id) | Q(chat_id=self.id))


def whose_else(session: AbstractBotSession) -> Iterator[Whose]:
    """Yield the chat and the user that may have other sessions."""
    chat, user = session.chat_id, session.user_id
    if chat is not None and (chat < 0 or session.chat_type not in ("", "private")):
        yield Whose("chat", chat)
    elif user is None and chat is not None:
        user = chat
    if user is not None:
        yield Whose("user", user)


class WhoseFilter(admin.SimpleListFilter):
    """Shown where a link from a session has led to the list of its chat's or user's sessions."""

    title = _("chat or user")
    parameter_name = Whose.parameter

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        whose = Whose.parse(request.GET.get(self.parameter_name))
        return [(str(whose), whose.label)] if whose else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        whose = Whose.parse(self.value())
        return whose.sessions(queryset) if whose else queryset
