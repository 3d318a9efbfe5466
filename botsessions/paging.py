"""Turning pages by the places of sessions in an order: nothing is counted, and nothing skipped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from django.db.models import BooleanField, F, Func, Q, QuerySet, Value

BY_KEY = ("-pk",)
BY_BOT = ("-bot", "-pk")
"""By primary key, too, where sessions are of one bot alone: so an index on bots has them."""
BY_EXPIRY = ("-expires_at", "-pk")

Take: TypeAlias = Callable[[bool, Any, int], list[Any]]
"""From a direction (backwards?), a place to begin beyond, and a number to so many places."""


def page(take: Take, backwards: bool, beyond: Any, size: int) -> tuple[list[Any], bool, bool]:
    """Return the places on a page, whether there are some before them, and some after them.

    ``beyond`` is the place next to the page, which is itself on another one.
    """
    places = take(backwards, beyond, size + 1)
    goes_on, is_beyond = len(places) > size, beyond is not None
    places = places[:size]
    return (places[::-1], goes_on, is_beyond) if backwards else (places, is_beyond, goes_on)


def walk(
    sessions: QuerySet[Any],
    backwards: bool,
    beyond: Any,
    size: int,
    order: tuple[str, ...] = BY_KEY,
) -> list[Any]:
    """Return primary keys, the newest first: an index on keys and bot can answer that alone."""
    if beyond is not None:
        sessions = sessions.filter(pk__gt=beyond) if backwards else sessions.filter(pk__lt=beyond)
    keys = sessions.order_by(*order).values_list("pk", flat=True)
    return list((keys.reverse() if backwards else keys)[:size])


def walk_by_expiry(sessions: QuerySet[Any], backwards: bool, beyond: Any, size: int) -> list[Any]:
    """Return when sessions expire and their primary keys, the last to expire first."""
    if beyond is not None:
        at, _key = beyond
        limit = Q(expires_at__gte=at) if backwards else Q(expires_at__lte=at)
        place, other = row(F("expires_at"), F("pk")), row(*map(Value, beyond))
        # MariaDB enters an index by the limit only, PostgreSQL by the rows.
        sessions = sessions.filter(limit, less(other, place) if backwards else less(place, other))
    places = sessions.order_by(*BY_EXPIRY).values_list("expires_at", "pk")
    return list((places.reverse() if backwards else places)[:size])


def row(*columns: Any) -> Func:
    return Func(*columns, template="(%(expressions)s)")


def less(one: Func, other: Func) -> Func:
    """Return whether one row comes before another: one range of an index, which ``OR`` is not."""
    return Func(
        one, other, template="%(expressions)s", arg_joiner=" < ", output_field=BooleanField()
    )


def among(keys: list[Any], backwards: bool, beyond: Any, size: int) -> list[Any]:
    """Return those of some primary keys that :func:`walk` would return."""
    if beyond is not None:
        keys = [key for key in keys if (key > beyond if backwards else key < beyond)]
    return sorted(keys, reverse=not backwards)[:size]


def in_order(keys: list[Any], backwards: bool, beyond: Any, size: int) -> list[Any]:
    """Return those of some primary keys, in the order in which they are, that come next."""
    if beyond is not None:
        place = keys.index(beyond) if beyond in keys else len(keys)
        keys = keys[:place] if backwards else keys[place + 1 :]
    return keys[::-1][:size] if backwards else keys[:size]
