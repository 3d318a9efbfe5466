"""Deleting sessions that have expired, or have not been changed for long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone

from ..arguments import check_duration
from ..busy import busy, left
from ..due import JOB, coming_due
from ..models import AbstractBotSession
from .batches import (
    BATCH_SIZE,
    Batch,
    Row,
    check_choice,
    delete_unlocked,
    next_rows,
    unit_of_work,
    with_keys,
)
from .telling import Telling


@dataclass(frozen=True)
class Sweep:
    """Deletes the sessions that have expired, or have not been changed for long.

    Each batch is a transaction of its own and looks again whether its sessions are still to go, so
    one that was renewed meanwhile stays, and several sweeps may run at once. One whose key somebody
    holds is left for the next sweep: a batch counts these as ``busy``.

    Expired sessions that somebody wants to hear of (``on_expire``, ``session_expired``) come last,
    one by one: told, then deleted, with their keys held. One that could not be told stays, and is
    among the failures.

    Args:
        bot: only of this alias.
        name: only of this fragment.
        idle_for: besides expired ones, those that were not changed for so long.
        batch_size: how many sessions a transaction deletes.
        dry_run: only count.
    """

    bot: str | None = None
    name: str | None = None
    idle_for: timedelta | None = None
    batch_size: int = BATCH_SIZE
    dry_run: bool = False

    def __post_init__(self) -> None:
        check_choice(self.bot, self.name, self.batch_size)
        if self.idle_for is not None:
            check_duration("idle_for", self.idle_for)

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
        if self.dry_run:
            count = self.count(model, using)
            yield Batch(count if limit is None else min(count, limit))
            return
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
        due = due.defer("data")
        last: Row | None = None
        while limit is None or limit > 0:
            size = self.batch_size if limit is None else min(limit, self.batch_size)
            # No index finds idle ones: go through the table once.
            rows = unit_of_work(due.db, next_rows, due, size, last, self.idle_for is None)
            if not rows:
                return
            batch = unit_of_work(due.db, delete_free, due, rows)
            limit = None if limit is None else limit - batch.done
            last = rows[-1]
            yield batch

    def _due(self, model: type[AbstractBotSession], using: str, now: Any) -> Any:
        # What comes due is not to be deleted, but to be done: see do_what_is_due().
        due = Q(expires_at__lte=now) & ~coming_due()
        if self.idle_for is not None:
            # A job may wait for longer.
            due |= Q(updated_at__lte=now - self.idle_for) & ~Q(name__startswith=JOB)
        sessions = model._default_manager.using(using).filter(due)
        if self.bot is not None:
            sessions = sessions.filter(bot=self.bot)
        if self.name is not None:
            sessions = sessions.filter(name=self.name)
        return sessions


def delete_free(due: Any, rows: Sequence[Row]) -> Batch:
    """Delete those of ``rows`` that are due still, and that nobody holds or has locked.

    A handler that has read one before it was due holds its key still, or has written it.
    """
    held = busy([row.address for row in rows], due.db)
    keys = [row.pk for row in rows if row.address not in held]
    done = delete_unlocked(due, keys)
    locked = with_keys(due, keys).count() if done < len(keys) else 0
    return Batch(done, besides=left(len(held) + locked))
