"""Servers that are restarted, killed, full and locked while a bot is busy.

What the bot reported as handled is stored, once; and the bot works again by itself.
"""

from __future__ import annotations

import copy
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from django.db.utils import ConnectionHandler

from botsessions.models import BotSession
from project.settings import KNOWN_DATABASES

from . import servers
from .bots.loaded import CHATS
from .commands import ROOT
from .servers import SERVERS, Server, wait_until

pytestmark = pytest.mark.once  # It has servers of its own.

AGAIN_SECONDS = 60
"""So long it is waited for the bot, on a machine that may be busy."""
KEPT = {"CONN_MAX_AGE": None}
PSYCOPG_POOL = {"OPTIONS": {"pool": True}}
CHECKED_POOL = {**PSYCOPG_POOL, "CONN_HEALTH_CHECKS": True}

WAYS_TO_CONNECT = {
    "postgresql": {
        "not kept": {"CONN_MAX_AGE": 0},
        "kept for a second": {"CONN_MAX_AGE": 1},
        "kept": KEPT,
        "kept and checked": {**KEPT, "CONN_HEALTH_CHECKS": True},
        "pool": PSYCOPG_POOL,
        "checked pool": CHECKED_POOL,
    },
    "mariadb": {
        "not kept": {"CONN_MAX_AGE": 0},
        "kept for a second, checked": {"CONN_MAX_AGE": 1, "CONN_HEALTH_CHECKS": True},
        "kept": KEPT,
    },
}


class Bot:
    """A bot with :data:`CHATS` people who talk to it without end."""

    def __init__(self, process: subprocess.Popen[str], errors: Path) -> None:
        self.handled: Counter[int] = Counter()
        self.failed: Counter[int] = Counter()
        self.errors: list[str] = []
        self._process = process
        self._stderr = errors
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line == "ready\n":
                self._ready.set()
                continue
            chat, *errors = json.loads(line)
            (self.failed if errors else self.handled)[chat] += 1
            self.errors += errors

    def prepare(self) -> None:
        """Wait until it is about to begin."""
        self._wait_until(self._ready.is_set, "ready")

    def start(self) -> None:
        """Have people begin to talk."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def wait_until_all_are_answered(self, times: int = 2) -> None:
        """Wait until each person was answered again, of which one answer may be an earlier one."""
        before = self.handled.copy()

        def answered() -> bool:
            return sum(self.handled[c] >= before[c] + times for c in list(self.handled)) == CHATS

        self._wait_until(answered, "answering everybody")

    def wait_until_an_error(self) -> None:
        self._wait_until(lambda: self.errors, "reporting an error")

    def end(self) -> None:
        """Let the bot handle what it has begun, and end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            status = self._process.wait(AGAIN_SECONDS)
        except subprocess.TimeoutExpired:
            pytest.fail(f"The bot hangs: {self._stacks()}")
        self._reader.join(AGAIN_SECONDS)
        assert (status, self._stderr.read_text()) == (0, "")

    def _wait_until(self, condition: Any, doing: str) -> None:
        def happened() -> object:
            assert self._process.poll() is None, f"It has ended: {self._stderr.read_text()}"
            return condition()

        def problem() -> str:
            return f"The bot is not {doing}; errors: {Counter(self.errors)}. {self._stacks()}"

        wait_until(happened, problem, AGAIN_SECONDS)

    def _stacks(self) -> str:
        """Have the process write what its threads are doing."""
        self._process.send_signal(signal.SIGUSR1)
        time.sleep(0.2)
        return self._stderr.read_text()


