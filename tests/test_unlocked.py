"""E10: work on many sessions waits for nobody with others locked, whose chats would wait, too."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from botsessions import session
from botsessions.maintenance import Sweep, changing, forget_leases
from botsessions.maintenance.people import forget_user
from botsessions.models import BotSession, BotSessionLease

from .limits import in_thread, within
from .sessions import make


def of_session(key: str) -> None:
    BotSession.objects.filter(key=key).update(title="x")


def of_lease(key: str) -> None:
    BotSessionLease.objects.filter(pk=key).update(passed=0, served=1)


@contextmanager
def locked_elsewhere(key: str, change: Callable[[str], Any] = of_session) -> Iterator[None]:
    """Have another connection lock a row by a change, as a view does that is in a transaction."""

    def lock() -> None:
        with transaction.atomic():
            change(key)
            is_locked.set()
            ends.wait()

    if not connection.features.has_select_for_update_skip_locked:
        pytest.skip("It locks no rows.")
    is_locked, ends = threading.Event(), threading.Event()
    locking = in_thread(lock)
    is_locked.wait()
    try:
        yield
    finally:
        ends.set()
        locking.result()


def in_a_day() -> Any:
    return timezone.now() + timedelta(days=1)


def initial() -> Any:
    assert not connection.in_atomic_block  # It may take its time.
    return {}


@pytest.fixture(autouse=True)
def bots(settings: Any) -> None:
    pizza = {"SESSION": session(initial=initial), "APPLICATION": print}
    settings.BOTSESSIONS = {"BOTS": {"default": pizza, "other": pizza}}


@pytest.mark.parametrize(
    "change",
    [
        changing.expire,
        changing.delete,
        lambda rows: changing.extend(rows, timedelta(days=2)),
        changing.reset,
    ],
    ids=["expire", "delete", "extend", "reset"],
)
@pytest.mark.django_db(transaction=True)
def test_e10_a_change_of_many_waits_with_no_other_row_locked(change: Any) -> None:
    """Otherwise all their chats would wait for the one that somebody has locked."""
    for key in ("1", "2", "3"):
        make(key, expires_at=in_a_day())
    BotSession.objects.bulk_create(BotSession(key=f"other {n}", data={}) for n in range(200))
    with within(20), locked_elsewhere("2"):
        # Of a table that has hardly more rows MariaDB would read, and wait for, all.
        batches = change(BotSession.objects.filter(key__in=["1", "2", "3"]))
        assert next(batches).done == 2
        in_thread(of_session, "1").result()
    assert sum(batch.done for batch in batches) == 1


@pytest.mark.django_db(transaction=True)
def test_e10_a_sweep_leaves_what_somebody_has_locked() -> None:
    for key in ("1", "2", "3"):
        make(key, expires_at=timezone.now())
    with within(20), locked_elsewhere("2"):
        (batch,) = Sweep().run(BotSession, "default")
    assert (batch.done, batch.besides) == (2, {"busy": 1})
    assert [s.key for s in BotSession.objects.all()] == ["2"]


@pytest.mark.django_db(transaction=True)
def test_e10_to_forget_a_user_waits_with_no_other_row_locked() -> None:
    for key in ("1", "2", "3"):
        make(key, user_id=7)
    with within(20), locked_elsewhere("2"):
        forgetting = in_thread(forget_user, 7)
        while BotSession.objects.count() > 1:
            time.sleep(0.01)
    assert forgetting.result() == 3
    assert not BotSession.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_e10_a_lease_that_somebody_has_locked_is_left_to_the_next_sweep() -> None:
    """Otherwise who comes back after long would wait for their own."""
    for key in (1, 2, 3):
        BotSessionLease.objects.create(id=key, holder=0, ends_at=0, drawn=0, served=0, passed=0)
    with within(20), locked_elsewhere("2", of_lease):
        assert [batch.done for batch in forget_leases()] == [2]
    assert [batch.done for batch in forget_leases()] == [1]
