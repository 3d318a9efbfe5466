"""Renewing sessions that are in use, in storages that can and in those that cannot."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from botsessions.storages import Address, Record
from botsessions.storages.layers import Place, WrappedStorage
from botsessions.storages.renewal import due_for_renewal, renew

from .harness import Store
from .limits import run
from .test_storages import PlainStorage

pytestmark = pytest.mark.once

HERE = Address("1", "", "42")
SOON, LATER = (datetime(year, 1, 1, tzinfo=timezone.utc) for year in (2100, 2200))


class Renewing(WrappedStorage):
    """A layer in which reading lets what is stored live until a moment, if that is not None."""

    def __init__(self, inner: Any, until: datetime | None) -> None:
        super().__init__(inner)
        self.until = until

    def renewal(self, record: Record) -> datetime | None:
        return self.until


def test_the_outermost_layer_has_the_last_word() -> None:
    store = Store()
    outer, inner, none = (Renewing(store, until) for until in (LATER, SOON, None))
    layers = ([outer, inner], [none, inner], [none], [outer])
    places = [Place(some, store, HERE) for some in layers]
    record, gone = Record(1, revision=5), Record(None)
    due = due_for_renewal(places, [record, record, record, gone])
    assert {index: found.expires_at for index, found in due.items()} == {0: LATER, 1: SOON}
    assert due[0].revision == 5
    assert due_for_renewal(places[:1], [None]) == {}


def test_a_storage_that_can_writes_no_value() -> None:
    async def main() -> None:
        store = Store({"42": 1})
        found = await store.read(HERE)
        assert found is not None
        record = Record(1, expires_at=LATER, revision=found.revision)
        assert await renew(Place((), store, HERE), record) == record
        assert store.operations == ["read", "renew"]
        kept = await store.read(HERE)
        assert kept is not None
        assert (kept.value, kept.expires_at, kept.revision) == (1, LATER, found.revision)

    run(main())


def test_one_that_cannot_writes_it_again_unless_it_has_changed() -> None:
    async def main() -> None:
        storage = PlainStorage()
        place = Place((), storage, HERE)
        revision = storage.write(HERE, Record(1))
        renewed = await renew(place, Record(1, expires_at=SOON, revision=revision))
        assert storage.read(HERE) == renewed
        storage.write(HERE, Record(2, revision=renewed.revision))
        assert (await renew(place, Record(1, expires_at=LATER, revision=revision))).value == 2
        storage.delete(HERE, storage.read(HERE).revision)  # type: ignore[union-attr]
        assert (await renew(place, Record(1, expires_at=LATER, revision=revision))).value is None

    run(main())
