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
from ..callbacks import fragments_of_jobs
from ..declaration import SINGLE
from ..figures.incidents import incidents
from ..finding import (
    BY_AGE,
    Age,
    State,
    age_parts,
    any_of,
    fragments,
    in_state,
    newest_of_each,
    of_age,
    of_bot,
)
from ..models import AbstractBotSession, Incident
from ..paging import BY_BOT, BY_KEY
from .asked import number
from .contents import Contents, note_failures
from .hints import Hint
from .plain import visible
from .sorting import SORTS, Sort

NO_NAME = "-"
"""In the address of the page, for the fragment of a single session."""
UNKNOWN = "-"
"""There, for bots that are not in the settings."""
UNREADABLE = "unreadable"
TRIED = 500
"""Of so many of the newest sessions it is tried whether their bots can read them,"""
REFUSED = 100
"""and of those in so many of the last incidents."""


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
    is_bounded = False
    """Whether older sessions were not looked at."""

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
        if state in (State.SOON, State.DUE, State.EXPIRED):
            self.hint = ([Q()], ["-expires_at"])
        return in_state(queryset, state, self.model_admin.expires_soon)

    def _refused(self, request: HttpRequest, sessions: QuerySet[Any]) -> list[Q]:
        """Return where data is that bots refuse.

        Of the newest, and of those of which incidents say so, it is tried, if that may be.
        """
        judged = self.model_admin.judged(request, sessions)
        tried = newest_of_each(judged, [Q(), any_of(refused_lately())], TRIED + 1)
        self.is_bounded = len(tried) > TRIED
        note_failures(tried)
        unreadable = [session.pk for session in tried if Contents(session).is_unreadable]
        return [*age_parts(Age.NEWER), Q(pk__in=unreadable)]


def limits(request: HttpRequest) -> str:
    """Return where alone a list has looked for all that something is about to be done to."""
    if request.GET.get(StateFilter.parameter_name) != UNREADABLE:
        return ""
    return gettext(
        "Looked for in the newest {n} sessions and in those of the last {incidents} incidents "
        "alone: older ones may be unreadable, too."
    ).format(n=TRIED, incidents=REFUSED)


def refused_lately() -> Iterator[Q]:
    """Yield where incidents say that data was refused, in the newest :data:`REFUSED` of them."""
    of_data = incidents().filter(kind=Incident.Kind.DATA).order_by("-last_at")
    for bot, name, key in {*of_data.values_list("bot", "name", "key")[:REFUSED]}:
        yield Q(key=key, bot=bot, name=name)


class BotFilter(admin.SimpleListFilter):
    title = _("bot")
    parameter_name = "bot"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        # A bot may have left the settings.
        asked = [bot for bot in request.GET.getlist(self.parameter_name) if bot != UNKNOWN]
        return [
            *((a, visible(a) or gettext("none")) for a in dict.fromkeys([*all_bots(), *asked])),
            (UNKNOWN, _("Not in the settings")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == UNKNOWN:
            return queryset.exclude(bot__in=[*all_bots()]).filter(any_of(unknown_bots()))
        return queryset if self.value() is None else of_bot(queryset, self.value() or "")

    @property
    def order(self) -> tuple[str, ...]:
        """The order in which an index has the newest sessions first."""
        return BY_KEY if self.value() in (None, UNKNOWN) else BY_BOT

    @property
    def hint(self) -> Hint | None:
        return (unknown_bots(), []) if self.value() == UNKNOWN else None


class FragmentFilter(admin.SimpleListFilter):
    title = _("fragment")
    parameter_name = "fragment"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        # One may have left the settings.
        asked = [name for name in request.GET.getlist(self.parameter_name) if name]
        known = [fragment.name or NO_NAME for _bot, fragment in fragments()]
        names = dict.fromkeys([*known, *fragments_of_jobs(), *asked])
        return [(name, _("Single session") if name == NO_NAME else visible(name)) for name in names]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        name = SINGLE if self.value() == NO_NAME else self.value()
        # An index has the bots first. One may have left the settings.
        bots = [*all_bots(), *request.GET.getlist(BotFilter.parameter_name)]
        return queryset.filter(bot__in=bots, name=name)


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
        kind, _colon, digits = (text or "").partition(":")
        found = number(digits) if kind in ("chat", "user") else None
        return None if found is None else cls(kind, found)

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

    @property
    def condition(self) -> Q:
        if self.kind == "chat":
            return Q(chat_id=self.id)
        # A private chat has the id of the user whose it is.
        return Q(user_id=self.id) | Q(chat_id=self.id)

    def has(self, session: AbstractBotSession) -> bool:
        """Whether the condition holds for a session."""
        return session.chat_id == self.id or (self.kind == "user" and session.user_id == self.id)


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
        return queryset.filter(whose.condition) if whose else queryset
