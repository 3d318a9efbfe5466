"""Going on to the end although the task is cancelled.

A write that a thread or a server has begun cannot be called back, so whoever holds the key has to
wait for it.
"""

from __future__ import annotations

import asyncio
from typing import Any


class Uncancellable(asyncio.Future[Any]):
    """What a cancelled task goes on to wait for, and only then is told that it is cancelled."""

    def cancel(self, msg: object = None) -> bool:
        return False
