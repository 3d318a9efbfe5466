"""E10: work on many sessions waits for nobody with others locked, whose chats would wait, too."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import count, islice
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from botsessions import session
from botsessions.maintenance import Sweep, changing, forget_leases, readdressing
from botsessions.maintenance.importing import Import
from botsessions.maintenance.origins import Found, Place
from botsessions.maintenance.people import forget_user
from botsessions.maintenance.renaming import RenameBot
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


_numbers = count(1000)


def new_keys(wanted: int) -> list[str]:
    """Return keys that no row has had: who makes one where MariaDB has not yet purged one that was
    deleted locks its neighbours, too."""
    return [str(number) for number in islice(_numbers, wanted)]


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


@pytest.mark.django_db(transaction=True)
def test_e10_to_rename_waits_with_no_other_row_locked() -> None:
    first, second, third = new_keys(3)
    for key in (first, second, third):
        make(key)
    with within(20), locked_elsewhere(second):
        renaming = in_thread(renamed)
        while not BotSession.objects.filter(bot="other").exists():
            time.sleep(0.01)
        for key in (first, third):
            of_session(key)
    assert renaming.result() == (3, [])
    assert set(BotSession.objects.values_list("bot", flat=True)) == {"other"}


@pytest.mark.django_db(transaction=True)
def test_e10_what_is_locked_for_long_keeps_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readdressing, "PATIENCE_SECONDS", 1.0)
    first, second, third = new_keys(3)
    for key in (first, second, third):
        make(key)
    with within(20), locked_elsewhere(second):
        assert renamed() == (2, ["It was busy for 1 seconds."])
    assert [row.key for row in BotSession.objects.filter(bot="default")] == [second]


@pytest.mark.django_db(transaction=True)
def test_e10_a_new_address_may_be_somebodys_who_has_not_committed_yet() -> None:
    first, second, third = new_keys(3)
    for key in (first, second, third):
        make(key)
    with within(20), locked_elsewhere(second, lambda key: make(key, bot="other")):
        renaming = in_thread(renamed)
        while not BotSession.objects.filter(bot="other").exists():
            time.sleep(0.01)
        for key in (first, third):
            of_session(key)
    done, (reason,) = renaming.result()
    assert done == 2
    assert "There is another session" in reason


def renamed() -> tuple[int, list[str]]:
    batches = list(RenameBot(old="default", new="other").run(BotSession, "default"))
    return sum(b.done for b in batches), [f.reason for b in batches for f in b.failures]


@pytest.mark.parametrize("is_there", [True, False])
@pytest.mark.django_db(transaction=True)
def test_e10_an_import_leaves_what_somebody_has_locked(is_there: bool) -> None:
    """Be it stored already, or only in the transaction of whoever makes it."""
    keys = new_keys(7)
    for key in keys if is_there else ():
        make(key)
    with within(20), locked_elsewhere(keys[1], of_session if is_there else make):
        assert imported(keys) == {"replaced" if is_there else "imported": 6, "busy": 1}
    assert imported(keys) == {"same": 6, "replaced": 1}


def imported(keys: list[str]) -> dict[str, int]:
    place, later = Place("default", ""), timezone.now() + timedelta(days=1)
    found = [Found(f"of {k}", place, {"of": k}, k, changed_at=later) for k in keys]
    (batch,) = Import(found).run()
    return {**({"imported": batch.done} if batch.done else {}), **batch.besides}
