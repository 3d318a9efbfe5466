"""Leases: rights to keys that hold among all processes on a database. See :mod:`.leases_table`."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from hashlib import blake2b

from ..exceptions import SessionConflict
from ..records import Address, new_revision
from .rights import Right


class Lease(Right):
    """One holder's right to some keys on one database, or its place in their queues."""

    __slots__ = ("addresses", "before", "handed_on", "held", "holder", "keys", "numbers")

    def __init__(self, using: str, addresses: Sequence[Address]) -> None:
        super().__init__(using)
        self.addresses = addresses
        self.keys = sorted({lease_key(address) for address in addresses})
        self.handed_on = False
        """Whether the last write under it has kept it, for another unit of this process."""
        self.before = 0
        """How many are to be served before whoever waits for it."""
        self.start_anew()

    @property
    def is_had(self) -> bool:
        return self.held

    def start_anew(self) -> None:
        """Forget a place that is lost."""
        self.holder = new_revision() or 1
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


def lease_key(address: Address) -> int:
    """Return the number that stands for an address.

    Two addresses with the same number, which is most unlikely, would wait for each other.
    """
    digest = blake2b("\0".join(address).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def cut_off(lease: Lease) -> SessionConflict:
    return SessionConflict(
        f"The key of session {lease.addresses[0]} has gone to somebody else, because this process "
        "could not renew its lease on the database in time. Nothing was written.",
        cut_off=True,
    )
