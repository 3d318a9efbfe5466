from __future__ import annotations

from argparse import ArgumentTypeError
from typing import Any
from urllib.parse import urlsplit

from django.core.management.base import CommandError, CommandParser
from django.urls import NoReverseMatch, reverse

from botsessions.bots import Bot
from botsessions.management.accounts import AccountCommand
from botsessions.ptb.account import set_webhook

MOST_CONNECTIONS = 100
"""So many Telegram opens at most."""


class Command(AccountCommand):
    help = "Have Telegram send the updates of bots to this project, instead of keeping them."
    needs_secret = True

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--url",
            required=True,
            type=base_url,
            help="Where the project is reached from outside, like https://example.com.",
        )
        parser.add_argument(
            "--max-connections",
            metavar="N",
            type=connections,
            help="So many updates Telegram sends at the same time, 1 to 100 (Telegram: 40).",
        )
        parser.add_argument(
            "--drop-pending",
            action="store_true",
            help="Have Telegram forget the updates that wait now.",
        )

    def handle_bot(self, bot: Bot, **options: Any) -> None:
        try:
            path = reverse("botsessions:webhook", args=[bot.alias])
        except NoReverseMatch as exc:
            raise CommandError(
                "The project's URLs have no webhooks: add "
                'path("telegram/", include("botsessions.urls")) to its ROOT_URLCONF.'
            ) from exc
        refuse_twice(options["url"], path)
        url = options["url"] + path
        set_webhook(
            bot,
            url,
            drop_pending=options["drop_pending"],
            max_connections=options["max_connections"],
        )
        if options["verbosity"]:
            self.stdout.write(f"{bot.alias}: Telegram sends updates to {url}")


def refuse_twice(url: str, path: str) -> None:
    """Refuse a URL that has the path of webhooks, or its beginning, already.

    Raises:
        CommandError: it has.
    """
    given = urlsplit(url).path + "/"
    common = path.rstrip("/").rpartition("/")[0] + "/"  # To the webhooks of all bots.
    if given != "/" and (path.startswith(given) or (common != "/" and given.startswith(common))):
        raise CommandError(f"Give --url without {given}: {path} is added to it.")


def base_url(text: str) -> str:
    if not text.startswith(("https://", "http://")):  # A Bot API server of one's own takes both.
        raise ArgumentTypeError(
            f"{text!r} does not begin with https:// (or http://, for a Bot API server of your own)"
        )
    if "?" in text or "#" in text:
        raise ArgumentTypeError(f"{text!r} has a ? or #: give the address of the site alone")
    return text.rstrip("/")


def connections(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if not 1 <= number <= MOST_CONNECTIONS:
        raise ArgumentTypeError(f"{text!r} is not a number from 1 to {MOST_CONNECTIONS}")
    return number
