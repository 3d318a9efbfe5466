"""Keeping a key until the database transaction ends in which its session was changed."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from django.db import connections, transaction

from .process import Ticket

_kept: weakref.WeakKeyDictionary[Any, list[Ticket]] = weakref.WeakKeyDictionary()


def kept_tickets(using: str) -> list[Ticket]:
    """Return the tickets that this thread's open transaction keeps."""
    return _kept.get(connections[using], [])


def keep(using: str, ticket: Ticket, release: Callable[[Ticket], None]) -> None:
    """Release ``ticket`` when this thread's transaction ends; now if there is none.

    The transaction in which Django's ``TestCase`` wraps a test does not count: it never commits,
    and everybody in the test sees what is in it.
    """
    connection = connections[using]
    blocks = connection.atomic_blocks
    if not blocks or any(getattr(block, "_from_testcase", False) for block in blocks):
        release(ticket)
        return
    tickets = _kept.setdefault(connection, [])
    tickets.append(ticket)

    def end() -> None:
        if ticket in tickets:
            tickets.remove(ticket)
            release(ticket)

    transaction.on_commit(_AtEnd(end), using=using)


class _AtEnd:
    """A callback that is called on commit, and on rollback, when Django drops it."""

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end

    def __call__(self) -> None:
        self._end()

    def __del__(self) -> None:
        self._end()
