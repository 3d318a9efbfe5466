"""Many records, read or written at once."""

from __future__ import annotations

from decimal import Decimal

from ...records import ANY, Record
from .case import StorageCase, expired_record

MORE_THAN_A_PAGE = 60
"""Twice that is more than some stores give at once."""


class BatchTests(StorageCase):
    """Many are read and written as one by one; of many changes all are made or none."""

    async def test_many_are_read_at_once(self) -> None:
        self.needs("read_many")
        keys = map(str, range(MORE_THAN_A_PAGE))
        addresses = [self.address(key, name) for key in keys for name in ("", "a")]
        missing = self.address("missing")
        for address in addresses:
            await self.write(address, Record([address.name, address.key], Decimal("1.5")))
        records = await self.read_many([*addresses, missing])
        self.assertEqual(set(records), set(addresses))
        for address in addresses:
            self.assertEqual(records[address], await self.read(address))

    async def test_of_many_that_are_read_at_once_the_expired_are_not_shown(self) -> None:
        self.needs("read_many")
        self.needs_kept("expiries")
        expired, live = self.address("1"), self.address("2")
        await self.write(expired, expired_record())
        await self.write(live, Record("live"))
        records = await self.read_many([expired, live])
        self.assertEqual(records[live].value, "live")
        self.assertIsNone(records[expired].value if expired in records else None)

    async def test_nothing_is_read_and_written_at_once(self) -> None:
        self.needs("read_many")
        self.needs("write_many")
        self.assertEqual(dict(await self.read_many([])), {})
        self.assertEqual(list(await self.write_many([])), [])

    async def test_many_are_written_at_once(self) -> None:
        self.needs("write_many")
        changed, deleted, created, missing = map(self.address, ("1", "2", "3", "4"))
        first, second = [await self.write(address, Record("old")) for address in (changed, deleted)]
        revisions = await self.write_many(
            [
                (changed, Record("new", revision=first)),
                (deleted, Record(None, revision=second)),
                (created, Record("new", Decimal("1.5"), revision=None)),
                (missing, Record(None, revision=ANY)),
            ]
        )
        self.assertEqual([revision is None for revision in revisions], [False, True, False, True])
        for address, revision in zip((changed, created), (revisions[0], revisions[2]), strict=True):
            record = await self.read(address)
            assert record is not None
            self.assertEqual((record.value, record.revision), ("new", revision))
        for address in (deleted, missing):
            self.assertIsNone(await self.read(address))

    async def test_of_many_changes_all_are_made_or_none(self) -> None:
        self.needs("write_many")
        self.needs_detects_conflicts()
        old = await self.write(self.address("changed"), Record("old"))
        new = await self.write(self.address("changed"), Record("new", revision=old))
        kept = await self.write(self.address("kept"), Record("kept"))
        fine = [
            (self.address("kept"), Record("lost", revision=kept)),
            (self.address("created"), Record("created")),
        ]
        refused = {
            "a late write": (self.address("changed"), Record("late", revision=old)),
            "a late delete": (self.address("changed"), Record(None, revision=old)),
            "a second creation": (self.address("changed"), Record("second")),
            "a write of what is gone": (self.address("gone"), Record("risen", revision=new)),
        }
        for reason, change in refused.items():
            for changes in ([*fine, change], [change, *fine]):
                with self.subTest(reason, position=changes.index(change)):
                    await self.assert_refused(self.write_many(changes))
                    await self.assert_holds(self.address("kept"), "kept")
                    await self.assert_holds(self.address("changed"), "new")
                    self.assertIsNone(await self.read(self.address("created")))
                    self.assertIsNone(await self.read(self.address("gone")))
