"""Keeping leases and claims while their holders run, and giving them back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
from django.db import OperationalError, connections
from django.db.backends.signals import connection_created

from botsessions.database import leases_table
from botsessions.database.claims import Claim
from botsessions.database.claims_table import claim_table_of
from botsessions.database.connections import close_databases
from botsessions.database.execution import execute
from botsessions.database.keeper import keeper_of, keepers
from botsessions.database.lease import Lease
from botsessions.database.leases_table import lease_table_of
from botsessions.models import BotSessionLease, HandledUpdate
from botsessions.storages import Address

pytestmark = pytest.mark.django_db(transaction=True)

USING = "default"
IN_AN_HOUR = 3600.0


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    close_databases()


def new_lease(key: str = "42") -> Lease:
    return Lease(USING, [Address("pizza", "", key)])


def taken(lease: Lease) -> Lease:
    """Take a lease as a read does."""
    here = connections[USING]
    lease.was_asked_for = True
    execute(here, lease_table_of(here).draw([lease]))
    assert lease.held
    return lease


def row_of(lease: Lease) -> BotSessionLease | None:
    return BotSessionLease.objects.filter(pk=lease.keys[0], holder=lease.holder).first()


def eventually(is_so: Callable[[], Any]) -> bool:
    for _ in range(500):
        if is_so():
            return True
        time.sleep(0.01)
    return False


def names() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def test_what_is_given_up_is_given_back_before_the_keeper_ends() -> None:
    lease, other = taken(new_lease()), taken(new_lease("43"))
    keeper_of(USING).keep(lease)
    keeper_of(USING).keep(other)
    lease.give_up()
    lease.give_up()
    keeper_of(USING).close()
    assert row_of(lease) is None
    assert row_of(other) is not None
    assert f"botsessions-{USING}-leases" not in names()


def test_what_nobody_has_asked_for_needs_no_thread() -> None:
    new_lease().give_up()
    assert f"botsessions-{USING}-leases" not in names()


def test_what_is_kept_is_renewed_until_it_is_let_go() -> None:
    with mock.patch.object(leases_table, "LEASE_SECONDS", 1.0):
        kept, let_go = taken(new_lease()), taken(new_lease("43"))
        ends = [row.ends_at for row in map(row_of, (kept, let_go)) if row is not None]
        for lease in (kept, let_go):
            keeper_of(USING).keep(lease)
        keeper_of(USING).let_go(let_go)
        assert eventually(lambda: getattr(row_of(kept), "ends_at", 0) > ends[0])
        assert getattr(row_of(let_go), "ends_at", 0) == ends[1]


def test_a_claim_is_given_back_too() -> None:
    here, claim = connections[USING], Claim("pizza", 7)
    claim.was_asked_for = True
    execute(here, claim_table_of(here).claim([claim]))
    assert claim.is_had
    claim.give_up()
    keeper_of(USING).close()
    assert not HandledUpdate.objects.filter(claim=claim.number).exists()


def test_a_lease_may_be_taken_later_and_is_kept_then() -> None:
    now, later = new_lease(), new_lease("43")
    keeper_of(USING).take_later(later, time.monotonic() + IN_AN_HOUR)
    keeper_of(USING).take_later(now, time.monotonic())
    assert eventually(lambda: now.held)
    assert row_of(now) is not None
    assert not later.held
    for lease in (now, later):
        lease.give_up()
    keeper_of(USING).close()
    assert row_of(now) is row_of(later) is None


def test_one_that_others_have_is_tried_again_as_long_as_it_is_wanted() -> None:
    holder, wanted = taken(new_lease()), new_lease()
    keeper_of(USING).take_later(wanted, time.monotonic())
    assert eventually(lambda: wanted.numbers)  # It has drawn a number.
    assert not wanted.held
    here = connections[USING]
    execute(here, lease_table_of(here).release([holder]))
    assert eventually(lambda: wanted.held)


def test_after_its_end_it_begins_anew() -> None:
    for key in ("42", "43"):
        lease = taken(new_lease(key))
        keeper_of(USING).keep(lease)
        assert f"botsessions-{USING}-leases" in names()
        lease.give_up()
        keeper_of(USING).close()
        assert row_of(lease) is None
    assert USING in keepers()


def test_a_connection_that_fails_when_it_is_looked_at_ends_no_thread() -> None:
    looks = [OperationalError("gone"), None]

    def distrust(connection: Any, **_of: Any) -> None:
        if threading.current_thread().name == f"botsessions-{USING}-leases":
            connection.errors_occurred = True
            connection.close_if_unusable_or_obsolete = mock.Mock(side_effect=looks)

    first, second = taken(new_lease()), taken(new_lease("43"))
    connection_created.connect(distrust)
    try:
        for lease in (first, second):
            lease.give_up()
            assert eventually(lambda lease=lease: row_of(lease) is None)
    finally:
        connection_created.disconnect(distrust)
