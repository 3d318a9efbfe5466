"""A row that is locked while the handler runs, each update in a thread with a connection.

Options: ``pause``, seconds that the handler takes.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import django

from benchmarks.protocol import OPTIONS, serve

django.setup()

from asgiref.sync import sync_to_async  # noqa: E402 (once Django is set up)
from django.db import transaction  # noqa: E402

from benchmarks.programs.chat_data import ChatData, counted, prepare  # noqa: E402

THREADS = 64


async def main() -> None:
    await sync_to_async(prepare)()
    threads = ThreadPoolExecutor(THREADS)

    async def handle(chat: int) -> None:
        await asyncio.get_running_loop().run_in_executor(threads, count, chat)

    await serve({"Django": django.get_version()}, int, handle, sync_to_async(counted))


def count(chat: int) -> None:
    with transaction.atomic():
        rows = ChatData.objects.select_for_update()
        row, _ = rows.get_or_create(chat=chat, defaults={"data": {"count": 0}})
        if pause := OPTIONS.get("pause"):
            time.sleep(pause)
        row.data["count"] += 1
        row.save()


if __name__ == "__main__":
    asyncio.run(main())
