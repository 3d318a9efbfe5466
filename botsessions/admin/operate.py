"""Asking before something is done to sessions, and doing it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from django.contrib import messages
from django.contrib.admin import helpers
from django.contrib.admin.utils import quote
from django.core.exceptions import ImproperlyConfigured
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext

from .. import audit
from ..exceptions import SessionConflict, SessionError
from ..figures.numbers import grouped
from ..maintenance import Batch, changing
from ..masking import mask, masked_fields
from ..models import AbstractBotSession
from ..reading import UNKNOWN, UNREADABLE
from . import asked, columns
from .affected import MOST_NAMED, Affected
from .contents import Contents, note_failures
from .differences import differences
from .doing import Left, Outcome, Run, do
from .filters import limits
from .listed import lists, may_see
from .merging import Merge
from .past import undo
from .plain import visible

if TYPE_CHECKING:
    from .operations import Operation
    from .pages import SessionPages


class Origin(NamedTuple):
    """The list in which something was chosen to be done to all that it shows."""

    url: str
    narrowed_by: str = ""
    """What narrows that list."""


def operate(
    model_admin: SessionPages,
    request: HttpRequest,
    operation: Operation,
    sessions: QuerySet[Any],
    contents: Contents | None = None,
    origin: Origin | None = None,
) -> HttpResponseBase:
    """Ask, or do it if that was confirmed.

    Args:
        contents: of the session on whose page it was chosen; ``None`` for several.
        origin: where it was chosen, if not at this address.
    """
    origin = origin or Origin(request.get_full_path())
    confirmed = request.method == "POST" and "confirmed" in request.POST
    form = operation.form(request.POST if confirmed else None)
    session = contents.session if contents else None
    try:
        if confirmed and form.is_valid():
            chosen = form.cleaned_data
            return done(model_admin, request, operation, sessions, session, chosen, origin)
        return ask(model_admin, request, operation, sessions, contents, form, origin)
    except ImproperlyConfigured as exc:  # Of any bot, where all of them have to be known.
        text = gettext("The bot's settings are wrong: {error}").format(error=exc)
        model_admin.message_user(request, text, messages.ERROR)
        page = model_admin.url("change", quote(session.pk)) if session else origin.url
        return redirect(page)


def ask(
    model_admin: SessionPages,
    request: HttpRequest,
    operation: Operation,
    sessions: QuerySet[Any],
    contents: Contents | None,
    form: Any,
    origin: Origin,
) -> HttpResponseBase:
    affected = operation.affected(sessions)
    session = contents.session if contents else None
    session_url = model_admin.url("change", quote(session.pk)) if session else ""
    across = request.POST.get("select_across") == "1"
    context = {
        "operation": operation,
        "session": session,
        "session_url": session_url,
        "cancel_url": session_url or origin.url,
        "narrowed_by": origin.narrowed_by,
        "form": form,
        "note": affected.note,
        "is_lost": contents and operation.can_be_undone and contents.is_refused,
        "limits": limits(request) if across or origin.narrowed_by else "",
        "named": list(named(model_admin, request, affected)),
        "across": across,
        "checkbox": helpers.ACTION_CHECKBOX_NAME,
        "selected": selected(request, across),
        **(result(operation, contents) if contents else {}),
    }
    context["unnamed"] = max(0, (affected.count or 0) - len(context["named"]))
    title = str(operation.short_description)
    if affected.count is not None:
        text = ngettext("{what}: {n} session", "{what}: {n} sessions", affected.count)
        title = text.format(what=title, n=grouped(affected.count))
    return model_admin.render(request, "confirm.html", title, context)


def named(
    model_admin: SessionPages, request: HttpRequest, affected: Affected
) -> Iterator[dict[str, Any]]:
    """Yield the first sessions that something is to be done to, of tables that one may see."""
    sessions: Any = affected.sessions
    if isinstance(sessions, QuerySet):
        sessions = model_admin.judged(request, sessions).order_by("-pk")[:MOST_NAMED]
    elif sessions:
        models = {type(session) for session in sessions}
        seen = [m for m in models if may_see(request, model_admin.admin_site, m)]
        sessions = [session for session in sessions if type(session) in seen]
    sessions = list(sessions or ())
    note_failures(sessions)
    for session in sessions:
        is_here = type(session) is model_admin.model and lists(
            model_admin, request, session._state.db
        )
        yield {
            "whose": columns.whose(session),
            "where": columns.where_of(session),
            "state": columns.state(Contents(session), model_admin.expires_soon),
            "url": model_admin.url("change", quote(session.pk)) if is_here else "",
        }


def result(operation: Operation, contents: Contents) -> dict[str, Any]:
    """Return what a session's data becomes, or why it cannot, for those who may see it."""
    if contents.data in (UNKNOWN, UNREADABLE) or contents.expired:
        return {}
    try:
        after = operation.result(contents)
    except Exception as exc:  # Of the author's own code, too.
        return {"refused": changing.reason(exc)}
    if after is None:
        return {}
    stored, after = (mask(value, masked_fields()) for value in (contents.data, after))
    return {"differences": differences(Merge(stored, stored, after))}


