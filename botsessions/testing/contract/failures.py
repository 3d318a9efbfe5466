"""A store that fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from ...records import ANY, Address, Record
from ...storages.layers import peel
from ..faults import unusable
from .case import FullStorage, StorageCase


class FailureTests(StorageCase):
    """An error of the store is raised, and never reads as "nothing stored"."""

    async def test_an_error_on_reading_is_raised_and_never_reads_as_empty(self) -> None:
        address = self.address("42")
        await self.write(address, Record("stored"))

        async def reads(found: Any) -> bool:
            return found is not None and found.value == "stored"

        await self.assert_raises_if_broken(self.read, address, reads)
        if hasattr(peel(self.storage)[1], "read_many"):
            await self.assert_raises_if_broken(self.read_as_one_of_many, address, reads)

    async def test_an_error_on_writing_is_raised(self) -> None:
        address = self.address("42")

        async def write(address: Address) -> int:
            return await self.write(address, Record("stored"))

        async def writes(revision: Any) -> bool:
            return await self.read(address) is not None

        await self.assert_raises_if_broken(write, address, writes)

    async def test_an_error_on_deleting_is_raised(self) -> None:
        address = self.address("42")
        await self.write(address, Record("stored"))

        async def delete(address: Address) -> None:
            await self.delete(address, ANY)

        async def deletes(result: Any) -> bool:
            return await self.read(address) is None

        await self.assert_raises_if_broken(delete, address, deletes)

    async def read_as_one_of_many(self, address: Address) -> Record | None:
        found = await self.read_many([address, self.address("not stored")])
        return next(iter(found.values()), None)  # An unusable address cannot be looked up.

    async def assert_raises_if_broken(
        self,
        operation: Callable[[Address], Awaitable[Any]],
        address: Address,
        does_it: Callable[[Any], Awaitable[bool]],
    ) -> None:
        """Assert that an operation raises where it cannot do what it is for."""
        if broken := self.make_broken_storage():
            working, self.storage = self.storage, cast("FullStorage", broken)
            try:
                with self.assertRaises(Exception):  # noqa: B017 (whatever the store raises)
                    await operation(address)
            finally:
                self.storage = working
            return
        results = []
        for unusable_address in unusable(peel(self.storage)[1], address):
            try:
                result = await operation(unusable_address)
            except Exception:  # noqa: S112 (as it has to be)
                continue
            results.append(result)
        for result in results:
            self.assertTrue(await does_it(result), f"{self.innermost} has swallowed an error.")
