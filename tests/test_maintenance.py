"""Commands that work on a table in processes of their own, beside a bot, and killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from botsessions.models import BotSession

from .bots.aging import CHATS
from .commands import ROOT, TIMEOUT, manage, output

pytestmark = pytest.mark.django_db(transaction=True)

BOTS = {"aging": {"SESSION": "tests.bots.aging.counted"}}
EXPIRED_OF = 4
"""Every fourth chat's session has expired."""


def environment() -> dict[str, str]:
    """Return that of a process that uses the tests' database."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.bots.settings",
        "BOTSESSIONS_DATABASE_NAME": str(connection.settings_dict["NAME"]),
        "BOTS": json.dumps(BOTS),
    }


def fill(chats: int) -> None:
    """Store sessions without a version; what has expired has counted to a thousand."""
    now, hour = timezone.now(), timedelta(hours=1)
    connection.close()  # It keeps the time of the last test's transaction on some databases.
    BotSession.objects.bulk_create(
        BotSession(
            bot="aging",
            key=str(chat),
            data={"count": 1000 if expired else 0},
            expires_at=now - hour if expired else now + hour,
        )
        for chat in range(1, chats + 1)
        for expired in [chat % EXPIRED_OF == 0]
    )


@contextmanager
def bot() -> Iterator[subprocess.Popen[str]]:
    """Run a bot that people talk to."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "tests.bots.aging"],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def end(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Let a bot finish, and return what it reports."""
    out, err = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, err) == (0, "")
    report: dict[str, Any] = json.loads(out)
    return report


def test_beside_a_busy_bot_nothing_is_lost_and_nobody_fails() -> None:
    fill(CHATS)
    with bot() as busy:
        assert busy.stdout is not None
        assert busy.stdout.readline() == "busy\n"
        commands = [
            manage(*arguments, "--batch-size", "25", env=environment())
            for arguments in (
                ["sweep_sessions"],
                ["migrate_sessions"],
                ["sweep_sessions", "--idle-for", "1h", "--migrate"],
            )
        ]
        for command in commands:
            output(command)
        report = end(busy)
    assert report["errors"] == []
    output(manage("sweep_sessions", "--migrate", env=environment()))  # What was locked just then.
    rows = {row.key: row for row in BotSession.objects.all()}
    assert {key: rows[key].data["count"] for key in report["handled"]} == report["handled"]
    assert {(row.data["migrated"], row.version) for row in rows.values()} == {(1, 1)}
    assert len(rows) > CHATS - CHATS // EXPIRED_OF


COMMANDS = pytest.mark.parametrize("command", ["sweep_sessions", "migrate_sessions"])


@COMMANDS
def test_killed_in_the_middle_and_run_again_it_is_complete(command: str) -> None:
    fill(2000)
    process = manage(command, "--batch-size", "5", "--verbosity", "2", env=environment())
    wait_for_batches(process)
    process.kill()
    process.communicate()
    assert 0 < left(command) < 500 if command == "sweep_sessions" else 0 < left(command) < 1500
    output(manage(command, env=environment()))
    assert left(command) == 0
    assert {row.data.get("migrated", 1) for row in BotSession.objects.all()} == {1}


@COMMANDS
def test_sigterm_ends_it_between_two_batches(command: str) -> None:
    fill(2000)
    process = manage(command, "--batch-size", "5", "--verbosity", "2", env=environment())
    wait_for_batches(process)
    process.send_signal(signal.SIGTERM)
    *_, line = output(process, status=75).splitlines()
    before = 500 if command == "sweep_sessions" else 1500
    assert line.startswith(f"{before - left(command)} sessions ")
    assert line.endswith("Ended early: run it again.")
    assert left(command) > 0


@COMMANDS
def test_two_at_once_do_the_work_once(command: str) -> None:
    fill(2000)
    both = [manage(command, "--batch-size", "20", "--json", env=environment()) for _ in range(2)]
    results = [json.loads(output(process)) for process in both]
    output(manage(command, env=environment()))
    assert left(command) == 0
    done = sum(result.get("deleted", result.get("migrated")) for result in results)
    assert done <= (500 if command == "sweep_sessions" else 1500)
    assert {row.data.get("migrated", 1) for row in BotSession.objects.all()} == {1}


def test_migrating_waits_for_no_lock_and_the_next_run_does_the_rest() -> None:
    if not connection.features.has_select_for_update_skip_locked:
        pytest.skip("Whoever writes locks all.")
    fill(8)
    locked, done = threading.Event(), threading.Event()

    def lock() -> None:
        with closing(connection.copy()) as other, other.cursor() as cursor:
            other.set_autocommit(False)
            table = BotSession._meta.db_table
            cursor.execute(f"SELECT id FROM {table} WHERE chat_id = 7 FOR UPDATE")  # noqa: S608
            locked.set()
            done.wait(TIMEOUT)
            other.rollback()

    BotSession.objects.filter(key="7").update(chat_id=7)
    thread = threading.Thread(target=lock, daemon=True)
    thread.start()
    try:
        assert locked.wait(TIMEOUT)
        assert output(manage("migrate_sessions", env=environment())).startswith("5 sessions ")
    finally:
        done.set()
        thread.join()
    assert output(manage("migrate_sessions", env=environment())).startswith("1 session ")


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """A file of two thousand sessions to be imported."""
    path = tmp_path / "lines.jsonl"
    sessions = (
        {"bot": "aging", "fragment": "", "key": str(chat), "data": {"count": chat}}
        for chat in range(CHATS)
    )
    path.write_text("".join(f"{json.dumps(session)}\n" for session in sessions))
    return path


def importing(path: Path, *arguments: str) -> subprocess.Popen[str]:
    return manage("import_sessions", "jsonl", str(path), *arguments, env=environment())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_an_import_that_is_ended_in_the_middle_and_run_again_is_complete(
    lines: Path, number: signal.Signals
) -> None:
    process = importing(lines, "--batch-size", "5", "--verbosity", "2")
    wait_for_batches(process, f"{lines}:")
    process.send_signal(number)
    process.communicate()
    assert process.returncode == (75 if number is signal.SIGTERM else -number)
    imported = BotSession.objects.count()
    assert 0 < imported < CHATS
    text = output(importing(lines))
    assert text.startswith(f"{CHATS - imported} sessions imported, {imported} there already")
    assert {int(row.key): row.data["count"] for row in BotSession.objects.all()} == {
        chat: chat for chat in range(CHATS)
    }


def test_two_imports_at_once_import_each_session_once(lines: Path) -> None:
    both = [importing(lines, "--batch-size", "20", "--json") for _ in range(2)]
    results = [json.loads(output(process)) for process in both]
    assert sum(result["imported"] for result in results) == CHATS
    assert sum(result["same"] + result["kept"] for result in results) == CHATS
    assert BotSession.objects.count() == CHATS


def wait_for_batches(process: subprocess.Popen[str], label: str = "default:") -> None:
    assert process.stdout is not None
    for _ in range(3):
        assert process.stdout.readline().startswith(label)


def left(command: str) -> int:
    """Return how many sessions are still to be worked on."""
    if command == "sweep_sessions":
        return BotSession.objects.filter(expires_at__lte=timezone.now()).count()
    return BotSession.objects.filter(version=None, expires_at__gt=timezone.now()).count()
