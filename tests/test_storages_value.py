"""Stores that know only "key to JSON": how records are packed, and under which flat keys."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import pytest
from django.test import SimpleTestCase
from hypothesis import given
from hypothesis import strategies as st

from botsessions.storages import Address, Record, ValueStorage
from botsessions.storages.value import shortened

from .strategies import TEXT
from .test_storages import ADDRESS, DictStorage

pytestmark = pytest.mark.once

EXPIRY = datetime(2100, 1, 2, 3, 4, 5, 678_000, timezone.utc)
MILLISECONDS = 4_102_542_245_678


class GrammyPacking(SimpleTestCase):
    """As ``enhanceStorage`` in grammY's ``src/convenience/session.ts`` packs."""

    def test_data_that_grammy_wrote_is_read(self) -> None:
        for packed, record in [
            ({"pizzaCount": 3}, Record({"pizzaCount": 3})),
            (0, Record(0)),
            ({"__d": {"pizzaCount": 3}}, Record({"pizzaCount": 3})),
            ({"__d": {"pizzaCount": 3}, "v": 1}, Record({"pizzaCount": 3}, Decimal(1))),
            ({"__d": 0, "v": 10.1}, Record(0, Decimal("10.1"))),
            ({"__d": {}, "e": MILLISECONDS}, Record({}, None, EXPIRY)),
            ({"__d": {}, "v": 2, "e": MILLISECONDS}, Record({}, Decimal(2), EXPIRY)),
            ({"v": 1}, Record({"v": 1})),
        ]:
            with self.subTest(packed=packed):
                found = asyncio.run(DictStorage({"pizza::42": packed}).read(ADDRESS))
                assert found is not None
                assert found == Record(
                    record.value, record.version, record.expires_at, found.revision
                )

    def test_what_is_written_is_packed_as_grammy_does(self) -> None:
        for record, packed in [
            (Record({"pizzaCount": 3}), {"pizzaCount": 3}),
            (Record({}, Decimal("1.0")), {"__d": {}, "v": 1}),
            (Record({}, Decimal("10.1")), {"__d": {}, "v": 10.1}),
            (Record({}, None, EXPIRY), {"__d": {}, "e": MILLISECONDS}),
            (Record({}, Decimal(2), EXPIRY), {"__d": {}, "v": 2, "e": MILLISECONDS}),
            (Record({"__d": 1}), {"__d": {"__d": 1}}),
        ]:
            with self.subTest(record=record):
                storage = DictStorage()
                asyncio.run(storage.write(ADDRESS, record))
                assert json.dumps(storage.values) == json.dumps({"pizza::42": packed})

    def test_what_grammy_let_expire_is_not_shown(self) -> None:
        storage = DictStorage({"pizza::42": {"__d": {"pizzaCount": 3}, "e": 1_700_000_000_000}})
        found = asyncio.run(storage.read(ADDRESS))
        assert found is not None
        assert found.value is None

    def test_a_flat_key_of_ones_own_reads_what_another_bot_has_written(self) -> None:
        class GrammyStorage(DictStorage):
            def flat_key(self, address: Address) -> str:
                return address.key

        found = asyncio.run(GrammyStorage({"42": {"pizzaCount": 3}}).read(ADDRESS))
        assert found is not None
        assert found.value == {"pizzaCount": 3}

    @given(*[st.tuples(TEXT, TEXT, TEXT)] * 2)
    def test_different_addresses_have_different_flat_keys(
        self, one: tuple[str, str, str], other: tuple[str, str, str]
    ) -> None:
        flat_key = DictStorage().flat_key
        assert (flat_key(Address(*one)) == flat_key(Address(*other))) == (one == other)


class ShortKeys(SimpleTestCase):
    def test_a_flat_key_that_is_too_long_becomes_a_digest_of_that_length(self) -> None:
        long, other = "k" * 300, "k" * 301
        assert shortened("short", 200) == "short"
        assert len(shortened(long, 40)) == 40
        assert shortened(long, 40) != shortened(other, 40)


class Incomplete(SimpleTestCase):
    async def test_a_method_that_is_missing_is_named(self) -> None:
        class Half(ValueStorage):
            def get_value(self, key: str) -> Any:
                return None

        assert await Half().read(ADDRESS) is None
        with pytest.raises(NotImplementedError, match="Half needs a method set_value"):
            await Half().write(ADDRESS, Record(1))
        with pytest.raises(NotImplementedError, match="Half needs a method delete_value"):
            await Half().delete(ADDRESS, None)
