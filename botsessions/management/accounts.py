"""Commands that ask or tell Telegram something about bots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ..bots import Bot, all_bots, get_bot
from ..logs import tokens_hidden
from ..ptb.account import TelegramRefused


class AccountCommand(BaseCommand):
    """A command for one bot or several; if one of them fails the others have their turn."""

    needs_secret = False
    """Whether it is only for bots with a ``WEBHOOK_SECRET``."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "aliases",
            nargs="*",
            metavar="alias",
            help=f"A bot's alias in BOTSESSIONS['BOTS']. Without one: all bots with {self.needed}.",
        )

    def handle(self, *, aliases: Sequence[str], **options: Any) -> None:
        failed = False
        with tokens_hidden():
            for bot in self.chosen(aliases):
                try:
                    self.handle_bot(bot, **options)
                except (ImproperlyConfigured, TelegramRefused) as exc:
                    failed = True
                    self.stderr.write(f"{bot.alias}: {exc}")
        if failed:
            raise CommandError("Not every bot could be served: see above.")

    def handle_bot(self, bot: Bot, **options: Any) -> None:
        """Do what the command is for.

        Raises:
            ImproperlyConfigured: the bot's settings are wrong.
            TelegramRefused: Telegram did not take part.
        """
        raise NotImplementedError

    def chosen(self, aliases: Sequence[str]) -> list[Bot]:
        try:
            bots = [get_bot(alias) for alias in dict.fromkeys(aliases)]
        except ImproperlyConfigured as exc:
            raise CommandError(str(exc)) from exc
        for bot in bots:
            if missing := next(self.missing(bot), None):
                raise CommandError(f"Set BOTSESSIONS['BOTS'][{bot.alias!r}][{missing!r}] first.")
        bots = bots or [
            bot
            for bot in all_bots().values()
            if not any(self.missing(bot)) and not bot.is_elsewhere
        ]
        if not bots:
            raise CommandError(f"BOTSESSIONS['BOTS'] declares no bot with {self.needed}.")
        return bots

    @property
    def needed(self) -> str:
        return "a TOKEN and a WEBHOOK_SECRET" if self.needs_secret else "a TOKEN"

    def missing(self, bot: Bot) -> Iterator[str]:
        if not bot.token:
            yield "TOKEN"
        if self.needs_secret and not bot.webhook_secret:
            yield "WEBHOOK_SECRET"
