"""Cursors of our own threads, kept from one statement to the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from django.db import connections

from botsessions.database.cursors import cursor_of, keep_cursors_in_this_thread

from .limits import in_thread

pytestmark = pytest.mark.django_db(transaction=True)

T = TypeVar("T")


def in_a_thread_of_ours(work: Callable[[Any], T]) -> T:
    """Return what ``work`` makes of the connection of a thread that keeps its cursors."""

    def call() -> T:
        keep_cursors_in_this_thread()
        return work(connections["default"])

    return in_thread(call).result(10)


def asked(connection: Any) -> Any:
    """Execute a statement and return the cursor."""
    with cursor_of(connection) as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone()[0] == 1
        return cursor


def test_a_thread_of_ours_has_one() -> None:
    assert in_a_thread_of_ours(lambda connection: asked(connection) is asked(connection))


def test_another_thread_gets_a_new_one_each_time() -> None:
    here = connections["default"]
    assert asked(here) is not asked(here)


def test_a_new_connection_has_a_new_one() -> None:
    def work(connection: Any) -> bool:
        before = asked(connection)
        connection.close()
        return asked(connection) is before

    assert not in_a_thread_of_ours(work)


def test_who_watches_statements_sees_those_that_follow() -> None:
    def work(connection: Any) -> list[str]:
        asked(connection)
        connection.force_debug_cursor = True
        asked(connection)
        found = [query["sql"] for query in connection.queries]
        connection.force_debug_cursor = False
        asked(connection)
        assert len(connection.queries) == len(found)
        return found

    assert "SELECT 1" in str(in_a_thread_of_ours(work))
