"""Deleting rows beside the sessions that nobody needs any more."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.db import router
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from ..finding import any_of
from ..incidents.writing import incidents
from ..models import AbstractBotSession, BotSessionLease, HandledUpdate, HistoryEntry
from .batches import BATCH_SIZE, Batch, delete_unlocked, unit_of_work
from .tables import tables

DELIVERED_FOR = timedelta(hours=24)
"""For so long Telegram delivers an update again that was not answered."""
FREE_FOR = timedelta(hours=24)
"""After so long a key's lease is as good as one that never was."""

TOLD_FOR = timedelta(days=30)
"""For so long an incident is kept."""


def forget_handled(using: str | None = None, *, batch_size: int = BATCH_SIZE) -> Iterator[Batch]:
    """Delete the rows of updates that Telegram does not deliver any more.

    Args:
        using: only if they are kept in this database.
        batch_size: how many a transaction deletes.
    """
    kept_in = router.db_for_write(HandledUpdate)
    if using in (None, kept_in):
        updates = HandledUpdate._default_manager.using(kept_in)
        yield from deleted(updates.filter(claimed_until__lt=ago(DELIVERED_FOR)), batch_size)


def forget_leases(using: str | None = None, *, batch_size: int = BATCH_SIZE) -> Iterator[Batch]:
    """Delete the rows of session keys that nobody has held for long (``LOCK="database"``).

    Args:
        using: only in this database.
        batch_size: how many a transaction deletes.
    """
    kept_in = {alias for _, alias in tables()} | {router.db_for_write(BotSessionLease)}
    for alias in sorted(kept_in if using is None else kept_in & {using}):
        leases = BotSessionLease._default_manager.using(alias)
        yield from deleted(leases.filter(ends_at__lt=ago(FREE_FOR)), batch_size)


def forget_incidents(using: str | None = None, *, batch_size: int = BATCH_SIZE) -> Iterator[Batch]:
    """Delete incidents of long ago.

    Args:
        using: only if they are kept in this database.
        batch_size: how many a transaction deletes.
    """
    rows = incidents()
    if using in (None, rows.db):
        yield from deleted(rows.filter(last_at__lt=timezone.now() - TOLD_FOR), batch_size)


def forget_history(using: str | None = None, *, batch_size: int = BATCH_SIZE) -> Iterator[Batch]:
    """Delete what sessions were that are no longer there, and what could be undone for long enough.

    Args:
        using: only in this database.
        batch_size: how many a transaction deletes.
    """
    by_database: dict[str, list[type[AbstractBotSession]]] = {}
    for model, alias in tables(using):
        by_database.setdefault(alias, []).append(model)
    for alias, models in by_database.items():
        gone = any_of(
            Q(
                ~Exists(model._default_manager.using(alias).filter(pk=OuterRef("session_id"))),
                table=model._meta.db_table,
            )
            for model in models
        )
        entries = HistoryEntry._default_manager.using(alias)
        due = entries.filter(gone | Q(kept_until__lt=timezone.now()))
        yield from deleted(due, batch_size)


def ago(age: timedelta) -> int:
    """Return the time as in the tables. Of a day it is no matter whose clock it is."""
    return round((time.time() - age.total_seconds()) * 1000)


def deleted(due: Any, batch_size: int) -> Iterator[Batch]:
    """Delete rows, going through their table once: no index finds them.

    One that somebody has locked is left to the next time.
    """
    keys: list[Any] = []
    while keys := unit_of_work(due.db, next_keys, due, keys, batch_size):
        yield Batch(unit_of_work(due.db, delete_unlocked, due, keys))


def next_keys(due: Any, last: list[Any], size: int) -> list[Any]:
    rows = due.filter(pk__gt=last[-1]) if last else due
    return list(rows.order_by("pk").values_list("pk", flat=True)[:size])
