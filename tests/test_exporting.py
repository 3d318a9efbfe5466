"""``manage.py export_sessions``."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import tracemalloc
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from botsessions import MemoryStorage, multi_session, session
from botsessions.maintenance.exporting import export_sessions
from botsessions.models import BotSession

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def bots(settings: Any) -> None:
    shop = multi_session(
        cart=session(initial=dict), draft=session(initial=dict, storage=MemoryStorage())
    )
    settings.BOTSESSIONS = {"BOTS": {"shop": {"SESSION": shop, "APPLICATION": print}}}


def make(key: str, *, bot: str = "shop", name: str = "cart", **fields: Any) -> BotSession:
    return BotSession.objects.create(bot=bot, name=name, key=key, data={"of": key}, **fields)


def export(*arguments: str, **options: Any) -> list[dict[str, Any]]:
    out = StringIO()
    call_command("export_sessions", *arguments, stdout=out, stderr=StringIO(), **options)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def keys(*arguments: str) -> list[str]:
    return [line["key"] for line in export(*arguments)]


def test_each_session_is_a_line_of_json_with_all_that_is_known_of_it() -> None:
    make("5", chat_id=5, chat_type="private", title="María 🍕", version="1.5")
    (line,) = export()
    assert line["created"]
    assert line["created"] <= line["changed"]
    del line["created"], line["changed"]
    assert line == {
        "bot": "shop",
        "fragment": "cart",
        "key": "5",
        "chat_id": 5,
        "user_id": None,
        "chat_type": "private",
        "title": "María 🍕",
        "version": 1.5,
        "expires": None,
        "expired": False,
        "data": {"of": "5"},
    }


def test_only_of_a_bot_or_a_fragment_or_in_a_state() -> None:
    now = timezone.now()
    make("lasting")
    make("soon", expires_at=now + DAY / 2)
    make("later", expires_at=now + 2 * DAY)
    make("gone", expires_at=now)
    make("single", name="")
    make("elsewhere", bot="no longer there")
    assert keys() == ["lasting", "soon", "later", "gone", "single", "elsewhere"]
    assert keys("--bot", "no longer there") == ["elsewhere"]
    assert keys("--bot", "shop", "--fragment", "") == ["single"]
    assert keys("--fragment", "cart", "--state", "soon") == ["soon"]
    assert keys("--state", "expired") == ["gone"]
    both = keys("--bot", "shop", "--fragment", "cart", "--state", "live", "--state", "soon")
    assert sorted(both) == ["lasting", "later", "soon"]


def test_masked_fields_are_written_as_they_are(settings: Any) -> None:
    settings.BOTSESSIONS = {**settings.BOTSESSIONS, "MASKED_FIELDS": ["of"]}
    make("5")
    assert export()[0]["data"] == {"of": "5"}


def test_a_file_is_new_and_for_its_owner_only(tmp_path: Path) -> None:
    make("5")
    file, out = tmp_path / "sessions.jsonl", StringIO()
    call_command("export_sessions", output=file, stdout=out, stderr=StringIO())
    assert out.getvalue() == f"1 session written to {file}.\n"
    assert json.loads(file.read_text())["key"] == "5"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(CommandError, match="File exists"):
        export(output=file)


MANY_LINES = """
import sys
from botsessions.management.output import opened
with opened(None, sys.stdout) as file:
    for number in range(100_000):
        file.write(f"{number}\\n")
"""


def test_whoever_reads_the_first_lines_only_gets_no_traceback() -> None:
    command = [sys.executable, "-c", MANY_LINES]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:  # noqa: S603
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"0\n"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_storages_that_cannot_be_listed_are_named() -> None:
    err = StringIO()
    call_command("export_sessions", stdout=StringIO(), stderr=err)
    assert "left out: fragment 'draft' of bot 'shop' (MemoryStorage)." in err.getvalue()


def test_wrong_usage_is_explained() -> None:
    with pytest.raises(CommandError, match="no database 'other'"):
        export("--database", "other")
    with pytest.raises(CommandError, match="invalid choice"):
        export("--state", "dead")


def test_many_sessions_are_never_in_memory_as_a_whole() -> None:
    size, count = 20_000, 1000
    BotSession.objects.bulk_create(
        (BotSession(bot="shop", key=str(n), data={"x": "x" * size}) for n in range(count)),
        batch_size=100,
    )
    tracemalloc.start()
    assert sum(1 for _ in export_sessions()) == count
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < size * count / 2
