"""Who did what to which sessions, in Django's log.

Names of fields stand there, never values, nor ids of chats and users: it outlives the sessions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.utils.text import capfirst
from django.utils.translation import gettext, ngettext, override

from ..models import AbstractBotSession

ONE_BY_ONE = 100
"""Of more sessions than these, a single entry says how many."""
MAX_FIELDS = 10


def log(user: Any, sessions: Iterable[AbstractBotSession], flag: int, message: Any) -> None:
    """Note what was done to each of some sessions.

    Args:
        flag: of Django's ``LogEntry``.
        message: as Django's ``LogEntry`` keeps it.
    """
    LogEntry.objects.bulk_create(
        entry(user, type(session), flag, message, str(session.pk), name_of(session))
        for session in sessions
    )


def log_count(
    user: Any, model: type[AbstractBotSession], count: int, flag: int, message: Any
) -> None:
    """Note what was done to so many sessions."""
    text = ngettext("{n} session", "{n} sessions", count).format(n=count)
    entry(user, model, flag, message, None, text).save()


def entry(
    user: Any, model: Any, flag: int, message: Any, object_id: str | None, name: str
) -> LogEntry:
    return LogEntry(
        user_id=user.pk,
        content_type=ContentType.objects.get_for_model(model, for_concrete_model=False),
        object_id=object_id,
        object_repr=name[:200],
        action_flag=flag,
        change_message=message if isinstance(message, str) else json.dumps(message),
    )


def name_of(session: AbstractBotSession) -> str:
    name = f"{session.bot}:{session.name}" if session.name else session.bot
    return gettext("Session {id} of {bot}").format(id=session.pk, bot=name)


def changed(model: Any, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return Django's message for changed columns, in the language that it keeps."""
    with override(None):
        labels = [capfirst(str(model._meta.get_field(name).verbose_name)) for name in names]
    return [{"changed": {"fields": labels}}]


def changed_data(before: Any, after: Any) -> list[dict[str, Any]]:
    """Return Django's message for data of which some fields changed."""
    fields = fields_changed(before, after)
    return [{"changed": {"fields": [f"data.{name}" for name in fields] or ["data"]}}]


def fields_changed(before: Any, after: Any) -> list[str]:
    """Return the top-level fields that differ. A key that is no name of a field may be a value."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return []
    absent = object()
    names = [
        name for name in {**before, **after} if before.get(name, absent) != after.get(name, absent)
    ]
    return names if len(names) <= MAX_FIELDS and all(map(str.isidentifier, names)) else []
