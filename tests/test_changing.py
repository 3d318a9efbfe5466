"""Changing stored sessions by hand: ``botsessions.maintenance.changing``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from telegram.ext import TypeHandler

from botsessions import enhance_storage, session
from botsessions.exceptions import (
    SessionConflict,
    SessionDataError,
    SessionLockTimeout,
    SessionVersionError,
)
from botsessions.locks import process_lock, release
from botsessions.maintenance import changing
from botsessions.models import BotSession
from botsessions.testing import BotClient

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
Make = Callable[..., BotSession]


@dataclass
class Basket:
    pizzas: int = 0


plain = session(initial=lambda: {"new": True})
shop = session(
    initial=Basket,
    storage=enhance_storage(time_to_live=HOUR, migrations={2: lambda old: old}),
)


@pytest.fixture(autouse=True)
def bots(settings: Any) -> None:
    names = {"plain": plain, "shop": shop}
    settings.BOTSESSIONS = {
        "BOTS": {n: {"SESSION": s, "APPLICATION": print} for n, s in names.items()}
    }


def make(bot: str = "plain", key: str = "1", data: Any = None, **fields: Any) -> BotSession:
    return BotSession.objects.create(bot=bot, key=key, data=data or {}, **fields)


def done(batches: Iterator[Any]) -> int:
    return sum(batch.done for batch in batches)


@pytest.mark.parametrize("change", ["write_data", "change_one"])
def test_whoever_changes_a_session_does_not_wait_for_a_long_handler(
    monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """A person does not want to, and a web server would not let them."""
    monkeypatch.setattr(changing, "PATIENCE_SECONDS", 0.05)
    row = make(data={"a": 1})
    ticket = process_lock().request([changing.address_of(row)])
    try:
        with pytest.raises(SessionLockTimeout, match=r"of bot 'plain' was not free for 0\.05 s"):
            if change == "write_data":
                changing.write_data(row, {"a": 2}, row.revision)
            else:
                changing.change_one(row, row.revision, changing.delete)
    finally:
        release(ticket)
    assert BotSession.objects.get().data == {"a": 1}
    assert not process_lock().busy


def test_data_is_written_under_a_new_revision() -> None:
    row = make(data={"a": 1})
    revision = changing.write_data(row, {"a": "ä"}, row.revision)
    stored = BotSession.objects.get()
    assert (stored.data, stored.revision, stored.size) == ({"a": "ä"}, revision, 10)
    assert revision != row.revision
    assert stored.updated_at > row.updated_at
    assert stored.expires_at is None


def test_who_has_not_seen_the_last_change_writes_nothing() -> None:
    row = make(data={"a": 1})
    changing.write_data(row, {"a": 2}, row.revision)
    with pytest.raises(SessionConflict):
        changing.write_data(row, {"a": 3}, row.revision)
    assert BotSession.objects.get().data == {"a": 2}


def test_a_write_renews_the_life_and_keeps_the_version() -> None:
    row = make("shop", data={"pizzas": 1}, version=2, expires_at=timezone.now() + HOUR / 2)
    changing.write_data(row, {"pizzas": 2}, row.revision)
    stored = BotSession.objects.get()
    assert stored.version == Decimal(2)
    assert stored.expires_at is not None
    assert stored.expires_at > timezone.now() + HOUR * 0.9


@pytest.mark.parametrize(
    ("value", "path"),
    [(None, "$"), ({"a": float("nan")}, "$.a"), ({"pizzas": "two"}, "$.pizzas")],
    ids=["null", "no strict JSON", "another type"],
)
def test_what_does_not_fit_is_refused_with_its_place(value: Any, path: str) -> None:
    row = make("shop", data={"pizzas": 1}, version=2)
    with pytest.raises(SessionDataError) as caught:
        changing.write_data(row, value, row.revision)
    assert caught.value.path == path
    assert BotSession.objects.get().data == {"pizzas": 1}


def test_too_much_is_refused(settings: Any) -> None:
    settings.BOTSESSIONS = settings.BOTSESSIONS | {"MAX_BYTES": 10}
    row = make()
    with pytest.raises(SessionDataError, match="MAX_BYTES"):
        changing.write_data(row, "x" * 11, row.revision)


def test_data_of_an_older_version_need_not_fit_the_type() -> None:
    row = make("shop", data={"old": 1}, version=1)
    changing.write_data(row, {"old": 2}, row.revision)
    assert BotSession.objects.get().version == 1


def test_data_of_a_newer_version_is_refused() -> None:
    row = make("shop", version=3)
    with pytest.raises(SessionVersionError):
        changing.write_data(row, {"pizzas": 1}, row.revision)


def test_sessions_of_unknown_bots_can_be_changed() -> None:
    row = make("gone", expires_at=(later := timezone.now() + HOUR))
    changing.write_data(row, [1], row.revision)
    stored = BotSession.objects.get()
    assert stored.data == [1]
    assert stored.expires_at == later


def test_a_handler_that_is_running_cannot_write_over_a_change() -> None:
    async def handler(update: Any, context: Any) -> None:
        context.session["seen"] = True
        await change()

    async def change() -> None:
        row = await BotSession.objects.aget()
        await BotSession.objects.filter(pk=row.pk).aupdate(revision=1)

    def build(builder: Any) -> Any:
        application = plain.install(builder, bot="plain").build()
        application.add_handler(TypeHandler(object, handler))
        return application

    make(key="42", data={"a": 1})
    with pytest.raises(SessionConflict):
        BotClient(build=build).user(id=42).send("x")
    assert BotSession.objects.get().data == {"a": 1}


def test_sessions_expire_now_and_those_that_have_stay_as_they_were() -> None:
    for n, expires_at in enumerate((None, timezone.now() + HOUR, timezone.now() - HOUR)):
        make(key=str(n), expires_at=expires_at)
    before = dict(BotSession.objects.values_list("key", "revision"))
    assert done(changing.expire(BotSession.objects.all())) == 2
    rows = BotSession.objects.order_by("key")
    assert all(row.expires_at and row.expires_at <= timezone.now() for row in rows)
    assert [row.revision != before[row.key] for row in rows] == [True, True, False]
    assert plain.get("0", bot="plain") is None


def test_sessions_that_expire_live_longer() -> None:
    now = timezone.now()
    for n, expires_at in enumerate((None, now + HOUR, now - HOUR, now + 3 * HOUR)):
        make(key=str(n), expires_at=expires_at)
    assert done(changing.extend(BotSession.objects.all(), 2 * HOUR)) == 2
    lives = [row.expires_at and row.expires_at > now + 1.9 * HOUR for row in rows_by_key()]
    assert lives == [None, True, True, True]


def rows_by_key() -> list[BotSession]:
    return list(BotSession.objects.order_by("key"))


def test_sessions_are_reset_to_what_their_bot_declares() -> None:
    make("plain", data={"a": 1})
    make("shop", data={"old": 9}, version=1)
    make("gone", data={"a": 1})
    (batch,) = changing.reset(BotSession.objects.all())
    assert batch.done == 2
    assert [failure.address.bot for failure in batch.failures] == ["gone"]
    stored = {row.bot: row for row in BotSession.objects.all()}
    assert stored["plain"].data == {"new": True}
    assert stored["shop"].data == {"pizzas": 0}
    assert stored["shop"].version == 2
    assert stored["shop"].expires_at is not None
    assert stored["gone"].data == {"a": 1}


def test_an_initial_that_raises_leaves_the_session_and_shows_no_data(settings: Any) -> None:
    def secret() -> Any:
        raise ValueError("secret")

    settings.BOTSESSIONS = {
        "BOTS": {"plain": {"SESSION": session(initial=secret), "APPLICATION": print}}
    }
    make(data={"a": 1})
    (batch,) = changing.reset(BotSession.objects.all())
    (failure,) = batch.failures
    assert "ValueError" in failure.reason
    assert "secret" not in failure.reason
    assert BotSession.objects.get().data == {"a": 1}


def test_only_what_was_asked_for_is_deleted_in_batches_of_four_statements() -> None:
    for n in range(5):
        make(key=str(n))
    make("shop")
    with CaptureQueriesContext(connection) as queries:
        batches = list(changing.delete(BotSession.objects.filter(bot="plain"), batch_size=2))
    assert [batch.done for batch in batches] == [2, 2, 1]
    words = [query["sql"].split()[0] for query in queries]
    assert words == ["SELECT", "SELECT", "DELETE", "DELETE"] * 3
    assert BotSession.objects.get().bot == "shop"
