"""E10: work on many sessions waits for nobody with others locked, whose chats would wait, too."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from botsessions.maintenance import Sweep, changing
from botsessions.models import BotSession

from .limits import in_thread, within
from .sessions import make


@contextmanager
def locked_elsewhere(key: str) -> Iterator[None]:
    """Have another connection lock a session's row, as a view does that is in a transaction."""

    def lock() -> None:
        with transaction.atomic():
            BotSession.objects.filter(key=key).update(title="x")
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


@pytest.mark.parametrize(
    "change",
    [changing.expire, changing.delete, lambda rows: changing.extend(rows, timedelta(days=2))],
    ids=["expire", "delete", "extend"],
)
@pytest.mark.django_db(transaction=True)
def test_e10_a_change_of_many_waits_with_no_other_row_locked(change: Any) -> None:
    """Otherwise all their chats would wait for the one that somebody has locked."""
    for key in ("1", "2", "3"):
        make(key, expires_at=in_a_day())
    with within(20), locked_elsewhere("2"):
        batches = change(BotSession.objects.all())
        assert next(batches).done == 2
    assert sum(batch.done for batch in batches) == 1


@pytest.mark.django_db(transaction=True)
def test_e10_a_sweep_leaves_what_somebody_has_locked() -> None:
    for key in ("1", "2", "3"):
        make(key, expires_at=timezone.now())
    with within(20), locked_elsewhere("2"):
        (batch,) = Sweep().run(BotSession, "default")
    assert (batch.done, batch.besides) == (2, {"busy": 1})
    assert [s.key for s in BotSession.objects.all()] == ["2"]
