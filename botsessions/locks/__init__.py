"""Who may run for a key now."""

import os

from .process import ProcessLock, Ticket, never_ends

__all__ = ["ProcessLock", "Ticket", "never_ends", "process_lock"]

_lock = ProcessLock()


def process_lock() -> ProcessLock:
    """Return the lock of this process."""
    return _lock


def _renew() -> None:
    global _lock
    _lock = ProcessLock()


# A forked child has none of its parent's holders, which would never release their keys in it.
os.register_at_fork(after_in_child=_renew)
