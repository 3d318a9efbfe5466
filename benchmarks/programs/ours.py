"""A bot with a session: each update of a chat counts.

Options: ``lock``; ``pause``, seconds that the handler takes; ``reads``, do not count.
"""

from __future__ import annotations

import asyncio
from typing import Any

import django

from benchmarks.protocol import OPTIONS, serve

django.setup()

from asgiref.sync import sync_to_async  # noqa: E402 (once Django is set up)
from telegram import __version__ as ptb_version  # noqa: E402
from telegram.ext import MessageHandler, filters  # noqa: E402

from benchmarks.programs import updates  # noqa: E402
from botsessions import session  # noqa: E402
from botsessions.management.process import tune  # noqa: E402
from botsessions.models import BotSession  # noqa: E402
from botsessions.testing.offline import OfflineBuilder, OfflineTelegram  # noqa: E402

PAUSE = OPTIONS.get("pause", 0)


async def main() -> None:
    errors: list[Exception] = []

    async def handle(update: Any) -> None:
        await application.process_update(update)
        if errors:
            raise errors[0]

    async def note(update: object, context: Any) -> None:
        errors.append(context.error)

    builder = session(initial=lambda: {"count": 0}).install(
        OfflineBuilder(OfflineTelegram()), lock=OPTIONS.get("lock", "process")
    )
    application = builder.job_queue(None).build()
    application.add_handler(
        MessageHandler(filters.TEXT, do_nothing if "reads" in OPTIONS else count)
    )
    application.add_error_handler(note)
    async with application:
        tune()  # As run_bot does.
        await serve(
            {"Django": django.get_version(), "python-telegram-bot": ptb_version},
            updates.message,
            handle,
            sync_to_async(counted),
        )


async def count(update: Any, context: Any) -> None:
    context.session["count"] += 1
    if PAUSE:
        await asyncio.sleep(PAUSE)


async def do_nothing(update: Any, context: Any) -> None:
    """Leave the session, which has been read, as it is: what a handler sees is stored."""


def counted() -> int:
    rows = BotSession.objects.filter(name="")  # Others are those of the other side.
    return sum(data["count"] for data in rows.values_list("data", flat=True))


if __name__ == "__main__":
    asyncio.run(main())
