"""Sessions in Django's cache."""

from __future__ import annotations

import math
import threading
from typing import Any

from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.exceptions import ImproperlyConfigured

from ..arguments import check_text, telling_usage
from .base import Address, dumps, loads, utcnow
from .loops import PerLoop, unblocked
from .threads import sync_code_waits
from .value import ValueStorage, shortened, unpack

MAX_LENGTH = 200
"""Of keys: Memcached takes 250, of which Django and its settings need some."""
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
        """Close what the running event loop has of the cache, if the cache is asynchronous."""
        if cache := self._of_loops.pop():
            await cache.aclose()

    async def _call(self, method: str, *args: Any) -> Any:
        if not sync_code_waits():
            cache = self._of_loops.get()
            if is_asynchronous(cache, method):
                return await getattr(cache, f"a{method}")(*args)
        return await unblocked(self._call_in_thread, method, *args)

    def _call_in_thread(self, method: str, *args: Any) -> Any:
        if not hasattr(self._of_threads, "cache"):
            self._of_threads.cache = self._new_cache()
        return getattr(self._of_threads.cache, method)(*args)

    def _new_cache(self) -> BaseCache:
        if self.alias not in caches.settings:
            raise ImproperlyConfigured(f"settings.CACHES has no {self.alias!r}, for {self!r}.")
        return caches.create_connection(self.alias)


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
