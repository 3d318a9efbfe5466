"""Send a site many updates at a steady pace, and show what has become of them.

    python -m benchmarks.webhook [--server middleware] [--rate 50] [--seconds 60] [--chats 200]

The server runs with two workers. The database server is chosen as for the tests, by
``BOTSESSIONS_DATABASE``; the database is one of its own, which is removed at the end. Each
twentieth update is delivered twice.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections import Counter
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import django
import httpx

from .processes import cpu_seconds, memory

SAMPLES = 6
DUPLICATES = 20
WARM_UPDATES, WARM_SECONDS = 20, 2.0
"""Before the load: both workers start their bots."""


@dataclass
class Outcome:
    server: str
    sent: int = 0
    lost: int = 0
    twice: int = 0
    failed: int = 0
    """Answers other than 200. Such updates are sent again, and so are those"""
    cut: int = 0
    """whose connection was cut: a server closes one that was idle just when it is used again."""
    p50: float = 0.0
    p99: float = 0.0
    """Milliseconds to the answer."""
    cpu: float = 0.0
    """Milliseconds of the workers' time for each update."""
    memory: list[float] = field(default_factory=list)
    """Of the workers together, resident, in MB, over time."""
    connections: list[int] = field(default_factory=list)
    """To the database, over time; none are counted on SQLite."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--server", choices=["uvicorn", "gunicorn", "middleware"], default="uvicorn"
    )
    parser.add_argument("--rate", type=int, default=50, help="updates a second")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--chats", type=int, default=200)
    options = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
    django.setup()
    print(json.dumps(asdict(measured(options))))


def measured(options: argparse.Namespace) -> Outcome:
    from tests.botapi import serving  # noqa: PLC0415 (once Django is set up)
    from tests.sites import BOT, TOKEN, served  # noqa: PLC0415
    from tests.tables import Tables  # noqa: PLC0415

    tally = {"SESSION": "tests.bots.tally.handled"}
    bot = BOT | tally | {"APPLICATION": "tests.bots.tally.build"}
    arguments = ["--workers", "2"]
    if options.server == "gunicorn":
        arguments += ["--threads", "16"]
    with tempfile.TemporaryDirectory() as directory, serving() as api:
        name = f"webhook_{uuid4().hex}"
        if os.environ.get("BOTSESSIONS_DATABASE", "sqlite") == "sqlite":
            name = str(Path(directory) / name)
        api.account(TOKEN)
        with (
            Tables(name).made() as tables,
            served(
                api,
                Path(directory) / "output",
                options.server,
                *arguments,
                bots={"notes": bot},
                BOTSESSIONS_DATABASE_NAME=name,
            ) as site,
        ):
            outcome = asyncio.run(load(site, tables, options))
            count(outcome, tables)
            return outcome


async def load(site: Any, tables: Any, options: argparse.Namespace) -> Outcome:
    from tests.botapi import SECRET_HEADER  # noqa: PLC0415
    from tests.sites import SECRET  # noqa: PLC0415

    outcome = Outcome(options.server)
    times: list[float] = []
    headers = {SECRET_HEADER: SECRET}
    limits = httpx.Limits(max_connections=100)

    async with httpx.AsyncClient(headers=headers, limits=limits, timeout=60) as client:

        async def send(number: int) -> None:
            content = update(number, number % options.chats + 1)
            begun = time.perf_counter()
            while not await handled(content):
                pass
            times.append(time.perf_counter() - begun)

        async def handled(content: dict[str, Any]) -> bool:
            try:
                response = await client.post(site.webhook(), json=content)
            except httpx.TransportError:
                outcome.cut += 1
                return False
            if response.status_code == httpx.codes.OK:
                return True
            outcome.failed += 1
            return False

        await asyncio.gather(*map(send, range(1, WARM_UPDATES + 1)))
        await asyncio.sleep(WARM_SECONDS)
        times.clear()
        cpu = sum(map(cpu_seconds, site.workers))
        total = options.rate * options.seconds
        begin = time.perf_counter()
        tasks = []
        for index in range(total):
            await asyncio.sleep(max(0, begin + index / options.rate - time.perf_counter()))
            deliveries = [WARM_UPDATES + 1 + index] * (2 if index % DUPLICATES == 0 else 1)
            tasks += [asyncio.create_task(send(number)) for number in deliveries]
            if index % (total // SAMPLES) == total // SAMPLES - 1:
                outcome.memory.append(round(sum(map(memory, site.workers)), 1))
                outcome.connections.append(await asyncio.to_thread(connections, tables))
        await asyncio.gather(*tasks)
        cpu = sum(map(cpu_seconds, site.workers)) - cpu
    times.sort()
    outcome.cpu = round(1000 * cpu / total, 2)
    outcome.sent = WARM_UPDATES + total
    outcome.p50, outcome.p99 = (round(1000 * times[int(len(times) * p)], 1) for p in (0.5, 0.99))
    return outcome


def update(number: int, chat: int) -> dict[str, Any]:
    sender = {"id": chat, "is_bot": False, "first_name": "Maria"}
    place = {"id": chat, "type": "private", "first_name": "Maria"}
    message = {"message_id": number, "date": 1, "from": sender, "chat": place, "text": "Hello"}
    return {"update_id": number, "message": message}


def count(outcome: Outcome, tables: Any) -> None:
    """Compare what the sessions hold with what was sent."""
    with tables.connection.cursor() as cursor:
        cursor.execute("SELECT data FROM botsessions_botsession")
        stored = Counter(n for (data,) in cursor.fetchall() for n in json.loads(data)["updates"])
    outcome.lost = outcome.sent - len(stored)
    outcome.twice = sum(times > 1 for times in stored.values())


def connections(tables: Any) -> int:
    queries = {
        "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE datname = %s",
        "mysql": "SELECT count(*) FROM information_schema.processlist WHERE db = %s",
    }
    query = queries.get(tables.connection.vendor)
    if query is None:
        return 0
    own = type(tables)(tables.name).connection  # A connection belongs to one thread.
    with closing(own), own.cursor() as cursor:
        cursor.execute(query, [tables.name])
        return int(cursor.fetchone()[0]) - 1


if __name__ == "__main__":
    main()
