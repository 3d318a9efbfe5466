"""Looking after the connections of threads that live as long as a bot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from django.db import OperationalError, connections
from django.test import override_settings

from botsessions.database import care
from botsessions.database.care import (
    close_broken_connections,
    close_unusable_connections,
    doubling_pauses,
    is_too_old,
    looked_after,
    rest,
)

pytestmark = pytest.mark.django_db(transaction=True)

GONE = OperationalError("could not connect")


@pytest.fixture
def connection() -> Iterator[Any]:
    """This thread's connection, open."""
    found = connections["default"]
    found.ensure_connection()
    yield found
    found.errors_occurred = False
    found.close()


@pytest.fixture(autouse=True)
def no_pauses() -> Iterator[None]:
    with mock.patch.object(care, "FIRST_PAUSE", 0.0001):
        yield


def lasting(connection: Any, seconds: Any) -> Any:
    return mock.patch.dict(connection.settings_dict, CONN_MAX_AGE=seconds)


def test_work_that_fails_for_a_moment_is_done_again_and_told_so() -> None:
    told = []

    def unit(again: bool) -> str:
        told.append(again)
        if len(told) < 3:
            raise GONE
        return "done"

    assert looked_after(unit) == "done"
    assert told == [False, True, True]


def test_what_another_attempt_would_not_help_is_raised_at_once() -> None:
    told = []

    def unit(again: bool) -> None:
        told.append(again)
        raise ValueError("a mistake")

    with pytest.raises(ValueError, match="a mistake"):
        looked_after(unit)
    assert told == [False]


@override_settings(BOTSESSIONS={"RETRY_SECONDS": 0.01})
def test_the_last_error_is_raised_in_the_end() -> None:
    def unit(again: bool) -> None:
        raise GONE

    with pytest.raises(OperationalError, match="could not connect"):
        looked_after(unit)


@override_settings(BOTSESSIONS={"RETRY_SECONDS": 60})
def test_pauses_double_up_to_a_second() -> None:
    with mock.patch.object(care, "FIRST_PAUSE", 0.3):
        pauses = doubling_pauses()
        assert [next(pauses) for _ in range(4)] == [0.3, 0.6, 1.0, 1.0]


def test_a_connection_that_works_is_kept(connection: Any) -> None:
    before = connection.connection
    with lasting(connection, None):
        close_unusable_connections()
    close_broken_connections(GONE)
    assert connection.connection is before


def test_after_an_error_it_is_looked_whether_it_answers(connection: Any) -> None:
    connection.errors_occurred = True
    with mock.patch.object(type(connection), "is_usable", return_value=False):
        close_broken_connections(GONE)
        assert connection.connection is None
        connection.ensure_connection()
        connection.errors_occurred = True
        close_unusable_connections()
        assert connection.connection is None


def test_one_that_is_no_longer_the_one_to_be_written_to_is_closed(connection: Any) -> None:
    close_broken_connections(OperationalError(1290, "read-only"))
    assert connection.connection is None


def test_one_that_has_had_its_time_is_closed_but_not_while_it_has_work(connection: Any) -> None:
    connection.close_at = 0.0
    with lasting(connection, 60):
        assert is_too_old(connection)
    with lasting(connection, 0):
        assert not is_too_old(connection)
        close_unusable_connections()
        assert connection.connection is not None
    with lasting(connection, 60):
        close_unusable_connections()
        assert connection.connection is None


def test_at_rest_what_may_not_be_kept_is_closed_and_the_rest_looked_at_later(
    connection: Any,
) -> None:
    with lasting(connection, 60):
        rest()
        assert connection.connection is not None
        assert connection.errors_occurred
    with lasting(connection, 0):
        rest()
        assert connection.connection is None


@override_settings(DEBUG=True)
def test_g4_debug_keeps_no_queries(connection: Any) -> None:
    def unit(again: bool) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        assert connection.queries

    looked_after(unit)
    assert connection.queries == []
