"""A bot with a session: each update of a chat counts.

Options: ``lock``; ``pause``, seconds that the handler takes; ``reads``, do not count; ``kib`` of
text beside the count; ``memory``, keep sessions there; ``history``, keep so many versions;
``fragments``, have three of them, of which the chat's and the user's count and nobody asks for the
lazy one.
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
from botsessions import (  # noqa: E402
    DatabaseStorage,
    MemoryStorage,
    lazy_session,
    multi_session,
    session,
)
from botsessions.keys import per_chat, per_user  # noqa: E402
from botsessions.management.process import tune  # noqa: E402
from botsessions.models import BotSession  # noqa: E402
from botsessions.storages import Address  # noqa: E402
from botsessions.testing.offline import OfflineBuilder, OfflineTelegram  # noqa: E402

PAUSE = OPTIONS.get("pause", 0)
TEXT = "x" * 1024 * OPTIONS.get("kib", 0)
MOST_CHATS = 100_000
BOT = "-".join(["bot", *OPTIONS])
"""Programs with other options may use the same table."""
STORAGE: Any = MemoryStorage() if "memory" in OPTIONS else None
if "history" in OPTIONS:
    STORAGE = DatabaseStorage(history=OPTIONS["history"])


async def main() -> None:
    errors: list[Exception] = []

    async def handle(update: Any) -> None:
        await application.process_update(update)
        if errors:
            raise errors[0]

    async def note(update: object, context: Any) -> None:
        errors.append(context.error)

    builder = declared.install(
        OfflineBuilder(OfflineTelegram()), bot=BOT, lock=OPTIONS.get("lock", "process")
    )
    application = builder.job_queue(None).build()
    application.add_handler(MessageHandler(filters.TEXT, handler))
    application.add_error_handler(note)
    async with application:
        tune()  # As run_bot does.
        await serve(
            {"Django": django.get_version(), "python-telegram-bot": ptb_version},
            updates.message,
            handle,
            counted,
        )


def initial() -> dict[str, Any]:
    return {"count": 0, "text": TEXT} if TEXT else {"count": 0}


async def count(update: Any, context: Any) -> None:
    context.session["count"] += 1
    if PAUSE:
        await asyncio.sleep(PAUSE)


async def count_both(update: Any, context: Any) -> None:
    context.session.chat["count"] += 1
    context.session.user["count"] += 1


async def do_nothing(update: Any, context: Any) -> None:
    """Leave the session, which has been read, as it is: what a handler sees is stored."""


async def counted() -> int:
    if "memory" in OPTIONS:
        stored = await STORAGE.read_many([Address(BOT, "", str(n)) for n in range(MOST_CHATS)])
        return sum(record.value["count"] for record in stored.values())
    return await sync_to_async(counted_in_rows)()


def counted_in_rows() -> int:
    rows = BotSession.objects.filter(bot=BOT).exclude(name="user")
    return sum(data["count"] for data in rows.values_list("data", flat=True))


if "fragments" in OPTIONS:
    declared: Any = multi_session(
        chat=session(initial=initial, get_session_key=per_chat),
        user=session(initial=initial, get_session_key=per_user),
        shared=lazy_session(initial=initial, get_session_key=lambda update: BOT),
    )
    handler = count_both
else:
    declared = session(initial=initial, storage=STORAGE)
    handler = do_nothing if "reads" in OPTIONS else count


if __name__ == "__main__":
    asyncio.run(main())
