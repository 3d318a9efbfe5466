"""How to talk to a server of grammY's free storage: log in, ask again, understand refusals."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx

from ..exceptions import SessionStorageError
from ..records import dumps
from ..secret import Secret

TIMEOUT_SECONDS = 10.0
PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds before each further attempt while the server fails or cannot be reached."""
LONGEST_REASON = 200
"""Of a server's own words in an error."""


@dataclass(eq=False)
class Account:
    """What a bot has on a server."""

    token: Secret | None
    root_url: str
    credential: Secret | None = None
    """What the last login gave: it stands for the token from then on."""


class Connection:
    """One event loop's connections to the server."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._client = httpx.AsyncClient(verify=tls(), timeout=TIMEOUT_SECONDS)
        self._login: asyncio.Task[Secret] | None = None

    async def call(self, method: str, path: str, content: str | None = None) -> str | None:
        """Return what the server sent, ``None`` where it has nothing for a ``GET``.

        Raises:
            SessionStorageError: it refused, or failed for as long as it was asked.
        """
        credential = self._account.credential or await self._logged_in()
        response = await self._authorized(method, path, content, credential)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            if self._account.credential == credential:  # Nobody else has renewed it meanwhile.
                self._account.credential = None
            credential = self._account.credential or await self._logged_in()
            response = await self._authorized(method, path, content, credential)
        if method == "GET" and response.status_code == httpx.codes.NOT_FOUND:
            return None
        if not response.is_success:
            raise unexpected(self._account, reason(response))
        return response.text

    async def close(self) -> None:
        await self._client.aclose()

    async def _authorized(
        self, method: str, path: str, content: str | None, credential: Secret
    ) -> httpx.Response:
        hidden = None if content is None else Secret(content)
        return await self._send(method, path, hidden, credential)

    async def _logged_in(self) -> Secret:
        """Return a new credential. Calls that need one at the same time share the login."""
        if self._login is None or self._login.done():
            self._login = asyncio.create_task(self._log_in())
        return await asyncio.shield(self._login)

    async def _log_in(self) -> Secret:
        if not self._account.token:
            raise unexpected(self._account, "there is no bot token to log in with")
        token = Secret(dumps({"token": self._account.token.reveal()}))
        response = await self._send("POST", "login", token)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            raise unexpected(self._account, "it does not accept the bot's token")
        if not response.is_success:
            raise unexpected(self._account, f"the login failed, {reason(response)}")
        credential = content_of(response).get("token")
        if not isinstance(credential, str):
            raise unexpected(self._account, "its answer to the login holds no token")
        self._account.credential = Secret(credential)
        return self._account.credential

    async def _send(
        self, method: str, path: str, content: Secret | None, credential: Secret | None = None
    ) -> httpx.Response:
        url = f"{self._account.root_url}/{path}"
        pauses: Iterator[float] = iter(PAUSES)
        while True:
            failure: httpx.TransportError | None = None
            try:
                response = await self._client.request(method, url, **sent(content, credential))
                if not response.is_server_error:
                    return response
                problem = reason(response)
            except httpx.TransportError as exc:
                # Without its frames, whose variables hold what was sent.
                failure = type(exc)(str(exc))
                problem = f"it cannot be reached ({type(exc).__name__})"
            if (pause := next(pauses, None)) is None:
                raise unexpected(self._account, problem) from failure
            await asyncio.sleep(pause)


def sent(content: Secret | None, credential: Secret | None) -> dict[str, Any]:
    """Return what goes into a request. No variable of a frame that may fail holds it."""
    headers = {}
    if content is not None:
        headers["Content-Type"] = "text/plain;charset=UTF-8"
    if credential is not None:
        headers["Authorization"] = f"Bearer {credential.reveal()}"
    return {"content": None if content is None else content.reveal(), "headers": headers}


@cache
def tls() -> ssl.SSLContext:
    """Return what all connections share: making it takes longer than most calls."""
    return httpx.create_ssl_context()


def unexpected(account: Account, problem: str) -> SessionStorageError:
    if account.token:  # The server may have said it.
        problem = problem.replace(account.token.reveal(), "[hidden]")
    return SessionStorageError(f"The free storage at {account.root_url} failed: {problem}.")


def reason(response: httpx.Response) -> str:
    error = str(content_of(response).get("error") or response.reason_phrase)
    return f"it answered {response.status_code}: {error[:LONGEST_REASON].rstrip('.')}"


def content_of(response: httpx.Response) -> dict[str, Any]:
    """Return the JSON object that was sent; an empty one if it was none."""
    try:
        content = response.json()
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
