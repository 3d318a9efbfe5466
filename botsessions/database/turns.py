"""Waiting for a key that another process has: looking again at the right times."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ..exceptions import SessionLockTimeout
from .lease import Lease
from .requests import NotHeldYet

T = TypeVar("T")

PATIENCE_SECONDS = 300.0
"""So long a key is waited for."""
SHORTEST_PAUSE, LONGEST_PAUSE = 0.0015, 0.1
"""Between two looks at a key, the longest well below the time that one in front has to turn up."""
PAUSE_PER_WAITED = 0.1
"""Whoever has waited for longer looks less often; that adds so much to the waiting, at most."""
PAUSE_PER_LEFT = 0.3
"""Whoever is not expected to have its turn yet looks after so much of the time that is left."""
TURNS_WEIGHT = 0.7
"""Of what was expected of a turn, against the last one."""
MOST_TURNS = 1000
"""So many keys' turns are remembered."""


class Turns:
    """The wait for a lease.

    Args:
        since: when it was asked for, by the monotonic clock; ``None``: now.
        patience: how long to wait, in seconds.
    """

    def __init__(self, lease: Lease, since: float | None, patience: float) -> None:
        self._lease = lease
        self._patience = patience
        self._moved = time.monotonic()
        self._since = self._moved if since is None else since
        self._before = -1

    async def wait(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Return what ``attempt`` gives once it no longer finds the lease with somebody else.

        Raises:
            SessionLockTimeout: that took too long.
        """
        while True:
            try:
                found = await attempt()
            except NotHeldYet:
                await asyncio.sleep(self._pause())
            else:
                if self._before >= 0:
                    note_turns(self._lease, self._before + 1, time.monotonic() - self._moved)
                return found

    def _pause(self) -> float:
        lease, now = self._lease, time.monotonic()
        if now - self._since > self._patience:
            raise timed_out(lease, now - self._since)
        if lease.before != self._before:
            if lease.before < self._before:
                note_turns(lease, self._before - lease.before, now - self._moved)
            self._before, self._moved = lease.before, now
        return pause(self._before, now - self._moved, _turns.get(lease.keys[0], 0.0))


def pause(before: int, waited: float, turn: float) -> float:
    """Return for how long not to look whether a key is free.

    Args:
        before: how many are to be served before.
        waited: since when there are so many.
        turn: how long others had the key lately.
    """
    left = (1 + max(0, before)) * turn - waited
    shortest = SHORTEST_PAUSE * (1 + max(0, before))
    longest = min(LONGEST_PAUSE, max(shortest, PAUSE_PER_WAITED * waited, PAUSE_PER_LEFT * left))
    return longest * random.uniform(0.75, 1)  # noqa: S311


def note_turns(lease: Lease, turns: int, seconds: float) -> None:
    """Note how long others had a key, to look for it at the right time."""
    key, turn = lease.keys[0], seconds / turns
    _turns[key] = turn + (_turns.pop(key, turn) - turn) * TURNS_WEIGHT
    if len(_turns) > MOST_TURNS:
        _turns.pop(next(iter(list(_turns)[:1])), None)


_turns: dict[int, float] = {}


def timed_out(lease: Lease, waited: float) -> SessionLockTimeout:
    return SessionLockTimeout(
        f"The key of session {lease.addresses[0]} was not free for {waited:.0f} seconds: another "
        "process holds it. Handlers that take long should not: use block=False and edit_session()."
    )
