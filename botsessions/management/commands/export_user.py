from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from botsessions.maintenance.people import export_user
from botsessions.management.people import UserCommand


class Command(UserCommand):
    help = (
        "Write all sessions in which a Telegram user takes part, a line of JSON for each. "
        "Exit status: 0 all done, also if there are none; 1 an error; 2 wrong usage."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--output",
            metavar="FILE",
            type=Path,
            help="Write to a new file that only its owner can read, not to stdout.",
        )

    def handle(self, *, verbosity: int, **options: Any) -> None:
        where, path = self.where(options), options["output"]
        count = 0
        with self.opened(path) as file:
            for session in export_user(options["user"], **where):
                file.write(json.dumps(session, ensure_ascii=False) + "\n")
                count += 1
        if path and verbosity:
            self.stdout.write(f"{count} sessions written to {path}.")

    @contextmanager
    def opened(self, path: Path | None) -> Iterator[Any]:
        """Open the file; what was written of it does not stay if something fails."""
        if path is None:
            yield self.stdout
            return
        try:
            path.touch(0o600, exist_ok=False)
        except OSError as exc:
            raise CommandError(f"{path} cannot be written: {exc.strerror}.") from exc
        try:
            with path.open("w", encoding="utf-8") as file:
                yield file
        except BaseException:
            path.unlink()
            raise
