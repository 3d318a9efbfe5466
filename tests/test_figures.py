"""Figures of stored sessions, exact in a small table and estimated in a large one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from botsessions import enhance_storage, finding, multi_session, session
from botsessions.figures import Figures, Number, figures, sampling, table
from botsessions.figures.table import FragmentFigures
from botsessions.finding import State
from botsessions.models import BotSession, MaintenanceRun

from .sessions import let_runs_be_noted_for, make

pytestmark = pytest.mark.django_db
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MOST_STATEMENTS = 6


@dataclass
class Cart:
    items: int = 0


@pytest.fixture(autouse=True)
def bots(settings: Any) -> None:
    storage = enhance_storage(migrations={2: lambda old: old})
    several = multi_session(cart=session(initial=Cart, storage=storage), chat=session())
    settings.BOTSESSIONS = {
        "BOTS": {
            "shop": {"SESSION": several, "APPLICATION": print},
            "help": {"SESSION": session(), "APPLICATION": print},
        }
    }


def of(found: Figures, bot: str, name: str = "") -> FragmentFigures:
    (one,) = [f for t in found.tables for f in t.fragments if (f.bot, f.name) == (bot, name)]
    return one


def test_nothing_is_stored() -> None:
    found = figures()
    assert [(f.bot, f.name, f.total) for t in found.tables for f in t.fragments] == [
        ("help", "", Number(0)),
        ("shop", "cart", Number(0)),
        ("shop", "chat", Number(0)),
    ]
    assert found.tables[0].largest == []
    assert len(found.tables[0].days) == 14
    assert not found.sweep_is_overdue
    assert not found.migration_is_overdue


def test_a_bot_that_cannot_be_imported_hides_no_other(settings: Any) -> None:
    broken = {"SESSION": "nowhere.session", "APPLICATION": print}
    settings.BOTSESSIONS = {"BOTS": {"broken": broken, **settings.BOTSESSIONS["BOTS"]}}
    make(1, bot="broken")
    assert of(figures(), "broken").total == Number(1)
    assert of(figures(), "help").declared


def test_states_ages_and_versions_of_each_fragment() -> None:
    now = timezone.now()
    make("a", {"items": 1}, bot="shop", name="cart", version=2, expires_at=now - HOUR)
    make("b", {"items": 1}, bot="shop", name="cart", version=2, expires_at=now + HOUR)
    make("c", {"items": 1}, bot="shop", name="cart", version=1, expires_at=now + 3 * DAY)
    make("d", {"items": 1}, bot="shop", name="cart")
    make("e", {"items": 1}, bot="shop", name="cart", version="2.5")
    make("f", bot="gone")
    found = figures()
    cart = of(found, "shop", "cart")
    assert cart.states == {State.LIVE: Number(3), State.SOON: Number(1), State.EXPIRED: Number(1)}
    assert (cart.total, cart.behind, cart.newer) == (Number(5), Number(2), Number(1))
    assert of(found, "gone").total == Number(1)
    assert not of(found, "gone").declared
    versions = [(v.bot, v.version, v.sessions.value) for v in found.tables[0].versions]
    assert versions == [
        ("gone", None, 1),
        ("shop", None, 1),
        ("shop", Decimal(1), 1),
        ("shop", Decimal(2), 2),
        ("shop", Decimal("2.5"), 1),
    ]
    assert found.behind == Number(2)
    assert found.tables[0].is_whole


@pytest.mark.parametrize("counted", [2000, 2])
def test_what_has_expired_is_not_behind(monkeypatch: pytest.MonkeyPatch, counted: int) -> None:
    monkeypatch.setattr("botsessions.figures.known.COUNTED", counted)
    for n, (version, ends) in enumerate([(1, -1), (1, -1), (None, -1), (3, -1)] * 2):
        ends_at = timezone.now() + ends * HOUR
        make(n, {"items": 1}, bot="shop", name="cart", version=version, expires_at=ends_at)
    found = figures()
    assert (found.behind, of(found, "shop", "cart").newer) == (Number(0), Number(2))
    assert not found.migration_is_overdue
    make("a", {"items": 1}, bot="shop", name="cart", expires_at=timezone.now() + HOUR)
    make("b", {"items": 1}, bot="shop", name="cart", version=1)
    assert figures().behind == Number(2)


def test_data_that_the_bot_cannot_read_is_counted() -> None:
    make("a", {"items": "many"}, bot="shop", name="cart", version=2)
    make("b", {"items": 1}, bot="shop", name="cart", version=2)
    make("c", {"items": "many"}, bot="shop", name="cart", version=1)  # Nobody knows its shape.
    cart = of(figures(), "shop", "cart")
    assert (cart.read, cart.unreadable) == (2, 1)


def test_what_was_created_and_active_when(monkeypatch: pytest.MonkeyPatch) -> None:
    now = timezone.make_aware(datetime.combine(timezone.localdate(), time(hour=12)))
    monkeypatch.setattr(timezone, "now", lambda: now + timedelta(minutes=1))
    made = [(0, 0), (0, 0), (1, 0), (13, 1), (14, 13), (400, 14)]
    for n, (created, changed) in enumerate(made):
        make(n, bot="help", created_at=now - created * DAY, updated_at=now - changed * DAY)
    make("long ago", bot="help", created_at=now - 400 * DAY, updated_at=now - 2 * HOUR)
    found = figures()
    days = found.tables[0].days
    assert sum(day.created.value for day in days) == 4
    assert days[0].day == timezone.localdate() - 13 * DAY
    assert [days[n].created.value for n in (0, 12, 13)] == [1, 1, 2]
    assert [days[n].active.value for n in (0, 12)] == [1, 1]
    assert sum(day.active.value for day in days) == 6
    active = of(found, "help").active
    assert (active[1], active[24].value, active[168].value) == (Number(3), 4, 5)


@pytest.mark.parametrize("zone", ["Pacific/Auckland", "America/Los_Angeles"])
def test_days_are_those_of_the_project(settings: Any, zone: str) -> None:
    settings.TIME_ZONE = zone
    today = timezone.localdate()
    begun = timezone.make_aware(datetime.combine(today, time.min))
    make(1, bot="help", created_at=begun)
    make(2, bot="help", created_at=begun - timedelta(microseconds=1))
    assert [day.created.value for day in figures().tables[0].days[-2:]] == [1, 1]


def test_the_largest_come_first() -> None:
    for size in (5, 4000, 300, 70_000, 68_000, 5000):
        BotSession.objects.filter(pk=make(size, bot="help").pk).update(size=size)
    found = figures().tables[0].largest
    assert [row.size for row in found] == [70_000, 68_000, 5000, 4000, 300, 5]


def test_it_is_said_if_there_may_be_larger_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (70_000, 5000, 4999, 4998, 4997):
        BotSession.objects.filter(pk=make(size, bot="help").pk).update(size=size)
    monkeypatch.setattr(finding, "COMPARED", 3)
    monkeypatch.setattr(table, "LARGEST", 1)
    assert not figures().tables[0].may_be_larger
    monkeypatch.setattr(table, "LARGEST", 2)
    assert figures().tables[0].may_be_larger


def test_a_sweep_is_overdue_where_expired_sessions_have_waited_for_days() -> None:
    make(1, bot="help", expires_at=timezone.now() - HOUR)
    assert not figures().sweep_is_overdue
    make(2, bot="help", expires_at=timezone.now() - 3 * DAY)
    found = figures()
    assert found.sweep_is_overdue
    make(3, bot="help", name="job:remind", expires_at=timezone.now() - HOUR)
    found = figures()
    assert found.tables[0].expired == Number(3)
    assert found.tables[0].to_be_swept == Number(2)
    BotSession.objects.get(key=3).delete()
    call_command("sweep_sessions", verbosity=0)
    found = figures()
    assert not found.sweep_is_overdue
    sweep = found.runs["sweep"]
    assert sweep is not None
    assert (sweep.outcome, sweep.done, sweep.went_well) == ("done", 2, True)


def test_a_migration_is_overdue_where_sessions_are_behind_and_nobody_migrates() -> None:
    make(1, {"items": 1}, bot="shop", name="cart", version=1)
    assert not figures().migration_is_overdue
    let_runs_be_noted_for(3 * DAY)
    assert figures().migration_is_overdue
    MaintenanceRun.objects.create(work="migrate", outcome="done")
    assert not figures().migration_is_overdue
    MaintenanceRun.objects.update(started_at=timezone.now() - 3 * DAY)
    assert figures().migration_is_overdue


def test_nobody_can_tell_that_a_migration_is_overdue_where_no_migrations_are_noted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make(1, {"items": 1}, bot="shop", name="cart", version=1)
    monkeypatch.setattr(MigrationRecorder, "has_table", lambda self: False)
    assert not figures().migration_is_overdue


def test_a_run_that_was_killed_does_not_run_for_ever() -> None:
    run = MaintenanceRun.objects.create(work="sweep")
    found = figures().runs["sweep"]
    assert found is not None
    assert found.outcome == "running"
    MaintenanceRun.objects.filter(pk=run.pk).update(seen_at=timezone.now() - HOUR)
    found = figures().runs["sweep"]
    assert found is not None
    assert (found.outcome, found.went_well) == ("killed", False)


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A table that is too large to be looked at as a whole."""
    now = timezone.now()
    BotSession.objects.bulk_create(
        BotSession(
            bot="shop" if n % 4 else "help",
            name="chat" if n % 4 else "",
            key=str(n),
            data={"n": n},
            size=n,
            created_at=now - n * HOUR / 10,
            updated_at=now - n * HOUR / 10,
            expires_at=now - HOUR if n < 2000 else None,
        )
        for n in range(7999, -1, -1)
    )
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"ANALYZE {BotSession._meta.db_table}")
    for module in (sampling, table):
        monkeypatch.setattr(module, "LOOKED_AT", 2000)
    return


