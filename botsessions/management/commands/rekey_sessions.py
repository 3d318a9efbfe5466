from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils.module_loading import import_string

from botsessions.maintenance.declared import declared
from botsessions.maintenance.ids import Keying
from botsessions.maintenance.renaming import Rekey
from botsessions.management.batches import EXIT_STATUS
from botsessions.management.places import place
from botsessions.management.renaming import ReaddressCommand
from botsessions.management.report import Task
from botsessions.sources import updates_only


class Command(ReaddressCommand):
    help = (
        "Give stored sessions the keys that their fragment's key function gives now. The ids that "
        "these are made of are found in the old keys by the old function. Run again it does the "
        f"rest. {EXIT_STATUS}"
    )

    def add_place(self, parser: CommandParser) -> None:
        parser.add_argument(
            "old",
            metavar="OLD",
            help="The key function that has made the keys: one of botsessions.keys, or a dotted "
            "path.",
        )
        parser.add_argument("--bot", metavar="ALIAS", help="Of this bot, if there are several.")
        parser.add_argument(
            "--fragment", metavar="NAME", dest="name", help="Of this fragment of a multi session."
        )
        super().add_place(parser)

    def tasks(self, options: dict[str, Any]) -> list[Task]:
        bot, name = place(options)
        fragment = declared(bot, name)
        assert fragment is not None
        old, new = imported(options["old"]), Keying(fragment.get_session_key)
        for keying in (old, new):
            if keying.known is None:
                raise CommandError(updates_only(keying.function))
        work = Rekey(bot=bot, name=name, old=old, new=new, **self.how(options))
        return [Task(work, "rekey", "rekeyed", "rekeyable")]


def imported(path: str) -> Keying:
    try:
        function = import_string(path if "." in path else f"botsessions.keys.{path}")
    except (ImportError, TypeError, ValueError) as exc:  # The latter for ".", and the like.
        raise CommandError(f"There is no key function {path}: {exc}.") from exc
    try:
        return Keying(function)
    except (TypeError, ValueError) as exc:
        raise CommandError(f"{path} is no key function: {exc}.") from exc
