"""Sessions on a server that speaks the protocol of grammY's free storage."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

from ..arguments import check_text, telling_usage
from ..database.callers import sync_code_waits
from ..records import Address, dumps, loads
from ..secret import Secret
from .free_server import Account, Connection, unexpected
from .loops import PerLoop
from .value import ValueStorage, shortened

PUBLIC = "https://grammy-free-session.deno.dev/api"
"""The server that grammY runs, free for everyone: the npm client's default."""
MAX_LENGTH = 63
"""Of keys: 64 are documented, of which the public server takes one less."""


class FreeStorage(ValueStorage):
    """Keeps sessions on a server that knows a bot by its token.

    The server cannot compare, so the last write wins. If it fails or cannot be reached, it is asked
    again a few times; then that is an error, never a missing session.

    Args:
        token: the bot's, from Telegram; with ``None`` every use is an error.
        root_url: of the server; by default grammY's public one, which limits data to 16 KiB and a
            bot to 50,000 sessions.
    """

    @telling_usage
    def __init__(self, token: str | None, root_url: str = PUBLIC) -> None:
        if token:
            check_text("token", token, "a bot's token from Telegram")
        check_text("root_url", root_url, "the server's address")
        if not root_url.startswith(("https://", "http://")):
            raise ValueError("root_url must begin with https:// or http://.")
        self._account = Account(Secret(token) if token else None, root_url.rstrip("/"))
        self._connections = PerLoop(lambda: Connection(self._account))

    def __repr__(self) -> str:
        return f"FreeStorage(root_url={self._account.root_url!r})"

    async def get_value(self, key: str) -> Any:
        text = await self._call("GET", path_of(key))
        return None if text is None else self._loaded(text)

    async def set_value(self, key: str, value: Any) -> None:
        await self._call("POST", path_of(key), dumps(value))

    async def delete_value(self, key: str) -> None:
        await self._call("DELETE", path_of(key))

    async def keys(self) -> list[str]:
        """Return the flat keys of all sessions that are stored for the bot."""
        found = self._loaded(await self._call("GET", "sessions") or "[]")
        return list(found["keys"] if isinstance(found, dict) else found)

    def flat_key(self, address: Address) -> str:
        return shortened(super().flat_key(address), MAX_LENGTH)

    async def close(self) -> None:
        """Close the running event loop's connections; the next use opens new ones."""
        if connection := self._connections.pop():
            await connection.close()

    async def _call(self, method: str, path: str, content: str | None = None) -> str | None:
        async with self._connection() as connection:
            return await connection.call(method, path, content)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        if not sync_code_waits():
            yield self._connections.get()
            return
        connection = Connection(self._account)  # For a loop that ends with this call.
        try:
            yield connection
        finally:
            await connection.close()

    def _loaded(self, text: str) -> Any:
        try:
            return loads(text)
        except ValueError as exc:
            raise unexpected(self._account, "what it sent is not JSON") from exc


def path_of(key: str) -> str:
    """Return a session's path. Slashes stay unless something on the way would tidy them up."""
    if {"", ".", ".."} & set(key.split("/")):
        return f"session/{quote(key, safe='').replace('.', '%2E')}"
    return f"session/{quote(key)}"
