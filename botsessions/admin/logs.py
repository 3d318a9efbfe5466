"""Who did what to which sessions, in Django's log. Names of fields stand there, never values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.utils.text import capfirst
from django.utils.translation import ngettext, override

ONE_BY_ONE = 100
"""Of more sessions than these, a single entry says how many."""
MAX_FIELDS = 10


def log_many(
    user: Any, model: Any, sessions: Sequence[Any], count: int, flag: int, message: Any
) -> None:
    """Note what was done to sessions.

    Args:
        sessions: the first of them.
        count: how many they are in all.
        message: as Django's ``LogEntry`` keeps it.
    """
    if not count:
        return
    if count <= ONE_BY_ONE and len(sessions) <= ONE_BY_ONE:
        LogEntry.objects.log_actions(
            user_id=user.pk, queryset=list(sessions), action_flag=flag, change_message=message
        )
        return
    LogEntry.objects.create(
        user_id=user.pk,
        content_type=ContentType.objects.get_for_model(model, for_concrete_model=False),
        object_repr=ngettext("{n} session", "{n} sessions", count).format(n=count),
        action_flag=flag,
        change_message=message if isinstance(message, str) else json.dumps(message),
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
