"""When commands last worked on stored sessions, and how it went."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connections, router
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Max

from ..models import MaintenanceRun

WORKS = ("sweep", "migrate")
"""What is to be done again and again, so that people ask for it also if it was never done."""
SILENT = timedelta(minutes=10)
"""A run that was not seen for so long has been killed."""


@dataclass(frozen=True)
class Run:
    """One run of a command."""

    work: str
    only: str
    """The bot and fragment that it was for, if not for all."""
    outcome: str
    """As ``MaintenanceRun`` has it, or ``"killed"``."""
    reason: str
    started_at: datetime
    seconds: float
    done: int
    left: int

    @property
    def went_well(self) -> bool:
        return self.outcome in ("done", "early", "running")


def last_runs(now: datetime) -> dict[str, Run | None]:
    """Return the last run of each kind of work, also of kinds that only newer code knows."""
    rows = MaintenanceRun._default_manager.using(router.db_for_read(MaintenanceRun))
    newest = rows.values("work").annotate(newest=Max("pk")).values("newest")
    found: dict[str, Run | None] = dict.fromkeys(WORKS)
    for row in rows.filter(pk__in=newest).order_by("work"):
        found[row.work] = run_of(row, now)
    return found


def noted_since() -> datetime | None:
    """Return when the table of runs was made, if Django's migrations know."""
    recorder = MigrationRecorder(connections[router.db_for_read(MaintenanceRun)])
    if not recorder.has_table():
        return None
    made = recorder.migration_qs.filter(app="botsessions", name="0006_maintenance_run")
    return made.values_list("applied", flat=True).first()


def run_of(row: MaintenanceRun, now: datetime) -> Run:
    killed = row.outcome == MaintenanceRun.Outcome.RUNNING and now - row.seen_at > SILENT
    return Run(
        row.work,
        row.only,
        "killed" if killed else row.outcome,
        row.reason,
        row.started_at,
        (row.seen_at - row.started_at).total_seconds(),
        row.done,
        row.left,
    )
