"""Deleting one record, and no other."""

from __future__ import annotations

from ...records import ANY, Address, Record
from ..cases import NEIGHBOURS, PATTERNS
from .case import StorageCase


class DeletionTests(StorageCase):
    """A delete ends its own record, unless that has changed."""

    async def test_what_was_deleted_reads_as_none(self) -> None:
        for revision in ("its own", ANY):
            with self.subTest(revision):
                address = self.address("42")
                written = await self.write(address, Record({}))
                await self.delete(address, ANY if revision is ANY else written)
                self.assertIsNone(await self.read(address))

    async def test_deleting_what_is_not_there_is_no_error(self) -> None:
        address = self.address("42")
        for revision in (None, 1, ANY):
            with self.subTest(revision):
                await self.delete(address, revision)
                self.assertIsNone(await self.read(address))

    async def test_a_delete_whose_record_changed_is_refused(self) -> None:
        self.needs_detects_conflicts()
        address = self.address("42")
        read = await self.write(address, Record("read"))
        await self.write(address, Record("changed", revision=read))
        for revision in (read, None):
            with self.subTest(revision=revision):
                await self.assert_refused(self.delete(address, revision))
                await self.assert_holds(address, "changed")

    async def test_a_delete_touches_no_other_record(self) -> None:
        others = [Address(self.bot + bot, name, key) for bot, name, key in NEIGHBOURS]
        for address in others:
            await self.write(address, Record([*address]))
        for revision in ("its own", ANY):
            written = await self.write(self.address("42"), Record("42"))
            await self.delete(self.address("42"), ANY if revision is ANY else written)
            self.assertIsNone(await self.read(self.address("42")))
            for address in others:
                with self.subTest(address, revision=revision):
                    await self.assert_holds(address, [*address])

    async def test_a_delete_takes_no_key_for_a_pattern(self) -> None:
        others = [Address(self.bot + bot, name, key) for bot, name, key in NEIGHBOURS]
        for address in others:
            await self.write(address, Record([*address]))
        for key in PATTERNS:
            await self.write(self.address(key), Record(key))
            await self.delete(self.address(key), ANY)
            self.assertIsNone(await self.read(self.address(key)))
        for address in others:
            with self.subTest(address):
                await self.assert_holds(address, [*address])
