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
from .telling import Telling


@dataclass(frozen=True)
class Sweep:
    """Deletes the sessions that have expired, or have not been changed for long.

    Each batch is a transaction of its own and looks again whether its sessions are still to go, so
    one that was renewed meanwhile stays, and several sweeps may run at once.

    Expired sessions that somebody wants to hear of (``on_expire``, ``session_expired``) come last,
    one by one: told, then deleted. One that could not be told stays, and is among the failures.

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
        return int(self._due(model, using, timezone.now()).count())

    def run(
        self, model: type[AbstractBotSession], using: str, *, limit: int | None = None
    ) -> Iterator[Batch]:
        """Delete what is to go; yield what each batch has done.

        Args:
            limit: delete at most so many.
        """
        now = timezone.now()
        due, telling = self._due(model, using, now), Telling(model, using)
        heard = telling.heard
        if heard is None:
            yield from self._deleted(due, limit)
            return
        heard &= Q(expires_at__lte=now)
        for batch in self._deleted(due.exclude(heard), limit):
            limit = None if limit is None else limit - batch.done
            yield batch
        yield from telling.run(due.filter(heard), self.batch_size, limit)

    def _deleted(self, due: Any, limit: int | None) -> Iterator[Batch]:
        # The index on the expiry finds them; idle ones no index: go through the table once.
        order = "expires_at" if self.idle_for is None else "pk"
        found = due.order_by(order).values_list("pk", order)
        while limit is None or limit > 0:
            size = self.batch_size if limit is None else min(limit, self.batch_size)
            rows = list(found[:size])
            if not rows:
                return
            deleted, _ = due.filter(pk__in=[pk for pk, _ in rows]).delete()
            limit = None if limit is None else limit - deleted
            found = found.filter(**{f"{order}__gte": rows[-1][1]})
            yield Batch(deleted)

    def _due(self, model: type[AbstractBotSession], using: str, now: Any) -> Any:
        due = Q(expires_at__lte=now)
        if self.idle_for is not None:
            due |= Q(updated_at__lte=now - self.idle_for)
        sessions = model._default_manager.using(using).filter(due)
        if self.bot is not None:
            sessions = sessions.filter(bot=self.bot)
        if self.name is not None:
            sessions = sessions.filter(name=self.name)
        return sessions
