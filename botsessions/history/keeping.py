"""Keeping what sessions were before they are changed by hand, and what is made of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction
from django.db.models import QuerySet
from django.utils import timezone

from ..bots import all_bots
from ..database.execution import execute
from ..database.history_texts import HistoryTexts
from ..database.sessions_rows import for_column
from ..database.statements import one
from ..finding import fragments
from ..models import AbstractBotSession
from ..storages import DatabaseStorage

KEPT_FOR = timedelta(days=7)
"""So long it can be undone what was changed by hand, where no history is kept."""


@contextmanager
def kept(sessions: QuerySet[Any], by: str = "", *, undoable: bool = True) -> Iterator[None]:
    """Change sessions in a transaction, and keep in it what they were and what they are then.

    Args:
        by: who makes the change, like ``admin:1``.
        undoable: whether that is wanted where no history is kept, too.
    """
    using, model = sessions.db, sessions.model
    if not undoable and not any_history():
        yield
        return
    with transaction.atomic(using=using):
        found = list(sessions.order_by().values_list("pk", "bot", "name"))
        with_history = [pk for pk, bot, name in found if length(bot, name)]
        others = [pk for pk, bot, name in found if not length(bot, name)] if undoable else []
        keep(model, using, with_history)
        keep(model, using, others, until=timezone.now() + KEPT_FOR)
        yield
        keep(model, using, with_history, at=timezone.now(), by=by)


def keep(model: type[AbstractBotSession], using: str, keys: Collection[Any], **values: Any) -> None:
    """Note sessions as they are now, unless that is noted already; see ``HistoryTexts.keep()``."""
    if keys:
        connection = connections[using]
        adapt = connection.ops.adapt_datetimefield_value
        moments = {n: adapt(for_column(v)) for n, v in values.items() if n != "by"}
        statement = HistoryTexts(model, connection).keep(list(keys), **(values | moments))
        execute(connection, one(statement))


def any_history() -> bool:
    """Whether one of the settings' bots keeps a history."""
    return any(length(alias, fragment.name) for alias, fragment in fragments())


def length(bot: str, name: str) -> int:
    """Return how many versions are kept of the sessions of a bot's fragment.

    They are none for a bot that cannot be imported.
    """
    declared = all_bots().get(bot)
    try:
        fragment = declared.fragments.get(name) if declared is not None else None
    except ImproperlyConfigured:
        return 0
    storage = None if fragment is None else fragment.innermost
    return storage.history if isinstance(storage, DatabaseStorage) else 0
