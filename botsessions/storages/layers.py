"""Storages around storages, and many records at once through all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import datetime
from typing import Any, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from ..records import (
    Address,
    Changes,
    Record,
    Revision,
    Storage,
    all_of,
    awaited,
    conflict,
    refuse_unreadable,
)
from .expiry import is_heard, tell, to_be_told
from .hearing import OnExpire
from .renewal import due_for_renewal, renew

Outcome: TypeAlias = "int | Exception | None"


class WrappedStorage:
    """Base of storages that change what passes through. All else is the inner storage's."""

    on_expire: OnExpire | None = None
    """Called with key and stored data of a session that has expired, and whose; may be async."""
    shows_expired = False
    """Whether records are shown as they are although they have expired: they are due then."""

    def __init__(self, inner: Storage) -> None:
        self.inner = inner

    async def incoming(self, address: Address, record: Record) -> Record:
        """Return what a reader gets to see of ``record``."""
        return record

    def renewal(self, record: Record) -> datetime | None:
        """Return until when reading ``record`` as it is stored renews it; ``None``: it does not."""
        return None

    def outgoing(self, record: Record) -> Record:
        """Return what is stored of ``record``, which has a value."""
        return record

    async def read(self, address: Address) -> Record | None:
        return (await self.read_many([address])).get(address)

    async def read_many(self, addresses: Sequence[Address]) -> dict[Address, Record]:
        records = await read_all([(self, address) for address in addresses])
        found = zip(addresses, records, strict=True)
        return {address: record for address, record in found if record is not None}

    async def write(self, address: Address, record: Record) -> int:
        (revision,) = await self.write_many([(address, record)])
        assert revision is not None
        return revision

    async def delete(self, address: Address, revision: Revision) -> None:
        await self.write_many([(address, Record(None, revision=revision))])

    async def write_many(self, changes: Changes) -> list[int | None]:
        outcomes = await write_all([(self, *change) for change in changes])
        revisions: list[int | None] = []
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
            revisions.append(outcome)
        return revisions

    def __getattr__(self, name: str) -> Any:
        if name == "inner":  # Not set yet: the object is being copied.
            raise AttributeError(name)
        return getattr(self.inner, name)


class Place(Struct, frozen=True):
    """Where a record is: an address in a storage, and the layers around that, outermost first."""

    layers: Sequence[WrappedStorage]
    storage: Storage
    address: Address


Read: TypeAlias = "Callable[[Sequence[Place]], Awaitable[list[Record | None]]]"


async def read_all(
    requests: Sequence[tuple[Storage, Address]], *, telling: bool = True
) -> list[Record | None]:
    """Read many records, side by side, those of one storage in one go, through their layers.

    See :func:`read_places`.
    """
    places = [place_of(*request) for request in requests]
    return [
        record and await incoming(place.layers, place.address, record)
        for place, record in zip(places, await read_places(places, telling=telling), strict=True)
    ]


async def read_places(
    places: Sequence[Place], *, read: Read | None = None, telling: bool = True
) -> list[Record | None]:
    """Read many records as they are stored, and do what layers want to be done with reading.

    Args:
        read: how to read what is stored, as often as it is needed.
        telling: tell of what has expired. Who is not going to write need not do it.

    Raises:
        SessionExpiryError: who was told of it raised.
        SessionConflict: it has expired again by the time that it was told.
        Exception: what the first storage to fail raised.
    """
    read = read or stored
    records = await read(places)
    if not any(map(is_of_interest, places, records)):
        return records
    records = shown(places, records)
    told: set[Address] = set()
    while telling and (expired := to_be_told(places, records)):
        for place, _ in expired:
            if place.address in told:
                raise conflict(place.address)
            told.add(place.address)
        await all_of(tell(*each) for each in expired)
        records = shown(places, await read(places))  # Who was told may have changed any of them.
    if due := due_for_renewal(places, records):
        renewed = await all_of(renew(places[index], record) for index, record in due.items())
        for index, record in zip(due, renewed, strict=True):
            records[index] = record
    return records


def shown(places: Sequence[Place], records: Sequence[Record | None]) -> list[Record | None]:
    """Return records, with what has expired where layers want to see that."""
    return [
        replace(record, value=record.expired, expired=None)
        if record is not None
        and record.expired is not None
        and any(layer.shows_expired for layer in place.layers)
        else record
        for place, record in zip(places, records, strict=True)
    ]


def is_of_interest(place: Place, record: Record | None) -> bool:
    """Whether a layer, or who is told of what has expired, may want to see a record."""
    return record is not None and (bool(place.layers) or record.expired is not None)


async def tell_all(places: Sequence[Place]) -> int:
    """Tell of those that have expired, to whoever wants to hear of them; return how many.

    Raises:
        SessionExpiryError: who was told of it raised.
    """
    heard = [place for place in places if is_heard(place)]
    expired = to_be_told(heard, await stored(heard))
    await all_of(tell(*each) for each in expired)
    return len(expired)


