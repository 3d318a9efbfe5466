"""Moments as people say them: "3 min ago", "in 2 h"."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils import formats, timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext

MINUTE, HOUR, DAY = 60, 3600, 86400
MONTH, YEAR = 30 * DAY, 365 * DAY


def moment(when: datetime | None, now: datetime | None = None) -> SafeString | str:
    """Return a moment as HTML: how long ago, or ahead; exact on hover and for machines."""
    if when is None:
        return gettext("Never")
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        in_zone(when).isoformat(timespec="seconds"),
        exact(when),
        relative(when, now),
    )


def exact(when: datetime) -> str:
    local = in_zone(when)
    zone = local.strftime(" %Z").rstrip()
    return f"{formats.date_format(local, 'DATE_FORMAT')} {local:%H:%M:%S}{zone}"


def in_zone(when: datetime) -> datetime:
    """Return a moment in the current time zone, if it has a date there."""
    try:
        return timezone.localtime(when) if timezone.is_aware(when) else when
    except OverflowError:  # Of the first or the last year.
        return when


def relative(when: datetime, now: datetime | None = None) -> str:
    seconds = (when - (now or datetime.now(when.tzinfo))).total_seconds()
    if abs(seconds) < MINUTE:
        return gettext("just now") if seconds <= 0 else gettext("in less than a minute")
    length = duration(timedelta(seconds=abs(seconds)))
    pattern = gettext("in {duration}") if seconds > 0 else gettext("{duration} ago")
    return pattern.format(duration=length)


def duration(length: timedelta) -> str:
    """Return a length of time in its largest unit."""
    seconds = int(length.total_seconds())
    if seconds < HOUR:
        return gettext("{n} min").format(n=seconds // MINUTE)
    if seconds < DAY:
        return gettext("{n} h").format(n=seconds // HOUR)
    if seconds < 2 * MONTH:
        days = seconds // DAY
        return ngettext("{n} day", "{n} days", days).format(n=days)
    if seconds < 2 * YEAR:
        months = seconds // MONTH
        return ngettext("{n} month", "{n} months", months).format(n=months)
    years = seconds // YEAR
    return ngettext("{n} year", "{n} years", years).format(n=years)
