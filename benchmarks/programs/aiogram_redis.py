"""aiogram with its Redis storage and its Redis lock, in an environment of its own."""

from __future__ import annotations

import asyncio
from datetime import datetime, timezone
from importlib.metadata import version
from typing import Any

from aiogram import Bot, Dispatcher
from aiogram.fsm.storage.redis import DefaultKeyBuilder, RedisStorage
from aiogram.types import Chat, Message, Update, User

from benchmarks.protocol import serve

DATE = datetime.fromtimestamp(1_700_000_000, timezone.utc)
PREFIX = "botsessions-benchmark"


async def main() -> None:
    storage = RedisStorage.from_url(
        "redis://localhost", key_builder=DefaultKeyBuilder(prefix=PREFIX)
    )
    dispatcher = Dispatcher(storage=storage, events_isolation=storage.create_isolation())
    dispatcher.message()(count)
    bot = Bot("1:x")

    async def handle(update: Update) -> None:
        await dispatcher.feed_update(bot, update)

    async def counted() -> int:
        keys = [key async for key in storage.redis.scan_iter(f"{PREFIX}:*:data")]
        texts = await storage.redis.mget(keys) if keys else []
        return sum(storage.json_loads(text)["count"] for text in texts)

    try:
        await serve({"aiogram": version("aiogram")}, message, handle, counted)
    finally:
        async for key in storage.redis.scan_iter(f"{PREFIX}:*"):
            await storage.redis.delete(key)
        await storage.close()


async def count(message: Message, state: Any) -> None:
    data = await state.get_data()
    await state.set_data({"count": data.get("count", 0) + 1})


def message(chat: int) -> Update:
    return Update(
        update_id=chat,
        message=Message(
            message_id=chat,
            date=DATE,
            chat=Chat(id=chat, type="private", first_name="Maria"),
            from_user=User(id=chat, first_name="Maria", is_bot=False),
            text="hello 🍕",
        ),
    )


if __name__ == "__main__":
    asyncio.run(main())
