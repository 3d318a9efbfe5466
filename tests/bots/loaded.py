"""A bot that many people talk to at once, in a process of its own: ``python -m tests.bots.loaded``.

It prints a line of JSON for each update: the chat, and the error that was reported, if any. It
begins when a line arrives on its standard input, and ends when that is closed.
"""

from __future__ import annotations

import asyncio
import faulthandler
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

import django
from django.conf import settings

CHATS = 30
PAUSE = 0.01
"""Seconds between the answer to a person's message and the next message."""


def main() -> None:
    faulthandler.register(signal.SIGUSR1)
    config = json.loads(os.environ["LOADED_BOT"])
    settings.configure(
        DATABASES={"default": config["database"]},
        INSTALLED_APPS=["botsessions"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
        BOTSESSIONS={"RETRY_SECONDS": config.get("retry_seconds", 30)},
    )
    django.setup()
    logging.getLogger("psycopg.pool").addHandler(logging.NullHandler())  # Says what is to be seen.
    print("ready", flush=True)  # noqa: T201
    sys.stdin.readline()
    asyncio.run(talk(uses_orm=config.get("uses_orm", False)))


async def talk(uses_orm: bool) -> None:
    from botsessions import session  # noqa: PLC0415
    from botsessions.database.connections import close_databases  # noqa: PLC0415
    from tests.harness import client  # noqa: PLC0415

    stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, stop.set)
    bot = client(session(initial=lambda: {"count": 0}), count_with_orm if uses_orm else count)
    await asyncio.gather(*(chat(bot.user(id=1000 + number), stop) for number in range(CHATS)))
    await bot.aclose()
    await asyncio.to_thread(close_databases)


async def chat(person: Any, stop: asyncio.Event) -> None:
    while not stop.is_set():
        answers = await person.send("x", wait=False)
        errors = [f"{type(error).__name__}: {error}" for error in answers.errors]
        print(json.dumps([person.id, *errors[:1]]), flush=True)  # noqa: T201
        await asyncio.sleep(PAUSE)


async def count(update: Any, context: Any) -> None:
    context.session["count"] += 1


async def count_with_orm(update: Any, context: Any) -> None:
    from botsessions.models import BotSession  # noqa: PLC0415

    await BotSession.objects.acount()
    context.session["count"] += 1


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    main()
