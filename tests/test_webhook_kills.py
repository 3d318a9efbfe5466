"""Webhooks' workers that are killed and suspended: each update counts exactly once.

``KILLED_UPDATES`` is how many updates there are, ``KILLS`` how many workers are hurt.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from project.settings import DATABASE

from .botapi import SECRET_HEADER, BotApi, serving
from .sites import BOT, SECRET, TOKEN, Site, end_family, served
from .tables import Tables

UPDATES = int(os.environ.get("KILLED_UPDATES", "120"))
KILLS = int(os.environ.get("KILLS", "4"))
CHATS, WORKERS, AT_ONCE = 8, 3, 12
LEASE_SECONDS = 1.5
LIMIT = 60 + UPDATES + 20 * KILLS
"""Seconds for all of it."""
PATIENCE = 4.0
"""Seconds after which Telegram, as it is here, delivers an update again that is not answered."""
TALLY = {"SESSION": "tests.bots.tally.handled", "APPLICATION": "tests.bots.tally.build"}


class Workers:
    """Servers of one worker each, as behind a balancer."""

    def __init__(
        self, api: BotApi, directory: Path, server: str, database: str, bot: Any = TALLY
    ) -> None:
        self._api = api
        self._directory = directory
        directory.mkdir()
        self._server = server
        self._database = database
        self._bot = bot
        self._ending = ExitStack()
        self.sites: list[Site] = []

    @contextmanager
    def running(self) -> Iterator[Workers]:
        with self._ending:
            self.sites = [self._start() for _ in range(WORKERS)]
            yield self

    def kill(self) -> None:
        """Kill one, and start another in its place."""
        place = random.randrange(WORKERS)  # noqa: S311
        end_family(self.sites[place].process)
        self.sites[place] = self._start()

    def suspend(self) -> None:
        """Suspend one for longer than others wait for it; it goes on as if nothing had happened."""
        workers = random.choice(self.sites).workers  # noqa: S311
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        asyncio.run(asyncio.sleep(2 * LEASE_SECONDS))
        for pid in workers:
            os.kill(pid, signal.SIGCONT)

    @property
    def output(self) -> str:
        """What all of them have said."""
        return "".join(path.read_text() for path in self._directory.iterdir() if path.is_file())

    def _start(self) -> Site:
        return self._ending.enter_context(
            served(
                self._api,
                self._directory / uuid4().hex,
                self._server,
                *(("--threads", "8") if self._server == "gunicorn" else ()),
                bots={"notes": BOT | self._bot},
                BOTSESSIONS_DATABASE_NAME=self._database,
                LEASE_SECONDS=str(LEASE_SECONDS),
                PAUSE="0.01",
            )
        )


@pytest.mark.parametrize("server", ["middleware", "uvicorn", "gunicorn"])
def test_e11_whoever_is_killed_or_suspended_each_update_counts_exactly_once(
    server: str, tmp_path: Path, django_db_blocker: Any
) -> None:
    name = str(tmp_path / "db.sqlite3") if DATABASE == "sqlite" else f"kills_{uuid4().hex}"
    with django_db_blocker.unblock(), serving() as api, Tables(name).made() as tables:
        api.account(TOKEN)
        with Workers(api, tmp_path / "said", server, name).running() as workers:
            asyncio.run(deliver(workers))
        assert counts(tables) == {1: UPDATES}


async def deliver(workers: Workers) -> list[int]:
    """Deliver all updates, each until it is answered by 200, while workers are hurt.

    Returns those that are never answered so.
    """
    numbers, answered, left = iter(range(1, UPDATES + 1)), 0, set(range(1, UPDATES + 1))
    headers = {SECRET_HEADER: SECRET}

    async with httpx.AsyncClient(headers=headers, timeout=PATIENCE) as client:

        async def work() -> None:
            nonlocal answered
            for number in numbers:
                while not await is_handled(number):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
                answered += 1
                left.discard(number)

        async def is_handled(number: int) -> bool:
            site = random.choice(workers.sites)  # noqa: S311
            with suppress(httpx.TransportError):
                return (await client.post(site.webhook(), json=update(number))).is_success
            return False

        async def hurt() -> None:
            for done in range(KILLS):
                while answered < (done + 1) * UPDATES // (KILLS + 1):  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
                await asyncio.to_thread(workers.suspend if done % 2 else workers.kill)

        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.gather(hurt(), *(work() for _ in range(AT_ONCE))), LIMIT)
        return sorted(left)


def update(number: int) -> dict[str, Any]:
    chat = 1 + number % CHATS
    person = {"id": chat, "is_bot": False, "first_name": "Maria", "type": "private"}
    message = {"message_id": number, "date": 1, "from": person, "chat": person, "text": "Hello"}
    return {"update_id": number, "message": message}


def counts(tables: Tables) -> Counter[int]:
    """Return how many updates the sessions hold once, twice and so on."""
    with tables.connection.cursor() as cursor:
        cursor.execute("SELECT data FROM botsessions_botsession")
        stored = Counter(n for (data,) in cursor.fetchall() for n in json.loads(data)["updates"])
    return Counter(stored.values())
