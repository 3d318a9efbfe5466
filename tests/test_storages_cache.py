"""Sessions in Django's cache. The contract is in ``test_storages.py``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from unittest import mock

import pytest
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from botsessions import session
from botsessions.records import utcnow
from botsessions.storages import Address, CacheStorage, FileStorage, Record

from .caches import LOCAL_MEMORY, memcached, redis_cache, silent_server
from .harness import client
from .limits import run

pytestmark = pytest.mark.once

ADDRESS = Address("pizza", "", "42")


@pytest.fixture
def redis() -> Iterator[Any]:
    with redis_cache() as client:
        yield client


@pytest.mark.parametrize(
    ("lifetime", "seconds"),
    [
        (None, -1),
        (timedelta(milliseconds=200), 1),
        (timedelta(seconds=3599.5), 3600),
        (timedelta(days=36500), -1),
    ],
    ids=str,
)
def test_what_expires_has_a_timeout_in_the_cache(
    redis: Any, lifetime: timedelta | None, seconds: int
) -> None:
    """No timeout is -1; one that is too long for a cache is left to the record's own expiry."""
    expires_at = lifetime and utcnow() + lifetime
    asyncio.run(CacheStorage().write(ADDRESS, Record({}, expires_at=expires_at)))
    (key,) = redis.scan_iter(f"{caches['default'].key_prefix}*")
    assert seconds - 1 <= redis.ttl(key) <= seconds


@override_settings(
    CACHES={"default": {**LOCAL_MEMORY["default"], "BACKEND": f"{__name__}.CountedCache"}}
)
def test_a_bot_keeps_its_connections() -> None:
    """One for each thread, whereas Django's own ``caches`` would make one for each update."""
    storage = CacheStorage()

    async def talk() -> None:
        for _ in range(100):
            await asyncio.create_task(storage.read(ADDRESS))

    CountedCache.made = 0
    asyncio.run(talk())
    assert CountedCache.made < 40


class CountedCache(LocMemCache):
    made = 0

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        CountedCache.made += 1


@override_settings(
    CACHES={"default": {**LOCAL_MEMORY["default"], "BACKEND": f"{__name__}.AsyncCache"}}
)
def test_a_cache_with_async_methods_is_called_on_the_event_loop() -> None:
    storage = CacheStorage()

    async def talk() -> None:
        await storage.write(ADDRESS, Record({"n": 1}))
        record = await storage.read(ADDRESS)
        assert record is not None
        assert record.value == {"n": 1}
        await storage.delete(ADDRESS, None)
        assert await storage.read(ADDRESS) is None
        await storage.close()

    AsyncCache.calls.clear()
    for _ in range(2):  # Each event loop has an object of its own.
        asyncio.run(talk())
    assert AsyncCache.calls == ["set", "get", "get", "close"] * 2


class AsyncCache(LocMemCache):
    """Deletes as Django does: in a thread."""

    calls: list[str] = []  # noqa: RUF012

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.loop = None

    async def aget(self, key: str, default: Any = None, version: Any = None) -> Any:
        self.note("get")
        return super().get(key, default, version)

    async def aset(self, key: str, value: Any, timeout: Any = None, version: Any = None) -> None:
        self.note("set")
        super().set(key, value, timeout, version)

    async def aclose(self, **kwargs: Any) -> None:
        self.note("close")

    def note(self, call: str) -> None:
        loop: Any = asyncio.get_running_loop()
        assert self.loop in (None, loop)
        self.loop = loop
        self.calls.append(call)


@pytest.mark.parametrize("key", ["42", "🍕" * 255, "a b\n"])
def test_keys_suit_every_cache(key: str) -> None:
    """Django warns of one that would not, and warnings are errors here."""
    with override_settings(CACHES=LOCAL_MEMORY):
        asyncio.run(CacheStorage().write(Address("b" * 64, "n" * 64, key), Record(1)))


KEYS = [str(number) for number in range(1, 25)]


@pytest.mark.parametrize("count", [1, 2])
def test_a4_a_memcached_server_that_is_out_for_a_moment_is_an_error(count: int) -> None:
    """As it comes, pymemcache takes it for an empty cache for a second, and then asks another."""
    storage = CacheStorage()
    asked = [ADDRESS._replace(key=key) for key in KEYS]

    async def counts() -> list[Any]:
        records = [storage.read(address) for address in asked]
        found = await asyncio.gather(*records, return_exceptions=True)
        return [getattr(record, "value", record) for record in found]

    async def outage() -> None:
        for address in asked:
            await storage.write(address, Record(address.key))
        down = servers[0]
        lost = len(down.values)
        assert lost
        down.stop()
        for _ in range(4):
            errors = [found for found in await counts() if not isinstance(found, str)]
            assert len(errors) == lost
            assert all(isinstance(error, Exception) for error in errors), errors
            await asyncio.sleep(0.3)
        writes = [storage.write(address, Record("new")) for address in asked]
        outcomes = await asyncio.gather(*writes, return_exceptions=True)
        assert sum(isinstance(outcome, Exception) for outcome in outcomes) == lost
        down.start()
        assert await counts() == [
            address.key if isinstance(outcome, Exception) else "new"
            for address, outcome in zip(asked, outcomes, strict=True)
        ]
        await storage.close()

    with memcached(count) as servers:
        asyncio.run(outage())


