"""Revisions: who has read what is not there any more is refused."""

from __future__ import annotations

from ...records import ANY, Record, Revision
from .case import StorageCase


class RevisionTests(StorageCase):
    """A write that finds its record changed, deleted or created is refused."""

    async def test_a_read_gives_the_revision_of_the_last_write(self) -> None:
        address = self.address("42")
        revision: Revision = None
        for value in range(3):
            revision = await self.write(address, Record(value, revision=revision))
            record = await self.read(address)
            assert record is not None
            self.assertEqual((record.value, record.revision), (value, revision))

    async def test_no_revision_is_ever_used_twice(self) -> None:
        self.needs_detects_conflicts()
        address, revisions = self.address("42"), []
        for _ in range(3):
            revisions.append(await self.write(address, Record("the same")))
            revisions.append(await self.write(address, Record("the same", revision=revisions[-1])))
            revisions.append(await self.write(address, Record("the same", revision=ANY)))
            await self.delete(address, revisions[-1])
        self.assertEqual(len(set(revisions)), len(revisions))

    async def test_a_write_that_finds_its_record_changed_is_refused(self) -> None:
        self.needs_detects_conflicts()
        address = self.address("42")
        read = await self.write(address, Record("read"))
        changed = await self.write(address, Record("changed", revision=read))
        await self.assert_refused(self.write(address, Record("late", revision=read)))
        await self.assert_holds(address, "changed")
        await self.write(address, Record("in time", revision=changed))
        await self.assert_holds(address, "in time")

    async def test_a_write_that_finds_its_record_deleted_is_refused(self) -> None:
        self.needs_detects_conflicts()
        address = self.address("42")
        read = await self.write(address, Record("read"))
        await self.delete(address, read)
        await self.assert_refused(self.write(address, Record("risen", revision=read)))
        self.assertIsNone(await self.read(address))

    async def test_delete_and_creation_in_between_do_not_fool_a_writer(self) -> None:
        self.needs_detects_conflicts()
        address = self.address("42")
        read = await self.write(address, Record("the same"))
        await self.delete(address, read)
        await self.write(address, Record("the same"))
        await self.assert_refused(self.write(address, Record("late", revision=read)))
        await self.assert_refused(self.delete(address, read))
        await self.assert_holds(address, "the same")

    async def test_a_creation_that_finds_a_record_is_refused(self) -> None:
        self.needs_detects_conflicts()
        address = self.address("42")
        await self.write(address, Record("first"))
        await self.assert_refused(self.write(address, Record("second")))
        await self.assert_holds(address, "first")

    async def test_any_revision_creates_and_replaces(self) -> None:
        address = self.address("42")
        await self.write(address, Record("first", revision=ANY))
        await self.assert_holds(address, "first")
        await self.write(address, Record("second", revision=ANY))
        await self.assert_holds(address, "second")
