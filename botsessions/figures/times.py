"""The last two weeks, day by day, and the last hour, day and week."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import cached_property

from django.conf import settings
from django.utils import timezone

DAYS = 14
HOURS = (1, 24, 7 * 24)


@dataclass(frozen=True)
class Times:
    """Days and windows that end now."""

    now: datetime

    @cached_property
    def midnights(self) -> dict[date, datetime]:
        """When each day began, today last."""
        today = timezone.localtime(self.now).date() if settings.USE_TZ else self.now.date()
        days = [today - timedelta(days=back) for back in range(DAYS - 1, -1, -1)]
        return {day: midnight(day) for day in days}

    @cached_property
    def windows(self) -> dict[int, datetime]:
        """When each window of so many hours began."""
        return {hours: self.now - timedelta(hours=hours) for hours in HOURS}

    @cached_property
    def limits(self) -> list[datetime]:
        """When days and windows began, in that order."""
        return sorted({*self.midnights.values(), *self.windows.values()})

    def day_of(self, passed: int) -> date | None:
        """Return the day of a moment that has passed so many of the limits."""
        if not passed:
            return None
        begun = [day for day, at in self.midnights.items() if at <= self.limits[passed - 1]]
        return begun[-1] if begun else None

    def hours_of(self, passed: int) -> list[int]:
        """Return the windows that hold a moment which has passed so many of the limits."""
        if not passed:
            return []
        return [hours for hours, at in self.windows.items() if at <= self.limits[passed - 1]]


def midnight(day: date) -> datetime:
    naive = datetime.combine(day, time.min)
    return timezone.make_aware(naive) if settings.USE_TZ else naive