def write_all(
    requests: Sequence[tuple[Storage, Address, Record]],
) -> Coroutine[Any, Any, list[Outcome]]:
    """Write or delete (a record without a value) many records, those of one storage in one go.

    Returns for each the new revision, ``None`` for a deletion, or the error. A storage with
    batches makes all of its changes or none.
    """
    if len(requests) == 1:  # Nearly always.
        layered, address, record = requests[0]
        return write_one(peel(layered)[1], address, outgoing(peel(layered)[0], record))
    return write_groups(requests)


async def write_groups(requests: Sequence[tuple[Storage, Address, Record]]) -> list[Outcome]:
    outcomes: list[Outcome] = [None] * len(requests)

    async def write(storage: Storage, indices: list[int]) -> None:
        changes = []
        for i in indices:
            layered, address, record = requests[i]
            changes.append((address, outgoing(peel(layered)[0], record)))
        for i, outcome in zip(indices, await write_group(storage, changes), strict=True):
            outcomes[i] = outcome

    await all_of(write(*group) for group in by_innermost([request[0] for request in requests]))
    return outcomes


async def stored(places: Sequence[Place]) -> list[Record | None]:
    """Return what is stored, as it may be shown but as no layer has seen it yet."""
    if len(places) == 1:  # Nearly always.
        return [await read_one(places[0])]
    records: list[Record | None] = [None] * len(places)

    async def read(storage: Storage, indices: list[int]) -> None:
        found = await read_group(storage, [places[i].address for i in indices])
        for i in indices:
            if (record := found.get(places[i].address)) is not None:
                records[i] = record.live()

    await all_of(read(*group) for group in by_innermost([place.storage for place in places]))
    return records


async def read_one(place: Place) -> Record | None:
    record: Record | None = await awaited(place.storage.read, place.address)
    return record and record.live()


async def read_group(storage: Any, addresses: list[Address]) -> dict[Address, Record]:
    if len(addresses) > 1 and hasattr(storage, "read_many"):
        return dict(await awaited(storage.read_many, addresses))
    records = await all_of(awaited(storage.read, address) for address in addresses)
    found = zip(addresses, records, strict=True)
    return {address: record for address, record in found if record is not None}


async def write_group(storage: Any, changes: Changes) -> list[Outcome]:
    if len(changes) > 1 and hasattr(storage, "write_many"):
        try:
            return list(await awaited(storage.write_many, changes))
        except Exception as exc:
            return [exc] * len(changes)
    return [o for (o,) in await all_of(write_one(storage, *change) for change in changes)]


async def write_one(storage: Any, address: Address, record: Record) -> list[Outcome]:
    try:
        if record.value is None:
            await awaited(storage.delete, address, record.revision)
            return [None]
        return [int(await awaited(storage.write, address, record))]
    except Exception as exc:
        return [exc]


async def incoming(layers: Sequence[WrappedStorage], address: Address, record: Record) -> Record:
    """Return what a reader gets to see of ``record`` through the layers.

    Raises:
        SessionDataError: its data cannot be read.
    """
    refuse_unreadable(address, record)
    for layer in reversed(layers):
        record = await layer.incoming(address, record)
    return record


async def migrated(storage: Storage, address: Address, record: Record) -> Record:
    """Return what is to be stored of a live record, its data brought to the newest version.

    It is ``stale`` if that differs from what is stored; its expiry is as it was.
    """
    layers = peel(storage)[0]
    found = await incoming(layers, address, record)
    return replace(outgoing(layers, found), expires_at=record.expires_at)


def outgoing(layers: Sequence[WrappedStorage], record: Record) -> Record:
    """Return what is stored of ``record`` within the layers."""
    if record.value is not None:
        for layer in layers:
            record = layer.outgoing(record)
    return record


def by_innermost(storages: Sequence[Storage]) -> list[tuple[Storage, list[int]]]:
    """Group the indices of ``storages`` by the storage inside all layers."""
    groups: list[tuple[Storage, list[int]]] = []
    for index, layered in enumerate(storages):
        innermost = peel(layered)[1]
        for storage, indices in groups:
            if storage == innermost:
                indices.append(index)
                break
        else:
            groups.append((innermost, [index]))
    return groups


def place_of(storage: Storage, address: Address) -> Place:
    layers, innermost = peel(storage)
    return Place(layers, innermost, address)


def peel(storage: Storage) -> tuple[list[WrappedStorage], Storage]:
    """Return the layers of ``storage``, outermost first, and the storage inside them."""
    layers = []
    while isinstance(storage, WrappedStorage):
        layers.append(storage)
        storage = storage.inner
    return layers, storage
