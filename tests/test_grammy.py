"""A bot of ours goes on with the sessions that a real grammY bot has stored in PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from telegram.ext import MessageHandler, filters

from botsessions import enhance_storage, session
from botsessions.storages import Address, ValueStorage

from . import servers
from .harness import client
from .servers import Server

pytestmark = pytest.mark.once  # It has a server of its own.

HERE = Path(__file__).parent / "grammy"
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    servers.needed("postgresql")
    with servers.running("postgresql") as server:
        yield server


@pytest.fixture(scope="module")
def script() -> Path:
    """grammY's bot, beside the npm packages that it needs, which are kept for the next time."""
    wanted = (HERE / "package.json").read_bytes()
    place = Path(tempfile.gettempdir()) / f"botsessions-grammy-{sha256(wanted).hexdigest()[:12]}"
    if not place.exists():
        install(place)
    return Path(shutil.copy(HERE / "bot.mjs", place))


def install(place: Path) -> None:
    """Fetch the packages; skip the test where that cannot be, and fail in CI."""
    problem = "Node and npm are not installed."
    if shutil.which("node") and (npm := shutil.which("npm")):
        directory = tempfile.mkdtemp(prefix="botsessions-")
        shutil.copy(HERE / "package.json", directory)
        command = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock"]
        done = subprocess.run(  # noqa: S603
            command, cwd=directory, capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            Path(directory).rename(place)  # What was not installed to its end is not found.
            return
        shutil.rmtree(directory)
        problem = f"npm cannot install grammY: {done.stderr.strip()[-500:]}"
    if os.environ.get("CI") == "true":
        pytest.fail(problem)
    pytest.skip(problem)


class GrammySessions(ValueStorage):
    """The table of ``@grammyjs/storage-psql``, ``connect`` to its database."""

    def __init__(self, connect: Any) -> None:
        self._connect = connect

    def get_value(self, key: str) -> Any:
        row = self.execute("SELECT value FROM sessions WHERE key = %s", key)
        return row and json.loads(row[0])

    def set_value(self, key: str, value: Any) -> None:
        self.execute(
            "INSERT INTO sessions (key, value) VALUES (%s, %s) "
            "ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value",
            key,
            json.dumps(value),
        )

    def delete_value(self, key: str) -> None:
        self.execute("DELETE FROM sessions WHERE key = %s", key)

    def flat_key(self, address: Address) -> str:
        return address.key

    def execute(self, statement: str, *values: Any) -> Any:
        with closing(self._connect()) as connection:
            cursor = connection.execute(statement, values)
            row = cursor.fetchone() if cursor.description else None
            connection.commit()
        return row


def talk_to_grammy(server: Server, script: Path, *chats: int) -> None:
    database = server.database
    where = {"PGHOST": database["HOST"], "PGUSER": database["USER"], "PGDATABASE": database["NAME"]}
    subprocess.run(  # noqa: S603
        ["node", str(script), *map(str, chats)],  # noqa: S607
        env={**os.environ, **where},
        check=True,
        timeout=servers.TIMEOUT,
    )


def test_its_data_is_read_and_migrated_further_and_its_expiry_kept(
    server: Server, script: Path
) -> None:
    store = GrammySessions(server.connect)
    talk_to_grammy(server, script, 101, 102, 103)
    assert store.get_value("101").keys() == {"__d", "v", "e"}
    store.set_value("103", store.get_value("103") | {"e": 1000})
    # As it was before timeouts and versions: the bare data.
    store.set_value("104", {"names": ["Tom"]})
    talk_to_grammy(server, script, 104)

    assert asyncio.run(talk_to_ours(store, 101, 103, 104)) == [[4], [], [4, 4]]
    left = store.get_value("101")
    assert left["__d"]["pets"] == [{"name": "Rex", "legs": 4}, {"name": "Tweety", "legs": 2}]
    assert left["v"] == 3
    ends = datetime.fromtimestamp(left["e"] / 1000, timezone.utc)
    assert timedelta(0) < datetime.now(timezone.utc) + HOUR - ends < HOUR / 2
    assert store.get_value("102")["v"] == 2  # Nobody has read it yet.


async def talk_to_ours(store: GrammySessions, *chats: int) -> list[list[int]]:
    """Tell a bot that knows a further version of a pet; return the legs that it saw before."""
    seen = []

    async def meet(update: Any, context: Any) -> None:
        seen.append([pet["legs"] for pet in context.session["pets"]])
        context.session["pets"].append({"name": update.message.text, "legs": 2})

    def count_legs(old: Any) -> Any:
        return {"pets": [{**pet, "legs": 4} for pet in old["pets"]]}

    def never(old: Any) -> Any:
        raise AssertionError("grammY has done that.")

    migrations = {1: never, 2: never, 3: count_legs}
    storage = enhance_storage(store, time_to_live=HOUR, migrations=migrations)
    pets = session(initial=lambda: {"pets": []}, storage=storage)
    bot = client(pets, MessageHandler(filters.TEXT, meet), raise_errors=True)
    for chat in chats:
        await bot.user(id=chat).send("Tweety")
    await bot.aclose()
    return seen
