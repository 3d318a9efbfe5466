"""What commands that work on many stored sessions have in common."""

from __future__ import annotations

import signal
import sys
import time
from argparse import ArgumentTypeError
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from functools import partial
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import reset_queries

from ..maintenance import BATCH_SIZE, Batch, Failure, Work, tables
from ..models import (
    AbstractBotSession,
    BotSessionLease,
    HandledUpdate,
    Incident,
    MaintenanceRun,
)
from ..unmigrated import refuse_unmigrated, routed
from .places import refuse_impossible
from .process import on_signal
from .progress import Progress
from .report import Part, Report, Task, Words, sessions
from .runs import Note, noted

ENDED_EARLY = 75
"""The exit status for "try again" (``EX_TEMPFAIL`` in sysexits.h)."""
EXIT_STATUS = (
    "Exit status: 0 all done, 1 an error or sessions that were left as they were, 2 wrong usage, "
    "75 ended early by --max-seconds or SIGTERM."
)
BESIDE_SESSIONS = (BotSessionLease, HandledUpdate, Incident, MaintenanceRun)
LARGEST_BATCH = 10_000
NAMED = 100
"""So many failures are named unless more is asked for; the others are counted."""


class BatchCommand(BaseCommand):
    """Base of a command that does one task after the other, in batches that SIGTERM ends."""

    besides: Mapping[str, Words] = {}
    """What :attr:`Batch.besides` may name."""
    begun_with: Mapping[str, int] = {}
    """How many there were of :attr:`besides` before the tasks."""
    batch_size = BATCH_SIZE
    """So many sessions, unless somebody asks for another number."""

    def tasks(self, options: dict[str, Any]) -> list[Task]:
        raise NotImplementedError

    def tables(self, options: dict[str, Any]) -> list[tuple[type[AbstractBotSession], str]]:
        """Return the tables of sessions that the command is for."""
        return tables(options["database"])

    def unreached(self, options: dict[str, Any]) -> list[str]:
        """Return which sessions the tasks do not reach, and why."""
        return []

    def add_arguments(self, parser: CommandParser) -> None:
        self.add_place(parser)
        parser.add_argument(
            "--batch-size",
            metavar="N",
            type=batch_size,
            default=self.batch_size,
            help=f"So many in one transaction (default: %(default)s, at most {LARGEST_BATCH}).",
        )
        parser.add_argument("--limit", metavar="N", type=positive, help="Do it to at most so many.")
        parser.add_argument(
            "--max-seconds", metavar="S", type=positive, help="Begin no batch after so long."
        )
        parser.add_argument("--dry-run", action="store_true", help="Write nothing.")
        parser.add_argument("--json", action="store_true", help="Print the result as JSON.")

    def add_place(self, parser: CommandParser) -> None:
        """Add the options ``bot``, ``name`` and ``database``."""
        parser.add_argument("--bot", metavar="ALIAS", help="Only sessions of this bot.")
        parser.add_argument(
            "--fragment", metavar="NAME", dest="name", help="Only this fragment of multi sessions."
        )
        parser.add_argument("--database", metavar="ALIAS", help="Only in this database.")

    def handle(self, **options: Any) -> None:
        try:
            refuse_impossible(options)
            refuse_unmigrated([*self.tables(options), *routed(*BESIDE_SESSIONS)])
            self.work(options)
        except ImproperlyConfigured as exc:
            raise CommandError(str(exc)) from exc

    def work(self, options: dict[str, Any]) -> None:
        tasks, verbosity = self.tasks(options), options["verbosity"]
        counts = {task.done: 0 for task in tasks}
        besides = {**dict.fromkeys(self.besides, 0), **self.begun_with}
        self.report = Report(options["dry_run"], counts, besides)
        self.report.unreached = self.unreached(options)
        self.told = started = time.monotonic()
        self.until = started + options["max_seconds"] if options["max_seconds"] else None
        with on_signal(self.stop, [signal.SIGTERM]):
            for task in tasks:
                with self.noted(task, options) as note:
                    self.carry_out(task, options, note)
        self.report.seconds = time.monotonic() - started
        if self.report.failed > NAMED and verbosity < 2:
            others = self.report.failed - NAMED
            self.stderr.write(f"And {others} others, which --verbosity 2 names.")
        if options["json"]:
            self.stdout.write(self.report.as_json(tasks))
        elif verbosity:
            self.stdout.write(self.report.sentence(self.besides))
        if not self.report.complete:
            sys.exit(ENDED_EARLY)
        if self.report.failed:
            raise CommandError(f"{sessions(self.report.failed)} could not be handled: see above.")

    def stop(self) -> None:
        """End after the batch that is under way."""
        self.report.complete = False

    def noted(self, task: Task, options: dict[str, Any]) -> AbstractContextManager[Note | None]:
        """Note that a task is carried out, unless it is not."""
        if options["dry_run"]:
            return nullcontext()
        only = ":".join(options[name] for name in ("bot", "name") if options.get(name))
        return noted(task.name, only, lambda: self.report.complete)

    def carry_out(self, task: Task, options: dict[str, Any], note: Note | None) -> None:
        for part in self.parts(task, options):
            self.report.tables.setdefault(part.label, 0)
            limit = self.left(options)
            if limit == 0 or not self.report.complete:
                continue
            shows = options["verbosity"] == 1 and self.stderr.isatty()
            total = part.count() if shows else 0
            if limit is not None:
                total = min(total, limit)
            with closing(Progress(self.stderr, task.done, total)) as progress:
                for batch in self.timely(part.run(limit=limit)):
                    if batch.failures:
                        progress.close()
                    if note is not None:
                        note.add(batch)
                    self.tell(task, part.label, batch, options)
                    others = len(batch.failures) + sum(batch.besides.values())
                    progress.advance(batch.done + others)

    def parts(self, task: Task, options: dict[str, Any]) -> Iterator[Part]:
        """Yield the tables."""
        for model, using in self.tables(options):
            label = f"{using}:{model._meta.db_table}"
            work: Work = task.work
            yield Part(label, partial(work.count, model, using), partial(work.run, model, using))

    def left(self, options: dict[str, Any]) -> int | None:
        """Return how many sessions the limit leaves."""
        limit: int | None = options["limit"]
        return None if limit is None else max(0, limit - sum(self.report.counts.values()))

    def timely(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Yield batches until there are no more, or it is time to stop."""
        for batch in batches:
            yield batch
            if settings.DEBUG:  # Django would keep all statements.
                reset_queries()
            if self.until is not None and time.monotonic() >= self.until:
                self.stop()
            if not self.report.complete:
                return

    def tell(self, task: Task, label: str, batch: Batch, options: dict[str, Any]) -> None:
        for failure in batch.failures:
            self.report.failed += 1
            if self.report.failed <= NAMED or options["verbosity"] > 1:
                self.name(failure, options["verbosity"])
        self.report.counts[task.done] += batch.done
        for name, number in batch.besides.items():
            self.report.besides[name] += number
        self.report.tables[label] += batch.done
        if options["verbosity"] > 1:
            now = time.monotonic()
            took = f", the last {batch.done} in {now - self.told:.3f} s"
            self.told = now
            line = f"{label}: {self.report.counts[task.done]} {task.done}"
            self.stdout.write(line + (took if options["verbosity"] > 2 else ""))

    def name(self, failure: Failure, verbosity: int) -> None:
        told = f" {failure.told}" if failure.told and verbosity > 1 else ""
        self.stderr.write(f"Session {failure.address}: {failure.reason}{told}")


def positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return number


def batch_size(text: str) -> int:
    number = positive(text)
    if number > LARGEST_BATCH:
        raise ArgumentTypeError(f"{text!r} is above {LARGEST_BATCH}")
    return number
