"""What a unit of work does with its storages: read, write, all together where they can."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any, Protocol, TypeAlias, TypeGuard, cast

from django.apps import apps
from django.db import router

from ..database.claims import Claim
from ..database.lease import Lease
from ..database.sessions_table import Table
from ..database.storage import DatabaseStorage
from ..database.transaction import DatabaseTransaction
from ..database.turns import PATIENCE_SECONDS
from ..records import Address, Changes, Record, Storage, all_of
from .layers import peel, read_group, write_group
from .uncancelled import to_its_end

Outcome: TypeAlias = "int | Exception | None"
"""Of a change: the new revision, ``None`` for a deletion, or why it was not made."""

OPERATIONS = ("read", "read_many", "write", "write_many", "delete", "renew")


class Hold(Protocol):
    """The keys of a unit of work."""

    @property
    def own_keys(self) -> Collection[Address]: ...

    def lease_by(self, leases: dict[str, Lease]) -> None:
        """Hold the keys by these leases, or by such as another unit has handed on."""


class Transaction(Protocol):
    """The reads and writes of one unit of work."""

    @property
    def protects_writes(self) -> bool:
        """Whether a write is certain to be refused once somebody else has the keys."""

    @property
    def has_rights(self) -> bool:
        """Whether the last write gives something back or notes something, even without changes."""

    def has(self, address: Address) -> bool:
        """Whether what is stored there can be read and written."""

    def add(self, address: Address, place: Storage | Table) -> bool:
        """Have what is stored there written, too; return whether it has that place."""

    async def read(
        self,
        addresses: Sequence[Address],
        *,
        since: float | None = None,
        patience: float = PATIENCE_SECONDS,
    ) -> Mapping[Address, Record]:
        """Return what is stored; the first time, once the keys are had among all processes.

        Args:
            since: when the keys were asked for, by the monotonic clock.
            patience: how long to wait for them, in seconds.

        Raises:
            SessionLockError: they cannot be had.
        """

    async def write(
        self, changes: Changes, *, last: bool = False, hand_on: bool = False
    ) -> Sequence[Outcome]:
        """Make changes, even if the caller is cancelled meanwhile.

        Args:
            last: nothing follows, so the keys may be given back with it.
            hand_on: keep them instead, for another unit of this process that waits for them.

        Raises:
            Exception: none of them was made.
        """


class PlainTransaction:
    """Of a storage that knows nothing of units of work."""

    protects_writes = True
    has_rights = False

    def __init__(self, storage: Storage, addresses: Collection[Address] = ()) -> None:
        self._storage = storage
        self._addresses = set(addresses)

    def has(self, address: Address) -> bool:
        return address in self._addresses

    def add(self, address: Address, place: Storage | Table) -> bool:
        if place == self._storage:
            self._addresses.add(address)
        return address in self._addresses

    async def read(
        self,
        addresses: Sequence[Address],
        *,
        since: float | None = None,
        patience: float = PATIENCE_SECONDS,
    ) -> Mapping[Address, Record]:
        found = await read_group(self._storage, list(addresses))
        return {address: record.live() for address, record in found.items()}

    async def write(
        self, changes: Changes, *, last: bool = False, hand_on: bool = False
    ) -> Sequence[Outcome]:
        return await to_its_end(write_group(self._storage, changes))


class JoinedTransaction:
    """Several, one after another where keys are taken, for nobody must wait in a circle."""

    def __init__(self, parts: Sequence[Any], taking: int) -> None:
        self._parts = parts
        self._taking = taking
        """So many of the parts, the first ones, take keys, or claim the update."""
        self._taken = False

    @property
    def protects_writes(self) -> bool:
        return all(part.protects_writes for part in self._parts)

    @property
    def has_rights(self) -> bool:
        return any(part.has_rights for part in self._parts)

    def has(self, address: Address) -> bool:
        return any(part.has(address) for part in self._parts)

    def add(self, address: Address, place: Storage | Table) -> bool:
        return any(part.add(address, place) for part in self._parts)

    async def read(
        self,
        addresses: Sequence[Address],
        *,
        since: float | None = None,
        patience: float = PATIENCE_SECONDS,
    ) -> Mapping[Address, Record]:
        found: dict[Address, Record] = {}
        wanted = [(part, [a for a in addresses if part.has(a)]) for part in self._parts]
        if not self._taken:
            for part, some in wanted[: self._taking]:
                found |= await part.read(some, since=since, patience=patience)
            wanted, self._taken = wanted[self._taking :], True
        for records in await all_of(part.read(some) for part, some in wanted if some):
            found |= records
        return found

    async def write(
        self, changes: Changes, *, last: bool = False, hand_on: bool = False
    ) -> Sequence[Outcome]:
        return await to_its_end(self._write(changes, last))

    async def _write(self, changes: Changes, last: bool) -> Sequence[Outcome]:
        """Write the rest before the parts that give keys back, but see first that these hold them.

        A part fails as a whole, and alone.
        """
        outcomes: dict[Address, Outcome] = {}
        for part in self._parts[: self._taking]:
            await part.write([])
        for index, part in reversed([*enumerate(self._parts)]):
            some = [change for change in changes if part.has(change[0])]
            if some or (last and index < self._taking):
                made = await outcomes_of(part, some, last)
                outcomes |= zip([address for address, _ in some], made, strict=True)
        return [outcomes[address] for address, _ in changes]


async def outcomes_of(part: Any, changes: Changes, last: bool) -> Sequence[Outcome]:
    try:
        return list(await part.write(changes, last=last))
    except Exception as exc:
        return [exc] * len(changes)


def begin(
    storages: Mapping[Address, Storage],
    hold: Hold | None = None,
    claim: Claim | None = None,
    *,
    by: str = "",
) -> Transaction:
    """Return the transaction of a unit of work that uses these storages.

    Args:
        hold: the keys that are to be had among all processes, too.
        claim: on the update that the unit is for, if that came by webhook.
        by: who makes the changes.
    """
    if hold is None and claim is None and len(storages) == 1:  # Nearly always.
        ((address, storage),) = storages.items()
        if is_database(storage):
            table = storage.table
            return DatabaseTransaction(table.using, {address: table}, by=by)
        return PlainTransaction(storage, [address])
    stored: dict[str, dict[Address, Table]] = {}
    plain: list[tuple[Storage, set[Address]]] = []
    leased: dict[str, list[Address]] = {}
    for address, storage in storages.items():
        if is_database(storage):
            table = storage.table
            stored.setdefault(table.using, {})[address] = table
        elif some := next((some for known, some in plain if known == storage), None):
            some.add(address)
        else:
            plain.append((storage, {address}))
        if hold is not None and address in hold.own_keys:
            leased.setdefault(database_of(storage), []).append(address)
    leases = {}
    for using in sorted(leased):
        leases[using] = Lease(using, leased[using])
    if hold is not None:
        hold.lease_by(leases)
    parts: list[Any] = []
    taking = {*leases, *([] if claim is None else [claim.using])}
    for using in dict.fromkeys([*sorted(taking), *stored]):
        own = stored.get(using, {})
        claimed = claim if claim is not None and claim.using == using else None
        parts.append(DatabaseTransaction(using, own, lease=leases.get(using), claim=claimed, by=by))
    parts += [PlainTransaction(storage, some) for storage, some in plain]
    return parts[0] if len(parts) == 1 else JoinedTransaction(parts, len(taking))


def joined(transaction: Transaction, address: Address, storage: Storage) -> Transaction:
    """Return the transaction with one more address, whose storage it may not have yet."""
    if transaction.has(address):
        return transaction
    if transaction.add(address, storage.table if is_database(storage) else storage):
        return transaction
    # The other one comes last, because it may give keys back.
    return JoinedTransaction([transaction, begin({address: storage})], 1)


def is_database(storage: Storage) -> TypeGuard[DatabaseStorage]:
    """Whether a storage's reads and writes are those of the database's tables, and no others."""
    return isinstance(storage, DatabaseStorage) and not overrides(cast("type", type(storage)))


@cache
def overrides(kind: type) -> bool:
    """Whether a subclass reads or writes in a way of its own."""
    return any(getattr(kind, name) is not getattr(DatabaseStorage, name) for name in OPERATIONS)


def database_of(storage: Storage) -> str:
    """Return the database that leases of a storage's keys are on."""
    innermost = peel(storage)[1]
    if isinstance(innermost, DatabaseStorage):
        return innermost.using
    return router.db_for_write(apps.get_model("botsessions", "BotSessionLease"))
