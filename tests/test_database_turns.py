"""Waiting for a key that another process has: looking again at the right times."""

from __future__ import annotations

import pytest

from botsessions.database.lease import Lease
from botsessions.database.requests import NotHeldYet
from botsessions.database.turns import LONGEST_PAUSE, SHORTEST_PAUSE, Turns, pause
from botsessions.exceptions import SessionLockTimeout
from botsessions.storages import Address

from .limits import run

pytestmark = pytest.mark.once


def new_lease(key: str = "42") -> Lease:
    return Lease("default", [Address("pizza", "", key)])


@pytest.mark.parametrize(
    ("before", "waited", "turn", "longest"),
    [
        (0, 0.0, 0.0, SHORTEST_PAUSE),
        (1, 0.0, 0.0, 2 * SHORTEST_PAUSE),
        (-1, 0.0, 0.0, SHORTEST_PAUSE),
        (0, 0.5, 0.0, 0.05),
        (0, 0.0, 0.1, 0.03),
        (0, 0.05, 0.1, 0.015),
        (9, 60.0, 60.0, LONGEST_PAUSE),
    ],
)
def test_who_has_waited_for_long_or_has_many_before_it_looks_less_often(
    before: int, waited: float, turn: float, longest: float
) -> None:
    found = [pause(before, waited, turn) for _ in range(200)]
    assert 0.75 * longest <= min(found) < max(found) <= longest * 1.000001


def test_it_is_looked_until_nobody_else_has_it() -> None:
    lease, looks = new_lease(), iter([2, 1, 1, 0, None])

    async def attempt() -> str:
        before = next(looks)
        if before is None:
            return "held"
        lease.before = before
        raise NotHeldYet

    assert run(Turns(lease, None, 60).wait(attempt)) == "held"
    assert next(looks, "no more looks") == "no more looks"


def test_patience_ends_with_an_error_that_names_the_session() -> None:
    async def attempt() -> None:
        raise NotHeldYet

    with pytest.raises(SessionLockTimeout, match="session '42' of bot 'pizza' was not free for"):
        run(Turns(new_lease(), None, -1).wait(attempt))
    with pytest.raises(SessionLockTimeout):  # It was asked for long before.
        run(Turns(new_lease(), 0.0, 0.001).wait(attempt))


def test_what_fails_otherwise_is_raised_at_once() -> None:
    async def attempt() -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        run(Turns(new_lease(), None, 60).wait(attempt))
