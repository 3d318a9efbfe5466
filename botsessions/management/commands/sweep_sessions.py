from __future__ import annotations

import json
import re
import signal
import sys
import time
from argparse import ArgumentTypeError
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from botsessions.maintenance import BATCH_SIZE, Sweep, tables
from botsessions.management.process import on_signal

ENDED_EARLY = 75
"""The exit status for "try again" (``EX_TEMPFAIL`` in sysexits.h)."""
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Command(BaseCommand):
    help = (
        "Delete sessions that have expired: for cron. Safe beside a running bot and twice at once. "
        "Exit status: 0 all done, 1 an error, 2 wrong usage, 75 ended early by --max-seconds or "
        "SIGTERM."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--bot", metavar="ALIAS", help="Only sessions of this bot.")
        parser.add_argument("--name", help="Only this fragment of multi sessions.")
        parser.add_argument(
            "--idle-for",
            metavar="TIME",
            type=duration,
            help="Also sessions that were not changed for so long, expiring or not, like 90d.",
        )
        parser.add_argument(
            "--batch-size",
            metavar="N",
            type=positive,
            default=BATCH_SIZE,
            help="Delete so many in one transaction (default: %(default)s).",
        )
        parser.add_argument("--limit", metavar="N", type=positive, help="Delete at most so many.")
        parser.add_argument(
            "--max-seconds", metavar="S", type=positive, help="Begin no batch after so long."
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="Only count, and delete nothing."
        )
        parser.add_argument("--database", metavar="ALIAS", help="Only in this database.")
        parser.add_argument("--json", action="store_true", help="Print the result as JSON.")

    def handle(self, *, verbosity: int, **options: Any) -> None:
        if options["database"] and options["database"] not in connections:
            raise CommandError(f"There is no database {options['database']!r} in DATABASES.")
        self.stopped = False
        started = time.monotonic()
        with on_signal(self.stop, [signal.SIGTERM]):
            counts = dict(self.swept(verbosity, started, **options))
        result = {
            "dry_run": options["dry_run"],
            "deleted" if not options["dry_run"] else "due": sum(counts.values()),
            "tables": counts,
            "seconds": round(time.monotonic() - started, 3),
            "complete": not self.stopped,
        }
        if options["json"]:
            self.stdout.write(json.dumps(result))
        elif verbosity:
            self.stdout.write(sentence(result))
        if self.stopped:
            sys.exit(ENDED_EARLY)

    def stop(self) -> None:
        self.stopped = True

    def swept(self, verbosity: int, started: float, **options: Any) -> Iterator[tuple[str, int]]:
        left, seconds = options["limit"], options["max_seconds"]
        for model, using in tables(options["database"]):
            sweep = Sweep(
                options["bot"], options["name"], options["idle_for"], options["batch_size"]
            )
            label = f"{using}:{model._meta.db_table}"
            if options["dry_run"]:
                yield label, sweep.count(model, using)
                continue
            deleted = 0
            for batch in sweep.run(model, using, limit=left):
                deleted += batch.done
                left = None if left is None else left - batch.done
                if verbosity > 1:
                    self.stdout.write(f"{label}: {deleted} deleted")
                if seconds is not None and time.monotonic() - started >= seconds:
                    self.stop()
                if self.stopped:
                    break
            yield label, deleted
            if self.stopped:
                return


def sentence(result: dict[str, Any]) -> str:
    if result["dry_run"]:
        return f"{result['due']} sessions would be deleted."
    early = "" if result["complete"] else " Ended early: run it again."
    return f"{result['deleted']} sessions deleted in {result['seconds']:.1f} s.{early}"


def positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return number


def duration(text: str) -> timedelta:
    match = re.fullmatch(r"(\d+)([smhdw])", text)
    if match is None:
        raise ArgumentTypeError(f"{text!r} is not a time like 90d, 12h, 30m or 2w")
    return timedelta(**{UNITS[match[2]]: int(match[1])})
