"""Times whose zone is not whole minutes from UTC: refused, for they would come back as others."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, time, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from botsessions.codec import Codec
from botsessions.exceptions import SessionDataError
from botsessions.persistence.values import TypedCodec

pytestmark = pytest.mark.once

ODD = timezone(timedelta(hours=1, minutes=1, seconds=1))
NOON = datetime(2024, 1, 1, 12, tzinfo=timezone.utc)
BERLIN = ZoneInfo("Europe/Berlin")


@dataclass(eq=False)
class Visit:
    at: datetime | None = None
    daily: time | None = None
    all: list[datetime] = field(default_factory=list)
    some: set[datetime] = field(default_factory=set)
    by_time: dict[datetime, int] = field(default_factory=dict)
    any: Any = None
    inner: Visit | None = None


@pytest.mark.parametrize("codec", [Codec(Visit), TypedCodec(Visit)])
@pytest.mark.parametrize(
    ("visit", "path"),
    [
        (Visit(at=NOON.replace(tzinfo=ODD)), "$.at"),
        (Visit(at=NOON.replace(tzinfo=timezone(timedelta(microseconds=5)))), "$.at"),
        (Visit(at=NOON.replace(year=1850, tzinfo=BERLIN)), "$.at"),
        (Visit(at=NOON.replace(year=1900, tzinfo=ZoneInfo("Africa/Accra"))), "$.at"),
        (Visit(daily=time(12, tzinfo=ODD)), "$.daily"),
        (Visit(all=[NOON, NOON.replace(tzinfo=ODD)]), "$.all[1]"),
        (Visit(some={NOON.replace(tzinfo=ODD)}), "$.some[0]"),
        (Visit(by_time={NOON.replace(tzinfo=ODD): 1}), '$.by_time["2024-01-01 12:00:00+01:01:01"]'),
        (Visit(any={"at": NOON.replace(tzinfo=ODD)}), "$.any.at"),
        (Visit(inner=Visit(at=NOON.replace(tzinfo=ODD))), "$.inner.at"),
    ],
)
def test_a_time_that_would_come_back_as_another_one_is_refused(
    codec: Codec[Visit], visit: Visit, path: str
) -> None:
    with pytest.raises(SessionDataError, match=r"astimezone\(timezone\.utc\)") as caught:
        codec.encode(visit, {}, 10**6)
    assert caught.value.path == path


def test_others_come_back_as_the_same_moment() -> None:
    zones = (None, timezone.utc, timezone(timedelta(hours=-3, minutes=-30)), BERLIN)
    codec = Codec(Visit)
    for zone in zones:
        at = NOON.replace(tzinfo=zone)
        back = codec.decode(codec.encode(Visit(at, all=[at], by_time={at: 1}), {}, 10**6)).data
        assert (back.at, back.all, back.by_time) == (at, [at], {at: 1})
    odd = NOON.replace(tzinfo=ODD)
    back = codec.decode(codec.encode(Visit(odd.astimezone(timezone.utc)), {}, 10**6)).data
    assert back.at == odd
