"""Moments, as python-telegram-bot's job queue takes them."""

from __future__ import annotations

from datetime import datetime, time, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from botsessions import when
from botsessions.when import moment_of

pytestmark = pytest.mark.once

NOW = datetime(2026, 6, 1, 10, 30, tzinfo=timezone.utc)
ROME = ZoneInfo("Europe/Rome")
NAIVE = datetime(2026, 6, 3, 9)  # noqa: DTZ001 (of no zone)


@pytest.fixture(autouse=True)
def at_that_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(when, "utcnow", lambda: NOW)


@pytest.mark.parametrize(
    ("given", "zone", "expected"),
    [
        (90, None, NOW + timedelta(seconds=90)),
        (-0.5, None, NOW),
        (NOW - timedelta(days=1), None, NOW),
        (timedelta(days=2), None, NOW + timedelta(days=2)),
        (datetime(2026, 6, 3, 9, tzinfo=ROME), None, datetime(2026, 6, 3, 7, tzinfo=timezone.utc)),
        (NAIVE, ROME, datetime(2026, 6, 3, 7, tzinfo=timezone.utc)),
        (time(11), timezone.utc, NOW.replace(hour=11, minute=0)),
        (time(10, 30), timezone.utc, NOW + timedelta(days=1)),
        (time(13), ROME, NOW.replace(hour=11, minute=0)),
        (time(12), ROME, datetime(2026, 6, 2, 10, tzinfo=timezone.utc)),
        (time(12, tzinfo=ROME), timezone.utc, datetime(2026, 6, 2, 10, tzinfo=timezone.utc)),
    ],
)
def test_it_is_what_the_job_queue_makes_of_it(given: Any, zone: Any, expected: datetime) -> None:
    found = moment_of(given, zone)
    assert found == expected
    assert found.tzinfo is not None


@pytest.mark.parametrize("given", [NAIVE, time(9)])
def test_without_a_zone_nobody_knows_which_is_meant(given: Any) -> None:
    with pytest.raises(ValueError, match="give it a tzinfo"):
        moment_of(given, None)


@pytest.mark.parametrize("given", ["10", None, True])
def test_anything_else_is_refused(given: Any) -> None:
    with pytest.raises(TypeError, match="when must be seconds, a timedelta, a datetime or a time"):
        moment_of(given, None)


@pytest.mark.parametrize(
    "given",
    [
        *(float("nan"), float("inf"), 1_796_000_000_000, timedelta.max),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-5))),
        datetime.min.replace(tzinfo=ROME),
    ],
)
def test_what_no_database_can_store_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match="no moment of the years 1 to 9999: give seconds"):
        moment_of(given, None)


def test_a_zone_of_pytz_is_asked_for_its_offset_at_that_time() -> None:
    class Pytz:
        @staticmethod
        def localize(moment: datetime) -> datetime:
            return moment.replace(tzinfo=ROME)

    found = when.localized(NAIVE, Pytz)  # type: ignore[arg-type]
    assert found == datetime(2026, 6, 3, 7, tzinfo=timezone.utc)
