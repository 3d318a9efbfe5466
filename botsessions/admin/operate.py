"""Asking before something is done to sessions, and doing it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.contrib.admin import helpers
from django.contrib.admin.models import DELETION
from django.contrib.admin.utils import quote
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.utils import formats
from django.utils.translation import ngettext

from ..maintenance import Failure
from ..models import AbstractBotSession
from . import columns, logs
from .contents import Contents

if TYPE_CHECKING:
    from .operations import Operation
    from .sessions import BotSessionAdmin

NAMED = 20
"""So many sessions are named before something is done to them, and failures after it."""


def operate(
    model_admin: BotSessionAdmin,
    request: HttpRequest,
    operation: Operation,
    sessions: QuerySet[Any],
    session: AbstractBotSession | None = None,
) -> HttpResponseBase:
    """Ask, or do it if that was confirmed.

    Args:
        session: the one on whose page it was chosen; ``None`` for the list.
    """
    confirmed = request.method == "POST" and "confirmed" in request.POST
    form = operation.form(request.POST if confirmed else None)
    if confirmed and form.is_valid():
        return done(model_admin, request, operation, sessions, session, form.cleaned_data)
    return ask(model_admin, request, operation, sessions, session, form)


def ask(
    model_admin: BotSessionAdmin,
    request: HttpRequest,
    operation: Operation,
    sessions: QuerySet[Any],
    session: AbstractBotSession | None,
    form: Any,
) -> HttpResponseBase:
    count = sessions.order_by().count()
    named = list(model_admin.judged(request, sessions).order_by("-pk")[:NAMED])
    across = request.POST.get("select_across") == "1"
    question = ngettext("{what}: {n} session", "{what}: {n} sessions", count)
    context = {
        "operation": operation,
        "session": session,
        "session_url": session and model_admin.url("change", quote(session.pk)),
        "form": form,
        "details": operation.details(sessions),
        "named": [
            (s, columns.whose(s), columns.state(Contents(s), model_admin.expires_soon))
            for s in named
        ],
        "unnamed": number(count - len(named)) if count > len(named) else "",
        "across": across,
        "checkbox": helpers.ACTION_CHECKBOX_NAME,
        "selected": selected(request, across),
    }
    title = question.format(what=operation.short_description, n=number(count))
    return model_admin.render(request, "confirm.html", title, context)


def selected(request: HttpRequest, across: bool) -> list[str]:
    """Return the primary keys that Django wants to be sent again; of all, one will do."""
    keys = request.POST.getlist(helpers.ACTION_CHECKBOX_NAME)
    return keys[:1] if across else keys


def done(
    model_admin: BotSessionAdmin,
    request: HttpRequest,
    operation: Operation,
    sessions: QuerySet[Any],
    session: AbstractBotSession | None,
    chosen: dict[str, Any],
) -> HttpResponseBase:
    first = list(sessions.defer("data").order_by("pk")[: logs.ONE_BY_ONE + 1])
    response = operation.response(request, sessions)
    if response is not None:
        note(request, operation, sessions, first, sessions.order_by().count())
        return response
    count, failed, failures = 0, 0, list[Failure]()
    try:
        for batch in operation.run(sessions, chosen):
            count += batch.done
            failed += len(batch.failures)
            failures += batch.failures[: NAMED - len(failures)]
    finally:  # What earlier batches have done is done, whatever happens later.
        note(request, operation, sessions, changed(first), count)
    tell(model_admin, request, operation, count, failed, failures)
    gone = operation.flag == DELETION and count
    if session is None or gone:
        return redirect(model_admin.url("changelist") if session else request.get_full_path())
    return redirect(model_admin.url("change", quote(session.pk)))


def note(
    request: HttpRequest,
    operation: Operation,
    sessions: QuerySet[Any],
    first: list[AbstractBotSession],
    count: int,
) -> None:
    """Write into Django's log what was done."""
    if not count:
        return
    message = operation.message(sessions.model)
    if operation.is_anonymous or max(count, len(first)) > logs.ONE_BY_ONE:
        logs.log_count(request.user, sessions.model, count, operation.flag, message)
    else:
        logs.log(request.user, first, operation.flag, message)


def changed(sessions: list[AbstractBotSession]) -> list[AbstractBotSession]:
    """Return those whose revision is another one now, or which are gone."""
    if not sessions:
        return []
    now = type(sessions[0])._default_manager.using(sessions[0]._state.db)
    keys = [session.pk for session in sessions]
    revisions = dict(now.filter(pk__in=keys).values_list("pk", "revision"))
    return [session for session in sessions if revisions.get(session.pk) != session.revision]


def tell(
    model_admin: BotSessionAdmin,
    request: HttpRequest,
    operation: Operation,
    count: int,
    failed: int,
    failures: list[Failure],
) -> None:
    text = ngettext("{what}: {n} session done.", "{what}: {n} sessions done.", count)
    level = messages.SUCCESS if count else messages.INFO
    what = operation.short_description
    model_admin.message_user(request, text.format(what=what, n=number(count)), level)
    if not failed:
        return
    text = ngettext("{n} session was left as it was.", "{n} were left as they were.", failed)
    reasons = " ".join(f"{failure.address}: {failure.reason}" for failure in failures)
    problem = f"{text.format(n=number(failed))} {reasons}"
    model_admin.message_user(request, problem, messages.ERROR)


def number(count: int) -> str:
    return formats.number_format(count, force_grouping=True)
