"""Keeping leases while their holders run, however long and whatever they do, and giving them back.

That is done by a thread, because a handler may block its event loop, and over a connection of its
own, because others may be waiting for a lock.
"""

from __future__ import annotations

import atexit
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from django.db import connections

from . import leases_table
from .care import close_broken_connections, close_unusable_connections, forget_statements, rest
from .cursors import keep_cursors_in_this_thread
from .errors import Trouble, trouble_of
from .execution import execute
from .lease import Lease
from .leases_table import LeaseTable, lease_table_of
from .options import connect_as_ours
from .statements import Work

logger = logging.getLogger(__name__)

RENEWALS_PER_LEASE = 3.5
PAUSE_AFTER_FAILURE = 0.1


class Keeper:
    """The leases of this process on one database."""

    def __init__(self, using: str) -> None:
        self._using = using
        self._mutex = threading.Lock()
        self._kept: dict[Lease, float] = {}
        """Leases, and since when."""
        self._given_back: queue.SimpleQueue[Lease | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def keep(self, lease: Lease) -> None:
        """Renew a lease from now on, while it is held."""
        with self._mutex:
            self._kept.setdefault(lease, time.monotonic())
            self._start()

    def let_go(self, lease: Lease) -> None:
        """Renew it no more."""
        self._kept.pop(lease, None)

    def give_back(self, lease: Lease) -> None:
        """Give a lease back soon. This may be called while another call is under way."""
        self._kept.pop(lease, None)
        self._given_back.put(lease)
        if self._thread is None:
            self._wake()

    def _wake(self) -> None:
        """Start the thread, unless somebody is just starting or ending it, who looks again."""
        if self._mutex.acquire(blocking=False):
            try:
                self._start()
            except RuntimeError:  # There are no more threads to be had: leases end by themselves.
                logger.warning("Keys are given back late.", exc_info=True)
            finally:
                self._mutex.release()

    def _start(self) -> None:
        if self._thread is None:
            thread = threading.Thread(
                target=self._run, name=f"botsessions-{self._using}-leases", daemon=True
            )
            thread.start()
            self._thread = thread

    def resume(self) -> None:
        """Start again what was closed too early."""
        if self._kept:
            self._wake()

    def close(self) -> None:
        """End the thread and its connection, after what was to be given back."""
        thread = self._thread
        if thread is not None:
            self._given_back.put(None)
            thread.join()

    # The thread.

    def _run(self) -> None:
        keep_cursors_in_this_thread()
        connect_as_ours(self._using)
        try:
            self._work_until_idle()
        finally:
            connections.close_all()  # Of this thread.
            with self._mutex:
                self._thread = None
            if not self._given_back.empty():
                self._wake()

    def _work_until_idle(self) -> None:
        pause = leases_table.LEASE_SECONDS / RENEWALS_PER_LEASE
        failed: list[Lease] = []
        renewed_at = worked_at = time.monotonic()
        while True:
            now = time.monotonic()
            wait = PAUSE_AFTER_FAILURE if failed else max(0.0, renewed_at + pause - now)
            leases = [*failed, *self._next(wait)]
            closing = None in leases
            failed = self._release([lease for lease in leases if lease is not None])
            if closing:
                return
            now = time.monotonic()
            if leases:
                worked_at = now
            if now < renewed_at + pause:
                continue
            renewed_at = now
            old = [x for x, since in list(self._kept.items()) if x.held and since < now - pause / 2]
            if old and not self._renew(old):
                renewed_at = now - pause + PAUSE_AFTER_FAILURE
            if old:
                worked_at = now
            elif now - worked_at > pause and not failed:
                if not self._kept:
                    return
                rest()

    def _next(self, wait: float) -> list[Lease | None]:
        """Return what is to be given back; wait if it is nothing yet."""
        found: list[Lease | None] = []
        with suppress(queue.Empty):
            found.append(self._given_back.get(timeout=wait))
            while True:
                found.append(self._given_back.get_nowait())
        return found

    def _renew(self, leases: Sequence[Lease]) -> bool:
        """Let leases last; return whether that can be said of all."""
        return not self._apply(leases, lambda table, some: table.renew_unlocked(some))

    def _release(self, leases: Sequence[Lease]) -> list[Lease]:
        """Give leases back; return those that have to be tried again."""
        end = time.monotonic() + leases_table.LEASE_SECONDS
        for lease in leases:
            lease.ends_at = lease.ends_at or end
        left = self._apply(leases, lambda table, some: table.release(some))
        return [lease for lease in left if lease.ends_at > time.monotonic()]

    def _apply(
        self, leases: Sequence[Lease], of: Callable[[LeaseTable, Sequence[Lease]], Work[Any]]
    ) -> list[Lease]:
        """Do work for leases, each alone if one is locked; return those that it failed for."""
        if not leases:
            return []
        close_unusable_connections()
        try:
            connection = connections[self._using]
            execute(connection, of(lease_table_of(connection), leases))
        except Exception as exc:
            logger.debug("Leases are not written.", exc_info=True)
            close_broken_connections(exc)
            if trouble_of(exc) is not Trouble.LOCKED or len(leases) == 1:
                return list(leases)
        else:
            return []
        finally:
            forget_statements()
        return [lease for one in leases for lease in self._apply([one], of)]


_keepers: dict[str, Keeper] = {}


def keeper_of(using: str) -> Keeper:
    """Return what keeps the leases of this process on a database."""
    found = _keepers.get(using)
    if found is None:
        found = _keepers.setdefault(using, Keeper(using))
    return found


def keepers() -> list[str]:
    """Return the databases that there are leases on."""
    return list(_keepers)


def close_keepers() -> None:
    """End the threads, which begin anew when they are needed."""
    for keeper in list(_keepers.values()):
        keeper.close()


def resume_keepers() -> None:
    for keeper in list(_keepers.values()):
        keeper.resume()


# A forked child has none of its parent's leases, nor its threads.
os.register_at_fork(
    before=close_keepers, after_in_parent=resume_keepers, after_in_child=_keepers.clear
)
atexit.register(close_keepers)
