"""What went wrong in units of work is told to all who listen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from telegram.ext import TypeHandler

from botsessions import failures, lazy_session, multi_session, session
from botsessions.exceptions import SessionDataError
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
        for _ in range(2):
            tell(FAILURE)
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


def no_key(update: Any = None, **ids: int) -> str:
    raise LookupError("no key")


def test_where_no_key_was_found_the_bot_is_told(heard: list[Failure]) -> None:
    async def handle(update: Any, context: Any) -> None:
        """Be given the update."""

    declared = session(initial=dict, storage=Store(), get_session_key=no_key)
    run(client(declared, handle).user().send("x"))
    (failure,) = heard
    assert (failure.address, failure.operation) == (Address("1", "", ""), "load")
    assert isinstance(failure.error, LookupError)


def test_each_fragment_that_cannot_be_shown_is_told(heard: list[Failure]) -> None:
    async def handle(update: Any, context: Any) -> None:
        assert context.session.readable == {"count": 0}

    declared = multi_session(
        readable=session(initial=lambda: {"count": 0}, storage=Store()),
        nobody=session(initial=dict, storage=Store(), get_session_key=lambda update: None),
        broken=lazy_session(
            storage=Store({"1001": "many"}, name="broken"), data_type=dict[str, int]
        ),
    )

    async def ask(update: Any, context: Any) -> None:
        with pytest.raises(SessionDataError):
            await context.session.broken
        await handle(update, context)

    answers = run(client(declared, ask).user().send("x"))
    assert answers.errors == []
    (failure,) = heard
    assert (failure.address, failure.operation) == (Address("1", "broken", "1001"), "load")
    assert isinstance(failure.error, SessionDataError)
    assert failure.source.by.startswith("update:")


def test_each_session_of_a_unit_that_cannot_be_saved_is_told(heard: list[Failure]) -> None:
    async def count(update: Any, context: Any) -> None:
        context.session.one["count"] = context.session.other["count"] = 1

    store = Store()
    store.fails["write"] = OSError("gone")
    declared = multi_session(
        one=session(initial=dict, storage=store), other=session(initial=dict, storage=store)
    )
    run(client(declared, count).user().send("x"))
    assert [(failure.address.name, failure.operation) for failure in heard] == [
        ("one", "save"),
        ("other", "save"),
    ]


def test_what_code_beside_an_update_could_not_load_either_is_told_once(
    heard: list[Failure],
) -> None:
    async def work(update: Any, context: Any) -> None:
        """Never be called."""

    store = Store()
    store.fails["read"] = OSError("gone")
    bot = client(session(initial=dict, storage=store), TypeHandler(object, work, block=False))
    run(bot.user().send("x"))
    assert len(heard) == 1
