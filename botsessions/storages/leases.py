"""Leases: rights to keys that hold among all processes on a database.

They travel with the reads and writes of those who hold them: a read takes its lease on the way, a
write checks that it is still held, and may give it back, in the same transaction.
"""

from __future__ import annotations

import enum
import secrets
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import blake2b
from typing import NamedTuple

from ..exceptions import SessionConflict
from .base import Address


class NotHeldYet(Exception):
    """Somebody else holds the lease, so nothing was done under it."""


class Lease:
    """One holder's right to some keys on one database, or its place in their queues."""

    __slots__ = (
        "addresses",
        "before",
        "handed_on",
        "held",
        "holder",
        "keys",
        "numbers",
        "released",
        "using",
    )

    def __init__(self, using: str, addresses: Sequence[Address]) -> None:
        self.using = using
        self.addresses = addresses
        self.keys = sorted({lease_key(address) for address in addresses})
        self.released = False
        """Whether nobody wants it any more."""
        self.handed_on = False
        """Whether the last that was done under it has kept it, for another in this process."""
        self.before = 0
        """How many are to be served before whoever waits for it."""
        self.start_anew()

    def start_anew(self) -> None:
        """Forget a place that is lost."""
        self.holder = secrets.randbits(62) + 1
        """Nobody else has ever had this number."""
        self.numbers: dict[int, int] = {}
        """By key; drawn by whoever waits."""
        self.held = False


class Ending(enum.Enum):
    """What becomes of a lease with a write."""

    KEPT = enum.auto()
    GIVEN_BACK = enum.auto()
    HANDED_ON = enum.auto()
    """Kept for another in this process, if that may pass those who wait in others."""


class Ride(NamedTuple):
    leases: Sequence[Lease] = ()
    ending: Ending = Ending.KEPT


_ride: ContextVar[Ride] = ContextVar("botsessions_ride", default=Ride())  # noqa: B039 (immutable)


@contextmanager
def riding(leases: Sequence[Lease], ending: Ending = Ending.KEPT) -> Iterator[None]:
    """Let leases ride along with the reads and writes of their addresses.

    Args:
        ending: what becomes of them with a write.
    """
    token = _ride.set(Ride(leases, ending))
    try:
        yield
    finally:
        _ride.reset(token)


def lease_riding(using: str, addresses: Collection[Address]) -> tuple[Lease | None, Ending]:
    """Return the lease that rides along with a request, and what becomes of it with a write."""
    leases, ending = _ride.get()
    for lease in leases:
        if lease.using == using and addresses and set(addresses) <= set(lease.addresses):
            return lease, ending
    return None, Ending.KEPT


def lease_key(address: Address) -> int:
    """Return the number that stands for an address.

    Two addresses with the same number, which is most unlikely, would wait for each other.
    """
    digest = blake2b("\0".join(address).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def cut_off(lease: Lease) -> SessionConflict:
    return SessionConflict(
        f"The key of session {lease.addresses[0]} has gone to somebody else, because this process "
        "could not renew its lease on the database in time. Nothing was written."
    )
