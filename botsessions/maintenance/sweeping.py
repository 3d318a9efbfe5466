"""Deleting sessions that have expired, or have not been changed for long."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone

from ..models import AbstractBotSession
from .batches import BATCH_SIZE, Batch


@dataclass(frozen=True)
class Sweep:
    """Deletes the sessions that have expired, or have not been changed for long.

    Each batch is a transaction of its own and looks again whether its sessions are still to go, so
    one that was renewed meanwhile stays, and several sweeps may run at once.

    Args:
        bot: only of this alias.
        name: only of this fragment.
        idle_for: besides expired ones, those that were not changed for so long.
        batch_size: how many sessions a transaction deletes.
    """

    bot: str | None = None
    name: str | None = None
    idle_for: timedelta | None = None
    batch_size: int = BATCH_SIZE

    def count(self, model: type[AbstractBotSession], using: str) -> int:
        """Return how many sessions are to go now."""
        return int(self._due(model, using).count())

    def run(
        self, model: type[AbstractBotSession], using: str, *, limit: int | None = None
    ) -> Iterator[Batch]:
        """Delete what is to go; yield what each batch has done.

        Args:
            limit: delete at most so many.
        """
        due = self._due(model, using)
        last = 0
        while limit is None or limit > 0:
            if self.idle_for is None:  # The index on the expiry finds them.
                found = due.order_by("expires_at")
            else:  # No index does: go through the table once.
                found = due.filter(pk__gt=last).order_by("pk")
            size = self.batch_size if limit is None else min(limit, self.batch_size)
            keys = list(found.values_list("pk", flat=True)[:size])
            if not keys:
                return
            deleted, _ = due.filter(pk__in=keys).delete()
            limit = None if limit is None else limit - deleted
            last = max(keys)
            yield Batch(deleted)

    def _due(self, model: type[AbstractBotSession], using: str) -> Any:
        now = timezone.now()
        due = Q(expires_at__lte=now)
        if self.idle_for is not None:
            due |= Q(updated_at__lte=now - self.idle_for)
        sessions = model._default_manager.using(using).filter(due)
        if self.bot is not None:
            sessions = sessions.filter(bot=self.bot)
        if self.name is not None:
            sessions = sessions.filter(name=self.name)
        return sessions
