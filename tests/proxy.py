"""A network between a bot and its database that can fall silent, or swallow an answer."""

from __future__ import annotations

import select
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.db import connection, connections

SOCKETS = {"postgresql": ".s.PGSQL.5432", "mysql": "mysqld.sock"}
"""How servers' sockets are called."""
DIRECTORIES = ("/var/run/postgresql", "/run/postgresql", "/run/mysqld", "/var/run/mysqld", "/tmp")  # noqa: S108


class Proxy:
    """Passes on what comes over a socket of its own."""

    def __init__(self, directory: Path, server: Path) -> None:
        self.path = directory / server.name
        self._server = server
        self._open = threading.Event()
        self._open.set()
        self._swallow = threading.Event()
        self.swallowed = threading.Event()
        """Set once an answer was swallowed."""
        self.given_up = threading.Event()
        """Set once a client has closed a connection that was silent."""
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(self.path))
        self._listening.listen()
        self._start(self._accept)

    def fall_silent(self) -> None:
        """Keep all connections, and pass nothing on."""
        self._open.clear()

    def go_on(self) -> None:
        self._open.set()

    def swallow_an_answer(self) -> None:
        """Cut the connection that the next answer comes over, and lose that."""
        self._swallow.set()

    def close(self) -> None:
        self._open.set()
        self._listening.close()
        for pair in self._pairs:
            self._cut(pair)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(self._server))
                pair = (client, server)
                self._pairs.append(pair)
                self._start(self._pump, pair, client, server)
                self._start(self._pump, pair, server, client)

    def _pump(self, pair: Any, source: socket.socket, target: socket.socket) -> None:
        is_answer = source is pair[1]
        with suppress(OSError):
            while data := source.recv(65536):
                while not self._open.wait(0.02):
                    if not is_answer and is_closed(source):
                        self.given_up.set()
                        return
                if is_answer and self._swallow.is_set():
                    self._swallow.clear()
                    self.swallowed.set()
                    break
                target.sendall(data)
        if not is_answer and not self._open.is_set():
            self.given_up.set()
        self._cut(pair)

    def _cut(self, pair: Any) -> None:
        for end in pair:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _start(self, function: Any, *args: Any) -> None:
        threading.Thread(target=function, args=args, daemon=True).start()


def is_closed(client: socket.socket) -> bool:
    closed = select.poll()
    closed.register(client, select.POLLRDHUP)
    return bool(closed.poll(0))


@contextmanager
def between() -> Iterator[Proxy]:
    """Put a proxy between the bot's own connections, from now on, and the tests' server."""
    if connection.vendor not in SOCKETS:
        pytest.skip(f"{connection.vendor} has no network.")
    name = SOCKETS[connection.vendor]
    paths = [Path(directory, name) for directory in DIRECTORIES]
    server = next((path for path in paths if path.exists()), None)
    if server is None:
        pytest.skip("The server listens at an unknown place.")
    with tempfile.TemporaryDirectory() as directory:
        proxy = Proxy(Path(directory), server)
        host = directory if connection.vendor == "postgresql" else str(proxy.path)
        try:
            with mock.patch.dict(connections.settings["default"], HOST=host):
                yield proxy
        finally:
            proxy.close()
