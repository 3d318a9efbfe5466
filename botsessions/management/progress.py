"""How far a command is, on a terminal."""

from __future__ import annotations

import time
from typing import Any

PAUSE = 0.1
"""Seconds until the line is written again."""
CLEAR = "\r\x1b[K"


class Progress:
    """A line that says how much of ``total`` is done, and how long the rest takes.

    There is none without a total.
    """

    def __init__(self, stream: Any, done: str, total: int) -> None:
        self._stream = stream
        self._what = done
        self._total = total
        self._count = 0
        self._started = time.monotonic()
        self._again = 0.0
        self._visible = False

    def advance(self, count: int) -> None:
        self._count = min(self._total, self._count + count)
        now = time.monotonic()
        if not self._count or (now < self._again and self._count < self._total):
            return
        self._write(self._line(now - self._started))
        self._visible, self._again = True, now + PAUSE

    def close(self) -> None:
        """Take the line away, to make room for another or in the end."""
        if self._visible:
            self._write(CLEAR)
            self._visible = False

    def _write(self, text: str) -> None:
        self._stream.write(text, str, ending="")  # In no style: Django's for errors is red.
        self._stream.flush()

    def _line(self, spent: float) -> str:
        left = spent / self._count * (self._total - self._count)
        part = f"{self._count:,} of {self._total:,} {self._what}"
        return f"{CLEAR}{part} ({self._count / self._total:.0%}), {duration(left)} left"


def duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
