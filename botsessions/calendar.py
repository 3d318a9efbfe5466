"""Moments that PostgreSQL knows and Python does not: before its first year, after its last, and
infinity. They are told as the first and the last that Python has in every time zone.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

FIRST, LAST = "0001-01-02 00:00+00", "9999-12-30 00:00+00"
NEARLY_FIRST, NEARLY_LAST = datetime(1, 1, 4), datetime(9999, 12, 28)  # noqa: DTZ001 (of any zone)


def for_python(column: str, vendor: str) -> str:
    """Return what selects a column of moments."""
    if vendor != "postgresql":
        return column
    return (
        f"CASE WHEN {column} < '{FIRST}' THEN '{FIRST}' WHEN {column} > '{LAST}' THEN '{LAST}' "
        f"ELSE {column} END"
    )


def for_database(moment: Any, vendor: str) -> Any:
    """Return what a column of moments is compared with, so that nothing is beyond what was read."""
    if vendor != "postgresql" or not isinstance(moment, datetime):
        return moment
    anywhere = moment.replace(tzinfo=None)
    if anywhere < NEARLY_FIRST:
        return "-infinity"
    return "infinity" if anywhere > NEARLY_LAST else moment
