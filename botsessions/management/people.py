"""What the commands about a Telegram user have in common."""

from __future__ import annotations

from argparse import ArgumentTypeError
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from botsessions.maintenance import tables
from botsessions.maintenance.people import not_searched
from botsessions.models import Incident
from botsessions.records import MAX_ID
from botsessions.unmigrated import refuse_unmigrated, routed

from .places import refuse_impossible, refuse_misspelt


class UserCommand(BaseCommand):
    """A command for one Telegram user."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "user", metavar="ID", type=user_id, help="Telegram's id of the user: a number."
        )
        parser.add_argument("--bot", metavar="ALIAS", help="Only sessions of this bot.")
        parser.add_argument("--database", metavar="ALIAS", help="Only in this database.")

    def where(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return where to look; say on stderr which storages cannot be searched.

        Raises:
            CommandError: there is no such bot or database, or the settings are wrong.
        """
        where = {"bot": options["bot"], "using": options["database"]}
        try:
            refuse_impossible(options)
            refuse_unmigrated([*tables(options["database"]), *routed(Incident)])
            refuse_misspelt(options)
            places = not_searched(**where)
        except ImproperlyConfigured as exc:
            raise CommandError(str(exc)) from exc
        if places:
            self.stderr.write(
                "These storages cannot be searched. Of them only sessions count that the user's id "
                f"alone leads to: {'; '.join(places)}."
            )
        return where


def user_id(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if not 1 <= number <= MAX_ID:
        raise ArgumentTypeError(
            f"{text!r} is no user's id, which is a whole number above 0 and at most {MAX_ID}"
        )
    return number
