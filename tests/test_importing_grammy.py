"""``manage.py import_sessions`` from what real grammY bots have stored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.db.utils import ConnectionHandler
from telegram.ext import MessageHandler, filters

from botsessions import enhance_storage, multi_session, session
from botsessions.keys import per_user
from botsessions.models import BotSession
from botsessions.testing import BotClient

from . import servers
from .free_storage.server import TOKEN, FreeServer, serving
from .origins.grammy import talk
from .servers import Server

pytestmark = [pytest.mark.once, pytest.mark.django_db]

HOUR = timedelta(hours=1)
GROUP = -1001
SAID = [(5, 5, "capers"), (GROUP, 5, "🍕"), (5, 5, "olives"), (GROUP, 6, "ham")]
OF_CHATS = {"5": ["capers", "olives"], str(GROUP): ["🍕", "ham"]}
OF_USERS = {"5": ["capers", "🍕", "olives"], "6": ["ham"]}


def notes() -> dict[str, Any]:
    return {"texts": []}


declared = multi_session(
    chat=session(initial=notes),
    user=session(initial=notes, get_session_key=per_user),
    migrated=session(
        initial=notes, storage=enhance_storage(time_to_live=HOUR, migrations={1: dict, 2: dict})
    ),
)


@pytest.fixture(autouse=True)
def bots(settings: Any) -> None:
    bot = {"TOKEN": TOKEN, "SESSION": declared, "APPLICATION": build}
    settings.BOTSESSIONS = {"BOTS": {"notes": bot}}


async def note(update: Any, context: Any) -> None:
    context.session.chat["texts"].append(update.message.text)
    await update.message.reply_text(", ".join(context.session.chat["texts"]))


def build(builder: Any) -> Any:
    application = builder.build()
    application.add_handler(MessageHandler(filters.TEXT, note))
    return application


def imported(*arguments: str, **options: Any) -> str:
    out, err = StringIO(), StringIO()
    try:
        call_command("import_sessions", *arguments, stdout=out, stderr=err, **options)
    except CommandError as exc:
        err.write(str(exc))
    return out.getvalue() + err.getvalue()


def stored(name: str) -> dict[str, Any]:
    rows = BotSession.objects.filter(bot="notes", name=name)
    return {key: data["texts"] for key, data in rows.values_list("key", "data")}


def both_are_imported(*arguments: str) -> None:
    """Import chats and users, which lie beside each other, twice."""
    for again in (False, True):
        expected = "0 sessions imported, 2 there already" if again else "2 sessions imported in"
        of_users = (*arguments, "--fragment", "user", "--prefix", "user:")
        assert imported(*of_users).startswith(expected)
    said = imported(*arguments, "--fragment", "chat")
    assert said.startswith("2 sessions imported in")
    assert said.count("Its key is none that the key function per_chat gives.") == 2  # Of users.
    assert stored("user") == OF_USERS
    assert stored("chat") == OF_CHATS
    about = BotSession.objects.order_by("name", "-key").values_list("key", "chat_id", "user_id")
    assert list(about) == [
        ("5", 5, None),
        (str(GROUP), GROUP, None),
        ("6", None, 6),
        ("5", None, 5),
    ]


# Files.


def test_files_are_imported_and_the_bot_goes_on_with_them(tmp_path: Path) -> None:
    talk("file", {"dirName": str(tmp_path)}, SAID)
    both_are_imported("grammy-file", str(tmp_path))
    assert BotClient().user(id=5).send("eggs").text == "capers, olives, eggs"


def test_versions_and_expiries_of_files_are_kept(tmp_path: Path) -> None:
    talk("file", {"dirName": str(tmp_path), "enhanced": True}, SAID[:1])
    said = imported("grammy-file", str(tmp_path), "--fragment", "chat")
    assert "It has version 2, and this code knows none" in said
    assert imported("grammy-file", str(tmp_path), "--fragment", "migrated").startswith("1 session")
    row = BotSession.objects.get()
    assert (row.version, row.data) == (2, {"texts": ["capers"]})
    assert row.expires_at is not None
    assert timedelta(0) < datetime.now(timezone.utc) + HOUR - row.expires_at < HOUR / 2
    assert "1 session imported" in imported(
        "grammy-file", str(tmp_path), "--fragment", "chat", "--drop-versions"
    )


def test_what_has_expired_in_grammy_is_left_out(tmp_path: Path) -> None:
    talk("file", {"dirName": str(tmp_path), "enhanced": True, "millisecondsToLive": 1}, SAID[:1])
    said = imported("grammy-file", str(tmp_path), "--fragment", "migrated")
    assert "1 left out because it has expired" in said


def test_a_file_that_grammy_has_changed_since_replaces_what_was_imported(tmp_path: Path) -> None:
    talk("file", {"dirName": str(tmp_path)}, SAID[:1])
    imported("grammy-file", str(tmp_path), "--fragment", "chat")
    talk("file", {"dirName": str(tmp_path)}, [(5, 5, "olives")])
    said = imported("grammy-file", str(tmp_path), "--fragment", "chat")
    assert "1 put in the place of an older one" in said
    assert stored("chat") == {"5": ["capers", "olives"]}
    BotClient().user(id=5).send("eggs")
    said = imported("grammy-file", str(tmp_path), "--fragment", "chat")
    assert "1 left out because another is stored" in said
    assert stored("chat") == {"5": ["capers", "olives", "eggs"]}


def test_files_that_grammy_has_not_written_are_named(tmp_path: Path) -> None:
    for path, text in {
        "42/142.json": '{"texts": []}',
        "42/143.json": "{}",
        "42/242.json": "{",
        "42/542.json": "[" * 5000 + "]" * 5000,
        "42/342.json": '{"__d": {}, "e": "secret"}',
        "42/README.md": "",
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    (tmp_path / "42/442.json").write_bytes(b"\xff")
    said = imported("grammy-file", str(tmp_path), "--fragment", "chat")
    assert said.startswith("1 session imported in")
    for file, reason in {
        "143": "It does not lie where grammY's file storage puts a session.",
        "242": "It is no JSON that Python can read.",
        "542": "It is no JSON that Python can read.",
        "342": "Its version or expiry is none that grammY writes.",
        "442": "It is no text.",
    }.items():
        assert f"Session in {tmp_path / '42' / file}.json: {reason}" in said
    assert "secret" not in said


def test_a_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    assert "nowhere is no directory" in imported(
        "grammy-file", str(tmp_path / "nowhere"), "--fragment", "chat"
    )


# PostgreSQL.


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    servers.needed("postgresql")
    with servers.running("postgresql") as server:
        yield server


@pytest.fixture
def psql(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Make the server the database ``grammy``; return what Node finds it by."""
    connection = ConnectionHandler({"default": server.database})["default"]
    database = connection.settings_dict
    monkeypatch.setitem(connections.settings, "grammy", database)
    connections["grammy"] = connection  # Known to the test as its own, by the alias default.
    yield {"PGHOST": database["HOST"], "PGUSER": database["USER"], "PGDATABASE": database["NAME"]}
    connection.close()
    del connections["grammy"]
    server.empty()


