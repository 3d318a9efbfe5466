"""Rule G5: what a process has opened before it forks is no child's."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from botsessions.forking import close_connections
from botsessions.models import BotSession
from project.settings import DATABASE

from .botapi import serving
from .commands import ROOT
from .sessions import make
from .sites import BOT, SERVERS, TOKEN, served
from .tables import Tables

POOLED = {"OPTIONS": {"pool": True}, "CONN_MAX_AGE": 0}
KEPT = {"CONN_MAX_AGE": None}


@pytest.fixture
def tables(django_db_blocker: Any) -> Iterator[Tables]:
    with django_db_blocker.unblock(), Tables(f"forking_{uuid4().hex}").made() as tables:
        yield tables


@pytest.mark.skipif(DATABASE != "postgresql", reason="Only PostgreSQL has pools.")
@pytest.mark.parametrize("database", [POOLED, KEPT], ids=["pool", "kept open"])
@pytest.mark.parametrize("threads", [(), ("--threads", "4")], ids=["sync", "threads"])
def test_g5_workers_of_a_preloaded_site_share_no_connection(
    database: Any, threads: Any, tables: Tables, tmp_path: Path, monkeypatch: Any
) -> None:
    program = [part.replace(".wsgi:", ".preloaded:") for part in SERVERS["gunicorn"]]
    monkeypatch.setitem(SERVERS, "gunicorn", program)
    settings = {"DATABASE": json.dumps(database), "BOTSESSIONS_DATABASE_NAME": tables.name}
    arguments = ("--preload", "--workers", "2", *threads)
    with (
        serving() as api,
        served(
            api, tmp_path / "log", "gunicorn", *arguments, bots={"notes": BOT}, **settings
        ) as site,
    ):

        def ask(_: int) -> dict[str, int]:
            with urllib.request.urlopen(f"{site.url}/backend/", timeout=20) as answer:  # noqa: S310
                return json.load(answer)  # type: ignore[no-any-return]

        with ThreadPoolExecutor(8) as clients:
            answers = list(clients.map(ask, range(100)))
        assert {answer["process"] for answer in answers} == set(site.workers)
        assert all(answer["process"] == answer["answer"] for answer in answers)
        assert len({answer["backend"] for answer in answers}) == len(
            {(answer["process"], answer["backend"]) for answer in answers}
        )

        account = api.account(TOKEN)
        site.set_webhook(account)
        for chat in range(5, 25):
            account.say("one", chat)
        site.wait_until(lambda: not account.pending)
        assert {status for _, status in account.deliveries} == {200}, site.output
    assert [tables.texts(chat) for chat in range(5, 25)] == [["one"]] * 20


def test_a_fork_leaves_a_transaction_around_it_alone(db: None) -> None:
    make("1", {"n": 1})
    close_connections()
    assert BotSession.objects.get().data == {"n": 1}


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_was_closed_for_a_fork_is_opened_again() -> None:
    make("1", {"n": 1})
    before = connection.connection
    close_connections()
    assert BotSession.objects.get().data == {"n": 1}
    assert connection.connection is not before


IMPORTS = """
import concurrent.futures.thread, logging, os, pkgutil, random, threading
import asgiref.sync, django, telegram.ext
del os.register_at_fork
django.setup()
import botsessions
found = pkgutil.walk_packages(botsessions.__path__, "botsessions.")
names = [module.name for module in found if ".migrations" not in module.name]
for name in names:
    __import__(name)
print(len(names))
"""


def test_all_can_be_imported_where_processes_cannot_fork() -> None:
    imported = subprocess.run(  # noqa: S603 (nothing in it comes from outside)
        [sys.executable, "-c", IMPORTS], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert imported.returncode == 0, imported.stderr
    assert int(imported.stdout) > 100
