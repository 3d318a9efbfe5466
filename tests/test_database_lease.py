"""A lease as it is in this process. How it goes to the database: ``test_database_leases.py``."""

from __future__ import annotations

import pytest

from botsessions.database.lease import Lease, cut_off, lease_key
from botsessions.storages import Address

pytestmark = pytest.mark.once

HERE = Address("pizza", "", "42")


def test_the_number_of_a_key_is_the_same_in_every_process_and_fits_into_a_column() -> None:
    assert lease_key(HERE) == -8958270597313063708
    addresses = [Address(bot, name, key) for bot in "ab" for name in ("", "c") for key in "ab"]
    numbers = {lease_key(address) for address in addresses}
    assert len(numbers) == len(addresses)
    assert all(-(2**63) <= number < 2**63 for number in numbers)


def test_parts_of_an_address_do_not_run_into_each_other() -> None:
    assert lease_key(Address("a", "b", "c")) != lease_key(Address("ab", "", "c"))


def test_keys_are_in_one_order_whoever_names_them_and_each_once() -> None:
    other = HERE._replace(key="43")
    one, two = Lease("default", [HERE, other]), Lease("default", [other, HERE, HERE])
    assert one.keys == two.keys == sorted(one.keys)
    assert len(one.keys) == 2


def test_a_place_that_is_lost_is_another_holders() -> None:
    lease = Lease("default", [HERE])
    lease.numbers, lease.held = {lease.keys[0]: 7}, True
    holder = lease.holder
    assert holder > 0
    assert lease.is_had
    lease.start_anew()
    assert lease.holder not in (0, holder)
    assert (lease.numbers, lease.is_had) == ({}, False)


def test_who_was_cut_off_is_told_of_which_session() -> None:
    error = cut_off(Lease("default", [HERE]))
    assert error.cut_off
    assert "'42' of bot 'pizza' has gone to somebody else" in str(error)


@pytest.mark.parametrize("asking", [0, 1])
@pytest.mark.parametrize("was_asked_for", [False, True])
@pytest.mark.parametrize("is_over", [False, True])
def test_what_may_be_had_and_nobody_wants_is_to_be_given_back(
    asking: int, was_asked_for: bool, is_over: bool
) -> None:
    lease = Lease("default", [HERE])
    lease.asking, lease.was_asked_for, lease.is_over = asking, was_asked_for, is_over
    assert not lease.is_to_be_given_back
    lease.given_up = True
    assert lease.is_to_be_given_back is (was_asked_for and not asking and not is_over)
