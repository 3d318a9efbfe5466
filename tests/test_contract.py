"""The contract finds what is wrong with a storage."""

from __future__ import annotations

import asyncio
import json
import re
import unittest
from collections.abc import Callable
from typing import Any

import pytest

from botsessions import MemoryStorage
from botsessions.exceptions import SessionConflict
from botsessions.storages import ANY, Address, Record, Storage, ValueStorage
from botsessions.testing import StorageContract

from .test_storages import DictStorage, PlainStorage

pytestmark = pytest.mark.once


class ReadsErrorsAsEmpty(DictStorage):
    def get_value(self, key: str) -> Any:
        try:
            return super().get_value(key)
        except Exception:
            return None


class ReadsOutagesAsEmpty(DictStorage):
    async def get_value(self, key: str) -> Any:
        try:
            return super().get_value(key)
        except ConnectionError:
            return None


class ReadsAddressesThatFailAsEmpty(MemoryStorage):
    async def read(self, address: Address) -> Record | None:
        try:
            return await super().read(address)
        except Exception:
            return None


class ReadsManyThatFailAsEmpty(MemoryStorage):
    async def read(self, address: Address) -> Record | None:
        return (await super().read_many([address])).get(address)

    async def read_many(self, addresses: Any) -> dict[Address, Record]:
        try:
            return await super().read_many(addresses)
        except Exception:
            return {}


class LosesWritesInSilence(DictStorage):
    def set_value(self, key: str, value: Any) -> None:
        try:
            super().set_value(key, value)
        except Exception:
            return


class LosesDeletesInSilence(DictStorage):
    def delete_value(self, key: str) -> None:
        try:
            super().delete_value(key)
        except Exception:
            return


class IgnoresBotAndFragment(DictStorage):
    def flat_key(self, address: Address) -> str:
        return address.key


class DeletesByPrefix(DictStorage):
    def delete_value(self, key: str) -> None:
        for other in [other for other in self.values if other.startswith(key)]:
            del self.values[other]


class DeletesBySuffix(DictStorage):
    def delete_value(self, key: str) -> None:
        for other in [other for other in self.values if other.endswith(key.split(":")[-1])]:
            del self.values[other]


class DeletesByPattern(DictStorage):
    """By SQL's LIKE, say."""

    def delete_value(self, key: str) -> None:
        pattern = re.compile(re.escape(key).replace("%", ".*").replace("_", "."))
        for other in [other for other in self.values if pattern.fullmatch(other)]:
            del self.values[other]


class CutsKeys(ValueStorage):
    """Keys end after 255 bytes, as in a column that is too short."""

    length = 255

    def __init__(self) -> None:
        self.values: dict[bytes, str] = {}

    def flat_key(self, address: Address) -> str:
        return "\x1f".join(address)

    def cut(self, key: str) -> bytes:
        return key.encode()[: self.length]

    def get_value(self, key: str) -> Any:
        text = self.values.get(self.cut(key))
        return None if text is None else json.loads(text)

    def set_value(self, key: str, value: Any) -> None:
        self.values[self.cut(key)] = json.dumps(value)

    def delete_value(self, key: str) -> None:
        self.values.pop(self.cut(key), None)


class CutsLongerKeys(CutsKeys):
    length = 1020


class DeletesInTwoSteps(MemoryStorage):
    async def delete(self, address: Address, revision: Any) -> None:
        found = await self.read(address)
        if found is not None and revision not in (ANY, found.revision):
            raise SessionConflict(address)
        await super().delete(address, ANY)


class DeletesInTwoStepsWithoutReading(MemoryStorage):
    async def delete(self, address: Address, revision: Any) -> None:
        found = await super().read(address)
        if found is not None and revision not in (ANY, found.revision):
            raise SessionConflict(address)
        await asyncio.sleep(0)
        await super().delete(address, ANY)


class DeletesInTwoPlainSteps(PlainStorage):
    def delete(self, address: Address, revision: Any) -> None:
        found = self.read(address)
        if found is not None and revision not in (ANY, found.revision):
            raise SessionConflict(address)
        self.stored.pop(address, None)


class MakesKeysNamesOfFiles(DictStorage):
    def flat_key(self, address: Address) -> str:
        return super().flat_key(address._replace(key=address.key.replace(":", "_")))


class DropsQuotes(DictStorage):
    def flat_key(self, address: Address) -> str:
        return super().flat_key(address._replace(key=address.key.replace("'", "")))


class ReadsTheFirstHundred(MemoryStorage):
    """As many as a request may ask for."""

    async def read_many(self, addresses: Any) -> dict[Address, Record]:
        return await super().read_many(addresses[:100])


class ForgetsWhoseItWas(MemoryStorage):
    def _put(self, address: Address, record: Record, text: str) -> int | None:
        self._stored.pop(address, None)
        return super()._put(address, record, text)


class WritesInTwoSteps(MemoryStorage):
    async def write(self, address: Address, record: Record) -> int:
        found = await self.read(address)
        if record.revision not in (ANY, found and found.revision):
            raise SessionConflict(address)
        return await super().write(address, Record(record.value, revision=ANY))


FAULTY: list[tuple[Callable[[], Storage], str]] = [
    (ReadsErrorsAsEmpty, "error_on_reading"),
    (ReadsOutagesAsEmpty, "error_on_reading"),
    (ReadsAddressesThatFailAsEmpty, "error_on_reading"),
    (ReadsManyThatFailAsEmpty, "error_on_reading"),
    (LosesWritesInSilence, "error_on_writing"),
    (LosesDeletesInSilence, "error_on_deleting"),
    (IgnoresBotAndFragment, "never_share_a_record"),
    (DeletesByPrefix, "delete_touches_no_other"),
    (DeletesBySuffix, "delete_touches_no_other"),
    (DeletesByPattern, "takes_no_key_for_a_pattern"),
    (CutsKeys, "similar_keys"),
    (CutsLongerKeys, "similar_keys"),
    (DeletesInTwoSteps, "while_a_delete_compares"),
    (DeletesInTwoStepsWithoutReading, "one_kind_wins"),
    (DeletesInTwoPlainSteps, "while_a_delete_compares"),
    (WritesInTwoSteps, "while_a_write_compares"),
    (MakesKeysNamesOfFiles, "similar_keys"),
    (DropsQuotes, "similar_keys"),
    (ReadsTheFirstHundred, "many_are_read_at_once"),
    (ForgetsWhoseItWas, "does_not_say_whose"),
]


@pytest.mark.parametrize(("faulty", "test"), FAULTY, ids=lambda part: getattr(part, "__name__", ""))
def test_a_fault_is_found(faulty: Callable[[], Storage], test: str) -> None:
    assert test in " ".join(failing(faulty))


class ContinuesGrammys(DictStorage):
    """As docs/storages.md has it."""

    def flat_key(self, address: Address) -> str:
        if address[:2] == ("shop", ""):
            return address.key
        return super().flat_key(address)


@pytest.mark.parametrize("right", [MemoryStorage, DictStorage, PlainStorage, ContinuesGrammys])
def test_a_storage_without_faults_passes(right: Callable[[], Storage]) -> None:
    assert failing(right) == []


def failing(make_storage: Callable[[], Storage]) -> list[str]:
    """Return the names of the contract's tests that fail."""

    class Tests(StorageContract, unittest.IsolatedAsyncioTestCase):
        bot = "shop"

        def make_storage(self) -> Storage:
            return make_storage()

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(Tests).run(result)
    assert result.testsRun
    return sorted({test.id().rpartition(".")[2] for test, _ in result.failures + result.errors})
