"""Asking before something is done to sessions, and doing it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.contrib.admin import helpers
from django.contrib.admin.utils import quote
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.utils import formats
from django.utils.translation import ngettext

from .. import audit
from ..models import AbstractBotSession
from . import columns
from .contents import Contents
from .doing import NAMED, Outcome, do

if TYPE_CHECKING:
    from .operations import Operation
    from .sessions import BotSessionAdmin


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
    response = operation.response(request, sessions)
    if response is not None:
        return response
    outcome = do(operation, sessions, chosen, request.user)
    tell(model_admin, request, operation, outcome)
    gone = operation.flag == audit.DELETION and outcome.done
    if session is None or gone:
        return redirect(model_admin.url("changelist") if session else request.get_full_path())
    return redirect(model_admin.url("change", quote(session.pk)))


def tell(
    model_admin: BotSessionAdmin, request: HttpRequest, operation: Operation, outcome: Outcome
) -> None:
    count = outcome.done
    text = ngettext("{what}: {n} session done.", "{what}: {n} sessions done.", count)
    level = messages.SUCCESS if count else messages.INFO
    what = operation.short_description
    model_admin.message_user(request, text.format(what=what, n=number(count)), level)
    for reason, left in outcome.left.items():
        text = ngettext(
            "{n} session was left as it was.", "{n} were left as they were.", left.count
        )
        problem = f"{text.format(n=number(left.count))} {reason}"
        model_admin.message_user(request, problem, messages.ERROR)


def number(count: int) -> str:
    return formats.number_format(count, force_grouping=True)
