"""Scripts without a project's settings: they build an application by themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parent.parent
DECLARED = """
import asyncio
import django
from django.conf import settings
from telegram.ext import ApplicationBuilder, TypeHandler
from botsessions import MemoryStorage, session
from botsessions.testing.offline import OfflineBuilder, OfflineTelegram
from telegram import Update

async def count(update, context):
    context.session["count"] = context.session.get("count", 0) + 1
    print("counted", context.session["count"])

async def main(counter, lock="process"):
    application = counter.install(OfflineBuilder(OfflineTelegram()), lock=lock).build()
    application.add_handler(TypeHandler(object, count))
    message = {"message_id": 1, "date": 0, "chat": {"id": 7, "type": "private"}}
    async with application:
        for number in (1, 2):
            update = Update.de_json({"update_id": number, "message": message}, application.bot)
            await application.process_update(update)
"""
SET_UP = """
settings.configure(
    INSTALLED_APPS=["botsessions"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "sessions.sqlite3"}},
)
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
"""


def test_the_default_storage_without_django_is_told_to_set_it_up(tmp_path: Path) -> None:
    for used in ("session(initial=dict)", "session(storage=MemoryStorage()), 'database'"):
        code = f"{DECLARED}\nasyncio.run(main({used}))"
        output = run(code, tmp_path, status=1)
        assert "call django.setup() before the bot runs" in output.splitlines()[-1]
        assert "counted" not in output


def test_settings_that_are_not_set_up_are_told_the_same(tmp_path: Path) -> None:
    configured = SET_UP.partition("django.setup()")[0]
    code = f"{DECLARED}{configured}\nprint(session(initial=dict).get('7', bot='1'))"
    assert "call django.setup() before the bot runs" in run(code, tmp_path, status=1)


def test_the_default_storage_works_once_django_is_set_up(tmp_path: Path) -> None:
    code = f"{DECLARED}{SET_UP}\nasyncio.run(main(session(initial=dict)))"
    assert run(code, tmp_path) == "counted 1\ncounted 2\n"


def test_other_storages_need_no_django(tmp_path: Path) -> None:
    code = f"{DECLARED}\nasyncio.run(main(session(initial=dict, storage=MemoryStorage())))"
    assert run(code, tmp_path) == "counted 1\ncounted 2\n"


def test_settings_that_come_after_a_session_in_memory_hold_all_the_same(tmp_path: Path) -> None:
    code = f"""{DECLARED}
asyncio.run(main(session(initial=dict, storage=MemoryStorage())))
{SET_UP}
from threading import Event, Thread
from django.db import connection, transaction
from botsessions.exceptions import SessionLockError
from botsessions.testing.offline import TOKEN

BOT = TOKEN.partition(":")[0]
counter = session(initial=dict)
asyncio.run(main(counter))
held, over = Event(), Event()

def hold():
    with counter.edit(chat=7, bot=BOT):
        held.set()
        over.wait()
    connection.close()

thread = Thread(target=hold, daemon=True)
thread.start()
held.wait()
try:
    with transaction.atomic(), counter.edit(chat=7, bot=BOT):
        pass
except SessionLockError as exc:
    print(exc)
over.set()
thread.join()
"""
    assert "somebody else in this process" in run(code, tmp_path)


def run(code: str, directory: Path, status: int = 0) -> str:
    """Return what a script wrote, in a process of its own."""
    (directory / "script.py").write_text(code)
    env = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    result = subprocess.run(
        [sys.executable, "script.py"],
        cwd=directory,
        env=env | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == status, result.stdout
    return result.stdout
