"""Real grammY bots in Node, with the unmodified client, against the running service."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from .commands import manage, output
from .free_storage.node import grammy_bot
from .servers import wait_until

pytestmark = pytest.mark.once

NODE, OTHER = "123:ABC", "456:DEF"


class Site:
    """The project, in a process of its own; it can be restarted with other tokens."""

    def __init__(self, database: Path) -> None:
        self.database = database
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
        self._process: subprocess.Popen[str] | None = None

    @property
    def root_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/free"

    def start(self, **tokens: str) -> None:
        self._process = manage(
            "runserver",
            "--noreload",
            f"127.0.0.1:{self.port}",
            env=environment(self.database, **tokens),
            stdout=subprocess.DEVNULL,
        )
        wait_until(self.answers, lambda: "The site does not answer.")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            return True
        return False

    def rows(self) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.database)) as connection:
            columns = "bot, key, data, version, expires_at IS NOT NULL"
            table = "botsessions_botsession"
            found = connection.execute(f"SELECT {columns} FROM {table} ORDER BY bot, key")  # noqa: S608
            return [(bot, key, json.loads(data), *rest) for bot, key, data, *rest in found]


def environment(database: Path, **tokens: str) -> dict[str, str]:
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.free_storage.settings",
        "BOTSESSIONS_DATABASE": "sqlite",
        "BOTSESSIONS_DATABASE_NAME": str(database),
        "TOKENS": json.dumps(tokens),
    }


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    database = tmp_path_factory.mktemp("site") / "db.sqlite3"
    output(manage("migrate", "--verbosity", "0", env=environment(database)))
    return database


@pytest.fixture
def site(tmp_path: Path, empty_database: Path) -> Iterator[Site]:
    site = Site(Path(shutil.copy(empty_database, tmp_path)))
    try:
        site.start(node=NODE, other=OTHER)
        yield site
    finally:
        site.stop()


@pytest.mark.parametrize("kind", ["strict", "lazy"])
def test_a_session_lives_in_the_project(site: Site, kind: str) -> None:
    with grammy_bot(NODE, site.root_url, kind) as bot:
        assert bot.hear(5) == [1]
        assert bot.hear(5, -7, 8) == [2, 1, 1]
        assert bot.keys() == ["-7", "5", "8"]
    with grammy_bot(NODE, site.root_url, kind) as bot:  # In another process.
        assert bot.hear(5) == [3]
    assert site.rows() == [
        ("node", "-7", {"count": 1}, None, 0),
        ("node", "5", {"count": 3}, None, 0),
        ("node", "8", {"count": 1}, None, 0),
    ]


def test_fragments_of_a_multi_session_have_keys_of_their_own(site: Site) -> None:
    with grammy_bot(NODE, site.root_url, "multi") as bot:
        assert [bot.hear(5), bot.hear(5)] == [[[1, 1]], [[2, 2]]]
        assert bot.keys() == ["5", "5/5"]


def test_an_enhanced_session_has_its_version_and_expiry_in_columns(site: Site) -> None:
    with grammy_bot(NODE, site.root_url) as bot:
        bot.hear(5)
    with grammy_bot(NODE, site.root_url, "enhanced") as bot:
        assert [bot.hear(5), bot.hear(5)] == [[102], [103]]
        assert bot.hear(6) == [1]
    assert site.rows() == [
        ("node", "5", {"count": 103}, 1, 1),
        ("node", "6", {"count": 1}, 1, 1),
    ]


def test_two_bots_at_once_do_not_meet(site: Site) -> None:
    chats = range(1, 31)
    with grammy_bot(NODE, site.root_url) as bot, grammy_bot(OTHER, site.root_url) as other:
        assert bot.hear(*chats) == [1] * 30  # With as many logins at once.
        assert other.hear(*chats) == [1] * 30
        assert bot.hear(1) == other.hear(1) == [2]
    assert len(site.rows()) == 60


def test_a_bot_goes_on_after_the_site_was_restarted(site: Site) -> None:
    with grammy_bot(NODE, site.root_url) as bot:
        assert bot.hear(5) == [1]
        site.stop()
        assert bot.hear(5) == ["fetch failed"]
        site.start(node=NODE)
        assert bot.hear(5) == [2]


def test_a_revoked_token_is_refused_and_a_new_one_goes_on(site: Site) -> None:
    with grammy_bot(NODE, site.root_url) as bot:
        assert bot.hear(5) == [1]
        site.stop()
        site.start(node="123:NEW")
        assert bot.hear(5) == ["Cannot use free session, invalid bot token!"]
    with grammy_bot("123:NEW", site.root_url) as bot:
        assert bot.hear(5) == [2]
