"""The page on which a session's data is edited, also when the bot has changed it meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.contrib.admin.utils import quote
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext
from django.views.decorators.csrf import csrf_protect

from .. import audit
from ..conf import max_bytes
from ..exceptions import SessionConflict, SessionError
from ..maintenance.changing import write_data
from ..masking import mask, masked_fields, unmask
from ..reading import UNREADABLE
from . import columns
from .contents import Contents
from .editing import DataForm, pretty, side_by_side
from .large_forms import FormTooLarge, is_large, read_large

if TYPE_CHECKING:
    from .sessions import BotSessionAdmin


def edit_page(model_admin: BotSessionAdmin, request: HttpRequest, object_id: str) -> HttpResponse:
    """Answer a request whose CSRF token nobody has looked at yet."""
    contents = contents_of(model_admin, request, object_id)
    if is_large(request):
        opened = len(contents.text.encode()) if contents else 0
        try:
            read_large(request, opened + max_bytes())
        except FormTooLarge:
            return too_large(model_admin, request, object_id)
    return csrf_protect(answer)(request, model_admin, object_id, contents)


def contents_of(
    model_admin: BotSessionAdmin, request: HttpRequest, object_id: str
) -> Contents | None:
    session = model_admin.stored(request, object_id, contents=True)
    return None if session is None else Contents(session)


def answer(
    request: HttpRequest, model_admin: BotSessionAdmin, object_id: str, contents: Contents | None
) -> HttpResponse:
    form = DataForm(request.POST) if request.method == "POST" else None
    if contents is None:
        if form is None:
            return model_admin.missing(request, object_id)
        form.add_error(None, gettext("The session was deleted meanwhile. Nothing was saved."))
        return model_admin.render(request, "edit.html", gettext("Edit data"), {"form": form})
    if form is None:
        return begun(model_admin, request, contents)
    if form.is_valid():
        if form.cleaned_data["revision"] != contents.session.revision:
            return conflict(model_admin, request, contents)
        try:
            return save(model_admin, request, contents, form.value)
        except SessionConflict:
            now = contents_of(model_admin, request, object_id)
            return answer(request, model_admin, object_id, now)
        except SessionError as exc:
            form.add_error("text", str(exc))
    return edited(model_admin, request, contents, form)


def begun(model_admin: BotSessionAdmin, request: HttpRequest, contents: Contents) -> HttpResponse:
    session = contents.session
    if contents.expired:
        text = gettext("The session has expired: there is no data that could be edited.")
    elif contents.is_hidden:
        text = gettext(
            "This data cannot be edited: it is no JSON that Python can read, and fields that are "
            "masked may be in it. Reset or delete the session."
        )
    else:
        initial = {"text": contents.text, "revision": session.revision}
        return edited(model_admin, request, contents, DataForm(initial=initial))
    model_admin.message_user(request, text, messages.WARNING)
    return redirect(model_admin.url("change", quote(session.pk)))


def save(
    model_admin: BotSessionAdmin, request: HttpRequest, contents: Contents, value: Any
) -> HttpResponse:
    session = contents.session
    page = redirect(model_admin.url("change", quote(session.pk)))
    if contents.expired:
        raise SessionError(gettext("The session has expired meanwhile. Nothing was saved."))
    # With the masks in place: otherwise people could guess what is masked, and be told.
    if pretty(value) == contents.text:
        model_admin.message_user(request, gettext("The data is what it was: nothing was saved."))
        return page
    names = masked_fields()
    stored = None if contents.data is UNREADABLE else contents.data
    write_data(session, unmask(value, stored, names), session.revision)
    changes = audit.changed_data(mask(stored, names), value)
    audit.log(request.user, [session], audit.CHANGE, changes)
    model_admin.message_user(
        request, gettext("The data was saved. The bot sees it from now on."), messages.SUCCESS
    )
    return page


def too_large(model_admin: BotSessionAdmin, request: HttpRequest, object_id: str) -> HttpResponse:
    text = gettext(
        "Your text is longer than any session may be (MAX_BYTES). Nothing was saved. Your browser "
        "still has it, one page back."
    )
    model_admin.message_user(request, text, messages.ERROR)
    return redirect(model_admin.url("edit", object_id))


def edited(
    model_admin: BotSessionAdmin,
    request: HttpRequest,
    contents: Contents,
    form: DataForm,
    **context: Any,
) -> HttpResponse:
    session = contents.session
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
    model_admin: BotSessionAdmin, request: HttpRequest, contents: Contents
) -> HttpResponse:
    """Show the text beside what is stored now. Saved again, it replaces what was shown."""
    text = request.POST["text"].replace("\r\n", "\n")
    stored = "" if contents.expired else contents.text
    form = DataForm(initial={"text": text, "revision": contents.session.revision})
    lines = side_by_side(text, stored)
    return edited(model_admin, request, contents, form, conflict=True, stored=stored, lines=lines)
