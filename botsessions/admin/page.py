"""The page of a session: facts, data, and the other sessions of chat and user."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from django.contrib.admin.utils import display_for_field, quote
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext

from ..finding import Age, newest_of_each
from ..masking import masked_fields
from ..models import AbstractBotSession
from ..reading import UNREADABLE
from . import columns, incidents
from .contents import Contents, note_failures, version_text
from .declared_types import declared_type
from .filters import Whose, whose_else
from .held import held_text
from .moments import moment
from .past import who
from .plain import visible
from .tree import MAX_TEXT, Tree

if TYPE_CHECKING:
    from .operations import Operation
    from .pages import SessionPages

OTHERS = 5
SHOWN = {
    *("id", "bot", "name", "key", "data", "version", "revision", "size"),
    *("expires_at", "created_at", "updated_at", "chat_id", "user_id", "chat_type", "title"),
}
"""Fields that have a place of their own on the page."""


class Others(NamedTuple):
    """Other sessions of a chat or a user: the newest of them, and where all are."""

    title: str
    sessions: list[dict[str, Any]]
    url: str


def session_page(
    model_admin: SessionPages,
    request: HttpRequest,
    contents: Contents,
    may_see: bool,
    extra: dict[str, Any] | None,
) -> HttpResponse:
    session = contents.session
    readable = contents.data is not UNREADABLE
    shown = may_see and not contents.expired and readable
    pk = quote(session.pk)
    may_edit = (
        model_admin.has_edit_permission(request) and not contents.expired and not contents.is_hidden
    )
    value_url = model_admin.url("value", pk) if may_edit else ""
    declared = declared_type(contents.fragment.codec) if contents.fragment else None
    tree = Tree(masked_fields(), value_url)
    context = {
        "session": session,
        "subtitle": columns.subtitle_of(session),
        "state": columns.state(contents, model_admin.expires_soon),
        "held": held_text(session, contents.fragment),
        "facts": list(facts(model_admin, contents, request.user)),
        "may_see": may_see,
        "problems": contents.problems(in_detail=may_see),
        "tree": tree.whole(contents.data, declared) if shown else "",
        "bounds": tree.bounds,
        "recent_url": model_admin.url("recent", pk),
        "revision_url": model_admin.url("revision", pk),
        "raw": raw(contents) if may_see and not contents.expired and not readable else "",
        "data_url": model_admin.url("data", pk) if shown else "",
        "edit_url": model_admin.url("edit", pk) if may_edit else "",
        "history_url": model_admin.url("history", pk),
        "past_url": model_admin.url("past", pk) if may_see else "",
        "operations": offered(model_admin, request, contents),
        "incidents": incidents.of_session(session, may_see),
        "incidents_url": incidents.listing_of(request, model_admin.admin_site, session),
        "others": list(others(model_admin, request, session)),
    }
    title = columns.title_of(session)
    return model_admin.render(request, "session.html", title, context | (extra or {}))


def offered(
    model_admin: SessionPages, request: HttpRequest, contents: Contents
) -> list[tuple[str, list[tuple[Operation, str]]]]:
    """Return what can be done to a session, what loses nothing apart from what does."""
    found = [
        (operation, model_admin.url("operation", quote(contents.session.pk), operation.name))
        for operation in model_admin.operations(request).values()
        if operation.applies(contents)
    ]
    safe = [one for one in found if one[0].is_safe]
    others = [one for one in found if not one[0].is_safe]
    groups = [(gettext("Nothing is lost"), safe), (gettext("Takes data away"), others)]
    return [group for group in groups if group[1]]


def raw(contents: Contents) -> str:
    """Return the beginning of what is stored, of which no tree can be made."""
    text = visible(contents.raw)
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"


def data(contents: Contents) -> HttpResponse:
    """Return the data as it is stored, masked fields apart; nothing of what has expired."""
    if contents.expired or contents.data is UNREADABLE:
        return HttpResponse(gettext("There is no data to be shown."), "text/plain", status=404)
    response = HttpResponse(contents.text, content_type="application/json; charset=utf-8")
    response["X-Content-Type-Options"] = "nosniff"
    return response


def facts(
    model_admin: SessionPages, contents: Contents, user: Any
) -> Iterator[tuple[str, str | SafeString]]:
    """Yield what is known of a session.

    Args:
        user: who looks; of others who have changed it, the part of the page that comes later says
            the name.
    """
    session = contents.session
    yield gettext("Bot"), visible(session.bot)
    if session.name:
        yield gettext("Fragment"), visible(session.name)
    yield gettext("Session key"), visible(session.key)
    if session.chat_id is not None:
        kind = columns.CHAT_TYPES.get(session.chat_type)
        yield gettext("Chat"), f"{session.chat_id} ({kind})" if kind else str(session.chat_id)
    if session.user_id is not None:
        yield gettext("User"), str(session.user_id)
    yield gettext("Size"), columns.size(session)
    age = contents.age
    version = version_text(session)
    if age is not None and (session.version is not None or age != Age.CURRENT):
        version = f"{version} ({age.label.lower()})"
    yield gettext("Version"), version
    yield gettext("Changed"), moment(session.updated_at)
    if by := getattr(session, "made_by", None):
        yield gettext("Changed by"), who(by, {str(user.pk): user.get_username()})
    yield gettext("Created"), moment(session.created_at)
    yield gettext("Expires"), moment(session.expires_at)
    yield gettext("Revision"), str(session.revision)
    for field in session._meta.concrete_fields:
        if not (field.name in SHOWN or field.primary_key or field.generated):
            label = capfirst(str(field.verbose_name))
            value = field.value_from_object(session)
            yield label, display_for_field(value, field, model_admin.get_empty_value_display())


def others(
    model_admin: SessionPages, request: HttpRequest, session: AbstractBotSession
) -> Iterator[Others]:
    groups = list(whose_else(session))
    sessions = model_admin.judged(request, model_admin.get_queryset(request).exclude(pk=session.pk))
    found = newest_of_each(sessions, [whose.condition for whose in groups], OTHERS)
    note_failures(found)
    for whose in groups:
        shown = [other(model_admin, one) for one in found if whose.has(one)][:OTHERS]
        if shown:
            url = f"{model_admin.url('changelist')}?{Whose.parameter}={whose}"
            yield Others(whose.title, shown, url)


def other(model_admin: SessionPages, session: AbstractBotSession) -> dict[str, Any]:
    return {
        "url": model_admin.url("change", quote(session.pk)),
        "whose": columns.whose(session),
        "where": columns.where_of(session),
        "state": columns.state(Contents(session), model_admin.expires_soon),
    }
