"""The documentation's crontab lines, run as cron runs them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from .botapi import BotApi
from .test_docs import PAGES, ROOT

pytestmark = pytest.mark.once

TOKEN = "4711001:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"
LINE = re.compile(r"^(?P<when>(?:[\d*/,-]+ +){4}[\d*/,-]+)  (?P<command>.+)$")
LINES = [
    pytest.param(line, id=f"{page.name}: {line}")
    for page in PAGES
    for block in re.findall(r"^```crontab\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]
OF_CRON = {"HOME": "/", "LOGNAME": "shop", "SHELL": "/bin/sh", "PATH": "/usr/bin:/bin"}
"""All that is in the environment of what cron runs."""

MANAGE = """
import os
from django.core.management import execute_from_command_line
import sys

os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
execute_from_command_line(sys.argv)
"""
SETTINGS = """
import os

SECRET_KEY = "secret"
INSTALLED_APPS = ["botsessions"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": "db.sqlite3",
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
        },
    },
}
USE_TZ = True
BOTSESSIONS = {
    "BOTS": {
        "shop": {
            "TOKEN": os.environ.get("TELEGRAM_BOT_TOKEN"),
            "SESSION": "shop.bot.baskets",
            "APPLICATION": "shop.bot.build",
        },
    },
}
"""
BOT = """
import os
from datetime import timedelta
from botsessions import enhance_storage, session

async def tell_customer(key, data, context):
    await context.bot.send_message(context.chat_id, f"Your basket {data} is gone.")

baskets = session(
    storage=enhance_storage(time_to_live=timedelta(minutes=30), on_expire=tell_customer)
)

def build(builder):
    return builder.base_url(os.environ["BOT_API"] + "/bot").build()
"""
FORGET = """
from datetime import timedelta
from django.utils import timezone
from botsessions.models import BotSession

long_ago = timezone.now() - timedelta(days=1)
BotSession.objects.create(bot="shop", key="5", chat_id=5, data=["pizza"], expires_at=long_ago)
"""


class Machine:
    """A directory that stands for a server's ``/``, with a project in ``/srv/shop``."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.write("srv/shop/manage.py", MANAGE)
        self.write("srv/shop/shop/settings.py", SETTINGS)
        self.write("srv/shop/shop/bot.py", BOT)
        # A link would make it a Python without its packages.
        python = f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} "$@"\n'
        self.write("srv/shop/venv/bin/python", python).chmod(0o755)

    def write(self, name: str, text: str) -> Path:
        file = self._root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def run(self, command: str) -> str:
        command = re.sub(r"(?<!\S)/(?=srv|etc)", f"{self._root}/", command)
        result = subprocess.run(  # noqa: S603 (our own pages)
            ["/bin/sh", "-c", command],
            cwd="/",
            env=OF_CRON,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout
        return result.stdout


@pytest.mark.parametrize("line", LINES)
def test_cron_sweeps_and_customers_hear_of_it(line: str, api: BotApi, tmp_path: Path) -> None:
    found = LINE.match(line)
    assert found, "This is no line of a crontab."
    assert "%" not in line, "For cron that is the end of the line."
    account, machine = api.account(TOKEN), Machine(tmp_path)
    machine.write("etc/shop.env", f"TELEGRAM_BOT_TOKEN={TOKEN}\nBOT_API={api.url}\n")
    machine.run("cd /srv/shop && venv/bin/python manage.py migrate --verbosity 0")
    machine.write("srv/shop/forget.py", FORGET)
    machine.run("cd /srv/shop && venv/bin/python manage.py shell --verbosity 0 < forget.py")
    output = machine.run(found["command"])
    assert re.fullmatch(r"1 session deleted(, 0 migrated)? in \d+\.\d s\.\n", output)
    (message,) = account.sent
    assert (message["chat"]["id"], message["text"]) == (5, "Your basket ['pizza'] is gone.")