def test_a4_a_bots_handlers_do_not_run_while_its_cache_is_out() -> None:
    notes = session(initial=list, storage=CacheStorage())

    async def note(update: Any, context: Any) -> None:
        context.session.append(update.effective_message.text)

    async def talk() -> None:
        async with client(notes, note, raise_errors=False) as bot:
            maria = bot.user("Maria")
            await maria.send("one")
            servers[0].stop()
            for _ in range(10):
                (error,) = (await maria.send("lost")).errors
                assert isinstance(error, Exception)
            servers[0].start()
            await maria.send("two")
            assert await maria.session == ["one", "two"]

    with memcached(1) as servers:
        asyncio.run(talk())


def test_a_redis_cache_that_ignores_errors_raises_them_for_sessions() -> None:
    pytest.importorskip("django_redis")
    cache = {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": "redis://127.0.0.1:1/0",  # Where nobody listens.
        "OPTIONS": {"IGNORE_EXCEPTIONS": True},
    }
    with override_settings(CACHES={"default": cache}):
        assert caches.create_connection("default").get("42") is None
        with pytest.raises(Exception, match="refused"):
            asyncio.run(CacheStorage().read(ADDRESS))


SERVERS = [
    ("django.core.cache.backends.redis.RedisCache", "redis://127.0.0.1:{port}/0", "socket_timeout"),
    ("django_redis.cache.RedisCache", "redis://127.0.0.1:{port}/0", "SOCKET_TIMEOUT"),
    ("django.core.cache.backends.memcached.PyMemcacheCache", "127.0.0.1:{port}", "timeout"),
]


@pytest.mark.parametrize("is_set", [False, True], ids=["as it comes", "by an option"])
@pytest.mark.parametrize(("backend", "location", "option"), SERVERS)
def test_a17_a_server_that_never_answers_is_an_error(
    backend: str, location: str, option: str, is_set: bool
) -> None:
    pytest.importorskip(backend.partition(".")[0])

    async def look() -> None:
        with pytest.raises(Exception, match=r"[Tt]imed? ?out"):
            await CacheStorage().read(ADDRESS)

    seconds = 3600 if is_set else 0.05
    with silent_server() as port, mock.patch("botsessions.storages.cache.ANSWER_SECONDS", seconds):
        cache = {
            "BACKEND": backend,
            "LOCATION": location.format(port=port),
            "OPTIONS": {option: 0.05} if is_set else {},
        }
        with override_settings(CACHES={"default": cache}):
            run(look())


def test_an_unknown_cache_is_named() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"settings.CACHES has no 'fast'"):
        asyncio.run(CacheStorage("fast").read(ADDRESS))


@override_settings(CACHES=LOCAL_MEMORY)
def test_it_says_that_it_does_not_detect_conflicts() -> None:
    storage = CacheStorage()
    assert not storage.detects_conflicts
    asyncio.run(storage.write(ADDRESS, Record("first")))
    asyncio.run(storage.write(ADDRESS, Record("second")))
    record = asyncio.run(storage.read(ADDRESS))
    assert record is not None
    assert record.value == "second"


@override_settings(CACHES=LOCAL_MEMORY)
def test_sync_code_and_event_loops_reach_the_same_sessions(tmp_path: Any) -> None:
    for storage in (CacheStorage(), FileStorage(tmp_path)):
        notes = session(initial=list, storage=storage)
        with notes.edit("42", bot="1") as data:
            data.append("capers")
        assert notes.get("42", bot="1") == ["capers"]
        record = asyncio.run(storage.read(Address("1", "", "42")))
        assert record is not None
        assert record.value == ["capers"]


@override_settings(CACHES=LOCAL_MEMORY)
def test_version_and_expiry_are_kept() -> None:
    expires_at = datetime(2100, 1, 2, 3, 4, 5, 678_000, timezone.utc)
    asyncio.run(CacheStorage().write(ADDRESS, Record(1, Decimal("1.5"), expires_at)))
    record = asyncio.run(CacheStorage().read(ADDRESS))
    assert record is not None
    assert (record.version, record.expires_at) == (Decimal("1.5"), expires_at)
