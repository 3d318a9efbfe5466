"""The page on which a session's data is edited, also when the bot has changed it meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.contrib.admin.models import CHANGE
from django.contrib.admin.utils import quote
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext

from ..exceptions import SessionConflict, SessionError
from ..maintenance.changing import write_data
from ..masking import mask, masked_fields, unmask
from ..models import AbstractBotSession
from ..reading import UNREADABLE
from . import columns, logs
from .contents import Contents
from .editing import DataForm, pretty, side_by_side

if TYPE_CHECKING:
    from .sessions import BotSessionAdmin


def edit_page(model_admin: BotSessionAdmin, request: HttpRequest, object_id: str) -> HttpResponse:
    session = model_admin.stored(request, object_id, contents=True)
    form = DataForm(request.POST) if request.method == "POST" else None
    if session is None:
        if form is None:
            return model_admin.missing(request, object_id)
        form.add_error(None, gettext("The session was deleted meanwhile. Nothing was saved."))
        return model_admin.render(request, "edit.html", gettext("Edit data"), {"form": form})
    if form is None:
        if Contents(session, session.data).expired:
            return expired(model_admin, request, session)
        initial = {"text": shown(session), "revision": session.revision}
        return edited(model_admin, request, session, DataForm(initial=initial))
    if form.is_valid():
        if form.cleaned_data["revision"] != session.revision:
            return conflict(model_admin, request, session)
        try:
            return save(model_admin, request, session, form.value)
        except SessionConflict:
            return edit_page(model_admin, request, object_id)  # With what is stored now.
        except SessionError as exc:
            form.add_error("text", str(exc))
    return edited(model_admin, request, session, form)


def save(
    model_admin: BotSessionAdmin, request: HttpRequest, session: AbstractBotSession, value: Any
) -> HttpResponse:
    page = redirect(model_admin.url("change", quote(session.pk)))
    if Contents(session, session.data).expired:
        raise SessionError(gettext("The session has expired meanwhile. Nothing was saved."))
    # With the masks in place: otherwise people could guess what is masked, and be told.
    if pretty(value) == shown(session):
        model_admin.message_user(request, gettext("The data is what it was: nothing was saved."))
        return page
    names = masked_fields()
    stored = None if session.data is UNREADABLE else session.data
    write_data(session, unmask(value, stored, names), session.revision)
    logs.log(request.user, [session], CHANGE, logs.changed_data(mask(stored, names), value))
    model_admin.message_user(
        request, gettext("The data was saved. The bot sees it from now on."), messages.SUCCESS
    )
    return page


def shown(session: AbstractBotSession) -> str:
    """Return what is stored as text, masked fields as masks."""
    return "" if session.data is UNREADABLE else pretty(mask(session.data, masked_fields()))


def expired(
    model_admin: BotSessionAdmin, request: HttpRequest, session: AbstractBotSession
) -> HttpResponse:
    text = gettext("The session has expired: there is no data that could be edited.")
    model_admin.message_user(request, text, messages.WARNING)
    return redirect(model_admin.url("change", quote(session.pk)))


def edited(
    model_admin: BotSessionAdmin,
    request: HttpRequest,
    session: AbstractBotSession,
    form: DataForm,
    **context: Any,
) -> HttpResponse:
    contents = Contents(session, session.data)
    context |= {
        "form": form,
        "session": session,
        "subtitle": f"{columns.title_of(session)} · {columns.kind_of(session)}",
        "session_url": model_admin.url("change", quote(session.pk)),
        "problems": contents.problems(),
        "has_masks": bool(masked_fields()),
    }
    return model_admin.render(request, "edit.html", gettext("Edit data"), context)


def conflict(
    model_admin: BotSessionAdmin, request: HttpRequest, session: AbstractBotSession
) -> HttpResponse:
    """Show the text beside what is stored now. Saved again, it replaces what was shown."""
    text = request.POST["text"].replace("\r\n", "\n")
    stored = "" if Contents(session, session.data).expired else shown(session)
    form = DataForm(initial={"text": text, "revision": session.revision})
    lines = side_by_side(text, stored)
    return edited(model_admin, request, session, form, conflict=True, stored=stored, lines=lines)
