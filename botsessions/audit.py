"""Who did what to which sessions, in the log of Django's admin, where a project has that.

Names of fields stand there, never values, nor ids of chats and users: it outlives the sessions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.utils.text import capfirst
from django.utils.translation import gettext, ngettext, override

from .models import AbstractBotSession

CHANGE, DELETION = 2, 3
"""Flags of Django's ``LogEntry``."""
MANY = 100
"""Of more sessions than these, a further entry says how many they were."""
MAX_FIELDS = 10


def log(user: Any, sessions: Iterable[AbstractBotSession], flag: int, message: Any) -> None:
    """Note what was done to each of some sessions.

    Args:
        flag: of Django's ``LogEntry``.
        message: as Django's ``LogEntry`` keeps it.
    """
    store(
        user,
        [(type(s), str(s.pk), name_of(s)) for s in sessions],
        flag,
        message,
    )


def log_count(
    user: Any, model: type[AbstractBotSession], count: int, flag: int, message: Any
) -> None:
    """Note what was done to so many sessions."""
    text = ngettext("{n} session", "{n} sessions", count).format(n=count)
    store(user, [(model, None, text)], flag, message)


def store(
    user: Any, objects: Sequence[tuple[Any, str | None, str]], flag: int, message: Any
) -> None:
    if not apps.is_installed("django.contrib.admin") or not isinstance(user, get_user_model()):
        return
    # Without the app, its models cannot even be imported.
    from django.contrib.admin.models import LogEntry  # noqa: PLC0415
    from django.contrib.contenttypes.models import ContentType  # noqa: PLC0415

    LogEntry.objects.bulk_create(
        LogEntry(
            user_id=user.pk,
            content_type=ContentType.objects.get_for_model(model, for_concrete_model=False),
            object_id=object_id,
            object_repr=name[:200],
            action_flag=flag,
            change_message=message if isinstance(message, str) else json.dumps(message),
        )
        for model, object_id, name in objects
    )


def name_of(session: AbstractBotSession) -> str:
    name = f"{session.bot}:{session.name}" if session.name else session.bot
    return gettext("Session {id} of {bot}").format(id=session.pk, bot=name)


def columns_changed(
    before: AbstractBotSession, after: AbstractBotSession, names: Iterable[str]
) -> tuple[str, ...]:
    """Return the columns that differ. Data may be large: nobody looks at it, and it is named."""
    return tuple(
        name for name in names if name == "data" or getattr(before, name) != getattr(after, name)
    )


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