@pytest.mark.usefixtures("large")
def test_some_sessions_stand_for_all_of_a_large_table() -> None:
    found = figures().tables[0]
    total = sum((fragment.total for fragment in found.fragments), Number(0))
    assert not found.is_whole
    assert 500 < found.looked_at < 4500
    assert not total.exact
    assert 5000 < total.value < 11_000
    help_ = of(figures(), "help").total.value
    assert 1000 < help_ < 3000
    assert str(of(figures(), "help").total).startswith("≈ ")


@pytest.mark.usefixtures("large")
def test_what_an_index_knows_is_exact_in_a_large_table(monkeypatch: pytest.MonkeyPatch) -> None:
    found = figures().tables[0]
    assert found.expired == found.to_be_swept == Number(2000)
    assert found.oldest_expired is not None
    whole_days = found.days[1:-1]
    assert {day.created for day in whole_days} == {Number(240)}
    assert [row.size for row in found.largest] == list(range(7999, 7989, -1))


@pytest.mark.usefixtures("large")
def test_sessions_made_on_a_busy_day_are_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("known", "table"):
        monkeypatch.setattr(f"botsessions.figures.{module}.COUNTED", 100)
    days = figures().tables[0].days[1:-1]
    assert {(day.created.value, day.created.exact) for day in days} == {(240, False)}
    # As if they had come from elsewhere: the keys say nothing.
    BotSession.objects.filter(size__lt=4000).update(created_at=timezone.now() - 400 * DAY)
    BotSession.objects.filter(size__lt=300).update(created_at=timezone.now() - 2 * DAY)
    busy = figures().tables[0].days[-3].created
    assert busy.value >= 100
    assert not busy.exact


@pytest.mark.usefixtures("large")
def test_a_large_table_takes_few_statements_and_its_data_is_read_of_few() -> None:
    figures()
    with CaptureQueriesContext(connection) as queries:
        found = figures()
    assert len(queries) <= MOST_STATEMENTS
    assert sum(fragment.read for fragment in found.tables[0].fragments) <= table.READ


def test_numbers_read_as_far_as_they_are_known() -> None:
    assert str(Number(1234567)) == "1,234,567"
    assert str(sampling_number(0)) == "< 600"
    assert str(sampling_number(7)) == "≈ 1,400"
    assert str(sampling_number(7) + Number(2)) == "≈ 1,402"
    assert str(sampling_number(0) + Number(0)) == "< 600"
    assert str(Number(0) + Number(3)) == "3"


def sampling_number(seen: int) -> Number:
    return table.estimated(seen, 200.0)
