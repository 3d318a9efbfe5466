"""What a unit of work does with its storages: all together where they can."""

from __future__ import annotations

from typing import Any

import pytest

from botsessions.database.storage import DatabaseStorage
from botsessions.database.transaction import DatabaseTransaction
from botsessions.exceptions import SessionConflict
from botsessions.records import utcnow
from botsessions.storages import Address, Record, enhance_storage
from botsessions.storages.transactions import (
    JoinedTransaction,
    PlainTransaction,
    begin,
    database_of,
    is_database,
    joined,
)

from .harness import Store
from .limits import run

pytestmark = pytest.mark.once

ONE, TWO, THREE = (Address("1", name, "42") for name in ("one", "two", "three"))


class Own(DatabaseStorage):
    """One that writes in a way of its own."""

    async def write(self, address: Address, record: Record) -> int:
        return 7


def test_each_kind_of_storage_has_its_transaction() -> None:
    assert isinstance(begin({ONE: DatabaseStorage()}), DatabaseTransaction)
    assert isinstance(begin({ONE: DatabaseStorage(), TWO: DatabaseStorage()}), DatabaseTransaction)
    assert isinstance(begin({ONE: Store()}), PlainTransaction)
    assert isinstance(begin({ONE: Store(), TWO: Store()}), JoinedTransaction)
    assert isinstance(begin({ONE: Store(), TWO: DatabaseStorage()}), JoinedTransaction)
    store = Store()
    assert isinstance(begin({ONE: store, TWO: store}), PlainTransaction)


def test_a_storage_that_writes_in_its_own_way_goes_no_other() -> None:
    assert is_database(DatabaseStorage())
    assert not is_database(Own())
    assert not is_database(Store())
    assert isinstance(begin({ONE: Own()}), PlainTransaction)


def test_leases_are_on_the_storages_database_or_where_their_table_is() -> None:
    assert database_of(DatabaseStorage(using="other")) == "other"
    assert database_of(enhance_storage(DatabaseStorage(using="other"))) == "other"
    assert database_of(Store()) == "default"


@pytest.mark.parametrize("is_joined", [False, True])
def test_plain_storages_are_read_and_written_in_one_call_each(is_joined: bool) -> None:
    first = Store()
    second = Store() if is_joined else first
    transaction = begin({ONE: first, TWO: second, THREE: first})

    async def main() -> None:
        outcomes = await transaction.write([(a, Record(a.name)) for a in (ONE, TWO, THREE)])
        assert all(isinstance(outcome, int) for outcome in outcomes)
        found = await transaction.read([ONE, TWO, THREE])
        assert {address: record.value for address, record in found.items()} == {
            ONE: "one",
            TWO: "two",
            THREE: "three",
        }
        assert await transaction.read([]) == {}
        assert not transaction.has_rights

        own = [ONE, THREE] if is_joined else [ONE, TWO, THREE]
        assert set(await first.read_many([ONE, TWO, THREE])) == set(own)

    run(main())


def test_d3_what_has_expired_is_not_shown() -> None:
    class Showing(Store):
        async def read_many(self, addresses: Any) -> Any:
            return {a: Record(1, expires_at=utcnow(), revision=5) for a in addresses}

    found = run(begin({ONE: Showing()}).read([ONE, TWO]))
    assert [record.value for record in found.values()] == [None, None]


def test_one_storages_failure_is_not_the_others() -> None:
    good, broken = Store(), Store()
    broken.fails["write"] = error = OSError("gone")
    changes = [(ONE, Record(1)), (TWO, Record(1)), (THREE, Record(1, revision=5))]
    transaction = begin({ONE: good, TWO: broken, THREE: Store()})
    made, failed, refused = run(transaction.write(changes, last=True))
    assert isinstance(made, int)
    assert failed is error
    assert isinstance(refused, SessionConflict)
    assert transaction.protects_writes


def test_what_one_cannot_read_is_raised() -> None:
    broken = Store()
    broken.fails["read"] = OSError("gone")
    with pytest.raises(OSError, match="gone"):
        run(begin({ONE: Store(), TWO: broken}).read([ONE, TWO]))


def test_one_more_address_goes_along_where_its_storage_is_there_and_else_beside() -> None:
    store, other = Store(), Store()
    plain = begin({ONE: store})
    assert joined(plain, ONE, store) is plain
    assert joined(plain, TWO, store) is plain
    both = joined(plain, THREE, other)
    assert isinstance(both, JoinedTransaction)
    changes = [(address, Record(address.name)) for address in (ONE, TWO, THREE)]
    assert not [o for o in run(both.write(changes, last=True)) if isinstance(o, Exception)]
    assert set(store.records) == {ONE, TWO}
    assert set(other.records) == {THREE}
    four = Address("1", "four", "42")
    assert joined(both, four, other) is both
    run(both.write([(four, Record(4))]))
    assert set(other.records) == {THREE, four}


def test_one_more_address_of_the_same_database_is_in_the_same_transaction() -> None:
    here = begin({ONE: DatabaseStorage(using="default")})
    assert joined(here, TWO, DatabaseStorage(using="default")) is here
    assert isinstance(joined(begin({ONE: DatabaseStorage()}), TWO, Own()), JoinedTransaction)
