"""Storages around storages, and many records at once through all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from typing import Any, TypeAlias, TypeVar, cast

from .base import Address, Changes, Record, Revision, Storage, awaited

T = TypeVar("T")
Outcome: TypeAlias = "int | Exception | None"


class WrappedStorage:
    """Base of storages that change what passes through. All else is the inner storage's."""

    def __init__(self, inner: Storage) -> None:
        self.inner = inner

    async def incoming(self, address: Address, record: Record) -> Record:
        """Return what a reader gets to see of ``record``."""
        return record

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


async def read_all(requests: Sequence[tuple[Storage, Address]]) -> list[Record | None]:
    """Read many records, side by side, those of one storage in one go.

    Raises:
        Exception: what the first storage to fail raised.
    """
    records: list[Record | None] = [None] * len(requests)

    async def read(storage: Storage, indices: list[int]) -> None:
        found = await read_group(storage, [requests[i][1] for i in indices])
        for i in indices:
            layered, address = requests[i]
            if (record := found.get(address)) is not None:
                records[i] = await incoming(layered, address, record)

    await all_of(read(*group) for group in by_innermost([storage for storage, _ in requests]))
    return records


async def write_all(requests: Sequence[tuple[Storage, Address, Record]]) -> list[Outcome]:
    """Write or delete (a record without a value) many records, those of one storage in one go.

    Returns for each the new revision, ``None`` for a deletion, or the error. A storage with
    batches makes all of its changes or none.
    """
    outcomes: list[Outcome] = [None] * len(requests)

    async def write(storage: Storage, indices: list[int]) -> None:
        changes = []
        for i in indices:
            layered, address, record = requests[i]
            changes.append((address, outgoing(layered, record)))
        for i, outcome in zip(indices, await write_group(storage, changes), strict=True):
            outcomes[i] = outcome

    await all_of(write(*group) for group in by_innermost([request[0] for request in requests]))
    return outcomes


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
    return await all_of(write_one(storage, *change) for change in changes)


async def write_one(storage: Any, address: Address, record: Record) -> Outcome:
    try:
        if record.value is None:
            await awaited(storage.delete, address, record.revision)
            return None
        return int(await awaited(storage.write, address, record))
    except Exception as exc:
        return exc


async def incoming(storage: Storage, address: Address, record: Record) -> Record:
    for layer in reversed(peel(storage)[0]):
        record = await layer.incoming(address, record)
    return record


def outgoing(storage: Storage, record: Record) -> Record:
    if record.value is not None:
        for layer in peel(storage)[0]:
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


def peel(storage: Storage) -> tuple[list[WrappedStorage], Storage]:
    """Return the layers of ``storage``, outermost first, and the storage inside them."""
    layers = []
    while isinstance(storage, WrappedStorage):
        layers.append(storage)
        storage = storage.inner
    return layers, storage


async def all_of(coroutines: Iterable[Awaitable[T]]) -> list[T]:
    """Await all, side by side and to the end; then raise the first error, if any."""
    awaitables = list(coroutines)
    if len(awaitables) == 1:
        return [await awaitables[0]]
    results = await asyncio.gather(*awaitables, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return cast("list[T]", results)
