"""A web project with bots, served by real servers in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from .botapi import Account, BotApi
from .commands import ROOT, TIMEOUT
from .servers import children, lives, wait_until

TOKEN = "4711001:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"
SECRET = "between-Telegram-and-us_1"
BOT = {"TOKEN": TOKEN, "WEBHOOK_SECRET": SECRET}

ASGI = "tests.bots.asgi:application"
WITH_WEBHOOKS = "tests.bots.asgi:with_webhooks"
GUNICORN = ["-m", "gunicorn", "--log-level", "warning", "--bind", "127.0.0.1:{port}"]
UVICORN = ["-m", "uvicorn", "--log-level", "warning", "--port", "{port}"]
SERVERS = {
    "uvicorn": [*UVICORN, ASGI],
    "gunicorn": [*GUNICORN, "tests.bots.wsgi:application"],
    "middleware": [*UVICORN, WITH_WEBHOOKS],
    "middleware, gunicorn": [*GUNICORN, "-k", "uvicorn_worker.UvicornWorker", WITH_WEBHOOKS],
    "middleware, gunicorn's asgi": [*GUNICORN, "-k", "asgi", WITH_WEBHOOKS],
    "middleware, hypercorn": ["-m", "hypercorn", "--bind", "127.0.0.1:{port}", WITH_WEBHOOKS],
    "middleware, no lifespan": [*UVICORN, "--lifespan", "off", WITH_WEBHOOKS],
    "middleware, daphne": ["-m", "daphne", "-v", "0", "-p", "{port}", WITH_WEBHOOKS],
}
"""Ways to serve it: what the views answer, and what the middleware answers."""


class Site:
    """A running server."""

    def __init__(self, api: BotApi, process: subprocess.Popen[str], url: str, output: Path) -> None:
        self.process = process
        self.url = url
        self._api = api
        self._output = output

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def workers(self) -> list[int]:
        """The processes that handle requests: those the server has started, or itself."""
        return children(self.process.pid) or [self.process.pid]

    def kill_workers(self) -> None:
        """End the processes that handle requests at once; the server starts others."""
        for worker in self.workers:
            os.kill(worker, signal.SIGKILL)

    def webhook(self, alias: str = "notes") -> str:
        return f"{self.url}/telegram/{alias}/"

    def set_webhook(self, account: Account, alias: str = "notes", secret: str = SECRET) -> None:
        """Have the Bot API send an account's updates here."""
        account.answer("setWebhook", {"url": self.webhook(alias), "secret_token": secret})

    def wait_until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + TIMEOUT
        with self._api.changed:
            while not condition():
                assert self.process.poll() is None, f"It has ended: {self.output}"
                assert time.monotonic() < deadline, f"It never happened: {self.output}"
                self._api.changed.wait(0.05)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(TIMEOUT)


@contextmanager
def served(
    api: BotApi,
    output: Path,
    server: str,
    *arguments: str,
    bots: Mapping[str, Any],
    **environment: str,
) -> Iterator[Site]:
    """Serve the site of :mod:`tests.bots` on a port of its own."""
    port = free_port()
    settings = {
        "DJANGO_SETTINGS_MODULE": "tests.bots.settings",
        "BOTS": json.dumps(bots),
        "BOT_API": api.url,
    }
    command = [part.format(port=port) for part in SERVERS[server]]
    with output.open("w") as stdout:
        process = subprocess.Popen(  # noqa: S603 (nothing in it comes from outside)
            [sys.executable, "-u", *command, *arguments],
            cwd=ROOT,
            env=os.environ | settings | environment,
            stdout=stdout,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            wait_until(lambda: answers(port) or process.poll() is not None, output.read_text)
            assert process.poll() is None, output.read_text()
            yield Site(api, process, f"http://127.0.0.1:{port}", output)
        finally:
            end_family(process)


def free_port() -> int:
    with closing(socket.socket()) as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def end_family(process: subprocess.Popen[str]) -> None:
    family = [process.pid, *children(process.pid)]
    for pid in family:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
    wait_until(lambda: not any(map(lives, family)), lambda: f"{family} do not end.")
