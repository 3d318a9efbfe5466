from __future__ import annotations

from contextlib import closing
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from botsessions.finding import State
from botsessions.maintenance import tables
from botsessions.maintenance.exporting import count_sessions, export_sessions
from botsessions.maintenance.people import not_searched
from botsessions.management.output import add_output, opened
from botsessions.management.places import refuse_impossible, refuse_misspelt
from botsessions.management.progress import Progress
from botsessions.management.report import sessions
from botsessions.records import dumps
from botsessions.unmigrated import refuse_unmigrated


class Command(BaseCommand):
    help = (
        "Write stored sessions, a line of JSON for each, as import_sessions reads them. "
        "Exit status: 0 all done, also if there are none; 1 an error; 2 wrong usage."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--bot", metavar="ALIAS", help="Only sessions of this bot.")
        parser.add_argument(
            "--fragment", metavar="NAME", dest="name", help="Only this fragment of multi sessions."
        )
        parser.add_argument(
            "--state",
            action="append",
            choices=[state.value for state in State],
            default=[],
            dest="states",
            help="Only those that live for more than a day, expire sooner, or have expired. May be "
            "given twice.",
        )
        parser.add_argument("--database", metavar="ALIAS", help="Only in this database.")
        add_output(parser)

    def handle(self, **options: Any) -> None:
        using, path = options["database"], options["output"]
        which = {name: options[name] for name in ("bot", "name", "states")} | {"using": using}
        try:
            refuse_impossible(options)
            refuse_unmigrated(tables(using))
            refuse_misspelt(options)
            self.name_others(options["bot"], using)
            count = self.write(which, path, shows=options["verbosity"] == 1)
        except ImproperlyConfigured as exc:
            raise CommandError(str(exc)) from exc
        if path and options["verbosity"]:
            self.stdout.write(f"{sessions(count)} written to {path}.")

    def name_others(self, bot: str | None, using: str | None) -> None:
        if places := not_searched(bot=bot, using=using):
            self.stderr.write(
                f"These storages cannot be searched, and are left out: {'; '.join(places)}."
            )

    def write(self, which: dict[str, Any], path: Any, *, shows: bool) -> int:
        shows = shows and path is not None and self.stderr.isatty()
        total = count_sessions(**which) if shows else 0
        count = 0
        with (
            opened(path, self.stdout) as file,
            closing(Progress(self.stderr, "exported", total)) as progress,
        ):
            for session in export_sessions(**which):
                file.write(dumps(session) + "\n")
                count += 1
                progress.advance(1)
        return count
