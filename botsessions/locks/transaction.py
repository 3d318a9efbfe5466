"""The transaction of sync code: what it is, and keeping a key until it ends."""

from __future__ import annotations

import enum
import weakref
from collections.abc import Callable
from typing import Any

from django.db import connections, transaction

from .process import Ticket

_kept: weakref.WeakKeyDictionary[Any, list[Ticket]] = weakref.WeakKeyDictionary()


class Transaction(enum.Enum):
    """What the calling thread's connection is in."""

    NONE = enum.auto()
    REAL = enum.auto()
    TEST = enum.auto()
    """The one in which Django's ``TestCase`` wraps a test. It never commits."""


def transaction_of(using: str) -> Transaction:
    blocks = connections[using].atomic_blocks
    if any(getattr(block, "_from_testcase", False) for block in blocks):
        return Transaction.TEST
    return Transaction.REAL if blocks else Transaction.NONE


def kept_tickets(using: str) -> list[Ticket]:
    """Return the tickets that this thread's open transaction keeps."""
    return _kept.get(connections[using], [])


def keep(using: str, ticket: Ticket, release: Callable[[Ticket], None]) -> None:
    """Release ``ticket`` when this thread's transaction ends; now if there is none.

    That of a test does not count: everybody in the test sees what is in it.
    """
    if transaction_of(using) is not Transaction.REAL:
        release(ticket)
        return
    tickets = _kept.setdefault(connections[using], [])
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
