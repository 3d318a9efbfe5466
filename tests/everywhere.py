"""A project that includes all URLs of the package, and a walk over them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.urls import URLResolver, include, path, reverse

URLS = __name__

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/", include("botsessions.api.urls")),
    path("free/", include("botsessions.api.free.urls")),
    path("metrics/", include("botsessions.metrics.urls")),
    path("telegram/", include("botsessions.urls")),
]


def addresses(**parts: Any) -> dict[str, str]:
    """Return the address of every named view of the package, by the view's name.

    Args:
        parts: what stands in the place of each variable part of the addresses.
    """
    return {
        name: reverse(name, URLS, kwargs={part: parts[part] for part in pattern.regex.groupindex})
        for name, pattern in named(urlpatterns)
    }


def named(resolvers: Any, *namespaces: str) -> Iterator[tuple[str, Any]]:
    for resolver in resolvers:
        if isinstance(resolver, URLResolver):
            inside = [*namespaces, resolver.namespace] if resolver.namespace else namespaces
            yield from named(resolver.url_patterns, *inside)
        elif resolver.name and "botsessions" in f"{namespaces} {resolver.name}":
            yield ":".join([*namespaces, resolver.name]), resolver.pattern
