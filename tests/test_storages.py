"""The storages: the contract on each of them, what they cost, and what each does of its own."""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from datetime import timedelta
from typing import Any
from unittest import IsolatedAsyncioTestCase

import pytest
from django.test import SimpleTestCase, TestCase, override_settings
from django.test.utils import isolate_apps

from botsessions.exceptions import SessionConflict
from botsessions.models import AbstractBotSession
from botsessions.records import new_revision
from botsessions.storages import (
    ANY,
    Address,
    CacheStorage,
    DatabaseStorage,
    FileStorage,
    FreeStorage,
    MemoryStorage,
    Record,
    Storage,
    ValueStorage,
    enhance_storage,
)
from botsessions.testing import StorageContract

from .caches import LOCAL_MEMORY, redis_cache
from .free_storage.server import TOKEN, serving

ADDRESS = Address("pizza", "", "42")
NAMED = Address("pizza", "user", "42")


class DictStorage(ValueStorage):
    def __init__(self, values: dict[str, Any] | None = None) -> None:
        self.values = {} if values is None else values

    def get_value(self, key: str) -> Any:
        return self.values.get(key)

    def set_value(self, key: str, value: Any) -> None:
        self.values[key] = value

    def delete_value(self, key: str) -> None:
        self.values.pop(key, None)


class AsyncDictStorage(DictStorage):
    async def get_value(self, key: str) -> Any:
        return super().get_value(key)

    async def set_value(self, key: str, value: Any) -> None:
        super().set_value(key, value)

    async def delete_value(self, key: str) -> None:
        super().delete_value(key)


class PlainStorage:
    """The least that a storage can be: a plain class with three ordinary functions."""

    detects_conflicts = True

    def __init__(self) -> None:
        self.stored: dict[Address, tuple[str, Record]] = {}

    def read(self, address: Address) -> Record | None:
        if address not in self.stored:
            return None
        text, record = self.stored[address]
        version, expires_at, revision = record.version, record.expires_at, record.revision
        return Record(json.loads(text), version, expires_at, revision).live()

    def write(self, address: Address, record: Record) -> int:
        self.compare(address, record.revision)
        revision = new_revision()
        kept = Record(None, record.version, record.expires_at, revision)
        self.stored[address] = (json.dumps(record.value), kept)
        return revision

    def delete(self, address: Address, revision: Any) -> None:
        if address in self.stored:
            self.compare(address, revision)
            del self.stored[address]

    def compare(self, address: Address, revision: Any) -> None:
        found = self.stored[address][1].revision if address in self.stored else None
        if revision not in (ANY, found):
            raise SessionConflict(address)


@pytest.mark.once
class MemoryStorageTests(StorageContract, SimpleTestCase):
    def make_storage(self) -> Storage:
        return MemoryStorage()


@pytest.mark.once
class PlainStorageTests(StorageContract, SimpleTestCase):
    def make_storage(self) -> Storage:
        return PlainStorage()


@pytest.mark.once
class DictStorageTests(StorageContract, SimpleTestCase):
    def make_storage(self) -> Storage:
        return DictStorage()


@pytest.mark.once
class AsyncDictStorageTests(StorageContract, IsolatedAsyncioTestCase):
    def make_storage(self) -> Storage:
        return AsyncDictStorage()


@pytest.mark.once
class Files(StorageContract):
    def make_storage(self) -> Storage:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        return FileStorage(directory.name)


class FileStorageTests(Files, SimpleTestCase):
    pass


class FileStorageInThreadsTests(Files, IsolatedAsyncioTestCase):
    pass


@pytest.mark.once
@override_settings(CACHES=LOCAL_MEMORY)
class CacheStorageTests(StorageContract, SimpleTestCase):
    def make_storage(self) -> Storage:
        return CacheStorage()


@pytest.mark.once
class RedisCacheStorageTests(StorageContract, IsolatedAsyncioTestCase):
    def make_storage(self) -> Storage:
        stack = ExitStack()
        self.addCleanup(stack.close)
        stack.enter_context(redis_cache())
        return CacheStorage()


@pytest.mark.once
class Free(StorageContract):
    def make_storage(self) -> Storage:
        stack = ExitStack()
        self.addCleanup(stack.close)
        return FreeStorage(TOKEN, stack.enter_context(serving()).url)


class FreeStorageTests(Free, SimpleTestCase):
    pass


class FreeStorageOnItsEventLoopTests(Free, IsolatedAsyncioTestCase):
    def make_storage(self) -> Storage:
        storage: Any = super().make_storage()
        self.addAsyncCleanup(storage.close)
        return storage


with isolate_apps("botsessions"):

    class Nowhere(AbstractBotSession):
        """Sessions in a table that nobody has made."""

        class Meta(AbstractBotSession.Meta):
            app_label = "botsessions"


class Database(StorageContract):
    def make_storage(self) -> Storage:
        return DatabaseStorage()

    def make_broken_storage(self) -> Storage:
        return DatabaseStorage(model=Nowhere)


class DatabaseStorageTests(Database, TestCase):
    pass


@override_settings(USE_TZ=False, TIME_ZONE="Asia/Kolkata")
class DatabaseStorageWithoutTimeZonesTests(Database, TestCase):
    """Rule G4."""


class DatabaseStorageWithHistoryTests(Database, TestCase):
    def make_storage(self) -> Storage:
        return DatabaseStorage(history=2)


@pytest.mark.django_db(transaction=True)
class DatabaseStorageOnItsThreadTests(Database, IsolatedAsyncioTestCase):
    def make_storage(self) -> Storage:
        storage = DatabaseStorage()
        self.addAsyncCleanup(storage.close)
        return storage


class Enhanced(StorageContract):
    keeps_versions = False
    keeps_expiries = False

    def enhanced(self, storage: Storage) -> Storage:
        """Return the storage with everything switched on that does not change the data."""
        return enhance_storage(
            storage, time_to_live=timedelta(days=1), renew="access", migrations={1: lambda old: old}
        )


@pytest.mark.once
class EnhancedMemoryStorageTests(Enhanced, SimpleTestCase):
    def make_storage(self) -> Storage:
        return self.enhanced(MemoryStorage())


@pytest.mark.once
class EnhancedPlainStorageTests(Enhanced, SimpleTestCase):
    def make_storage(self) -> Storage:
        return self.enhanced(PlainStorage())


@pytest.mark.once
class EnhancedDictStorageTests(Enhanced, SimpleTestCase):
    def make_storage(self) -> Storage:
        return self.enhanced(DictStorage())


class EnhancedFileStorageTests(Files, Enhanced, SimpleTestCase):
    def make_storage(self) -> Storage:
        return self.enhanced(super().make_storage())


class EnhancedDatabaseStorageTests(Enhanced, TestCase):
    def make_storage(self) -> Storage:
        return self.enhanced(DatabaseStorage())
