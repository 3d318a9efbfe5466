"""The versions of a session that may be shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery
from django.utils import timezone

from ..models import AbstractBotSession, HistoryEntry
from ..reading import with_text
from .keeping import length

MOST = 100
"""Versions are shown where no history says how many."""
BY_HAND = ("admin:", "api:")


@dataclass(frozen=True)
class Past:
    """A version of a session."""

    entry: HistoryEntry
    is_present: bool
    """Whether it is what is stored now."""

    @property
    def text(self) -> str:
        """Its data as it was stored, of one that :func:`past_of` has loaded with that."""
        return getattr(self.entry, "data_as_text", None) or self.entry.data


def entries_of(session: AbstractBotSession) -> QuerySet[HistoryEntry]:
    """Return all that is kept of a session."""
    entries = HistoryEntry._default_manager.using(session._state.db)
    return entries.filter(table=type(session)._meta.db_table, session_id=session.pk)


def all_that_is_kept(sessions: QuerySet[Any]) -> QuerySet[HistoryEntry]:
    """Return all that is kept of some sessions, also what is not to be shown."""
    entries = HistoryEntry._default_manager.using(sessions.db)
    keys = sessions.order_by().values("pk")
    return entries.filter(table=sessions.model._meta.db_table, session_id__in=keys)


def with_maker(sessions: QuerySet[Any]) -> QuerySet[Any]:
    """Have sessions loaded with ``made_by``, as far as that is kept: like ``update:7``."""
    entries = HistoryEntry._default_manager.filter(
        table=sessions.model._meta.db_table,
        session_id=OuterRef("pk"),
        revision=OuterRef("revision"),
        kept_until=None,
    )
    loaded: QuerySet[Any] = sessions.annotate(made_by=Subquery(entries.values("by")[:1]))
    return loaded


def past_of(
    session: AbstractBotSession, newest: int | None = None, with_bytes: int = 0
) -> list[Past]:
    """Return the versions of a session that may be shown, the newest first.

    Args:
        newest: only so many.
        with_bytes: with the data of those that have no more than so much.

    What had expired when it was replaced is gone, and so is what was before it, unless somebody
    has ended it by hand.
    """
    most = newest or length(session.bot, session.name) or MOST
    entries = with_text(entries_of(session), with_bytes)
    return list(shown(entries.order_by("-pk")[:most], session))


def shown(entries: QuerySet[HistoryEntry], session: AbstractBotSession) -> Iterator[Past]:
    replaced_at = timezone.now()
    for entry in entries:
        is_present = entry.revision == session.revision
        expires_at = session.expires_at if is_present else entry.expires_at
        if not has_ended(expires_at, replaced_at):
            yield Past(entry, is_present)
        elif not was_ended_by_hand(entry):
            return
        replaced_at = entry.at


def was_ended_by_hand(entry: HistoryEntry) -> bool:
    return entry.by.startswith(BY_HAND) and has_ended(entry.expires_at, entry.at)


def has_ended(expires_at: datetime | None, at: datetime) -> bool:
    return expires_at is not None and expires_at <= at
