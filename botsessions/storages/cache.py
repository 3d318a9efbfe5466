"""Sessions in Django's cache."""

from __future__ import annotations

import math
import threading
from typing import Any
from weakref import WeakSet

from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.memcached import PyMemcacheCache
from django.core.cache.backends.redis import RedisCache
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from ..arguments import check_text, telling_usage
from ..database.callers import sync_code_waits
from ..records import Address, dumps, loads, utcnow
from .loops import PerLoop, unblocked
from .value import ValueStorage, shortened, unpack

MAX_LENGTH = 200
"""Of keys: Memcached takes 250, of which Django and its settings need some."""
NEVER = -1e9
"""Fewer seconds than any: a server that has failed is asked again, whatever the clock says."""
ANSWER_SECONDS = 5.0
"""So long a server may take to answer, unless the cache's options say otherwise."""
LONGEST_TIMEOUT = 10 * 365 * 24 * 3600
"""In seconds; Memcached misunderstands moments that are too far away."""


class CacheStorage(ValueStorage):
    """Keeps sessions in a cache of Django's, which may forget them.

    What expires has a timeout there. A cache cannot compare, so the last write wins.

    Args:
        alias: of the cache in ``settings.CACHES``.
    """

    @telling_usage
    def __init__(self, alias: str = "default") -> None:
        check_text("alias", alias, "a name in settings.CACHES")
        self.alias = alias
        # Not Django's caches[alias]: a bot would get a new one, with a connection, for each update.
        self._of_threads = threading.local()
        self._connected: WeakSet[BaseCache] = WeakSet()
        self._of_loops = PerLoop(self._new_cache)

    def __repr__(self) -> str:
        return f"CacheStorage({self.alias!r})"

    async def get_value(self, key: str) -> Any:
        text = await self._call("get", key)
        return None if text is None else loads(text)

    async def set_value(self, key: str, value: Any) -> None:
        await self._call("set", key, dumps(value), timeout(value))

    async def delete_value(self, key: str) -> None:
        await self._call("delete", key)

    def flat_key(self, address: Address) -> str:
        return shortened(super().flat_key(address), MAX_LENGTH)

    async def close(self) -> None:
        """Close the connections of threads and of this event loop; the next use opens new ones."""
        for cache in list(self._connected):
            cache.close()
        if of_loop := self._of_loops.pop():
            await of_loop.aclose()

    async def _call(self, method: str, *args: Any) -> Any:
        if not sync_code_waits():
            cache = self._of_loops.get()
            if is_asynchronous(cache, method):
                return await getattr(cache, f"a{method}")(*args)
        return await unblocked(self._call_in_thread, method, *args)

    def _call_in_thread(self, method: str, *args: Any) -> Any:
        if not hasattr(self._of_threads, "cache"):
            self._of_threads.cache = self._new_cache()
            self._connected.add(self._of_threads.cache)
        return getattr(self._of_threads.cache, method)(*args)

    def _new_cache(self) -> BaseCache:
        if self.alias not in caches.settings:
            raise ImproperlyConfigured(f"settings.CACHES has no {self.alias!r}, for {self!r}.")
        return connected(self.alias)


def connected(alias: str) -> BaseCache:
    """Return a new connection to a cache, of which no backend makes nothing of an outage."""
    parameters = dict(caches.settings[alias])
    backend = import_string(parameters.pop("BACKEND"))
    location = parameters.pop("LOCATION", "")
    options = parameters.get("OPTIONS", {})
    parameters["OPTIONS"] = {**patience(backend), **options, **strictness(backend)}
    cache: BaseCache = backend(location, parameters)
    return cache


def patience(backend: type[BaseCache]) -> dict[str, Any]:
    """Return the options with which a backend does not wait for ever for a silent server."""
    if issubclass(backend, PyMemcacheCache):
        return dict.fromkeys(("timeout", "connect_timeout"), ANSWER_SECONDS)
    if issubclass(backend, RedisCache):
        return {"socket_timeout": ANSWER_SECONDS}
    return {"SOCKET_TIMEOUT": ANSWER_SECONDS} if is_django_redis(backend) else {}


def strictness(backend: type[BaseCache]) -> dict[str, Any]:
    """Return the options with which a backend raises what would read as an empty cache."""
    if issubclass(backend, PyMemcacheCache):
        return {
            "ignore_exc": False,
            "default_noreply": False,
            "retry_attempts": 0,  # After a failure it would say "not found" for a second,
            "dead_timeout": NEVER,  # and then ask another server, or none.
        }
    return {"IGNORE_EXCEPTIONS": False} if is_django_redis(backend) else {}


def is_django_redis(backend: type[BaseCache]) -> bool:
    return backend.__module__.startswith(("django_redis.", "django_valkey."))


def is_asynchronous(cache: BaseCache, method: str) -> bool:
    """Whether a method has an async form of its own; Django's calls the other in a thread."""
    name = f"a{method}"
    return getattr(type(cache), name) is not getattr(BaseCache, name)


def timeout(value: Any) -> int | None:
    """Return for how many seconds the cache has to keep a packed record, ``None`` for ever."""
    expires_at = unpack(value).expires_at
    if expires_at is None:
        return None
    seconds = max(0, math.ceil((expires_at - utcnow()).total_seconds()))
    return seconds if seconds <= LONGEST_TIMEOUT else None
