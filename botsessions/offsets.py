"""Times whose zone is not whole minutes from UTC: as JSON they would say another moment.

A ``timezone`` may be so, and those of ``zoneinfo`` are before there were standard times.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, time, timedelta
from typing import Any

import msgspec

from .datapath import ROOT, Place

TIME_WITH_OFFSET = re.compile(rb':\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)"')
"""In JSON, what may be one."""
MINUTE = timedelta(minutes=1)
CONTAINERS_AND_TIMES = (dict, list, tuple, datetime, time)


def time_with_seconds(data: Any, encoded: bytes) -> Place | None:
    """Return where in data such a time is, if there is any.

    Args:
        encoded: the data as JSON.
    """
    if TIME_WITH_OFFSET.search(encoded) is None:
        return None
    return found_in(msgspec.to_builtins(data, builtin_types=(datetime, time)), ROOT)


def found_in(value: Any, place: Place) -> Place | None:
    if isinstance(value, (datetime, time)):
        return place if (value.utcoffset() or MINUTE) % MINUTE else None
    parts: Iterable[tuple[Any, Any]] = enumerate(value)
    if isinstance(value, dict):
        parts = [*value.items(), *((key, key) for key in value)]
    for name, part in parts:
        if isinstance(part, CONTAINERS_AND_TIMES):
            at = (place, name if isinstance(name, (str, int)) else str(name))
            if (found := found_in(part, at)) is not None:
                return found
    return None
