"""What MariaDB and MySQL do not take because it is too long: they hang up in the midst of it.

Of what is just a little too long they say so, by an error that names ``max_allowed_packet``, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from django.db import Error

from ..conf import max_bytes
from ..exceptions import SessionStorageError
from .changes import MOST_BYTES
from .errors import Trouble, trouble_of
from .requests import Request, Write

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

LARGE = 512 * 1024
"""Smaller data fit into what every server takes."""


def longest_packet(connection: BaseDatabaseWrapper) -> int:
    """Return how many bytes a server takes as one statement."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@max_allowed_packet")
        return int(cursor.fetchone()[0])


def needed_packet() -> int:
    """Return how long a statement may become: what is quoted may be twice as long as it is."""
    return 2 * (MOST_BYTES + max_bytes())


def reasons(
    error: Exception, requests: Sequence[Request], connection: BaseDatabaseWrapper
) -> list[Exception]:
    """Return why each request has failed, where a statement has raised an error for all of them.

    The server itself is asked what it takes. If it cannot be, that is not the reason.
    """
    if connection.vendor != "mysql" or trouble_of(error) is not Trouble.LOST:
        return [error] * len(requests)
    lengths = [longest(request) for request in requests]
    try:
        most = longest_packet(connection) if max(lengths) > LARGE else LARGE
    except Error:
        return [error] * len(requests)
    return [
        too_long(request, length, most, error) if length > most else error
        for request, length in zip(requests, lengths, strict=True)
    ]


def longest(request: Request) -> int:
    """Return how long the data of a request's largest session are in a statement, at least."""
    changes = request.changes if isinstance(request, Write) else ()
    if not changes or request.size <= LARGE // 2:
        return 0
    return max(len(c.data) + sum(map(c.data.count, (b'"', b"\\", b"'"))) for c in changes)


def too_long(request: Request, length: int, most: int, error: Exception) -> SessionStorageError:
    problem = SessionStorageError(
        f"What is to be stored for session {request.addresses[0]} takes a statement of {length} "
        f"bytes, and the database takes {most}. Nothing was written. Set the server's "
        "max_allowed_packet to more, or BOTSESSIONS['MAX_BYTES'] to less."
    )
    problem.__cause__ = error
    return problem
