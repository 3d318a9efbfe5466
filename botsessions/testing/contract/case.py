"""The storage under test, and what the tests are written with."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, cast

from ...exceptions import SessionConflict
from ...records import (
    Address,
    BatchStorage,
    Changes,
    Json,
    MovingStorage,
    Record,
    Revision,
    Storage,
    awaited,
    utcnow,
)
from ...storages.layers import peel

if TYPE_CHECKING:
    from unittest import TestCase
else:
    TestCase = object


class FullStorage(BatchStorage, MovingStorage, Protocol):
    """A storage that can do all that is optional."""


class StorageCase(TestCase):
    """A test case with a storage, in which each test has addresses of its own."""

    keeps_versions = True
    """Whether versions are stored as they are given. An enhanced storage writes its own."""
    keeps_expiries = True
    """The same of expiries."""

    def make_storage(self) -> Storage:
        """Return the storage under test."""
        raise NotImplementedError

    def make_broken_storage(self) -> Storage | None:
        """Return one like it that cannot reach its store; ``None`` if there is no way to make one.

        Then the tests provoke errors by keys that cannot be used, which is less than an outage.
        """
        return None

    @cached_property
    def storage(self) -> FullStorage:
        return cast("FullStorage", self.make_storage())

    @cached_property
    def bot(self) -> str:
        return f"contract-{uuid.uuid4().hex}"

    def address(self, key: str, name: str = "") -> Address:
        return Address(self.bot, name, key)

    async def read(self, address: Address) -> Record | None:
        record: Record | None = await awaited(self.storage.read, address)
        return record

    async def read_revision(self, address: Address) -> Revision:
        record = await self.read(address)
        return None if record is None else record.revision

    async def write(self, address: Address, record: Record) -> int:
        revision: int = await awaited(self.storage.write, address, record)
        return revision

    async def delete(self, address: Address, revision: Revision) -> None:
        await awaited(self.storage.delete, address, revision)

    async def read_many(self, addresses: list[Address]) -> Mapping[Address, Record]:
        records: Mapping[Address, Record] = await awaited(self.storage.read_many, addresses)
        return records

    async def write_many(self, changes: Changes) -> list[int | None]:
        revisions: list[int | None] = await awaited(self.storage.write_many, changes)
        return revisions

    async def assert_holds(self, address: Address, value: Json) -> None:
        record = await self.read(address)
        assert record is not None, f"Nothing is stored at {address}."
        self.assertEqual(record.value, value)
        self.assertEqual(truth_values(record.value), truth_values(value))

    async def assert_refused(self, change: Any) -> None:
        with self.assertRaises(SessionConflict):
            await change

    def needs_detects_conflicts(self) -> None:
        if not getattr(self.storage, "detects_conflicts", False):
            self.skipTest(f"{self.innermost} does not detect conflicts.")

    def needs_kept(self, what: str) -> None:
        if not getattr(self, f"keeps_{what}"):
            self.skipTest(f"{type(self.storage).__name__} sets {what} itself.")

    def needs(self, ability: str) -> None:
        if not hasattr(peel(self.storage)[1], ability):
            self.skipTest(f"{self.innermost} has no {ability}().")

    @property
    def innermost(self) -> str:
        """The name of the storage under test, without what is around it."""
        return type(peel(self.storage)[1]).__name__


def expired_record() -> Record:
    return Record("expired", expires_at=utcnow() - timedelta(seconds=1))


def truth_values(value: Json) -> Any:
    """Return the same structure with ``True`` where a truth value is: ``0 == False`` in Python."""
    if isinstance(value, dict):
        return {name: truth_values(item) for name, item in value.items()}
    if isinstance(value, list):
        return [truth_values(item) for item in value]
    return isinstance(value, bool)