@contextmanager
def bot(database: dict[str, Any], directory: Path, **config: Any) -> Iterator[Bot]:
    create_table(database)
    errors = directory / "stderr"
    options = {"database": database, **config}
    with errors.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.bots.loaded"],
            cwd=ROOT,
            env={**os.environ, "LOADED_BOT": json.dumps(options, default=str)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    try:
        bot = Bot(process, errors)
        bot.prepare()
        yield bot
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture(autouse=True)
def _databases_may_be_used(django_db_blocker: Any) -> Iterator[None]:
    with django_db_blocker.unblock():
        yield


@pytest.fixture(scope="module")
def running_servers() -> Iterator[Callable[[str], Server]]:
    with ExitStack() as stack:
        yield cache(lambda name: stack.enter_context(servers.running(name)))


@pytest.fixture
def server(request: Any, running_servers: Callable[[str], Server]) -> Server:
    """A server without tables; the test says which by a parameter."""
    servers.needed(request.param)
    server = running_servers(request.param)
    server.empty()
    return server


def create_table(database: dict[str, Any]) -> None:
    with connected(database) as connection, connection.schema_editor(atomic=False) as editor:
        editor.create_model(BotSession)


def stored(database: dict[str, Any]) -> dict[int, int]:
    """Return the counts in all chats' sessions."""
    with connected(database) as connection, connection.cursor() as cursor:
        key = connection.ops.quote_name("key")
        cursor.execute(f"SELECT {key}, data FROM botsessions_botsession")  # noqa: S608
        return {int(chat): json.loads(data)["count"] for chat, data in cursor.fetchall()}


@contextmanager
def connected(database: dict[str, Any]) -> Iterator[Any]:
    plain = {"OPTIONS": {k: v for k, v in database.get("OPTIONS", {}).items() if k != "pool"}}
    with closing(ConnectionHandler({"default": database | plain})["default"]) as connection:
        yield connection


def assert_nothing_was_lost_or_counted_twice(bot: Bot, database: dict[str, Any]) -> None:
    counts = stored(database)
    lost = {c: n - counts.get(c, 0) for c, n in bot.handled.items() if counts.get(c, 0) < n}
    sent = bot.handled + bot.failed
    twice = {c: n - sent[c] for c, n in counts.items() if n > sent[c]}
    assert (lost, twice) == ({}, {}), bot.errors


WAYS = [
    pytest.param(name, options, id=f"{name}-{way}")
    for name, ways in WAYS_TO_CONNECT.items()
    for way, options in ways.items()
]


@pytest.mark.parametrize(("server", "way"), WAYS, indirect=["server"])
def test_a_server_that_is_restarted_and_killed_loses_nothing(
    server: Server, way: dict[str, Any], tmp_path: Path
) -> None:
    # Such a pool waits on its own account, for longer each time, before it connects again.
    kills = 1 if way == CHECKED_POOL else 2
    with bot(merged(server.database, way), tmp_path) as busy:
        busy.start()
        busy.wait_until_all_are_answered()
        server.restart()
        busy.wait_until_all_are_answered()
        for _ in range(kills):
            server.kill()
            time.sleep(0.1)
            server.start()
            busy.wait_until_all_are_answered()
        busy.end()
        assert busy.errors == []
        assert_nothing_was_lost_or_counted_twice(busy, server.database)


READ_ONLY_SECONDS = float(os.environ.get("READ_ONLY_SECONDS", "20"))
READ_ONLY = {
    "postgresql": "ALTER DATABASE postgres SET default_transaction_read_only = {}",
    "mariadb": "SET GLOBAL tx_read_only = {}, GLOBAL read_only = {}",
}
"""What makes a server one that can only be read from, for who connects from then on."""
ENDING = {
    "postgresql": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()",
    "mariadb": "KILL USER bot",
}
"""What ends all connections of the bot."""
MADE_READ_ONLY = [
    pytest.param(name, options, id=f"{name}-{way}")
    for name, ways in WAYS_TO_CONNECT.items()
    for way, options in ways.items()
    if way in ("kept", "pool")
]


@pytest.mark.parametrize(("server", "way"), MADE_READ_ONLY, indirect=["server"])
def test_a_server_that_is_read_only_for_as_long_as_a_failover_takes(
    server: Server, way: dict[str, Any], tmp_path: Path
) -> None:
    """Who has connected meanwhile may only read, also afterwards."""
    vendor = next(name for name, kind in SERVERS.items() if type(server) is kind)
    database = merged(server.database, way)
    with (
        closing(server.connect()) as own,
        own.cursor() as cursor,
        ExitStack() as stack,
    ):
        if vendor == "mariadb":  # Where root may always write.
            cursor.execute("CREATE OR REPLACE USER bot@localhost")
            cursor.execute("GRANT ALL ON botsessions.* TO bot@localhost")
            database["USER"] = "bot"
        busy = stack.enter_context(bot(database, tmp_path))
        busy.start()
        busy.wait_until_all_are_answered()
        cursor.execute(READ_ONLY[vendor].replace("{}", "ON"))
        cursor.execute(ENDING[vendor])
        own.commit()
        time.sleep(READ_ONLY_SECONDS)
        cursor.execute(READ_ONLY[vendor].replace("{}", "OFF"))
        own.commit()
        busy.wait_until_all_are_answered()
        busy.end()
        assert busy.errors == []
        assert_nothing_was_lost_or_counted_twice(busy, server.database)


@pytest.mark.parametrize("server", SERVERS, indirect=True)
def test_a_server_that_stays_away_is_a_clear_error_until_it_is_back(
    server: Server, tmp_path: Path
) -> None:
    with bot(server.database, tmp_path, retry_seconds=0.5) as busy:
        busy.start()
        busy.wait_until_all_are_answered()
        server.kill()
        busy.wait_until_an_error()
        server.start()
        busy.wait_until_all_are_answered()
        busy.end()
        kinds = {error.partition(":")[0] for error in busy.errors}
        assert kinds
        assert kinds <= {"OperationalError", "InterfaceError"}
        assert_nothing_was_lost_or_counted_twice(busy, server.database)


SMALL_POOL = {"min_size": 1, "max_size": 1, "timeout": 1}
FULL = [
    pytest.param("postgresql", {}, id="postgresql"),
    pytest.param(
        "postgresql", {"OPTIONS": {"pool": {"min_size": 1, "max_size": 1, "timeout": 1}}}, id="pool"
    ),
    pytest.param("mariadb", {}, id="mariadb"),
]


@pytest.mark.parametrize(("name", "way"), FULL)
def test_a_server_that_takes_no_more_connections_is_waited_for(
    name: str, way: dict[str, Any], tmp_path: Path
) -> None:
    servers.needed(name)
    with (
        servers.running(name, *FEW_CONNECTIONS[name]) as server,
        bot(merged(server.database, way), tmp_path) as busy,
        ExitStack() as others,
    ):
        take_all_connections(server, others)
        busy.start()
        time.sleep(1.5)
        assert busy.handled == {}
        others.close()
        busy.wait_until_all_are_answered()
        busy.end()
        assert busy.errors == []
        assert_nothing_was_lost_or_counted_twice(busy, server.database)


FEW_CONNECTIONS = {
    "postgresql": ["max_connections=5", "superuser_reserved_connections=0", "max_wal_senders=0"],
    "mariadb": ["max-connections=10"],
}


def take_all_connections(server: Server, stack: ExitStack) -> None:
    for _ in range(20):
        try:
            stack.enter_context(closing(server.connect()))
        except Exception as exc:
            assert "many" in str(exc)  # noqa: PT017
            return
    pytest.fail("There is no end to the connections.")


def test_sqlite_that_others_lock_for_long_loses_nothing(tmp_path: Path) -> None:
    database = copy.deepcopy(KNOWN_DATABASES["sqlite"]) | {"NAME": str(tmp_path / "db.sqlite3")}
    database["OPTIONS"]["timeout"] = 0.1
    with bot(database, tmp_path) as busy:
        busy.start()
        busy.wait_until_all_are_answered()
        for seconds in (0.3, 0.7, 1.5):
            with closing(sqlite3.connect(database["NAME"], timeout=10)) as other:
                other.execute("BEGIN IMMEDIATE")
                time.sleep(seconds)
            busy.wait_until_all_are_answered()
        busy.end()
        assert busy.errors == []
        assert_nothing_was_lost_or_counted_twice(busy, database)


def merged(database: dict[str, Any], way: dict[str, Any]) -> dict[str, Any]:
    options = {**database.get("OPTIONS", {}), **way.get("OPTIONS", {})}
    return {**database, **way, "OPTIONS": options}


@pytest.mark.parametrize("server", ["postgresql"], indirect=True)
def test_handlers_and_sessions_that_share_a_pool_of_two_go_on_after_a_kill(
    server: Server, tmp_path: Path
) -> None:
    """What a handler asks for itself may fail meanwhile; then its update is not counted."""
    pool = {"OPTIONS": {"pool": SMALL_POOL | {"max_size": 2}}}
    with bot(merged(server.database, pool), tmp_path, uses_orm=True) as busy:
        busy.start()
        busy.wait_until_all_are_answered()
        server.kill()
        server.start()
        busy.wait_until_all_are_answered()
        busy.end()
        assert_nothing_was_lost_or_counted_twice(busy, server.database)


@pytest.mark.parametrize("server", ["postgresql"], indirect=True)
def test_a_pool_whose_last_connection_a_handler_keeps_is_a_clear_error(
    server: Server, tmp_path: Path
) -> None:
    pool = {"OPTIONS": {"pool": SMALL_POOL}}
    with bot(merged(server.database, pool), tmp_path, uses_orm=True, retry_seconds=0.1) as busy:
        busy.start()
        busy.wait_until_an_error()
        busy.end()
        assert "couldn't get a connection" in busy.errors[0]
        assert_nothing_was_lost_or_counted_twice(busy, server.database)
