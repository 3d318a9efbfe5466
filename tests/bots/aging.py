"""A bot whose sessions are swept and migrated meanwhile: ``python -m tests.bots.aging``.

People of the chats up to ``CHATS`` talk to it at random. It says ``busy`` once it is, ends when its
standard input is closed, and prints in JSON how many updates of each chat it has handled, and the
errors.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import django

CHATS = 2000
TALKING = 20
"""So many people talk at the same time."""
BUSY_AFTER = 200


def older_to_first(old: Any) -> Any:
    return {**old, "migrated": old.get("migrated", 0) + 1}


def declared() -> Any:
    from botsessions import enhance_storage, session  # noqa: PLC0415 (once Django is set up)

    storage = enhance_storage(time_to_live=timedelta(hours=1), migrations={1: older_to_first})
    return session(initial=lambda: {"count": 0, "migrated": 1}, storage=storage)


counted = declared()


async def count(update: Any, context: Any) -> None:
    await asyncio.sleep(0.001)
    context.session["count"] += 1


async def talk() -> None:
    from telegram.ext import TypeHandler  # noqa: PLC0415

    from botsessions.database.connections import close_databases  # noqa: PLC0415
    from botsessions.testing import AsyncBotClient  # noqa: PLC0415

    def build(builder: Any) -> Any:
        application = counted.install(builder, bot="aging").build()
        application.add_handler(TypeHandler(object, count))
        return application

    stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, stop.set)
    handled: Counter[int] = Counter()
    errors: list[str] = []

    async def people(number: int) -> None:
        # Each has chats of its own, so that nobody waits for an answer to somebody else.
        while not stop.is_set():
            chat = random.randrange(number, CHATS, TALKING)  # noqa: S311
            answers = await bot.user(id=chat + 1).send("x", wait=False)
            errors.extend(f"{type(error).__name__}: {error}" for error in answers.errors)
            handled[chat + 1] += not answers.errors
            bot.telegram.messages.clear()
            if handled.total() == BUSY_AFTER:
                print("busy", flush=True)  # noqa: T201

    bot = AsyncBotClient(build=build, raise_errors=False)
    await asyncio.gather(*(people(number) for number in range(TALKING)))
    await bot.aclose()
    await asyncio.to_thread(close_databases)
    print(json.dumps({"handled": handled, "errors": errors}))  # noqa: T201


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.bots.settings")
    django.setup()
    asyncio.run(talk())
