"""What an author declares of a session, as the core needs it."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from botsessions import MemoryStorage, enhance_storage, multi_session, session
from botsessions.declaration import is_async
from botsessions.storages import Address
from botsessions.storages.layers import Place

pytestmark = pytest.mark.once


def test_layers_are_resolved_outermost_first() -> None:
    inner = MemoryStorage()
    migrating = enhance_storage(inner, migrations={2: lambda data: data})
    timed = enhance_storage(migrating, time_to_live=timedelta(days=1))
    fragment = session(storage=timed).fragments[""]
    assert list(fragment.layers) == [timed, migrating]
    assert fragment.innermost is inner
    address = Address("pizza", "", "42")
    assert fragment.place(address) == Place(fragment.layers, inner, address)
    assert fragment.newest_version == Decimal(2)


def test_a_plain_storage_has_no_layers_and_no_versions() -> None:
    fragment = session(storage=(inner := MemoryStorage())).fragments[""]
    assert list(fragment.layers) == []
    assert fragment.innermost is inner
    assert fragment.newest_version is None


def test_key_functions_that_have_to_be_awaited_are_known_in_advance() -> None:
    async def slowly(update: Any) -> str:
        return "42"

    class Slowly:
        async def __call__(self, update: Any) -> str:
            return "42"

    def plainly(update: Any) -> str:
        return "42"

    assert [is_async(function) for function in (slowly, Slowly(), plainly)] == [True, True, False]
    store = MemoryStorage()
    one, other = session(storage=store), session(storage=store, get_session_key=slowly)
    assert not multi_session(one=one).has_async_keys
    assert multi_session(one=one, other=other).has_async_keys
