"""The page on which a session's data is edited, also when the bot has changed it meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.contrib.admin.utils import quote
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext
from django.views.decorators.csrf import csrf_protect

from ..absent import ABSENT
from ..conf import max_bytes
from ..exceptions import SessionConflict, SessionError
from ..masking import mask, masked_fields
from ..parsing import NotJson, parsed
from ..reading import UNREADABLE
from . import columns
from .contents import Contents
from .differences import differences
from .editing import DataForm, pretty
from .large_forms import FormTooLarge, is_large, read_large
from .merging import Merge
from .saving import save, storable

if TYPE_CHECKING:
    from .pages import SessionPages

CHECK, EDIT, MERGED = "check", "edit", "merged"
"""What else a button asks for: to look at the text only, to edit what was merged, to save it."""
CHOICE = "take "
"""Before a path: the name of a choice between what is stored and what somebody wrote."""


def edit_page(model_admin: SessionPages, request: HttpRequest, object_id: str) -> HttpResponse:
    return answered(answer, model_admin, request, object_id)


def answered(
    answer: Callable[..., HttpResponse],
    model_admin: SessionPages,
    request: HttpRequest,
    object_id: str,
) -> HttpResponse:
    """Answer a request whose form may be large, and whose CSRF token nobody has looked at yet."""
    contents = contents_of(model_admin, request, object_id)
    if is_large(request):
        opened = len(contents.text.encode()) if contents else 0
        try:
            read_large(request, 2 * (opened + max_bytes()))
        except FormTooLarge:
            return too_large(model_admin, request, object_id)
    return csrf_protect(answer)(request, model_admin, object_id, contents)


def contents_of(model_admin: SessionPages, request: HttpRequest, object_id: str) -> Contents | None:
    session = model_admin.stored(request, object_id, contents=True)
    return None if session is None else Contents(session)


def answer(
    request: HttpRequest, model_admin: SessionPages, object_id: str, contents: Contents | None
) -> HttpResponse:
    form = DataForm(request.POST) if request.method == "POST" else None
    if contents is None:
        if form is None:
            return model_admin.missing(request, object_id)
        form.add_error(None, gettext("The session was deleted meanwhile. Nothing was saved."))
        if "part" in request.POST:
            return part(request, form)
        return model_admin.render(request, "edit.html", gettext("Edit data"), {"form": form})
    if form is None:
        return begun(model_admin, request, contents)
    if form.is_valid() and contents.expired:
        form.add_error(None, gettext("The session has expired meanwhile. Nothing was saved."))
    how = request.POST.get("how", "")
    if how == CHECK:
        return checked(model_admin, request, contents, form)
    if form.errors:
        return edited(model_admin, request, contents, form)
    merge = merged(request, contents, form)
    if form.cleaned_data["revision"] != contents.session.revision:
        return conflict(model_admin, request, contents, form, merge)
    if how == EDIT:
        form = DataForm(initial=begun_with(contents, pretty(merge.value)))
        return edited(model_admin, request, contents, form)
    value = merge.value if how == MERGED else form.value
    try:
        return save(model_admin, request, contents, value)
    except SessionConflict:
        now = contents_of(model_admin, request, object_id)
        return answer(request, model_admin, object_id, now)
    except SessionError as exc:
        if how == MERGED:
            form = DataForm(begun_with(contents, pretty(value)))
            form.full_clean()
        form.refuse(exc)
    return edited(model_admin, request, contents, form)


def merged(request: HttpRequest, contents: Contents, form: DataForm) -> Merge:
    """Merge what was opened, what is stored and what was sent, as was chosen on that page."""
    try:
        opened = parsed(form.cleaned_data["opened"])
    except NotJson:
        opened = ABSENT
    stored = contents.data
    if stored is not UNREADABLE:
        stored = mask(stored, masked_fields())
    choices = {
        name.removeprefix(CHOICE): str(side)
        for name, side in request.POST.items()
        if name.startswith(CHOICE)
    }
    return Merge(opened, stored, form.value, choices)


def checked(
    model_admin: SessionPages, request: HttpRequest, contents: Contents, form: DataForm
) -> HttpResponse:
    """Say what saving would change, or why it would be refused; nothing is saved."""
    shown = None
    if not form.errors:
        merge = merged(request, contents, form)
        before = merge.stored if merge.opened is ABSENT else merge.opened
        shown = differences(Merge(before, before, form.value))
        try:
            storable(contents, form.value)
        except SessionError as exc:
            form.refuse(exc)
    context = {
        "differences": shown,
        "is_stale": form.data.get("revision") != str(contents.session.revision),
    }
    if "part" in request.POST:
        return part(request, form, **context)
    return edited(model_admin, request, contents, form, checked=True, **context)


def part(request: HttpRequest, form: DataForm, **context: Any) -> HttpResponse:
    """Return what stands below the text, for the editor's script."""
    context |= {"form": form, "is_part": True}
    return TemplateResponse(request, "admin/botsessions/check.html", context)


def begun(model_admin: SessionPages, request: HttpRequest, contents: Contents) -> HttpResponse:
    session = contents.session
    if contents.expired:
        text = gettext("The session has expired: there is no data that could be edited.")
    elif contents.is_hidden:
        text = gettext(
            "This data cannot be edited: it is no JSON that Python can read, and fields that are "
            "masked may be in it. Reset or delete the session."
        )
    else:
        return edited(
            model_admin, request, contents, DataForm(initial=begun_with(contents, contents.text))
        )
    model_admin.message_user(request, text, messages.WARNING)
    return redirect(model_admin.url("change", quote(session.pk)))


def too_large(model_admin: SessionPages, request: HttpRequest, object_id: str) -> HttpResponse:
    text = gettext(
        "Your text is longer than any session may be (MAX_BYTES). Nothing was saved. Your browser "
        "still has it, one page back."
    )
    model_admin.message_user(request, text, messages.ERROR)
    return redirect(model_admin.url("edit", object_id))


def edited(
    model_admin: SessionPages,
    request: HttpRequest,
    contents: Contents,
    form: DataForm,
    **context: Any,
) -> HttpResponse:
    context |= {**common(model_admin, contents, form), "has_masks": contents.has_masks}
    return model_admin.render(request, "edit.html", gettext("Edit data"), context)


def common(model_admin: SessionPages, contents: Contents, form: DataForm) -> dict[str, Any]:
    """Return what the pages of a text have in common."""
    session = contents.session
    return {
        "form": form,
        "session": session,
        "subtitle": columns.title_in_full(session),
        "session_url": model_admin.url("change", quote(session.pk)),
        "problems": contents.problems(),
    }


def begun_with(contents: Contents, text: str) -> dict[str, Any]:
    """Return what stands in a form in which a text is to replace what is stored now."""
    return {"text": text, "opened": contents.text, "revision": contents.session.revision}


def conflict(
    model_admin: SessionPages,
    request: HttpRequest,
    contents: Contents,
    form: DataForm,
    merge: Merge,
) -> HttpResponse:
    """Show what both have changed. Saved again, that replaces what was shown."""
    context = {
        **common(model_admin, contents, form),
        "revision": contents.session.revision,
        "differences": differences(merge),
        "choice": CHOICE,
    }
    return model_admin.render(request, "conflict.html", gettext("Changed by both"), context)
