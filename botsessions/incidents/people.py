"""Incidents of a Telegram user's sessions, to be given out and to be erased."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import Q, QuerySet

from ..models import Incident
from .writing import incidents


def of_user(user_id: int, bot: str | None, using: str | None) -> QuerySet[Incident]:
    """Return the incidents of the updates of a user, and of the user's private chat.

    Args:
        bot: only of this alias.
        using: only if they are kept in this database.
    """
    rows = incidents()
    if using not in (None, rows.db):
        return rows.none()
    rows = rows.filter(Q(user_id=user_id) | Q(chat_id=user_id))
    return rows if bot is None else rows.filter(bot=bot)


def exported(rows: QuerySet[Incident]) -> Iterator[dict[str, Any]]:
    """Yield incidents, ready to be dumped as JSON."""
    for row in rows.order_by("pk").iterator():
        yield {
            "incident": row.kind,
            "bot": row.bot,
            "fragment": row.name,
            "key": row.key,
            "chat_id": row.chat_id,
            "user_id": row.user_id,
            "error": row.error,
            "message": row.message,
            "by": row.by,
            "count": row.count,
            "first": row.first_at.isoformat(),
            "last": row.last_at.isoformat(),
        }
