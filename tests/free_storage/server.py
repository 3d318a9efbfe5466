"""A free storage on this computer that can be told to fail."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

TOKEN = "123:ABC"
BROKEN = 0
"""In place of a status: the connection breaks."""


class FreeServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 100

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.sessions: dict[str, str] = {}
        self.requests: list[tuple[str, str]] = []
        """Method and path, as they were sent."""
        self.connections = 0
        self.faults: list[int] = []
        """The statuses of the next answers."""
        self.login_refused: tuple[int, Any] | None = None
        self.said = b""
        """What is answered to every reading, if it is not empty."""
        self._credentials = map(str, itertools.count(1))
        self.credential = next(self._credentials)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/api"

    @property
    def logins(self) -> int:
        return self.requests.count(("POST", "/api/login"))

    def forget_logins(self) -> None:
        self.credential = next(self._credentials)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FreeServer

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        path = self.path.removeprefix("/api/")
        self.server.requests.append((self.command, self.path))
        if self.server.faults:
            self.fail(self.server.faults.pop(0))
        elif path == "login":
            self.log_in(json.loads(body)["token"])
        elif self.headers["Authorization"] != f"Bearer {self.server.credential}":
            self.answer(401, {"error": "Log in."})
        elif self.command == "GET" and self.server.said:
            self.send(200, self.server.said)
        elif path == "sessions":
            self.answer(200, list(self.server.sessions))
        else:
            self.handle_session(unquote(path.removeprefix("session/")), body)

    do_POST = do_DELETE = do_GET  # noqa: N815

    def handle_session(self, key: str, body: str) -> None:
        sessions = self.server.sessions
        if self.command == "POST":
            sessions[key] = body
            self.answer(204)
        elif self.command == "DELETE":
            sessions.pop(key, None)
            self.answer(204)
        elif key in sessions:
            self.send(200, sessions[key].encode())
        else:
            self.answer(404, {"error": "There is no such session."})

    def log_in(self, token: str) -> None:
        if self.server.login_refused is not None:
            self.answer(*self.server.login_refused)
        elif token == TOKEN:
            self.answer(201, {"token": self.server.credential})
        else:
            self.answer(401, {"error": f"There is no bot {token}."})

    def fail(self, status: int) -> None:
        if status == BROKEN:
            self.close_connection = True
        else:
            self.answer(status, {"error": f"Broken. You are {TOKEN}."})

    def answer(self, status: int, content: Any = None) -> None:
        self.send(status, b"" if content is None else json.dumps(content).encode())

    def send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[FreeServer]:
    with FreeServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
