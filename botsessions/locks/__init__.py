"""Who may run for a key now."""

import os

from .database import Leases, database_of
from .process import ProcessLock, Ticket, never_ends

__all__ = [
    "Leases",
    "ProcessLock",
    "Ticket",
    "database_of",
    "never_ends",
    "process_lock",
    "release",
]

_lock = ProcessLock()


def process_lock() -> ProcessLock:
    """Return the lock of this process."""
    return _lock


def release(ticket: Ticket) -> None:
    """Give up the keys of a ticket, among all processes and in this one."""
    _lock.release(ticket)


def _renew() -> None:
    global _lock
    _lock = ProcessLock()


# A forked child has none of its parent's holders, which would never release their keys in it.
os.register_at_fork(after_in_child=_renew)
