from __future__ import annotations

import re
from argparse import ArgumentTypeError
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandParser

from botsessions.logs import tokens_hidden
from botsessions.maintenance import Sweep, forget_handled, forget_incidents, forget_leases
from botsessions.management.batches import EXIT_STATUS, BatchCommand
from botsessions.management.migration import migration, not_migrated
from botsessions.management.report import Task

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Command(BatchCommand):
    help = (
        "Delete sessions that have expired: for cron. Safe beside a running bot and twice at once. "
        f"{EXIT_STATUS}"
    )
    besides: Mapping[str, str] = {"busy": "left for the next sweep because a handler holds them"}

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
        if not options["dry_run"]:
            for forget in (forget_handled, forget_leases, forget_incidents):
                for _ in forget(options["database"], batch_size=options["batch_size"]):
                    pass
        with tokens_hidden():  # Who is told of what has expired may talk to Telegram.
            super().work(options)

    def unreached(self, options: dict[str, Any]) -> list[str]:
        return not_migrated(options) if options["migrate"] else []


def duration(text: str) -> timedelta:
    match = re.fullmatch(r"(\d+)([smhdw])", text)
    if match is None:
        raise ArgumentTypeError(f"{text!r} is not a time like 90d, 12h, 30m or 2w")
    return timedelta(**{UNITS[match[2]]: int(match[1])})
