"""Sessions on a free storage server. The contract is in ``test_storages.py``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given

from botsessions import session
from botsessions.exceptions import SessionStorageError
from botsessions.storages import Address, FreeStorage, Record, enhance_storage, free_server
from botsessions.storages.free import PUBLIC, path_of

from .free_storage.server import BROKEN, TOKEN, FreeServer, serving
from .strategies import TEXT

pytestmark = pytest.mark.once

ADDRESS = Address("pizza", "", "42")
FLAT = "pizza::42"


@pytest.fixture
def server() -> Iterator[FreeServer]:
    with serving() as server:
        yield server


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(free_server, "PAUSES", (0.001,) * 3)


def used(server: FreeServer, *uses: Callable[[FreeStorage], Awaitable[Any]], **kwargs: Any) -> Any:
    """Return what the last of the uses of a storage, each after the other, gives."""
    storage = FreeStorage(kwargs.pop("token", TOKEN), server.url)

    async def use() -> Any:
        try:
            return [await one(storage) for one in uses][-1]
        finally:
            await storage.close()

    return asyncio.run(use())


def read(storage: FreeStorage) -> Awaitable[Record | None]:
    return storage.read(ADDRESS)


def write(storage: FreeStorage) -> Awaitable[int]:
    return storage.write(ADDRESS, Record({"n": 1}))


def delete(storage: FreeStorage) -> Awaitable[None]:
    return storage.delete(ADDRESS, None)


async def many(storage: FreeStorage) -> None:
    await asyncio.gather(*(read(storage) for _ in range(20)))


def test_the_public_server_is_the_default() -> None:
    assert repr(FreeStorage(TOKEN)) == f"FreeStorage(root_url={PUBLIC!r})"


# Logging in.


def test_calls_that_start_together_share_one_login(server: FreeServer) -> None:
    used(server, many, read, write)
    assert server.logins == 1


def test_a_login_that_has_expired_is_renewed_once_for_all(server: FreeServer) -> None:
    async def expire(storage: FreeStorage) -> None:
        server.forget_logins()

    used(server, write, expire, many)
    assert server.logins == 2


def test_who_gave_up_waiting_for_the_login_does_not_stop_the_others(server: FreeServer) -> None:
    async def impatient(storage: FreeStorage) -> None:
        first = asyncio.ensure_future(read(storage))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(write(storage))
        await asyncio.sleep(0)
        first.cancel()
        await second

    used(server, impatient)
    assert server.logins == 1
    assert FLAT in server.sessions


def test_a_server_that_forgets_every_login_is_asked_twice(server: FreeServer) -> None:
    server.login_refused = (201, {"token": "worth nothing"})
    with pytest.raises(SessionStorageError, match="answered 401"):
        used(server, read)
    assert server.logins == 2


@pytest.mark.parametrize("token", ["123:WRONG", None, ""])
def test_a_token_that_is_not_accepted_is_an_error(server: FreeServer, token: str | None) -> None:
    with pytest.raises(SessionStorageError, match="token") as caught:
        used(server, read, token=token)
    assert "WRONG" not in str(caught.value)


@pytest.mark.parametrize("answer", [(429, {"error": "Slowly."}), (201, []), (200, {"jwt": "x"})])
def test_a_login_that_gives_nothing_is_an_error(server: FreeServer, answer: Any) -> None:
    server.login_refused = answer
    with pytest.raises(SessionStorageError, match="login"):
        used(server, read)


# Failing.


@pytest.mark.parametrize("fault", [500, 503, BROKEN])
@pytest.mark.parametrize("use", [read, write, delete])
def test_a_server_that_fails_for_a_moment_is_asked_again(
    server: FreeServer, fault: int, use: Callable[[FreeStorage], Any]
) -> None:
    used(server, write)
    server.faults = [fault] * 3
    used(server, use, use)
    assert server.sessions == ({} if use is delete else {FLAT: '{"n":1}'})


@pytest.mark.parametrize("fault", [500, BROKEN])
@pytest.mark.parametrize("use", [read, write, delete])
def test_a12_a_server_that_keeps_failing_is_an_error(
    server: FreeServer, fault: int, use: Callable[[FreeStorage], Any]
) -> None:
    async def fail(storage: FreeStorage) -> None:
        server.faults = [fault] * 4

    problem = "answered 500" if fault else "cannot be reached"
    with pytest.raises(SessionStorageError, match=problem) as caught:
        used(server, write, fail, use)
    assert TOKEN not in str(caught.value)
    assert not server.faults
    assert server.sessions == {FLAT: '{"n":1}'}


@pytest.mark.parametrize("status", [301, 400, 403, 409, 413])
@pytest.mark.parametrize("use", [read, write, delete])
def test_a12_a_refusal_is_an_error_at_once(
    server: FreeServer, status: int, use: Callable[[FreeStorage], Any]
) -> None:
    async def refuse(storage: FreeStorage) -> None:
        server.faults = [status]

    with pytest.raises(SessionStorageError, match=rf"answered {status}: Broken. You are \[hidden"):
        used(server, write, refuse, use)


@pytest.mark.parametrize("use", [write, delete])
def test_a_change_without_an_address_is_an_error(
    server: FreeServer, use: Callable[[FreeStorage], Any]
) -> None:
    async def miss(storage: FreeStorage) -> None:
        server.faults = [404]

    with pytest.raises(SessionStorageError, match="answered 404"):
        used(server, write, miss, use)


@pytest.mark.parametrize(
    "said", [b"<h1>Please log in to the Wi-Fi</h1>", b"[" * 5000 + b"]" * 5000]
)
def test_a12_what_is_not_json_is_an_error(server: FreeServer, said: bytes) -> None:
    server.said = said
    with pytest.raises(SessionStorageError, match="not JSON"):
        used(server, write, read)


def test_a12_a_server_that_is_gone_is_an_error() -> None:
    with serving() as server:
        pass
    with pytest.raises(SessionStorageError, match="cannot be reached"):
        used(server, read)


# Keys.


@given(TEXT.filter(bool))
def test_a_path_is_decoded_once(key: str) -> None:
    path = path_of(key)
    assert unquote(path.removeprefix("session/")) == key
    assert not {"", ".", ".."} & set(path.split("/"))
    assert path.isascii()


@pytest.mark.parametrize("key", ["42/-100", "a%2Fb", "..", "../../login", "a//b", "?#", "пицца"])
def test_keys_arrive_as_they_are(server: FreeServer, key: str) -> None:
    used(server, lambda storage: storage.set_value(key, 1))
    assert list(server.sessions) == [key]
    assert used(server, lambda storage: storage.keys()) == [key]
    assert used(server, lambda storage: storage.get_value(key)) == 1
    used(server, lambda storage: storage.delete_value(key))
    assert server.sessions == {}


def test_the_keys_of_the_public_server_are_understood_too(server: FreeServer) -> None:
    server.said = b'{"keys": ["42", "43"]}'
    assert used(server, lambda storage: storage.keys()) == ["42", "43"]


def test_no_key_is_too_long_for_the_public_server(server: FreeServer) -> None:
    used(server, lambda storage: storage.write(Address("pizza", "", "🍕" * 255), Record(1)))
    (key,) = server.sessions
    assert len(key) < 64


def test_a_grammy_bots_data_are_continued(server: FreeServer) -> None:
    class GrammyStorage(FreeStorage):
        def flat_key(self, address: Address) -> str:
            return address.key

    server.sessions = {"42": '{"__d":{"pizzaCount":3},"v":1}'}
    storage = GrammyStorage(TOKEN, server.url)

    async def talk() -> Record | None:
        try:
            return await storage.read(ADDRESS)
        finally:
            await storage.close()

    record = asyncio.run(talk())
    assert record is not None
    assert (record.value, record.version) == ({"pizzaCount": 3}, Decimal(1))


# Event loops and connections.


def test_calls_one_after_another_share_a_connection(server: FreeServer) -> None:
    used(server, write, read, read, delete)
    assert server.connections == 1


def test_event_loops_one_after_another_share_the_login(server: FreeServer) -> None:
    storage = FreeStorage(TOKEN, server.url)

    async def talk() -> None:
        await write(storage)
        await storage.close()
        await read(storage)  # It can be used again.
        await storage.close()

    for _ in range(2):
        asyncio.run(talk())
    assert server.logins == 1


def test_sync_code_reaches_the_same_sessions(server: FreeServer) -> None:
    storage = enhance_storage(FreeStorage(TOKEN, server.url), time_to_live=timedelta(days=1))
    notes = session(initial=list, storage=storage)
    with notes.edit("42", bot="1") as data:
        data.append("capers")
    assert notes.get("42", bot="1") == ["capers"]
    notes.delete("42", bot="1")
    assert server.sessions == {}
    assert server.logins == 1


def test_the_token_is_never_shown(server: FreeServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "httpx")
    used(server, write, read)
    assert TOKEN not in caplog.text
    assert TOKEN not in repr(FreeStorage(TOKEN, server.url)._account)
