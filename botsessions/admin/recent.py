"""What happened to a session last: the part of its page that comes after the rest of it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode

from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from ..downloads import EXPORTED
from ..history import Past, past_of
from ..history.keeping import length
from ..models import AbstractBotSession
from .activity import deeds, of
from .contents import JUDGED_BYTES
from .differences import Differences, differences
from .merging import Merge
from .moments import moment
from .past import AFTER, BEFORE, PRESENT, kept_text, maker, people, shown_data, with_present

if TYPE_CHECKING:
    from .pages import SessionPages

CHANGES = 5
"""So many of the last changes are shown,"""
PLACES = 4
"""each with so many of the places that it has changed."""
DEEDS = 5


class Change(NamedTuple):
    """What differs between a version and the one before it."""

    by: str
    when: SafeString | str
    differences: Differences | None
    """``None`` where a version is too large to be looked into for this."""
    url: str


def recent_part(
    model_admin: SessionPages, request: HttpRequest, session: AbstractBotSession, may_see: bool
) -> HttpResponse:
    """Show the last changes, and what people did.

    Args:
        may_see: whether what is stored may be shown.
    """
    pk = quote(session.pk)
    past_url = model_admin.url("past", pk)
    versions = past_of(session, CHANGES + 1, JUDGED_BYTES) if may_see else []
    versions, done = with_present(session, versions), list(of(model_admin, session)[:DEEDS])
    context = {
        "may_see": may_see,
        "changes": changes(versions[: CHANGES + 1], done, past_url),
        "kept": kept_text(length(session.bot, session.name)),
        "deeds": list(deeds(model_admin, done, {})),
        "past_url": past_url,
        "history_url": model_admin.url("history", pk),
    }
    return TemplateResponse(request, "admin/botsessions/session/recent.html", context)


def changes(versions: Sequence[Past], done: Sequence[LogEntry], past_url: str) -> list[Change]:
    """Return what differs between versions that follow each other.

    Args:
        done: what people did last.
    """
    names = people(version.entry.by for version in versions)
    return [change(after, before, done, names, past_url) for after, before in pairwise(versions)]


def change(
    after: Past, before: Past, done: Sequence[LogEntry], names: dict[str, str], past_url: str
) -> Change:
    is_small = all(one.entry.size <= JUDGED_BYTES for one in (after, before))
    by = ""
    if before.entry.kept_until:
        by = by_hand_alone(after, done) or gettext("By hand, and by the bot since")
    query = urlencode({AFTER: after.entry.pk, BEFORE: before.entry.pk})
    return Change(
        by or maker(after.entry, names),
        moment(after.entry.at),
        between(before, after) if is_small else None,
        f"{past_url}?{query}",
    )


def between(before: Past, after: Past) -> Differences:
    opened, now = (shown_data(one.text) for one in (before, after))
    return differences(Merge(opened, opened, now), PLACES)


def by_hand_alone(version: Past, done: Sequence[LogEntry]) -> str:
    """Return who made what is stored now, if the bot has not changed it since."""
    last = next((deed for deed in done if deed.change_message != EXPORTED), None)
    if last and version.entry.pk == PRESENT and version.entry.at <= last.action_time:
        return str(last.user.get_username())
    return ""
