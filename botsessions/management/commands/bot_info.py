from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.core.management.base import CommandParser

from botsessions.bots import Bot
from botsessions.logs import hide
from botsessions.management.accounts import AccountCommand
from botsessions.ptb.account import Info, info


class Command(AccountCommand):
    help = "Show what Telegram knows of bots: username, webhook, pending updates, last error."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--json", action="store_true", help="Print a line of JSON for each.")

    def handle_bot(self, bot: Bot, **options: Any) -> None:
        found = info(bot)
        if options["json"]:
            text = json.dumps({"bot": bot.alias} | asdict(found), default=datetime.isoformat)
        else:
            text = f"{bot.alias}: " + "\n  ".join(lines(found))
        self.stdout.write(hide(text))


def lines(found: Info) -> Iterator[str]:
    yield f"@{found.username}, id {found.id}"
    yield f"webhook: {found.webhook or 'none, it has to poll'}"
    yield f"pending updates: {found.pending_updates}"
    if found.last_error:
        yield f"last error: {found.last_error} ({found.last_error_at:%Y-%m-%d %H:%M:%S %Z})"
