"""Stored jobs whose processes are killed: each is run, and counts once (F13).

``KILLED_UPDATES`` is how many updates schedule a job each, ``KILLS`` how many workers are hurt.
"""

from __future__ import annotations

import asyncio
import json
import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from .botapi import BotApi
from .commands import manage, output
from .servers import wait_until
from .sites import TOKEN
from .tables import Tables
from .test_run_bot import Start, start  # noqa: F401 (a fixture)
from .test_webhook_kills import CHATS, KILLS, LIMIT, UPDATES, Workers, counts, deliver

REMINDING = {
    "SESSION": "tests.bots.reminding.handled",
    "APPLICATION": "tests.bots.reminding.build",
}
TABLE = "botsessions_botsession"
TELLING = {**REMINDING, "TOKEN": TOKEN, "APPLICATION": "tests.bots.reminding.build_telling"}


@pytest.fixture
def api(api: BotApi) -> BotApi:
    api.account(TOKEN)
    return api


@pytest.mark.parametrize("server", ["middleware", "gunicorn"])
def test_f13_whoever_is_killed_or_suspended_each_job_counts_exactly_once(
    server: str, tmp_path: Path, api: BotApi, table: Tables
) -> None:
    with Workers(api, tmp_path / "said", server, table.name, REMINDING).running() as workers:
        assert asyncio.run(deliver(workers)) == []
        wait_until(
            lambda: not jobs(table), lambda: f"{jobs(table)} are left: {workers.output}", LIMIT
        )
        said = workers.output
    assert counts(table) == {1: UPDATES}, said


@pytest.mark.parametrize("command", ["run_bot", "sweep_sessions"])
def test_f13_a_job_that_comes_due_while_nothing_runs_is_run_once(
    command: str,
    api: BotApi,
    table: Tables,
    start: Start,  # noqa: F811
) -> None:
    account = api.account(TOKEN)
    bots = {"notes": TELLING}
    account.say("tea")
    with start(bots=bots, SECONDS="2") as bot:
        # What was not confirmed is handled again.
        bot.wait_until(lambda: jobs(table) and not account.pending)
        bot.process.kill()
    wait_until(lambda: is_due(table), lambda: "It is not due.")
    table.make_late()
    if command == "sweep_sessions":
        environment = {
            "DJANGO_SETTINGS_MODULE": "tests.bots.settings",
            "BOTSESSIONS_DATABASE_NAME": table.name,
            "BOTS": json.dumps(bots),
            "BOT_API": api.url,
        }
        for _ in range(2):
            output(manage("sweep_sessions", env=os.environ | environment))
        assert account.texts == ["Promised", "tea 1"]
    for _ in range(2):
        with start(bots=bots, SECONDS="2") as bot:
            bot.wait_until(lambda: "polls" in bot.output and not jobs(table))
            assert bot.end() == 0
    assert account.texts == ["Promised", "tea 1"]


def test_f13_run_bot_is_killed_while_jobs_run_and_each_counts_exactly_once(
    api: BotApi,
    table: Tables,
    start: Start,  # noqa: F811
) -> None:
    account = api.account(TOKEN)
    bots = {"notes": {**REMINDING, "TOKEN": TOKEN}}
    for number in range(UPDATES):
        account.say(f"{number}", chat=1 + number % CHATS)
    with start(bots=bots, SECONDS="3600") as bot:
        bot.wait_until(lambda: not account.pending and len(jobs(table)) == UPDATES)
        assert bot.end() == 0
    table.make_late()
    for turn in range(KILLS + 1):
        with start(bots=bots, PAUSE="0.02", LEASE_SECONDS="1.5") as bot:
            left = UPDATES * (KILLS - turn) // (KILLS + 1)
            bot.wait_until(lambda left=left: len(jobs(table)) <= left)  # type: ignore[misc]
            if turn == KILLS:
                assert bot.end() == 0
    assert counts(table) == {1: UPDATES}


def jobs(tables: Tables) -> list[Any]:
    """Return when the jobs that are stored are due."""
    with tables.connection.cursor() as cursor:
        cursor.execute(f"SELECT expires_at FROM {TABLE} WHERE name LIKE %s", ["job:%"])  # noqa: S608
        return [moment for (moment,) in cursor.fetchall()]


def is_due(tables: Tables) -> bool:
    """Whether there is a job whose time has come."""
    return any(utc(moment) < datetime.now(timezone.utc) for moment in jobs(tables))


def utc(moment: Any) -> datetime:
    found = moment if isinstance(moment, datetime) else datetime.fromisoformat(moment)
    return found.replace(tzinfo=found.tzinfo or timezone.utc)
