from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from botsessions.maintenance.people import count_user, forget_user
from botsessions.management.people import UserCommand
from botsessions.management.report import sessions


class Command(UserCommand):
    help = (
        "Erase all sessions in which a Telegram user takes part. Safe beside a running bot. "
        "Exit status: 0 all done, also if there are none; 1 an error, or not confirmed; "
        "2 wrong usage."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--noinput", "--no-input", action="store_true", help="Do not ask for confirmation."
        )
        parser.add_argument("--dry-run", action="store_true", help="Only count, and erase nothing.")

    def handle(self, *, verbosity: int, **options: Any) -> None:
        user, where = options["user"], self.where(options)
        nothing = f"There is no session of user {user}."
        if options["dry_run"]:
            count = count_user(user, **where)
            self.stdout.write(f"{sessions(count)} would be erased." if count else nothing)
            return
        if not options["noinput"] and (count := count_user(user, **where)):
            self.confirm(count)
        erased = forget_user(user, **where)  # There may be incidents of somebody without sessions.
        if verbosity:
            self.stdout.write(f"{sessions(erased)} erased." if erased else nothing)

    def confirm(self, count: int) -> None:
        """Ask.

        Raises:
            CommandError: the answer is not yes.
        """
        try:
            answer = input(f"Erase {sessions(count)} for ever? Type 'yes' to go on: ")
        except EOFError:
            raise CommandError("Nobody is there to confirm: use --noinput.") from None
        except KeyboardInterrupt:
            answer = ""
        if answer.strip().lower() != "yes":
            raise CommandError("Not confirmed; nothing was erased.")
