"""What work in batches tells about each of them."""

from __future__ import annotations

from dataclasses import dataclass

from ..storages import Address

BATCH_SIZE = 1000


@dataclass(frozen=True)
class Failure:
    """A session that was left as it was, and why; the reason shows no data."""

    address: Address
    reason: str


@dataclass(frozen=True)
class Batch:
    """What has become of the sessions of one batch."""

    done: int
    failures: tuple[Failure, ...] = ()
