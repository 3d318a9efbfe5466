"""What went wrong in units of work is told to all who listen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from botsessions import failures, session
from botsessions.failures import Failure, tell
from botsessions.records import Address
from botsessions.sources import FromKey

from .harness import Store, client
from .limits import run

pytestmark = pytest.mark.once

FAILURE = Failure(Address("pizza", "", "42"), "save", ValueError("broken"), FromKey("42"))


@pytest.fixture
def heard() -> Iterator[list[Failure]]:
    found: list[Failure] = []
    failures.listeners.append(found.append)
    try:
        yield found
    finally:
        failures.listeners.remove(found.append)


def test_one_that_raises_keeps_nothing_from_the_others(
    heard: list[Failure], caplog: pytest.LogCaptureFixture
) -> None:
    def broken(failure: Failure) -> None:
        raise LookupError("a listener's mistake")

    failures.listeners.insert(0, broken)
    try:
        tell([FAILURE, FAILURE])
    finally:
        failures.listeners.remove(broken)
    assert heard == [FAILURE, FAILURE]
    assert "A failure of session '42' of bot 'pizza' was not noted." in caplog.text


@pytest.mark.parametrize("operation", ["read", "write"])
def test_a_load_and_a_save_that_fail_are_told_with_whose_they_are(
    heard: list[Failure], operation: str
) -> None:
    async def count(update: Any, context: Any) -> None:
        context.session["count"] = 1

    store = Store({"1001": {"count": 0}})
    store.fails[operation] = error = OSError("gone")
    run(client(session(initial=dict, storage=store), count).user().send("x"))
    (failure,) = heard
    assert failure.address == Address("1", "", "1001")
    assert failure.operation == {"read": "load", "write": "save"}[operation]
    assert failure.error is error
    assert failure.source.by.startswith("update:")