def selected(request: HttpRequest, across: bool) -> list[str]:
    """Return the primary keys that Django wants to be sent again; of all, one will do."""
    keys = request.POST.getlist(helpers.ACTION_CHECKBOX_NAME)
    return keys[:1] if across else keys


def done(
    model_admin: SessionPages,
    request: HttpRequest,
    operation: Operation,
    sessions: QuerySet[Any],
    session: AbstractBotSession | None,
    chosen: dict[str, Any],
    origin: Origin,
) -> HttpResponseBase:
    response = operation.response(request, sessions)
    if response is not None:
        return response
    run = None if session is None or operation.is_anonymous else held(request, operation, session)
    try:
        may_see = model_admin.has_view_contents_permission(request)
        outcome = do(operation, sessions, chosen, request.user, run, in_detail=may_see)
    except SessionConflict:
        said = gettext("The session was changed since you have seen it. Nothing was written.")
        model_admin.message_user(request, said, messages.ERROR)
        return redirect(origin.url)
    except SessionError as exc:
        model_admin.message_user(request, str(exc), messages.ERROR)
        return redirect(origin.url)
    tell(model_admin, request, operation, outcome, session)
    gone = operation.flag == audit.DELETION and outcome.done
    if session is None or gone:
        return redirect(model_admin.url("changelist") if session else origin.url)
    return redirect(model_admin.url("change", quote(session.pk)))


def held(request: HttpRequest, operation: Operation, session: AbstractBotSession) -> Run:
    """Return what does it to one session with its key held, if it is as it was shown."""
    seen = asked.number(request.POST.get("revision"))
    revision = session.revision if seen is None else seen

    def run(sessions: QuerySet[Any], chosen: Mapping[str, Any], by: str) -> list[Batch]:
        return changing.change_one(session, revision, lambda seen: operation.run(seen, chosen, by))

    return run


def tell(
    model_admin: SessionPages,
    request: HttpRequest,
    operation: Operation,
    outcome: Outcome,
    session: AbstractBotSession | None,
) -> None:
    count = outcome.done
    text = ngettext("{what}: {n} session done.", "{what}: {n} sessions done.", count)
    what = operation.short_description
    texts = [text.format(what=what, n=grouped(count))]
    if outcome.untouched and not operation.is_anonymous:
        untouched = ngettext(
            "For {n} there was nothing to do.",
            "For {n} there was nothing to do.",
            outcome.untouched,
        )
        texts.append(untouched.format(n=grouped(outcome.untouched)))
    level = messages.SUCCESS if count else messages.INFO
    said = " ".join(texts)
    is_lost = session is None or not operation.can_be_undone or Contents(session).is_refused
    if session and count and not is_lost and model_admin.has_view_contents_permission(request):
        said = undo(model_admin, session.pk, said)
    model_admin.message_user(request, said, level)
    for reason, left in outcome.left.items():
        model_admin.message_user(request, problem(model_admin, reason, left), messages.ERROR)


def problem(model_admin: SessionPages, reason: str, left: Left) -> SafeString:
    """Return why sessions were left as they were, with links to the first."""
    text = ngettext("{n} session was left as it was.", "{n} were left as they were.", left.count)
    links = (
        (model_admin.url("change", quote(pk)), visible(name))
        for pk, name in left.first
        if pk is not None
    )
    return format_html(
        '{} {} <span class="bs-links">{}{}</span>',
        text.format(n=grouped(left.count)),
        reason,
        format_html_join(" ", '<a href="{}">{}</a>', links),
        " …" if left.count > len(left.first) else "",
    )
