"""Saving what people have made of a session's data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.contrib.admin.utils import quote
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext

from .. import audit
from ..maintenance import changing
from ..masking import mask, masked_fields, unmask
from ..reading import UNREADABLE
from .contents import Contents
from .editing import pretty
from .past import undo

if TYPE_CHECKING:
    from .pages import SessionPages


def save(
    model_admin: SessionPages, request: HttpRequest, contents: Contents, value: Any
) -> HttpResponse:
    session = contents.session
    page = redirect(model_admin.url("change", quote(session.pk)))
    # With the masks in place: otherwise people could guess what is masked, and be told.
    if value is UNREADABLE or pretty(value) == contents.text:
        model_admin.message_user(request, gettext("The data is what it was: nothing was saved."))
        return page
    names = masked_fields()
    stored = None if contents.data is UNREADABLE else contents.data
    by = f"admin:{request.user.pk}"
    changing.write_data(session, unmasked(contents, value), session.revision, by=by)
    changes = audit.changed_data(mask(stored, names), value)
    audit.log(request.user, [session], audit.CHANGE, changes)
    text = gettext("The data was saved. The bot sees it from now on.")
    said = text if contents.is_refused else undo(model_admin, session.pk, text)
    model_admin.message_user(request, said, messages.SUCCESS)
    return page


def unmasked(contents: Contents, value: Any) -> Any:
    stored = None if contents.data is UNREADABLE else contents.data
    return unmask(value, stored, masked_fields())


def storable(contents: Contents, value: Any) -> None:
    """Raise SessionError if a value could not be saved."""
    session = contents.session
    changing.checked(contents.fragment, session, unmasked(contents, value))
