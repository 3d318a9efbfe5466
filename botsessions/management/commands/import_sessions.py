from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.core.management.base import CommandError, CommandParser

from botsessions.maintenance import tables
from botsessions.maintenance.importing import Import
from botsessions.maintenance.origins import Origin, OriginError
from botsessions.management.batches import EXIT_STATUS, BatchCommand
from botsessions.management.origins import add_arguments, origin
from botsessions.management.report import Part, Task, Words
from botsessions.models import AbstractBotSession


class Command(BatchCommand):
    help = (
        "Bring in sessions that another library has stored, or that export_sessions has written. "
        "Nothing goes in the place of a session that may be newer; run again it does the rest. "
        f"{EXIT_STATUS}"
    )
    besides: Mapping[str, Words] = {
        "replaced": Words("put in the place of an older one", "put in the place of older ones"),
        "same": Words("there already", "there already"),
        "kept": Words("left out because another is stored", "left out because another is stored"),
        "busy": Words(
            "left for the next run because a handler holds it",
            "left for the next run because handlers hold them",
        ),
        "expired": Words("left out because it has expired", "left out because they have expired"),
        "empty": Words("left out because it is empty", "left out because they are empty"),
    }

    def add_arguments(self, parser: CommandParser) -> None:
        add_arguments(parser)
        super().add_arguments(parser)

    def add_place(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--bot",
            metavar="ALIAS",
            help="The bot that they are for, if there are several; of JSON lines, only its own.",
        )
        parser.add_argument(
            "--fragment",
            metavar="NAME",
            dest="name",
            help="The fragment that they are for, of a multi session; of JSON lines, only its own.",
        )
        parser.add_argument(
            "--database", metavar="ALIAS", help="Where the table of another library is (default)."
        )

    def handle(self, **options: Any) -> None:
        try:
            super().handle(**options)
        except OriginError as exc:
            raise CommandError(str(exc)) from exc

    def tables(self, options: dict[str, Any]) -> list[tuple[type[AbstractBotSession], str]]:
        return tables()

    def tasks(self, options: dict[str, Any]) -> list[Task]:
        self.origin: Origin = origin(options)
        work = Import(
            self.origin,
            batch_size=options["batch_size"],
            dry_run=options["dry_run"],
            versions=not options["drop_versions"],
        )
        return [Task(work, "import", "imported", "importable")]

    def unreached(self, options: dict[str, Any]) -> list[str]:
        return self.origin.left_out()

    def parts(self, task: Task, options: dict[str, Any]) -> Iterator[Part]:
        yield Part(str(self.origin), task.work.count, task.work.run)
