"""What a database's error says of the statement and of the connection."""

from __future__ import annotations

import enum
from typing import Any, cast

from django.db import DatabaseError, InterfaceError, OperationalError

from .statements import REFUSAL, Unexpected

MYSQL_DUPLICATE = 1062
"""The number of MySQL's and MariaDB's error for a row that exists."""


class Trouble(enum.Enum):
    """Kinds of errors that another attempt may not meet."""

    LOST = enum.auto()
    """The connection cannot be used any more. What was sent may have been done."""
    LOCKED = enum.auto()
    """Somebody else is in the way. Nothing was done."""


POSTGRESQL_LOST = {"08", "53", "57"}
"""Classes of SQLSTATE: connection lost, too much load, shut down."""
OUTDATED = {"0A000", "26000", "42804", "42883"}
"""SQLSTATEs: a prepared statement would return or take other types since somebody altered the
table, or is gone."""
POSTGRESQL_SHOWS_ROW = {"22", "23"}
"""Classes of SQLSTATE: data, or a constraint, does not allow it."""
UNKNOWN_COMPLETION = "40003"
POSTGRESQL_LOCKED = {"40", "55"}
"""Classes of SQLSTATE: rolled back, locked."""

MYSQL_LOST = {1040, 1047, 1053, 1158, 1159, 1160, 1161, 1290, 1317, 1792, 1836, 1927}
"""Too many connections, a node that is not ready, shut down, network, read-only, killed;
besides those of the connection, from 2000 on."""
MISSING: set[object] = {"42P01", "42703", 1146, 1054}
"""SQLSTATE and MySQL's numbers, where there is no such table or column."""
WAITED_FOR_LOCK: set[object] = {"55P03", 1205, 3572}
"""SQLSTATE and MySQL's numbers, when somebody else has kept something locked."""
READ_ONLY: set[object] = {"25006", 1290, 1792, 1836}
"""SQLSTATE and MySQL's numbers, when a server is no longer the one that is written to."""
MYSQL_LOCKED = {1020, 1205, 1213, 3572}
"""Changed since it was read, locked, deadlock, locked and not to be waited for."""


def trouble_of(error: BaseException) -> Trouble | None:
    """Return why another attempt may succeed; ``None``: it would fail as well."""
    if not isinstance(error, (DatabaseError, InterfaceError)):
        return None
    state = sqlstate(error)
    if state is not None:
        return trouble_of_postgresql(state)
    if isinstance(error, InterfaceError):
        return Trouble.LOST
    number = number_of(error)
    if number is not None:
        if number in MYSQL_LOST or 2000 <= number < 3000:
            return Trouble.LOST
        return Trouble.LOCKED if number in MYSQL_LOCKED else None
    if type(error.__cause__).__module__ == "sqlite3":
        locked = isinstance(error, OperationalError) and "locked" in str(error)
        return Trouble.LOCKED if locked else None
    # PostgreSQL could not be reached, or a pool has no connection left.
    return Trouble.LOST if isinstance(error, OperationalError) else None


def trouble_of_postgresql(state: str) -> Trouble | None:
    if state in READ_ONLY or state in OUTDATED or state == UNKNOWN_COMPLETION:
        return Trouble.LOST
    if state[:2] in POSTGRESQL_LOST:
        return Trouble.LOST
    return Trouble.LOCKED if state[:2] in POSTGRESQL_LOCKED else None


def sqlstate(error: BaseException) -> str | None:
    cause = error.__cause__
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)


def without_row(error: BaseException) -> BaseException:
    """Return an error that does not show the row which a constraint or a type has refused.

    PostgreSQL's does, with all of the session's data in it.
    """
    state = sqlstate(error)
    if state is None or state[:2] not in POSTGRESQL_SHOWS_ROW:
        return error
    told = cast("Any", error.__cause__).diag.message_primary or "The database has refused it"
    return type(error)(f"{told} (SQLSTATE {state})")


def number_of(error: BaseException) -> int | None:
    """Return MySQL's number of an error."""
    number = error.args[0] if error.args else None
    return number if isinstance(number, int) else None


def is_of_connection(error: BaseException) -> bool:
    """Whether a connection that may well answer is of no more use after an error."""
    state = sqlstate(error)
    return state in OUTDATED or state in READ_ONLY or number_of(error) in READ_ONLY


def has_waited_for_lock(error: BaseException) -> bool:
    """Whether somebody else had locked what a statement needs, for longer than it may wait."""
    return sqlstate(error) in WAITED_FOR_LOCK or number_of(error) in WAITED_FOR_LOCK


def is_missing(error: BaseException) -> bool:
    """Whether a statement has named a table or column that there is not."""
    if type(error.__cause__).__module__ == "sqlite3":
        return str(error).startswith("no such ")
    return sqlstate(error) in MISSING or number_of(error) in MISSING


def is_refusal(error: BaseException) -> bool:
    """Whether a statement has found other rows than it has to."""
    return (
        isinstance(error, Unexpected)
        or number_of(error) == MYSQL_DUPLICATE
        or (sqlstate(error) == INVALID_TEXT and REFUSAL in str(error))
    )


INVALID_TEXT = "22P02"
"""A SQLSTATE."""
