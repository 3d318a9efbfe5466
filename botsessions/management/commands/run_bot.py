from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from botsessions.bots import get_bot
from botsessions.ptb.polling import poll


class Command(BaseCommand):
    help = "Run a bot: poll Telegram and let the bot's application handle what comes."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "alias", nargs="?", help="The bot's alias in BOTSESSIONS['BOTS'], if there are several."
        )

    def handle(self, *, alias: str | None, **options: Any) -> None:
        try:
            bot = get_bot(alias)
            if bot.token is None:
                raise ImproperlyConfigured(
                    f"BOTSESSIONS['BOTS'][{bot.alias!r}]['TOKEN'] is missing: set it to the token "
                    "that @BotFather gave you."
                )
            self.stdout.write(f"Bot {bot.alias!r} polls Telegram. Stop it with Ctrl-C.")
            poll(bot)
        except ImproperlyConfigured as exc:
            raise CommandError(str(exc)) from exc
