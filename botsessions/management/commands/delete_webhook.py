from typing import Any

from django.core.management.base import CommandParser

from botsessions.bots import Bot
from botsessions.management.accounts import AccountCommand
from botsessions.ptb.account import delete_webhook


class Command(AccountCommand):
    help = "Have Telegram keep the updates of bots until somebody polls."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--drop-pending",
            action="store_true",
            help="Have Telegram forget the updates that wait now.",
        )

    def handle_bot(self, bot: Bot, **options: Any) -> None:
        delete_webhook(bot, drop_pending=options["drop_pending"])
        if options["verbosity"]:
            self.stdout.write(f"{bot.alias}: Telegram keeps updates until somebody polls.")
