"""Filters of the list. Their choices come from the settings: to ask the table takes too long."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..bots import all_bots
from ..declaration import SINGLE
from ..finding import MAX_ID, Age, State, fragments, in_state, of_age
from ..models import AbstractBotSession

NO_NAME = "-"
"""In the address of the page, for the fragment of a single session."""


class StateFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return State.choices

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in State.values:
            return queryset
        return in_state(queryset, str(self.value()), self.soon)

    def __init__(self, request: HttpRequest, params: Any, model: Any, model_admin: Any) -> None:
        self.soon = model_admin.expires_soon
        super().__init__(request, params, model, model_admin)


class BotFilter(admin.SimpleListFilter):
    title = _("bot")
    parameter_name = "bot"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        asked = request.GET.get(self.parameter_name)  # A bot may have left the settings.
        return [
            (alias, alias) for alias in dict.fromkeys([*all_bots(), *([asked] if asked else [])])
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(bot=self.value()) if self.value() else queryset


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
