"""What stands where a value is missing, which ``None`` may be."""

from __future__ import annotations

from typing import Final


class Absent:
    """Type of :data:`ABSENT`."""


ABSENT: Final = Absent()
"""There is no value, or nobody has asked for it yet."""