def test_a_table_is_imported_page_by_page(
    psql: dict[str, str], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botsessions.maintenance.origins.sql.PAGE", 3)
    talk("psql", {"tableName": "sessions"}, SAID, psql)
    both_are_imported("grammy-psql", "--database", "grammy")
    said = imported("grammy-psql", "--database", "grammy", "--fragment", "chat", "--dry-run")
    assert said.startswith("0 sessions would be imported, 2 there already.")


def test_versions_of_a_table_are_kept_and_broken_rows_named(
    psql: dict[str, str], server: Server
) -> None:
    talk("psql", {"tableName": "pets", "enhanced": True}, SAID[:1], psql)
    with closing(server.connect()) as connection:
        connection.execute("INSERT INTO pets VALUES ('7', '{secret'), ('8', NULL), ('9', '[]')")
        connection.commit()
    said = imported("grammy-psql", "pets", "--database", "grammy", "--fragment", "migrated")
    assert said.startswith("2 sessions imported, 1 left out because it is empty, in")
    assert "Session under the key '7': It is no JSON that Python can read." in said
    assert BotSession.objects.get(key="5").version == 2
    assert "secret" not in said


def test_a_table_that_is_not_there_is_an_error(psql: dict[str, str]) -> None:
    said = imported("grammy-psql", "dogs", "--database", "grammy", "--fragment", "chat")
    assert said == "There is no table 'dogs' in the database 'grammy'."


# The free storage.


@pytest.fixture
def free() -> Iterator[FreeServer]:
    with serving() as server:
        yield server


def test_a_free_storage_is_imported_over_one_connection_for_each_request_at_once(
    free: FreeServer,
) -> None:
    talk("free", {"token": TOKEN, "rootUrl": free.url}, SAID)
    free.connections = 0
    both_are_imported("grammy-free", free.url)
    assert free.connections < 3 * 2 * 5  # Of three imports, to list and to read.


def test_a_server_that_refuses_or_fails_is_an_error_and_no_empty_storage(
    free: FreeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botsessions.storages.free_server.PAUSES", ())
    talk("free", {"token": TOKEN, "rootUrl": free.url}, SAID)
    arguments = ("grammy-free", free.url, "--fragment", "chat")
    free.login_refused = (401, {"error": "secret"})
    said = imported(*arguments)
    assert "it does not accept the bot's token" in said
    free.login_refused = None
    free.faults = [500] * 100
    assert "failed: it answered 500" in imported(*arguments)
    free.faults = []
    assert imported(*arguments).startswith("2 sessions imported")


def test_a_bot_without_a_token_cannot_log_in(settings: Any) -> None:
    settings.BOTSESSIONS = {"BOTS": {"notes": {"SESSION": declared, "APPLICATION": build}}}
    said = imported("grammy-free", "--fragment", "chat")
    assert said == "Set BOTSESSIONS['BOTS']['notes']['TOKEN'] first: it logs in."


def test_what_does_not_belong_together_is_explained(tmp_path: Path) -> None:
    for arguments, problem in (
        (["grammy-file", str(tmp_path)], "Choose a fragment of bot 'notes' with --fragment: chat"),
        (["grammy-file", "--fragment", "chat"], "Name the source after grammy-file"),
        (
            ["grammy-free", "--fragment", "chat", "--key", "x"],
            "--key is of no use with grammy-free",
        ),
        (["grammy-psql", "--fragment", "chat", "--bot", "x"], "There is no bot 'x'"),
    ):
        assert problem in imported(*arguments)
