from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from botsessions.maintenance.renaming import RenameFragment
from botsessions.management.batches import EXIT_STATUS
from botsessions.management.places import place, refuse_unknown_fragment
from botsessions.management.renaming import ReaddressCommand
from botsessions.management.report import Task


class Command(ReaddressCommand):
    help = (
        "Give the stored sessions of one fragment of a bot to another, which the settings have. "
        f'A single session has the name "". Run again it does the rest. {EXIT_STATUS}'
    )

    def add_place(self, parser: CommandParser) -> None:
        parser.add_argument("old", metavar="OLD", help="The name that sessions are stored under.")
        parser.add_argument("name", metavar="NEW", help="The name that the bot's session has now.")
        parser.add_argument("--bot", metavar="ALIAS", help="Of this bot, if there are several.")
        super().add_place(parser)

    def tasks(self, options: dict[str, Any]) -> list[Task]:
        bot, new = place(options, is_new=True)
        if options["old"] == new:
            raise CommandError(f"{new!r} is the same name.")
        refuse_unknown_fragment(bot, options["old"])
        work = RenameFragment(bot=bot, old=options["old"], new=new, **self.how(options))
        return [Task(work, "rename", "renamed", "renamable")]
