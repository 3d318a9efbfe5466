"""What a view does: ``with session.edit()`` in a thread, in the thread's connection."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import django

from benchmarks.protocol import serve

django.setup()

from asgiref.sync import sync_to_async  # noqa: E402 (once Django is set up)

from botsessions import session  # noqa: E402
from botsessions.models import BotSession  # noqa: E402

declared = session(initial=lambda: {"count": 0})
declared.installed("bot", "database")


async def main() -> None:
    thread = ThreadPoolExecutor(1)

    async def handle(chat: int) -> None:
        await asyncio.get_running_loop().run_in_executor(thread, count, chat)

    await serve({"Django": django.get_version()}, int, handle, sync_to_async(counted))


def count(chat: int) -> None:
    with declared.edit(chat=chat) as data:
        data["count"] += 1


def counted() -> int:
    return sum(data["count"] for data in BotSession.objects.values_list("data", flat=True))


if __name__ == "__main__":
    asyncio.run(main())
