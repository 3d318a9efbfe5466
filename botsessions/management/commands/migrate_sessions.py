from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from django.core.management.base import CommandParser

from botsessions.bots import get_bot
from botsessions.maintenance import Versions, tables, versions
from botsessions.management.batches import EXIT_STATUS, BatchCommand
from botsessions.management.migration import migration, not_migrated
from botsessions.management.places import refuse_misspelt
from botsessions.management.report import Task


class Command(BatchCommand):
    help = (
        "Bring stored sessions to the newest version, by the migrations that the bots declare. "
        "Safe beside a running bot and twice at once; run again it does the rest. "
        f"{EXIT_STATUS}"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--plan", action="store_true", help="Only count sessions by version, and where they go."
        )

    def tasks(self, options: dict[str, Any]) -> list[Task]:
        return [migration(options)]

    def unreached(self, options: dict[str, Any]) -> list[str]:
        return not_migrated(options)

    def work(self, options: dict[str, Any]) -> None:
        refuse_misspelt(options)
        if options["plan"]:
            return self.show_plan(options)
        if options["bot"]:
            get_bot(options["bot"])  # Of another one there are no migrations.
        return super().work(options)

    def show_plan(self, options: dict[str, Any]) -> None:
        chosen = {name: options[name] for name in ("bot", "name")}
        plan = [
            line for table in tables(options["database"]) for line in versions(*table, **chosen)
        ]
        if options["json"]:
            self.stdout.write(json.dumps({"plan": [as_json(line) for line in plan]}))
            return
        rows = [("bot", "fragment", "version", "sessions", ""), *map(as_row, plan)]
        for line in aligned(rows):
            self.stdout.write(line)
        for what in self.unreached(options):
            self.stdout.write(f"Not counted: {what}")


def as_json(line: Versions) -> dict[str, Any]:
    numbers = {"version": line.version, "newest": line.newest}
    texts = {name: None if number is None else str(number) for name, number in numbers.items()}
    return line._asdict() | texts | {"way": line.way}


def as_row(line: Versions) -> tuple[str, ...]:
    version = "none" if line.version is None else str(line.version)
    return line.bot, line.name, version, f"{line.sessions:,}", WAYS[line.way].format(line.newest)


WAYS = {
    "migrate": "to be migrated to {}",
    "newest": "as the code has it",
    "newer": "newer than the code: left as it is",
    "undeclared": "not declared in the settings: left as it is",
}


def aligned(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Return lines with the columns of ``rows`` below each other."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
