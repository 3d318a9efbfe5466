"""Have a bot handle many updates, and show its threads, connections and memory as it goes on.

    python -m benchmarks.soak [--updates 100000] [--debug] [--orm]

The database server is chosen as for the tests, by ``BOTSESSIONS_DATABASE``; the database is one of
its own, which is removed at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import threading
import time
from dataclasses import asdict, dataclass
from typing import Any

import django

from .databases import database
from .memory import resident_memory

CHATS = 50
ROWS = 10
"""So often it is shown how things stand."""


@dataclass(frozen=True)
class State:
    """What a process that runs for months must not have more and more of."""

    updates: int
    seconds: float
    errors: int
    threads: int
    connections: int
    """The open ones."""
    opened: int
    """All that were opened since the last time."""
    kept_queries: int
    memory: float
    """Resident, in MB."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--updates", type=int, default=100_000)
    parser.add_argument("--debug", action="store_true", help="as with DEBUG = True")
    parser.add_argument("--orm", action="store_true", help="handlers use Django's ORM, too")
    parser.add_argument("--json", action="store_true", help="show a line of JSON each time")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    django.setup()
    from django.conf import settings  # noqa: PLC0415 (once Django is set up)

    settings.DEBUG = options.debug
    with database("soak"):
        asyncio.run(show(options.updates, options.orm, as_json=options.json))


async def show(updates: int, uses_orm: bool, as_json: bool) -> None:
    if not as_json:
        print(" ".join(f"{name:>12}" for name in State.__annotations__))
    async for state in soak(updates, uses_orm):
        values = asdict(state)
        if as_json:
            print(json.dumps(values))
        else:
            print(" ".join(f"{round(value, 1):>12}" for value in values.values()), flush=True)


async def soak(updates: int, uses_orm: bool) -> Any:
    """Handle ``updates`` updates, from many chats side by side, and yield how things stand."""
    from asgiref.sync import sync_to_async  # noqa: PLC0415
    from django.db import connections  # noqa: PLC0415
    from django.db.backends.signals import connection_created  # noqa: PLC0415

    from botsessions import session  # noqa: PLC0415
    from tests.bots.loaded import count, count_with_orm  # noqa: PLC0415
    from tests.harness import client  # noqa: PLC0415

    opened: list[Any] = []

    def note(connection: Any, **kwargs: Any) -> None:
        opened.append(connection)

    connection_created.connect(note)
    bot = client(session(initial=lambda: {"count": 0}), count_with_orm if uses_orm else count)
    people = [bot.user(id=1000 + number) for number in range(CHATS)]
    begin, errors = time.perf_counter(), 0

    async def talk(person: Any, times: int) -> None:
        nonlocal errors
        for _ in range(times):
            errors += len((await person.send("x")).errors)
            bot.telegram.messages.clear()  # The client remembers them for tests.

    for row in range(1, ROWS + 1):
        before, times = len(opened), updates // ROWS // CHATS
        await asyncio.gather(*(talk(person, times) for person in people))
        yield State(
            updates=row * times * CHATS,
            seconds=time.perf_counter() - begin,
            errors=errors,
            threads=threading.active_count(),
            connections=sum(connection.connection is not None for connection in set(opened)),
            opened=len(opened) - before,
            kept_queries=sum(len(connection.queries_log) for connection in set(opened)),
            memory=resident_memory(),
        )
    connection_created.disconnect(note)
    await bot.aclose()
    await sync_to_async(connections.close_all)()


if __name__ == "__main__":
    main()
