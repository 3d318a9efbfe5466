"""Noting what commands do to stored sessions, so that people can see whether they run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import router
from django.utils import timezone

from ..maintenance import Batch
from ..maintenance.batches import unit_of_work
from ..models import MaintenanceRun

KEPT = 100
"""So many runs are remembered of each kind of work."""
PAUSE = 10.0
"""Seconds until a run says again that it goes on."""

Outcome = MaintenanceRun.Outcome


class Note:
    """A run that goes on."""

    def __init__(self, work: str, only: str) -> None:
        self._using = router.db_for_write(MaintenanceRun)
        self._run = MaintenanceRun(work=work, only=only)
        self._next = time.monotonic() + PAUSE
        self._write(self._save)

    def add(self, batch: Batch) -> None:
        """Note what one more batch has done."""
        self._run.done += batch.done
        self._run.left += len(batch.failures)
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + PAUSE
            self._write(self._save)

    def end(self, outcome: str, reason: str = "") -> None:
        self._run.outcome, self._run.reason = outcome, reason
        self._write(self._save)
        self._write(self._forget_others)

    def _write(self, write: Callable[[], Any]) -> None:
        unit_of_work(self._using, write)

    def _save(self) -> None:
        self._run.seen_at = timezone.now()
        self._run.save(using=self._using)

    def _forget_others(self) -> None:
        runs = MaintenanceRun._default_manager.using(self._using).filter(work=self._run.work)
        last = runs.order_by("-pk").values_list("pk", flat=True)[KEPT : KEPT + 1].first()
        if last is not None:
            runs.filter(pk__lte=last).delete()


@contextmanager
def noted(work: str, only: str, is_complete: Callable[[], bool]) -> Iterator[Note]:
    """Note that work begins, and in the end how it went."""
    note = Note(work, only)
    try:
        yield note
    except BaseException as exc:
        note.end(Outcome.FAILED, type(exc).__name__)
        raise
    note.end(Outcome.DONE if is_complete() else Outcome.EARLY)
