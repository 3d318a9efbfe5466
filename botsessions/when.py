"""Moments, as authors of bots name them."""

from __future__ import annotations

from datetime import datetime, time, timedelta, timezone, tzinfo
from typing import Any, NoReturn, TypeAlias

from .arguments import wrong
from .records import utcnow

When: TypeAlias = "float | timedelta | datetime | time"
"""As python-telegram-bot takes it: see :func:`moment_of`."""


def moment_of(when: When, zone: tzinfo | None) -> datetime:
    """Return the moment that is meant; now, if that is over: what is due for long is found later.

    Args:
        zone: that of times without one; ``None``: they are refused.

    Raises:
        TypeError: it is nothing of that kind.
        ValueError: it has no zone where it needs one, or is too far away.
    """
    if isinstance(when, (datetime, time)):
        zone = when.tzinfo or zone
        if zone is None:
            refuse_naive(when)
    elif isinstance(when, bool) or not isinstance(when, (int, float, timedelta)):
        wrong("when", when, "seconds, a timedelta, a datetime or a time")
    try:
        moment = meant(when, zone or timezone.utc).astimezone(timezone.utc)
    except (OverflowError, ValueError):  # Not a number is a ValueError.
        raise ValueError(
            f"when is {when!r}, which is no moment of the years 1 to 9999: give seconds, not "
            "milliseconds, or a datetime."
        ) from None
    return max(moment, utcnow())


def meant(when: When, zone: tzinfo) -> datetime:
    now = utcnow()
    if isinstance(when, timedelta):
        return now + when
    if isinstance(when, (int, float)):
        return now + timedelta(seconds=when)
    if isinstance(when, datetime):
        return localized(when, zone)
    today = now.astimezone(zone).date()
    moment = localized(datetime.combine(today, when), zone)
    if moment <= now:
        moment = localized(datetime.combine(today + timedelta(days=1), when), zone)
    return moment


def localized(moment: datetime, zone: tzinfo) -> datetime:
    """Return a moment in a zone, which may be one of pytz's."""
    if moment.tzinfo is not None:
        return moment
    localize = getattr(zone, "localize", None)
    found: datetime = moment.replace(tzinfo=zone) if localize is None else localize(moment)
    return found


def zone_of(bot: Any) -> tzinfo:
    """Return the zone of times without one, as the ``Defaults`` of a running bot say."""
    zone: tzinfo = timezone.utc if bot.defaults is None else bot.defaults.tzinfo
    return zone


def refuse_naive(when: datetime | time) -> NoReturn:
    raise ValueError(
        f"when is a {type(when).__name__} without a time zone, and no bot runs here that could say "
        f"which is meant: give it a tzinfo, like {type(when).__name__}(…, tzinfo=timezone.utc)."
    )
