"""Moments that PostgreSQL knows and Python does not: before its first year, after its last, and
infinity. They are told as the first and the last that Python has in every time zone.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Final

FIRST: Final = datetime(1, 1, 2, tzinfo=timezone.utc)
LAST: Final = datetime(9999, 12, 30, tzinfo=timezone.utc)


def for_python(column: str, vendor: str) -> str:
    """Return what selects a column of moments."""
    if vendor != "postgresql":
        return column
    return (
        f"CASE WHEN {column} < '{FIRST}' THEN '{FIRST}' WHEN {column} > '{LAST}' THEN '{LAST}' "
        f"ELSE {column} END"
    )
