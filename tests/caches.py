"""Caches for the tests."""

from __future__ import annotations

import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from django.core.cache import caches
from django.test import override_settings

LOCAL_MEMORY = {
    "default": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "LOCATION": "botsessions",
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    }
}
REDIS_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")


@contextmanager
def redis_cache() -> Iterator[Any]:
    """Have a Redis server for the default cache and yield its client; remove what was stored.

    Without a server the test is skipped; in CI it fails.
    """
    redis = pytest.importorskip("redis")
    prefix = f"botsessions-{uuid.uuid4().hex}"
    cache = {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": prefix,
        "TIMEOUT": 3600,
    }
    with redis.Redis.from_url(REDIS_URL) as client, override_settings(CACHES={"default": cache}):
        try:
            client.ping()
        except redis.ConnectionError as exc:
            if os.environ.get("CI") == "true":
                pytest.fail(f"Redis does not answer: {exc}")
            pytest.skip(f"Redis does not answer: {exc}")
        try:
            yield client
        finally:
            for key in client.scan_iter(f"{prefix}*"):
                client.delete(key)
            caches.close_all()


class Memcached:
    """A server that speaks as much of memcached's protocol as Django uses, and can be down."""

    def __init__(self) -> None:
        self.values: dict[bytes, tuple[bytes, bytes]] = {}
        """Flags and content by key."""
        self.port = 0
        self._listener: socket.socket | None = None
        self._connections: list[socket.socket] = []

    def start(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._listen, args=[self._listener], daemon=True).start()

    def stop(self) -> None:
        if self._listener is not None:
            # Closing alone would let the thread go on that waits for connections.
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._connections.clear()

    def _listen(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                self._connections.append(connection)
                threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection.makefile("rwb") as stream:
            while line := stream.readline():
                stream.write(self._answer(*line.split(), stream=stream))
                stream.flush()

    def _answer(self, command: bytes, key: bytes, *arguments: bytes, stream: Any) -> bytes:
        if command == b"set":
            flags, _, length = arguments[:3]
            self.values[key] = flags, stream.read(int(length))
            stream.readline()
            return b"STORED\r\n"
        if command == b"delete":
            return b"DELETED\r\n" if self.values.pop(key, None) else b"NOT_FOUND\r\n"
        if key not in self.values:
            return b"END\r\n"
        flags, content = self.values[key]
        return b"VALUE %s %s %d\r\n%s\r\nEND\r\n" % (key, flags, len(content), content)


@contextmanager
def silent_server() -> Iterator[int]:
    """Have a server that takes connections and never answers; yield its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@contextmanager
def memcached(count: int) -> Iterator[list[Memcached]]:
    """Have so many servers for the default cache."""
    servers = [Memcached() for _ in range(count)]
    for server in servers:
        server.start()
    cache = {
        "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
        "LOCATION": [f"127.0.0.1:{server.port}" for server in servers],
    }
    try:
        with override_settings(CACHES={"default": cache}):
            yield servers
    finally:
        for server in servers:
            server.stop()
