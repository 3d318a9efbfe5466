"""Which paths of the project's URLconf lead to the webhook's view."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from django.core.signals import setting_changed
from django.urls import Resolver404, URLResolver, get_resolver

from .view import WebhookPattern, webhook, webhook_async

VIEWS = (webhook, webhook_async)


@lru_cache(maxsize=1024)
def alias_at(path: str) -> str | None:
    """Return the alias that ``path`` names if Django would have the webhook's view answer it.

    Raises:
        ImproperlyConfigured: the project's URLconf is wrong.
    """
    if not any(leads_to(path, route) for route in routes_to_webhook()):
        return None
    try:
        match = get_resolver().resolve(path)  # Another pattern may come first.
    except Resolver404:
        return None
    return match.kwargs["alias"] if match.func in VIEWS else None


def leads_to(path: str, route: Sequence[Any]) -> bool:
    for pattern in route:
        match = pattern.match(path)
        if match is None:
            return False
        path = match[0]
    return True


@lru_cache(maxsize=1)
def routes_to_webhook() -> list[Sequence[Any]]:
    """Return the patterns that lead to the view, each after those of the URLconfs around it."""
    return list(routes(get_resolver(), ()))


def routes(resolver: URLResolver, before: Sequence[Any]) -> Iterator[Sequence[Any]]:
    here = (*before, resolver.pattern)
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            yield from routes(pattern, here)
        elif isinstance(pattern, WebhookPattern):
            yield (*here, pattern.pattern)


def forget_routes(**kwargs: Any) -> None:
    """Have them looked up anew: a test has changed settings."""
    alias_at.cache_clear()
    routes_to_webhook.cache_clear()


setting_changed.connect(forget_routes, dispatch_uid="botsessions.webhook.routes")
