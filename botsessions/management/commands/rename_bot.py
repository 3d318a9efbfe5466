from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from botsessions.bots import get_bot
from botsessions.incidents.writing import follow_bot
from botsessions.maintenance.people import not_searched
from botsessions.maintenance.renaming import RenameBot, rename_handled
from botsessions.management.batches import EXIT_STATUS
from botsessions.management.places import refuse_unknown_bot
from botsessions.management.renaming import ReaddressCommand
from botsessions.management.report import Task


class Command(ReaddressCommand):
    help = (
        "Give the stored sessions of one alias to another, which the settings have. Run again it "
        f"does the rest. {EXIT_STATUS}"
    )

    def add_place(self, parser: CommandParser) -> None:
        parser.add_argument("old", metavar="OLD", help="The alias that sessions are stored under.")
        parser.add_argument("bot", metavar="NEW", help="The alias in BOTSESSIONS['BOTS'].")
        super().add_place(parser)

    def tasks(self, options: dict[str, Any]) -> list[Task]:
        work = RenameBot(old=options["old"], new=options["bot"], **self.how(options))
        return [Task(work, "rename", "renamed", "renamable")]

    def unreached(self, options: dict[str, Any]) -> list[str]:
        return not_searched(bot=options["bot"])

    def work(self, options: dict[str, Any]) -> None:
        refuse_wrong_names(options["old"], options["bot"])
        if not options["dry_run"]:
            rename_handled(options["old"], options["bot"])
            follow_bot(options["old"], options["bot"])
        super().work(options)


def refuse_wrong_names(old: str, new: str) -> None:
    if old == new:
        raise CommandError(f"{old!r} is the same name.")
    if not new.isdecimal():  # Which a bot without settings has.
        get_bot(new)
    refuse_unknown_bot(old)
