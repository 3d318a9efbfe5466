"""Caches for the tests."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
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
