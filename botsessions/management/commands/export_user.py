from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandParser

from botsessions.maintenance.people import export_incidents, export_user
from botsessions.management.output import add_output, opened
from botsessions.management.people import UserCommand
from botsessions.management.report import sessions


class Command(UserCommand):
    help = (
        "Write all sessions in which a Telegram user takes part, a line of JSON for each, and "
        "incidents of these lately. "
        "Exit status: 0 all done, also if there are none; 1 an error; 2 wrong usage."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        add_output(parser)

    def handle(self, *, verbosity: int, **options: Any) -> None:
        where, path = self.where(options), options["output"]
        count = 0
        with opened(path, self.stdout) as file:
            for session in export_user(options["user"], **where):
                file.write(json.dumps(session, ensure_ascii=False) + "\n")
                count += 1
            for incident in export_incidents(options["user"], **where):
                file.write(json.dumps(incident, ensure_ascii=False) + "\n")
        if path and verbosity:
            self.stdout.write(f"{sessions(count)} written to {path}.")
