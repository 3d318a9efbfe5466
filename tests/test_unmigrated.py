"""A forgotten ``migrate`` is told at the start, by a statement for each database."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.db.utils import ConnectionHandler
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from botsessions import DatabaseStorage, MemoryStorage, session, unmigrated
from botsessions.bots import Bot
from botsessions.models import BotSession, BotSessionLease, HandledUpdate, HistoryEntry
from botsessions.ptb.webhook import serve
from botsessions.unmigrated import refuse_unmigrated, tables_of

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "s3cret"
TOKEN = "6:NOBODY"


def build(builder: Any) -> Any:
    raise AssertionError("It begins.")


def bot(storage: Any = None, **settings: Any) -> Bot:
    return Bot("shop", {"SESSION": session(storage=storage), "APPLICATION": build, **settings})


SHOP = bot(TOKEN=TOKEN)


@pytest.fixture(params=["table", "column"])
def forgotten(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database has no table of sessions, or one as an older version of the code had it."""
    if request.param == "table":
        monkeypatch.setattr(BotSession._meta, "db_table", "botsessions_nowhere")
    else:
        monkeypatch.setattr(BotSession._meta.get_field("size"), "column", "no_such_size")


COMMANDS = [
    ("sweep_sessions",),
    ("sweep_sessions", "--dry-run"),
    ("migrate_sessions",),
    ("migrate_sessions", "--plan"),
    ("rename_bot", "old", "shop"),
    ("rename_fragment", "old", ""),
    ("rekey_sessions", "per_user"),
    ("import_sessions", "jsonl", "nowhere.jsonl"),
    ("export_sessions",),
    ("export_sessions", "--bot", "cafe"),
    ("export_user", "5"),
    ("forget_user", "5", "--noinput"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_that_needs_tables_says_to_migrate(
    command: tuple[str, ...], forgotten: None
) -> None:
    with (
        override_settings(BOTSESSIONS={"BOTS": {"shop": SHOP.settings}}),
        pytest.raises(CommandError, match=r"DATABASES\['default'\].*: run manage.py migrate\."),
    ):
        call_command(*command, stdout=StringIO(), stderr=StringIO())


def test_so_does_one_that_lacks_what_is_kept_beside_sessions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(HandledUpdate._meta, "db_table", "botsessions_nowhere")
    with pytest.raises(CommandError, match=r"nowhere.*manage.py migrate"):
        call_command("sweep_sessions")


def test_run_bot_says_to_migrate_and_other_bots_begin(forgotten: None) -> None:
    told = StringIO()
    bots = {"shop": SHOP.settings, "memory": bot(MemoryStorage(), TOKEN=TOKEN).settings}
    with (
        override_settings(BOTSESSIONS={"BOTS": bots}),
        pytest.raises(CommandError, match="Not every bot ran"),
    ):
        call_command("run_bot", "--noreload", stderr=told)
    first, second = told.getvalue().splitlines()
    assert first.startswith("shop: DATABASES['default'] does not have all that sessions need (")
    assert first.endswith("): run manage.py migrate.")
    assert second == "memory: AssertionError: It begins."


def test_a_bot_with_a_webhook_does_not_start(forgotten: None) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"manage.py migrate\."):
        serve(bot(WEBHOOK_SECRET=SECRET), lambda: True)


def test_nothing_is_needed_but_what_the_bot_uses() -> None:
    here = "default"
    assert tables_of(bot(MemoryStorage())) == set()
    assert tables_of(SHOP) == {(BotSession, here)}
    leased = {(BotSessionLease, here)}
    assert tables_of(bot(LOCK="database")) == {(BotSession, here)} | leased
    assert tables_of(bot(MemoryStorage(), LOCK="database")) == leased
    with_history = bot(DatabaseStorage(history=2))
    assert tables_of(with_history) == {(BotSession, here), (HistoryEntry, here)}
    assert tables_of(bot(WEBHOOK_SECRET=SECRET)) >= {(BotSession, here), (HandledUpdate, here)}


def test_a_start_costs_a_statement() -> None:
    tables = tables_of(bot(DatabaseStorage(history=2), WEBHOOK_SECRET=SECRET))
    assert len(tables) == 4
    with CaptureQueriesContext(connection) as statements:
        refuse_unmigrated(tables)
    assert len(statements) == 1
    with CaptureQueriesContext(connection) as statements:
        refuse_unmigrated([])
    assert len(statements) == 0


def test_another_database_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sqlite = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "empty.sqlite3")}
    databases = ConnectionHandler({"default": {}, "bots": sqlite})
    monkeypatch.setattr(unmigrated, "connections", databases)
    with pytest.raises(ImproperlyConfigured, match=r"\['bots'\].*manage.py migrate --database bo"):
        refuse_unmigrated([(BotSession, "bots")])
    databases["bots"].close()


def test_a_database_that_does_not_answer_may_do_so_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_down() -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(connection, "cursor", is_down)
    refuse_unmigrated(tables_of(SHOP))
