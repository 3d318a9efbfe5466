"""The page of a session's past versions: looking at them, comparing two, and having one back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from django.contrib import messages
from django.contrib.admin.utils import quote
from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.defaultfilters import filesizeformat
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from .. import audit
from ..exceptions import SessionConflict, SessionError
from ..finding import State, state_of
from ..history import KEPT_FOR, Past, past_of
from ..history.keeping import length
from ..history.past import entries_of
from ..maintenance.changing import address_of, all_of_it, restore
from ..masking import mask, mask_text, masked_fields
from ..models import AbstractBotSession, HistoryEntry
from ..reading import UNREADABLE, text_of, value_of, with_text
from ..records import conflict
from . import columns
from .asked import primary_key
from .differences import differences
from .incidents import by_text
from .merging import Merge
from .moments import moment
from .plain import plain, visible
from .tree import tree

if TYPE_CHECKING:
    from .pages import SessionPages

PRESENT = 0
"""The primary key of an entry that is none: of what is stored now."""
AFTER, BEFORE = "after", "before"
"""Parameters of the page: the versions that are compared."""


class Shown(NamedTuple):
    """A version in the list."""

    key: str
    when: SafeString | str
    by: str
    size: str
    is_present: bool
    is_chosen: bool


def past_page(
    model_admin: SessionPages, request: HttpRequest, session: AbstractBotSession
) -> HttpResponse:
    """Show the versions of a session, and two of them side by side."""
    versions = with_present(session, past_of(session))
    newest = next(iter(versions), None)
    has_expired = state_of(session) == State.EXPIRED  # For the bot nothing is after the newest.
    after = chosen(request, AFTER, versions, None if has_expired else newest)
    before = chosen(request, BEFORE, versions, older_than(after, versions) if after else newest)
    shown_whole = before or after
    found = data_of(session, [one for one in (after, before) if one is not None])
    pk, names = quote(session.pk), people([one.entry.by for one in versions])
    context = {
        "session": session,
        "subtitle": columns.kind_of(session),
        "session_url": model_admin.url("change", pk),
        "versions": [shown(one, {after, before}, names) for one in versions],
        "after": after and str(after.entry.pk),
        "before": before and str(before.entry.pk),
        "differences": after
        and before
        and differences(Merge(found[before], found[before], found[after])),
        "tree": tree(found[shown_whole], masked_fields()) if shown_whole else "",
        "restored": str(shown_whole.entry.pk)
        if shown_whole and not shown_whole.is_present and model_admin.has_edit_permission(request)
        else "",
        "revision": session.revision,
        "kept": kept_text(length(session.bot, session.name)),
    }
    title = gettext("Versions of {whose}").format(whose=columns.title_of(session))
    return model_admin.render(request, "past.html", title, context)


def restored(
    model_admin: SessionPages, request: HttpRequest, session: AbstractBotSession
) -> HttpResponse:
    """Let a session be what it was, unless it has changed since the page was shown."""
    here = redirect(model_admin.url("past", quote(session.pk)))
    entry = next((one.entry for one in past_of(session) if is_asked_for(request, one)), None)
    try:
        if entry is None or request.POST.get("revision") != str(session.revision):
            raise conflict(address_of(session))
        restore(session, entry, by=f"admin:{request.user.pk}")
    except SessionConflict:
        text = gettext("The session was changed meanwhile. Nothing was restored.")
        model_admin.message_user(request, text, messages.WARNING)
        return here
    except SessionError as exc:
        model_admin.message_user(request, str(exc), messages.ERROR)
        return here
    audit.log(request.user, [session], audit.CHANGE, audit.changed(session, what_changed(session)))
    text = gettext("The session is what it was. The bot sees it from now on.")
    model_admin.message_user(request, text, messages.SUCCESS)
    return redirect(model_admin.url("change", quote(session.pk)))


def what_changed(before: AbstractBotSession) -> tuple[str, ...]:
    """Return which columns of a session are others now. One that is gone had other data."""
    now = with_text(all_of_it(before)).first()
    if now is None:
        return ("data",)
    columns = audit.columns_changed(before, now, ("data", "version", "expires_at"))
    return columns[1:] if text_of(before) == text_of(now) else columns


def is_asked_for(request: HttpRequest, version: Past) -> bool:
    return request.POST.get("restore") == str(version.entry.pk)


def chosen(
    request: HttpRequest, name: str, versions: Sequence[Past], otherwise: Past | None
) -> Past | None:
    key = request.GET.get(name)
    return next((one for one in versions if str(one.entry.pk) == key), otherwise)


def older_than(version: Past, versions: Sequence[Past]) -> Past | None:
    return next(iter(versions[versions.index(version) + 1 :]), None)


def with_present(session: AbstractBotSession, versions: list[Past]) -> list[Past]:
    """Return versions with what is stored now, if there is no entry of that."""
    expired = state_of(session) == State.EXPIRED
    if not versions or expired or any(one.is_present for one in versions):
        return versions
    entry = HistoryEntry(
        pk=PRESENT,
        revision=session.revision,
        data=text_of(session),
        size=session.size,
        at=session.updated_at,
    )
    return [Past(entry, is_present=True), *versions]


def data_of(session: AbstractBotSession, versions: Sequence[Past]) -> dict[Past | None, Any]:
    """Return the data of some versions, with masks."""
    keys = [one.entry.pk for one in versions]
    found = dict(entries_of(session).filter(pk__in=keys).values_list("pk", "data"))
    found |= {one.entry.pk: one.entry.data for one in versions if one.entry.pk == PRESENT}
    return {one: shown_data(found.get(one.entry.pk, "null")) for one in versions}


def shown_data(text: str) -> Any:
    value = value_of(text)
    return (
        plain(mask_text(text, masked_fields()))
        if value is UNREADABLE
        else mask(value, masked_fields())
    )


def shown(version: Past, chosen: set[Past | None], names: dict[str, str]) -> Shown:
    entry = version.entry
    return Shown(
        str(entry.pk),
        moment(entry.at),
        maker(entry, names),
        filesizeformat(entry.size),
        version.is_present,
        version in chosen,
    )


def maker(entry: HistoryEntry, names: dict[str, str]) -> str:
    if entry.pk == PRESENT:  # Nobody has noted that.
        return ""
    return gettext("before a change by hand") if entry.kept_until else who(entry.by, names)


def who(by: str, names: dict[str, str]) -> str:
    """Return by whom a version was made, as people read it."""
    kind, _colon, key = by.partition(":")
    patterns = {"admin": gettext("{who} in the admin"), "api": gettext("{who} over the API")}
    if kind in patterns:
        somebody = gettext("User {user}").format(user=visible(key))
        return patterns[kind].format(who=names.get(key) or somebody)
    if kind == "command":
        return visible(f"manage.py {key}")
    return by_text(by) or gettext("Code of the project")


def people(by: Iterable[str]) -> dict[str, str]:
    """Return the names of those who have changed something by hand, by primary key."""
    parts, model = [one.partition(":") for one in by], get_user_model()
    keys = {primary_key(model, key) for kind, _colon, key in parts if kind in ("admin", "api")}
    keys.discard(None)
    if not keys:
        return {}
    found = model._default_manager.filter(pk__in=keys)
    return {str(user.pk): user.get_username() for user in found}


def kept_text(most: int) -> str:
    if most:
        return gettext("The last {n} versions are kept.").format(n=most)
    return gettext(
        "The bot keeps no history. What people change by hand is kept as it was, for {n} days."
    ).format(n=KEPT_FOR // timedelta(days=1))


def undo(model_admin: SessionPages, pk: Any, text: str) -> SafeString:
    """Return a message with a link to what was before."""
    url = model_admin.url("past", quote(pk))
    return format_html('{} <a href="{}">{}</a>', text, url, gettext("See what it was, or undo"))
