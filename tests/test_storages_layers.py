"""Storages around storages, and many records at once through all of them."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from botsessions.exceptions import SessionConflict
from botsessions.records import utcnow
from botsessions.storages import Address, MemoryStorage, Record
from botsessions.storages.layers import (
    Place,
    WrappedStorage,
    by_innermost,
    incoming,
    migrated,
    outgoing,
    peel,
    place_of,
    read_all,
    read_places,
    write_all,
)

from .harness import Store
from .limits import run
from .test_storages import DictStorage, PlainStorage

pytestmark = pytest.mark.once

HERE, THERE, NOWHERE = (Address("1", "", key) for key in ("42", "43", "44"))


class Signed(WrappedStorage):
    """Writes a mark behind text, and expects it when it reads."""

    def __init__(self, inner: Any, mark: str) -> None:
        super().__init__(inner)
        self.mark = mark

    async def incoming(self, address: Address, record: Record) -> Record:
        if record.value is None:
            return record
        text = str(record.value)
        assert text.endswith(self.mark)
        return replace(record, value=text.removesuffix(self.mark))

    def outgoing(self, record: Record) -> Record:
        return replace(record, value=f"{record.value}{self.mark}")


def test_what_goes_out_passes_the_outermost_first_and_comes_in_the_other_way_round() -> None:
    store = Store()
    storage = Signed(Signed(store, "b"), "a")

    async def main() -> None:
        revision = await storage.write(HERE, Record("data"))
        assert store.values == {"42": "dataab"}
        assert await storage.read(HERE) == Record("data", revision=revision)
        assert await storage.read(NOWHERE) is None
        await storage.delete(HERE, revision)
        assert store.values == {}

    run(main())


def test_layers_and_what_is_inside_them_are_told_apart() -> None:
    store = Store()
    inner = Signed(store, "b")
    outer = Signed(inner, "a")
    assert peel(outer) == ([outer, inner], store)
    assert peel(store) == ([], store)
    assert place_of(outer, HERE) == Place([outer, inner], store, HERE)


def test_all_else_is_the_inner_storages_also_of_a_copy() -> None:
    storage = Signed(Store({"42": "dataa"}), "a")
    assert storage.detects_conflicts
    assert storage.values == {"42": "dataa"}
    assert copy.copy(storage).values == {"42": "dataa"}
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = storage.nothing_like_it


def test_a_deletion_passes_no_layer() -> None:
    assert outgoing([Signed(Store(), "a")], Record(None, revision=5)) == Record(None, revision=5)


def test_many_are_read_at_once_of_each_storage_through_their_own_layers() -> None:
    store, other = Store({"42": "datab", "43": "more"}), Store({"42": "elsewhere"})
    wanted = [(Signed(store, "b"), HERE), (store, THERE), (other, HERE), (other, NOWHERE)]

    async def main() -> None:
        found = await read_all(wanted)
        assert [record and record.value for record in found] == [
            *("data", "more", "elsewhere", None)
        ]
        assert store.operations == other.operations == ["read", "read"]

    run(main())


@pytest.mark.parametrize("make", [Store, PlainStorage, DictStorage])
def test_changes_of_one_storage_are_answered_in_their_order(make: Any) -> None:
    storage = make()

    async def main() -> None:
        outcomes = await write_all([(storage, a, Record(1)) for a in (HERE, THERE)])
        assert [type(outcome) for outcome in outcomes] == [int, int]
        outcomes = await write_all(
            [(storage, HERE, Record(None, revision=outcomes[0])), (storage, NOWHERE, Record(1))]
        )
        assert [type(outcome) for outcome in outcomes] == [type(None), int]
        assert [r and r.value for r in await read_all([(storage, HERE), (storage, NOWHERE)])] == [
            *(None, 1)
        ]

    run(main())


@pytest.mark.parametrize("make", [Store, PlainStorage])
def test_one_that_fails_is_answered_by_its_error(make: Any) -> None:
    storage, other = make(), Store()

    async def main() -> None:
        (outcome,) = await write_all([(storage, HERE, Record(1, revision=5))])
        assert isinstance(outcome, SessionConflict)
        outcomes = await write_all(
            [
                (storage, HERE, Record(1, revision=5)),
                (storage, THERE, Record(1)),
                (other, HERE, Record(1)),
            ]
        )
        assert isinstance(outcomes[0], SessionConflict)
        # A storage with batches makes all of its changes or none.
        has_batches = hasattr(storage, "write_many")
        assert isinstance(outcomes[1], SessionConflict if has_batches else int)
        assert isinstance(outcomes[2], int)

    run(main())


def test_what_a_layered_storage_is_refused_it_raises() -> None:
    storage = Signed(Store({"42": "dataa"}), "a")
    with pytest.raises(SessionConflict):
        run(storage.write_many([(HERE, Record("new", revision=5)), (THERE, Record("new"))]))


def test_storages_are_grouped_by_the_innermost() -> None:
    one, other = MemoryStorage(), MemoryStorage()
    found = by_innermost([one, Signed(other, "a"), Signed(one, "b"), other])
    assert found == [(one, [0, 2]), (other, [1, 3])]


def test_how_what_is_stored_is_read_can_be_left_to_others() -> None:
    store, asked = Store(), []

    async def read(places: Any) -> list[Record | None]:
        asked.append([place.address for place in places])
        return [Record("data"), None]

    places = [place_of(store, HERE), place_of(store, THERE)]
    assert run(read_places(places, read=read)) == [Record("data"), None]
    assert asked == [[HERE, THERE]]
    assert store.operations == []


def test_a_layer_may_have_what_has_expired_shown_and_then_nobody_is_told_of_it() -> None:
    class Due(WrappedStorage):
        shows_expired = True

        def on_expire(self, key: str, data: Any) -> None:
            raise AssertionError

    store = Store()
    record = Record("data", expires_at=utcnow() - timedelta(hours=1))
    run(store.write(HERE, record))
    (found,) = run(read_places([place_of(Due(store), HERE)]))
    assert found is not None
    assert (found.value, found.expired) == ("data", None)
    assert isinstance(found.revision, int)


def test_migrating_keeps_the_expiry_and_says_what_differs_from_what_is_stored() -> None:
    class Newer(WrappedStorage):
        async def incoming(self, address: Address, record: Record) -> Record:
            return replace(record, value="new", stale=True)

    assert run(migrated(Newer(Store()), HERE, Record("old", revision=5))) == Record(
        "new", revision=5, stale=True
    )
    assert run(incoming([], HERE, Record("old"))) == Record("old")
