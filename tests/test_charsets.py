"""MariaDB databases that were made with a character set in which there is no emoji."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from project.settings import DATABASE

from .commands import manage, output

pytestmark = pytest.mark.skipif(DATABASE != "mariadb", reason="MariaDB and MySQL only")

SCRIPT = """
import asyncio, json
from django.core import checks
from django.core.management import call_command
from botsessions.finding import search
from botsessions.models import BotSession
from botsessions.testing import AsyncBotClient

seen = []

async def talk():
    async with AsyncBotClient(raise_errors=False) as client:
        errors = (await client.user("Мария 🍕", id=5).send("🍕")).errors
    seen.append(str(errors[0]) if errors else "saved")

def migrate(*until):
    call_command("migrate", "botsessions", *until, verbosity=0)
    asyncio.run(talk())
    seen.append([m.msg for m in checks.run_checks(databases=["default"])])
    if not until:
        seen.append([s.title for s in search(BotSession.objects.all(), "мария 🍕")])

before = "0007"  # The last one with columns in the database's character set.
migrate(before)
migrate()
migrate(before)
migrate()
print(json.dumps(seen))
"""


@pytest.fixture(params=["latin1", "utf8mb3"])
def database(request: Any, django_db_blocker: Any) -> Iterator[str]:
    name = f"charset_{uuid4().hex}"
    with django_db_blocker.unblock(), connection._nodb_cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} CHARACTER SET {request.param}")
        try:
            yield name
        finally:
            cursor.execute(f"DROP DATABASE {name}")


def test_whoever_has_an_emoji_in_the_name_is_saved(database: str) -> None:
    environment = os.environ | {"BOTSESSIONS_DATABASE_NAME": database}
    text = output(manage("shell", "--verbosity", "0", "-c", SCRIPT, env=environment))
    before, told, *after = json.loads(text.splitlines()[-1])
    assert "Incorrect string value" in before
    assert any("chat_type, title of the table botsessions_botsession cannot" in m for m in told)
    found = ["Мария 🍕"]
    assert after == ["saved", [], found, "saved", [], "saved", [], found]
