"""Keeping leases and claims while their holders run, whatever they do, and giving them back.

That is done by a thread, because a handler may block its event loop, and over a connection of its
own, because others may be waiting for a lock.
"""

from __future__ import annotations

import atexit
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from django.db import connections

from ..forking import at_fork
from . import leases_table
from .callers import refuse_shutdown
from .care import close_broken_connections, close_unusable_connections, forget_statements, rest
from .claims import Claim
from .claims_table import claim_table_of
from .cursors import keep_cursors_in_this_thread
from .errors import Trouble, trouble_of
from .execution import execute
from .lease import Lease
from .leases_table import lease_table_of
from .options import connect_as_ours
from .rights import Right
from .statements import Work
from .watch import watched

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

logger = logging.getLogger(__name__)

WorkOf: TypeAlias = "Callable[[BaseDatabaseWrapper, Sequence[Right]], Work[Any]]"

WAKE = Right("")
"""What is put into the queue to wake the thread."""
RENEWALS_PER_LEASE = 3.5
PAUSE_AFTER_FAILURE = 0.1


class Keeper:
    """The leases and claims of this process on one database."""

    def __init__(self, using: str) -> None:
        self._using = using
        self._mutex = threading.Lock()
        self._kept: dict[Right, float] = {}
        """Rights, and since when."""
        self._later: dict[Right, float] = {}
        """Leases that are still to be taken, and when."""
        self._awake_at = 0.0
        """When the thread looks again at the latest."""
        self._given_back: queue.SimpleQueue[Right | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def keep(self, right: Right) -> None:
        """Renew a right from now on, while it is had."""
        with self._mutex:
            self._kept.setdefault(right, time.monotonic())
            self._start()

    def take_later(self, lease: Lease, moment: float) -> None:
        """Take a lease of one key at a moment, and keep it, unless it is given up before.

        Nobody is told whether it could be taken.

        Args:
            moment: by the monotonic clock.
        """
        lease.was_asked_for = True
        self._later[lease] = moment
        if self._thread is None:
            self._wake()
        elif moment < self._awake_at:
            self._given_back.put(WAKE)

    def let_go(self, right: Right) -> None:
        """Renew it no more."""
        self._kept.pop(right, None)

    def give_back(self, right: Right) -> None:
        """Give a right back soon. This may be called while another call is under way."""
        if self._later.pop(right, None) is not None:
            return  # It was not taken yet.
        self._kept.pop(right, None)
        self._given_back.put(right)
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
            refuse_shutdown()
            thread = threading.Thread(
                target=self._run, name=f"botsessions-{self._using}-leases", daemon=True
            )
            thread.start()
            self._thread = thread

    def resume(self) -> None:
        """Start again what was closed too early."""
        if self._kept or self._later:
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
        is_closed = False
        try:
            is_closed = self._work_until_idle()
        finally:
            connections.close_all()  # Of this thread.
            with self._mutex:
                self._thread = None
            came = not is_closed and (self._kept or self._later)
            if came or not self._given_back.empty():
                self._wake()

    def _work_until_idle(self) -> bool:
        """Work; return whether the thread is to end though there may be work."""
        pause = leases_table.LEASE_SECONDS / RENEWALS_PER_LEASE
        failed: list[Right] = []
        renewed_at = worked_at = time.monotonic()
        while True:
            self._awake_at = renewed_at + pause
            soon = min([self._awake_at, *list(self._later.values())]) - time.monotonic()
            rights = [*failed, *self._next(PAUSE_AFTER_FAILURE if failed else max(0.0, soon))]
            closing = None in rights
            failed = self._give_back([right for right in rights if right and right is not WAKE])
            if closing:
                return True
            now = time.monotonic()
            if due := [right for right, moment in list(self._later.items()) if moment <= now]:
                self._take(due)
                worked_at = now
            if rights:
                worked_at = now
            if now < renewed_at + pause:
                continue
            renewed_at = now
            kept = list(self._kept.items())
            old = [right for right, since in kept if right.is_had and since < now - pause / 2]
            if old and not self._renew(old):
                renewed_at = now - pause + PAUSE_AFTER_FAILURE
            if old:
                worked_at = now
            elif now - worked_at > pause and not failed:
                if not self._kept and not self._later:
                    return False
                rest()

    def _next(self, wait: float) -> list[Right | None]:
        """Return what is to be given back; wait if it is nothing yet."""
        found: list[Right | None] = []
        with suppress(queue.Empty):
            found.append(self._given_back.get(timeout=wait))
            while True:
                found.append(self._given_back.get_nowait())
        return found

    def _renew(self, rights: Sequence[Right]) -> bool:
        """Let rights last; return whether that can be said of all."""
        return not self._apply(rights, renewing)

    def _take(self, due: Sequence[Right]) -> None:
        """Take leases; those of others are tried again as long as they are wanted."""
        due = [lease for lease in due if self._later.pop(lease, None) is not None]
        for lease in due:
            lease.asking += 1
        self._apply(due, taking)
        for lease in due:
            lease.asking -= 1
            if lease.given_up:
                self._given_back.put(lease)
            elif lease.is_had:
                self.keep(lease)
            else:
                self._later[lease] = time.monotonic() + PAUSE_AFTER_FAILURE

    def _give_back(self, rights: Sequence[Right]) -> list[Right]:
        """Give rights back; return those that have to be tried again."""
        end = time.monotonic() + leases_table.LEASE_SECONDS
        for right in rights:
            right.ends_at = right.ends_at or end
        left = self._apply(rights, giving_back)
        return [right for right in left if right.ends_at > time.monotonic()]

    def _apply(self, rights: Sequence[Right], of: WorkOf) -> list[Right]:
        """Do work for rights, each alone if one is locked; return those that it failed for."""
        if not rights:
            return []
        try:
            close_unusable_connections()
            connection = connections[self._using]
            with watched(connection):
                execute(connection, of(connection, rights))
        except Exception as exc:
            logger.debug("Leases or claims are not written.", exc_info=True)
            close_broken_connections(exc)
            if trouble_of(exc) is not Trouble.LOCKED or len(rights) == 1:
                return list(rights)
        else:
            return []
        finally:
            forget_statements()
        return [right for one in rights for right in self._apply([one], of)]


def renewing(connection: BaseDatabaseWrapper, rights: Sequence[Right]) -> Work[None]:
    """Let rights last from now on, as far as they are still had."""
    if leases := [right for right in rights if isinstance(right, Lease)]:
        yield from lease_table_of(connection).renew_unlocked(leases)
    if claims := [right for right in rights if isinstance(right, Claim)]:
        yield from claim_table_of(connection).renew(claims)


def taking(connection: BaseDatabaseWrapper, rights: Sequence[Right]) -> Work[None]:
    """Take leases, or draw numbers for them."""
    leases = [right for right in rights if isinstance(right, Lease)]
    yield from lease_table_of(connection).draw(leases)


def giving_back(connection: BaseDatabaseWrapper, rights: Sequence[Right]) -> Work[None]:
    if leases := [right for right in rights if isinstance(right, Lease)]:
        yield from lease_table_of(connection).release(leases)
    if claims := [right for right in rights if isinstance(right, Claim)]:
        yield from claim_table_of(connection).give_back(claims)


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
at_fork(before=close_keepers, after_in_parent=resume_keepers, after_in_child=_keepers.clear)
atexit.register(close_keepers)
