"""``manage.py run_bot``, against a small Telegram of its own on this computer."""

from __future__ import annotations

import json
import os
import queue
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from .commands import ROOT, TIMEOUT, manage, output

TOKEN = "4711:secret-of-the-bot"
MARIA = {"id": 5, "is_bot": False, "first_name": "Maria"}

SETTINGS = """
from project.settings import *

BOTSESSIONS = {
    "BOTS": {
        "shop": {
            "TOKEN": "4711:secret-of-the-bot",
            "SESSION": "project.bot.pizza",
            "APPLICATION": "shop.build",
            "ALLOWED_UPDATES": ["message"],
        },
    },
}
"""
BOT = """
from project import bot


def build(builder):
    return bot.build(builder.base_url("http://127.0.0.1:{port}/bot"))
"""


class Telegram(ThreadingHTTPServer):
    """Answers the Bot API's calls, noting those that matter."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.updates: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.sent: queue.SimpleQueue[dict[str, str]] = queue.SimpleQueue()
        self.asked_for: list[str] = []
        self.knows_token = True

    def answer(self, method: str, parameters: dict[str, str]) -> Any:
        if method == "getMe":
            return {"id": 4711, "is_bot": True, "first_name": "Shop", "username": "shop_bot"}
        if method == "getUpdates":
            self.asked_for.append(parameters.get("allowed_updates", ""))
            return self.new_updates()
        if method == "sendMessage":
            self.sent.put(parameters)
            chat = {"id": int(parameters["chat_id"]), "type": "private"}
            return {"message_id": 1, "date": 0, "chat": chat, "text": parameters["text"]}
        return True

    def new_updates(self) -> list[dict[str, Any]]:
        try:
            return [self.updates.get(timeout=0.2)]
        except queue.Empty:
            return []

    def say(self, number: int, text: str) -> None:
        message = {
            "message_id": number,
            "date": 0,
            "chat": {"id": 5, "type": "private", "first_name": "Maria"},
            "from": MARIA,
            "text": text,
        }
        if text.startswith("/"):
            message["entities"] = [{"type": "bot_command", "offset": 0, "length": len(text)}]
        self.updates.put({"update_id": number, "message": message})


class Handler(BaseHTTPRequestHandler):
    server: Telegram

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        parameters = {name: values[0] for name, values in parse_qs(body).items()}
        if self.server.knows_token:
            result = self.server.answer(self.path.rpartition("/")[2], parameters)
            self.reply(200, {"ok": True, "result": result})
        else:
            self.reply(401, {"ok": False, "error_code": 401, "description": "Unauthorized"})

    def reply(self, status: int, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def telegram() -> Iterator[Telegram]:
    with Telegram() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def environment(telegram: Telegram, tmp_path: Path) -> dict[str, str]:
    """A project of its own, whose bot talks to ``telegram``."""
    (tmp_path / "shop_settings.py").write_text(SETTINGS)
    (tmp_path / "shop.py").write_text(BOT.format(port=telegram.server_port))
    return os.environ | {
        "DJANGO_SETTINGS_MODULE": "shop_settings",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]),
        "BOTSESSIONS_DATABASE": "sqlite",
        "BOTSESSIONS_DATABASE_NAME": str(tmp_path / "db.sqlite3"),
    }


def test_the_bot_polls_and_its_sessions_are_stored(
    telegram: Telegram, environment: dict[str, str]
) -> None:
    output(manage("migrate", "--verbosity=0", env=environment))
    telegram.say(1, "🍕")
    telegram.say(2, "/hunger")
    process = manage("run_bot", env=environment)
    try:
        message = telegram.sent.get(timeout=TIMEOUT)
        assert message == {"chat_id": "5", "text": "Your hunger level is 1!"}
        process.send_signal(signal.SIGINT)
        assert "'shop'" in output(process)
    finally:
        process.kill()
    look = "from project.bot import pizza; print(pizza.get(chat=5))"
    stored = output(manage("shell", "--no-imports", "-c", look, env=environment))
    assert "PizzaSession(pizza_count=1)" in stored
    assert json.loads(telegram.asked_for[-1]) == ["message"]


def test_a_refused_token_is_not_shown(telegram: Telegram, environment: dict[str, str]) -> None:
    telegram.knows_token = False
    shown = output(manage("run_bot", "shop", env=environment), status=1)
    assert "BOTSESSIONS['BOTS']['shop']['TOKEN']" in shown
    assert "secret" not in shown
    assert "Traceback" not in shown


@override_settings(BOTSESSIONS={"BOTS": {"shop": {"TOKEN": ""}}})
def test_without_a_token_it_names_the_setting() -> None:
    with pytest.raises(CommandError, match=r"BOTSESSIONS\['BOTS'\]\['shop'\]\['TOKEN'\]"):
        call_command("run_bot", "shop")


def test_an_unknown_alias_is_refused_with_the_known_ones() -> None:
    with pytest.raises(CommandError, match=r"no bot 'shop'.*'default'"):
        call_command("run_bot", "shop")
