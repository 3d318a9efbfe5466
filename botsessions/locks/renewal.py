"""Renewing leases while their holders run, however long and whatever they do."""

from __future__ import annotations

import os
import threading
import time
from functools import partial

from ..storages import lease_sql
from ..storages.leases import Lease
from ..storages.threads import thread_of

RENEWALS_PER_LEASE = 3.5


class Renewal:
    """A thread that sees to it that leases are renewed, as long as there are any.

    It is a thread because a handler may block its event loop. The database's own thread does the
    work, so no connection is needed for it.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._leases: dict[Lease, float] = {}
        self._thread: threading.Thread | None = None

    def add(self, lease: Lease) -> None:
        """Renew a lease from now on, while it is held."""
        with self._mutex:
            self._leases.setdefault(lease, time.monotonic())
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="botsessions-renewal", daemon=True
                )
                self._thread.start()

    def discard(self, lease: Lease) -> None:
        """Renew it no more."""
        with self._mutex:
            self._leases.pop(lease, None)

    def _run(self) -> None:
        while True:
            pause = lease_sql.LEASE_SECONDS / RENEWALS_PER_LEASE
            time.sleep(pause)
            with self._mutex:
                if not self._leases:
                    self._thread = None
                    return
                begun = time.monotonic() - pause / 2
                old = [lease for lease, added in self._leases.items() if added < begun]
            by_database: dict[str, list[Lease]] = {}
            for lease in old:
                if lease.held:
                    by_database.setdefault(lease.using, []).append(lease)
            for using, leases in by_database.items():
                thread_of(using).do(partial(renew, using, leases))


def renew(using: str, leases: list[Lease], again: bool) -> None:
    lease_sql.LeaseTable(using).renew([lease for lease in leases if lease.held])


_renewal = Renewal()


def renewal() -> Renewal:
    """Return what renews the leases of this process."""
    return _renewal


def _start_anew() -> None:
    global _renewal
    _renewal = Renewal()


# A forked child has none of its parent's leases.
os.register_at_fork(after_in_child=_start_anew)
