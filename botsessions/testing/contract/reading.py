"""What is written reads back, and nothing else."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from ...records import Address, Json, Record, utcnow
from ..cases import ADDRESSES, KEYS, VALUES, VERSIONS
from .case import StorageCase


class ReadingTests(StorageCase):
    """What is written reads back equal, from its own address."""

    async def test_what_was_never_written_reads_as_none(self) -> None:
        self.assertIsNone(await self.read(self.address("42")))

    async def test_what_is_written_reads_back_equal(self) -> None:
        for number, (kind, value) in enumerate(VALUES.items()):
            with self.subTest(kind):
                address = self.address(str(number))
                revision = await self.write(address, Record(value))
                await self.assert_holds(address, value)
                tomorrow = utcnow() + timedelta(days=1)
                await self.write(address, Record(value, Decimal(1), tomorrow, revision))
                await self.assert_holds(address, value)

    async def test_a_later_write_replaces_the_whole_value(self) -> None:
        address = self.address("42")
        revision = await self.write(address, Record({"old": 1, "nested": {"old": 2}}))
        await self.write(address, Record({"nested": {}}, revision=revision))
        await self.assert_holds(address, {"nested": {}})

    async def test_a_change_of_what_was_written_does_not_change_what_is_stored(self) -> None:
        toppings: list[Json] = ["olives"]
        address = self.address("42")
        await self.write(address, Record({"toppings": toppings}))
        toppings.append("pineapple")
        await self.assert_holds(address, {"toppings": ["olives"]})

    async def test_a_change_of_what_was_read_does_not_change_what_is_stored(self) -> None:
        address = self.address("42")
        await self.write(address, Record({"toppings": ["olives"]}, Decimal(1)))
        record = await self.read(address)
        assert record is not None
        value: Any = record.value
        value["toppings"].append("pineapple")
        await self.assert_holds(address, {"toppings": ["olives"]})

    async def test_similar_keys_are_different_keys(self) -> None:
        for key in KEYS:
            with self.subTest(key):
                self.assertIsNone(await self.read(self.address(key)))
                await self.write(self.address(key), Record(key))
        for key in KEYS:
            with self.subTest(key):
                await self.assert_holds(self.address(key), key)

    async def test_bots_and_fragments_never_share_a_record(self) -> None:
        addresses = [Address(self.bot + bot, name, key) for bot, name, key in ADDRESSES]
        for address in addresses:
            with self.subTest(address):
                self.assertIsNone(await self.read(address))
                await self.write(address, Record([*address]))
        for address in addresses:
            with self.subTest(address):
                await self.assert_holds(address, [*address])

    async def test_versions_are_exact(self) -> None:
        self.needs_kept("versions")
        for version in map(Decimal, VERSIONS):
            with self.subTest(version):
                address = self.address(str(version))
                await self.write(address, Record({}, version))
                record = await self.read(address)
                assert record is not None
                self.assertEqual(record.version, version)
                self.assertIsInstance(record.version, Decimal)

    async def test_a_record_without_version_and_expiry_stays_without(self) -> None:
        self.needs_kept("versions")
        self.needs_kept("expiries")
        address = self.address("42")
        revision = await self.write(address, Record(1, Decimal(1), utcnow() + timedelta(days=1)))
        await self.write(address, Record(2, revision=revision))
        record = await self.read(address)
        assert record is not None
        self.assertEqual((record.value, record.version, record.expires_at), (2, None, None))
