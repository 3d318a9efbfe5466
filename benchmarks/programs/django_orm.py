"""Django's asynchronous ORM, plain: one get and one save."""

from __future__ import annotations

import asyncio

import django

from benchmarks.protocol import serve

django.setup()

from asgiref.sync import sync_to_async  # noqa: E402 (once Django is set up)

from benchmarks.programs.chat_data import ChatData, counted, prepare  # noqa: E402


async def main() -> None:
    await sync_to_async(prepare)()
    await serve({"Django": django.get_version()}, int, count, sync_to_async(counted))


async def count(chat: int) -> None:
    row, _ = await ChatData.objects.aget_or_create(chat=chat, defaults={"data": {"count": 0}})
    row.data["count"] += 1
    await row.asave()


if __name__ == "__main__":
    asyncio.run(main())
