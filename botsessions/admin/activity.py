"""What people did to sessions, in the admin and over the API: to one of them, or to all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.admin.utils import quote
from django.contrib.contenttypes.models import ContentType
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from ..figures.numbers import grouped
from ..finding import among_newest
from ..models import AbstractBotSession
from . import columns
from .asked import number, primary_key
from .moments import moment
from .plain import visible

if TYPE_CHECKING:
    from .pages import SessionPages

A_PAGE = 50
LOOKED_AT = 50_000
"""So many of the log's newest entries are looked at for those of a session: no index knows them."""


class Deed(NamedTuple):
    """What somebody did."""

    when: SafeString | str
    who: str
    who_url: str
    what: str
    to: str
    url: str


def activity_page(
    model_admin: SessionPages, request: HttpRequest, session: AbstractBotSession | None = None
) -> HttpResponse:
    """Show the newest first.

    Args:
        session: the one to which it was done; ``None`` for all.
    """
    who, before = number(request.GET.get("who")), number(request.GET.get("before"))
    entries = of(model_admin, session)
    if who is not None:
        entries = entries.filter(user_id=who)
    if before is not None:
        entries = entries.filter(pk__lt=before)
    found = list(entries[: A_PAGE + 1])
    shown = found[:A_PAGE]
    older = request.GET.copy()
    older["before"] = str(shown[-1].pk) if shown else ""
    context = {
        "session": session,
        "session_url": session and model_admin.url("change", quote(session.pk)),
        "subtitle": session and columns.title_in_full(session),
        "deeds": list(deeds(model_admin, shown, sessions_of(model_admin, request, shown))),
        "older_url": f"?{older.urlencode()}" if len(found) > A_PAGE else "",
        "looked_at": grouped(LOOKED_AT) if session else "",
        "all_url": model_admin.url("activity") if session or who is not None else "",
    }
    title = gettext("Change history") if session else gettext("What people did")
    return model_admin.render(request, "activity.html", title, context)


def of(model_admin: SessionPages, session: AbstractBotSession | None) -> QuerySet[LogEntry]:
    kind = ContentType.objects.get_for_model(model_admin.model, for_concrete_model=False)
    entries = LogEntry.objects.filter(content_type=kind).order_by("-pk").select_related("user")
    if session is None:
        return entries
    newest = among_newest(LogEntry.objects.all(), LOOKED_AT)
    return entries.filter(newest, object_id=str(session.pk))


def deeds(
    model_admin: SessionPages, entries: list[LogEntry], there: Mapping[str, AbstractBotSession]
) -> Iterator[Deed]:
    """Yield what was done.

    Args:
        there: the sessions to link to, by primary key.
    """
    for entry in entries:
        session = there.get(str(entry.object_id))
        gone = gettext("Deleted") if entry.action_flag == DELETION else ""
        yield Deed(
            moment(entry.action_time),
            entry.user.get_username(),
            f"{model_admin.url('activity')}?who={entry.user_id}",
            entry.get_change_message() or gone,
            columns.short_title_of(session) if session else visible(entry.object_repr),
            model_admin.url("change", quote(session.pk)) if session else "",
        )


def sessions_of(
    model_admin: SessionPages, request: HttpRequest, entries: list[LogEntry]
) -> Mapping[str, AbstractBotSession]:
    """Return those of the sessions that are still there, and may be seen."""
    keys = {primary_key(model_admin.model, e.object_id) for e in entries if e.object_id} - {None}
    found = model_admin.get_queryset(request).filter(pk__in=keys).only("key", "title")
    return {str(session.pk): session for session in found}
