"""The app's own settings in ``settings.BOTSESSIONS``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed

from .secret import Secret, hiding

MAX_BYTES = 3 * 1024 * 1024
RETRY_SECONDS = 30.0
APP_SETTINGS = frozenset(
    {"BOTS", "MAX_BYTES", "MASKED_FIELDS", "FREE_STORAGE", "METRICS_TOKEN", "RETRY_SECONDS"}
)
FREE_STORAGE_LIMITS: Mapping[str, int] = {
    "MAX_KEY_LENGTH": 64,
    "MAX_BYTES": 16 * 1024,
    "MAX_SESSIONS": 50_000,
    "LOGIN_SECONDS": 7 * 24 * 3600,
    "LOGINS_PER_MINUTE": 600,
}


def app_settings() -> Mapping[str, Any]:
    """Return ``settings.BOTSESSIONS``, secrets hidden; nothing in a script without settings."""
    if not settings.configured and not os.environ.get("DJANGO_SETTINGS_MODULE"):
        return {}
    found: Mapping[str, Any] = hiding(getattr(settings, "BOTSESSIONS", None) or {})
    return found


@lru_cache(maxsize=1)
def max_bytes() -> int:
    """Return how many bytes of JSON a session may have."""
    return int(app_settings().get("MAX_BYTES", MAX_BYTES))


@lru_cache(maxsize=1)
def retry_seconds() -> float:
    """Return for how long a database that does not answer is asked again."""
    return float(app_settings().get("RETRY_SECONDS", RETRY_SECONDS))


def forget_settings(**kwargs: Any) -> None:
    """Have settings looked up anew: a test has changed some."""
    max_bytes.cache_clear()
    retry_seconds.cache_clear()


setting_changed.connect(forget_settings, dispatch_uid="botsessions.conf")


def metrics_token() -> Secret | None:
    """Return what lets a machine have the figures; ``None``: only people may."""
    found = app_settings().get("METRICS_TOKEN") or None
    return found if isinstance(found, Secret) else None


def free_storage_limits() -> Mapping[str, int]:
    """Return the limits of the free storage that this project offers."""
    return {**FREE_STORAGE_LIMITS, **app_settings().get("FREE_STORAGE", {})}
