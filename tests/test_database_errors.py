"""What a database's error says of another attempt, and of the connection."""

from __future__ import annotations

import sqlite3
import traceback
from typing import Any

import pytest
from django.db import (
    DatabaseError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    connection,
)

from botsessions import session
from botsessions.database.errors import (
    MYSQL_DUPLICATE,
    Trouble,
    is_of_connection,
    is_refusal,
    trouble_of,
)
from botsessions.database.statements import REFUSAL, Unexpected

SECRET = "hunter2, and some more"
LOST, LOCKED = Trouble.LOST, Trouble.LOCKED


class OfPostgresql(Exception):
    def __init__(self, sqlstate: str) -> None:
        self.sqlstate = sqlstate


def caused_by(cause: Exception, kind: Any = OperationalError, text: str = "") -> Exception:
    error: Exception = kind(text)
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("sqlstate", "trouble"),
    [
        *(("08006", LOST), ("53300", LOST), ("57P01", LOST), ("57014", LOST)),
        *(("25006", LOST), ("40003", LOST), ("0A000", LOST), ("26000", LOST)),
        *(("40001", LOCKED), ("40P01", LOCKED), ("55P03", LOCKED)),
        *(("23505", None), ("22P02", None), ("42P01", None)),
    ],
)
def test_postgresql_says_it_by_a_state(sqlstate: str, trouble: Trouble | None) -> None:
    assert trouble_of(caused_by(OfPostgresql(sqlstate), DatabaseError)) is trouble


@pytest.mark.parametrize(
    ("number", "trouble"),
    [
        *((1040, LOST), (1290, LOST), (1927, LOST), (2000, LOST), (2013, LOST), (2999, LOST)),
        *((1020, LOCKED), (1205, LOCKED), (1213, LOCKED), (3572, LOCKED)),
        *((1062, None), (1146, None), (3000, None), (1999, None)),
    ],
)
def test_mysql_says_it_by_a_number(number: int, trouble: Trouble | None) -> None:
    assert trouble_of(OperationalError(number, "text")) is trouble


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (caused_by(sqlite3.OperationalError(), text="database is locked"), LOCKED),
        (caused_by(sqlite3.OperationalError(), text="no such table: x"), None),
        (caused_by(sqlite3.IntegrityError(), IntegrityError, "locked"), None),
        (OperationalError("could not connect"), LOST),
        (OperationalError(), LOST),
        (InterfaceError("connection already closed"), LOST),
        (InterfaceError(0, ""), LOST),
        (DatabaseError("something else"), None),
        (OSError("gone"), None),
        (KeyError(1040), None),
    ],
)
def test_others_say_it_by_kind_and_text(error: Exception, trouble: Trouble | None) -> None:
    assert trouble_of(error) is trouble


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        *((caused_by(OfPostgresql(state)), True) for state in ("25006", "0A000", "26000")),
        (caused_by(OfPostgresql("40001")), False),
        *((OperationalError(number), True) for number in (1290, 1792, 1836)),
        (OperationalError(1205), False),
        (OperationalError(), False),
    ],
)
def test_a_connection_may_be_of_no_more_use_though_it_answers(error: Any, is_it: bool) -> None:
    assert is_of_connection(error) is is_it


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (Unexpected("1 rows instead of 2."), True),
        (IntegrityError(MYSQL_DUPLICATE, "Duplicate entry"), True),
        (caused_by(OfPostgresql("22P02"), text=f'invalid input: "{REFUSAL}1)"'), True),
        (caused_by(OfPostgresql("22P02"), text='invalid input: "x"'), False),
        (caused_by(OfPostgresql("22003"), text=REFUSAL), False),
        (IntegrityError(1452, "text"), False),
    ],
)
def test_other_rows_than_there_had_to_be_are_a_refusal(error: Any, is_it: bool) -> None:
    assert is_refusal(error) is is_it


@pytest.fixture
def small(db: None) -> None:
    """A table that takes no session of more than 20 bytes, as one of a project's own may."""
    if connection.vendor != "postgresql":
        pytest.skip("Others do not show the row.")
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE botsessions_botsession ADD CHECK (size <= 20)")


@pytest.mark.usefixtures("small")
def test_what_a_constraint_refuses_is_not_shown_in_the_error() -> None:
    editing = session(initial=dict).edit("5", bot="1")
    refused = pytest.raises(IntegrityError, match=r"violates check constraint.*SQLSTATE 23514")
    with refused as raised, editing as data:
        data["password"] = SECRET
    assert SECRET not in "".join(traceback.format_exception(raised.value))
