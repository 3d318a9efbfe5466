"""An update that no handler takes, from its JSON on.

Options: ``sessions``, whether the bot has any.
"""

from __future__ import annotations

import asyncio
from typing import Any

import django

from benchmarks.protocol import OPTIONS, serve

django.setup()

from telegram import Update  # noqa: E402 (once Django is set up)
from telegram import __version__ as ptb_version  # noqa: E402
from telegram.ext import CommandHandler  # noqa: E402

from botsessions import session  # noqa: E402
from botsessions.testing.offline import OfflineBuilder, OfflineTelegram  # noqa: E402


async def main() -> None:
    builder = OfflineBuilder(OfflineTelegram())
    if OPTIONS["sessions"]:
        session(initial=dict).install(builder)
    application = builder.job_queue(None).build()
    application.add_handler(CommandHandler("start", never))
    handled = 0

    async def handle(content: dict[str, Any]) -> None:
        nonlocal handled
        await application.process_update(Update.de_json(content, application.bot))
        handled += 1

    async def counted() -> int:
        return handled

    async with application:
        await serve({"python-telegram-bot": ptb_version}, content, handle, counted)


def content(chat: int) -> dict[str, Any]:
    who = {"id": chat, "first_name": "Maria"}
    message = {
        "message_id": chat,
        "date": 1_700_000_000,
        "text": "hello 🍕",
        "chat": {**who, "type": "private"},
        "from": {**who, "is_bot": False},
    }
    return {"update_id": chat, "message": message}


async def never(update: Update, context: Any) -> None:
    raise AssertionError("No update of these is a command.")


if __name__ == "__main__":
    asyncio.run(main())
