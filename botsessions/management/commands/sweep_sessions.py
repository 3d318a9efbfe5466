from __future__ import annotations

import re
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser

from botsessions.arguments import check_duration
from botsessions.logs import hide, tokens_hidden
from botsessions.maintenance import (
    Batch,
    Sweep,
    do_what_is_due,
    forget_handled,
    forget_history,
    forget_incidents,
    forget_leases,
)
from botsessions.management.batches import EXIT_STATUS, BatchCommand
from botsessions.management.migration import migration, not_migrated
from botsessions.management.places import refuse_misspelt
from botsessions.management.report import Task, Words

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Command(BatchCommand):
    help = (
        "Delete sessions that have expired: for cron. Safe beside a running bot and twice at once. "
        f"{EXIT_STATUS}"
    )
    besides: Mapping[str, Words] = {
        "done": Words(
            "job or conversation done that was due", "jobs and conversations done that were due"
        ),
        "busy": Words(
            "left for the next sweep because a handler holds it",
            "left for the next sweep because a handler holds them",
        ),
    }

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--idle-for",
            metavar="TIME",
            type=duration,
            help="Also sessions that were not changed for so long, expiring or not, like 90d.",
        )
        parser.add_argument(
            "--migrate",
            action="store_true",
            help="Afterwards bring the others to the newest version, as migrate_sessions does.",
        )

    def tasks(self, options: dict[str, Any]) -> list[Task]:
        names = ("bot", "name", "idle_for", "batch_size", "dry_run")
        sweep = Task(Sweep(**{name: options[name] for name in names}), "sweep", "deleted", "due")
        return [sweep, migration(options)] if options["migrate"] else [sweep]

    def work(self, options: dict[str, Any]) -> None:
        refuse_misspelt(options)
        self.tidy(options, forget_handled, forget_leases, forget_incidents)
        with tokens_hidden():  # Who is told of what has expired may talk to Telegram.
            failed = [] if options["dry_run"] else self.do_what_is_due(options)
            super().work(options)
        self.tidy(options, forget_history)  # Of what was deleted just now, too.
        if failed:
            raise CommandError(f"Something of {', '.join(failed)} is still due: see above.")

    def tidy(self, options: dict[str, Any], *ways: Callable[..., Iterator[Batch]]) -> None:
        """Delete what nobody needs any more in the tables beside the sessions'."""
        for forget in () if options["dry_run"] else ways:
            for _ in forget(options["database"], batch_size=options["batch_size"]):
                pass

    def do_what_is_due(self, options: dict[str, Any]) -> list[str]:
        """Run jobs, and end conversations; return the bots of which some are left."""
        failed = []
        done = 0
        for alias, count, error in do_what_is_due(options["bot"], options["database"]):
            done += count
            if error is not None:
                failed.append(alias)
                self.stderr.write(f"Bot {alias!r}: {type(error).__name__}: {hide(str(error))}")
        self.begun_with = {"done": done}
        return failed

    def unreached(self, options: dict[str, Any]) -> list[str]:
        return not_migrated(options) if options["migrate"] else []


def duration(text: str) -> timedelta:
    match = re.fullmatch(r"(\d+)([smhdw])", text)
    if match is None:
        raise ArgumentTypeError(f"{text!r} is not a time like 90d, 12h, 30m or 2w")
    try:
        length = timedelta(**{UNITS[match[2]]: int(match[1])})
        check_duration("TIME", length)
    except (OverflowError, ValueError):
        raise ArgumentTypeError(f"{text!r} is not from a second to a century") from None
    return length
