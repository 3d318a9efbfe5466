"""Forgetting which updates the webhooks have handled."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.db import router
from django.db.models.functions import Now

from ..models import HandledUpdate
from .batches import BATCH_SIZE, Batch

DELIVERED_FOR = timedelta(hours=24)
"""For so long Telegram delivers an update again that was not answered."""


def forget_handled(using: str | None = None, *, batch_size: int = BATCH_SIZE) -> Iterator[Batch]:
    """Delete the rows of updates that Telegram does not deliver any more.

    Args:
        using: only if they are kept in this database.
        batch_size: how many a transaction deletes.
    """
    kept_in = router.db_for_write(HandledUpdate)
    if using not in (None, kept_in):
        return
    updates = HandledUpdate._default_manager.using(kept_in)
    due = updates.filter(claimed_until__lt=Now() - DELIVERED_FOR)
    last = 0  # Once through the table: no index finds them.
    while keys := list(
        due.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:batch_size]
    ):
        deleted, _ = due.filter(pk__in=keys).delete()
        last = keys[-1]
        yield Batch(deleted)
