"""The transaction of sync code: what it is, and keeping something until it ends."""

from __future__ import annotations

import enum
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from django.db import connections, transaction

T = TypeVar("T")

_kept: weakref.WeakKeyDictionary[Any, list[Any]] = weakref.WeakKeyDictionary()


class CallersTransaction(enum.Enum):
    """What the calling thread's connection is in."""

    NONE = enum.auto()
    REAL = enum.auto()
    TEST = enum.auto()
    """The one in which Django's ``TestCase`` wraps a test. It never commits."""


def transaction_of(using: str) -> CallersTransaction:
    blocks = connections[using].atomic_blocks
    if any(getattr(block, "_from_testcase", False) for block in blocks):
        return CallersTransaction.TEST
    return CallersTransaction.REAL if blocks else CallersTransaction.NONE


def kept_until_commit(using: str | None) -> list[Any]:
    """Return what this thread's open transaction keeps, on a database."""
    return [] if using is None else _kept.get(connections[using], [])


def keeps(using: str | None) -> bool:
    """Whether this thread has a transaction open, on a database, that is to keep something.

    That of a test does not count: everybody in the test sees what is in it.
    """
    return using is not None and transaction_of(using) is CallersTransaction.REAL


def keep(using: str | None, kept: T, release: Callable[[T], None]) -> None:
    """Release something when this thread's transaction ends; now if there is none."""
    if using is None or not keeps(using):
        release(kept)
        return
    all_kept = _kept.setdefault(connections[using], [])
    all_kept.append(kept)

    def end() -> None:
        if kept in all_kept:
            all_kept.remove(kept)
            release(kept)

    transaction.on_commit(_AtEnd(end), using=using)
    # First of all: one that raises keeps those behind it from being called, and from being dropped
    # as long as somebody has its traceback.
    hooks = connections[using].run_on_commit
    hooks.insert(0, hooks.pop())


def at_rollback(using: str, undo: Callable[[], object]) -> None:
    """Call a function if what this thread's transaction has done up to now is rolled back."""
    blocks = connections[using].atomic_blocks
    if blocks and not getattr(blocks[-1], "_from_testcase", False):
        transaction.on_commit(_AtRollback(undo), using=using)


class _AtRollback:
    """A callback that is called if Django drops it without having called it on commit."""

    def __init__(self, undo: Callable[[], object]) -> None:
        self._undo: Callable[[], object] | None = undo

    def __call__(self) -> None:
        self._undo = None

    def __del__(self) -> None:
        if self._undo is not None:
            self._undo()


class _AtEnd:
    """A callback that is called on commit, and on rollback, when Django drops it."""

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end

    def __call__(self) -> None:
        self._end()

    def __del__(self) -> None:
        self._end()
