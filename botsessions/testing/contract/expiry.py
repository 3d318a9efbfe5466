"""Sessions that expire, and are renewed."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any, cast

from msgspec.structs import replace

from ...records import Address, Record, RenewingStorage, awaited, utcnow
from ...storages.enhanced import enhance_storage
from .case import StorageCase, expired_record


class ExpiryTests(StorageCase):
    """What has expired is not shown, and can be told of."""

    async def test_an_expiry_reads_back_to_the_millisecond(self) -> None:
        self.needs_kept("expiries")
        for lifetime in (timedelta(seconds=30), timedelta(days=1), timedelta(days=36500)):
            with self.subTest(lifetime):
                address, expires_at = self.address(str(lifetime)), utcnow() + lifetime
                await self.write(address, Record({"a": 1}, expires_at=expires_at))
                record = await self.read(address)
                assert record is not None
                assert record.expires_at is not None
                self.assertEqual(record.value, {"a": 1})
                self.assertLess(abs(record.expires_at - expires_at), timedelta(milliseconds=2))

    async def test_what_has_expired_is_not_shown(self) -> None:
        self.needs_kept("expiries")
        address = self.address("42")
        await self.write(address, expired_record())
        record = await self.read(address)
        self.assertIsNone(record and record.value)

    async def test_what_expires_meanwhile_is_not_shown_any_more(self) -> None:
        self.needs_kept("expiries")
        address = self.address("42")
        await self.write(address, Record(1, expires_at=utcnow() + timedelta(milliseconds=50)))
        await asyncio.sleep(0.1)
        record = await self.read(address)
        self.assertIsNone(record and record.value)

    async def test_what_has_expired_can_be_replaced_and_deleted_by_who_has_read_it(self) -> None:
        self.needs_kept("expiries")
        address = self.address("42")
        await self.write(address, expired_record())
        revision = await self.write(address, Record(2, revision=await self.read_revision(address)))
        await self.assert_holds(address, 2)
        await self.write(address, replace(expired_record(), revision=revision))
        await self.delete(address, await self.read_revision(address))
        self.assertIsNone(await self.read(address))

    async def test_what_has_expired_keeps_its_revision(self) -> None:
        self.needs_kept("expiries")
        self.needs_detects_conflicts()
        address = self.address("42")
        revision = await self.write(address, expired_record())
        record = await self.read(address)
        assert record is not None
        self.assertEqual(record.revision, revision)
        await self.assert_refused(self.write(address, Record(2)))

    async def test_what_has_expired_is_there_for_those_who_are_told_of_it(self) -> None:
        self.needs_kept("expiries")
        address = self.address("42")
        await self.write(address, expired_record())
        record = await self.read(address)
        if record is None:
            self.skipTest(f"{self.innermost} forgets what has expired by itself.")
        self.assertEqual((record.value, record.expired), (None, "expired"))

    async def test_who_wants_to_hear_of_an_expiry_is_told_once_and_then_it_is_gone(self) -> None:
        self.needs_kept("expiries")
        told: list[tuple[str, Any]] = []
        address = self.address("42")
        await self.write(address, expired_record())
        if await self.read(address) is None:
            self.skipTest(f"{self.innermost} forgets what has expired by itself.")
        storage = enhance_storage(
            self.storage, on_expire=lambda key, data: told.append((key, data))
        )
        for _ in range(2):
            self.assertIsNone(await storage.read(address))
            self.assertEqual(told, [("42", "expired")])


class RenewalTests(StorageCase):
    """A renewal changes the expiry and nothing else."""

    async def test_a_renewal_changes_the_expiry_and_nothing_else(self) -> None:
        self.needs_kept("expiries")
        self.needs("renew")
        tomorrow = utcnow() + timedelta(days=1)
        addresses = [self.address("42"), self.address("43")]
        for address, expires_at in zip(
            addresses, (utcnow() + timedelta(hours=1), None), strict=True
        ):
            await self.write(address, Record({"a": 1}, Decimal(1), expires_at))
        found = [await self.read(address) for address in addresses]
        before = [record for record in found if record is not None]
        await asyncio.gather(
            *(
                self.renew(address, replace(record, value="ignored", expires_at=tomorrow))
                for address, record in zip(addresses, before, strict=True)
            )
        )
        for address, old in zip(addresses, before, strict=True):
            record = await self.read(address)
            assert record is not None
            assert record.expires_at is not None
            self.assertEqual(replace(record, expires_at=old.expires_at), old)
            self.assertLess(abs(record.expires_at - tomorrow), timedelta(milliseconds=2))

    async def test_a_renewal_of_what_was_changed_or_deleted_does_nothing(self) -> None:
        self.needs_kept("expiries")
        self.needs("renew")
        self.needs_detects_conflicts()
        tomorrow = utcnow() + timedelta(days=1)
        changed, deleted = self.address("42"), self.address("43")
        first, second = [await self.write(address, Record(1)) for address in (changed, deleted)]
        await self.write(changed, Record(2, revision=first))
        await self.delete(deleted, second)
        for address, revision in ((changed, first), (deleted, second)):
            await self.renew(address, Record(1, expires_at=tomorrow, revision=revision))
        record = await self.read(changed)
        assert record is not None
        self.assertEqual((record.value, record.expires_at), (2, None))
        self.assertIsNone(await self.read(deleted))

    async def renew(self, address: Address, record: Record) -> None:
        await awaited(cast("RenewingStorage", self.storage).renew, address, record)
