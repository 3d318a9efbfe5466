"""Finding sessions: by state, version, ids and beginnings."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from botsessions import enhance_storage, finding, multi_session, session
from botsessions.finding import Age, State, age_of, in_state, of_age, of_bot, search, state_of
from botsessions.models import BotSession
from botsessions.paging import BY_BOT, walk, walk_by_expiry

from .sessions import make

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


def found(text: str) -> set[str]:
    return set(search(BotSession.objects.all(), text).values_list("key", flat=True))


def listed(text: str) -> set[str]:
    parts = finding.search_parts(text, BotSession)
    keys, _more = finding.found(BotSession.objects.all(), parts)
    return set(BotSession.objects.filter(pk__in=keys).values_list("key", flat=True))


def words_of(text: str) -> Any:
    (words,) = finding.words_of(text.split(), BotSession, newest_only=True)
    return words


def test_titles_are_found_by_the_beginnings_of_any_of_their_words(monkeypatch: Any) -> None:
    make("a", title="Pizza lovers of Naples")
    make("b", title="Maria Rossi")
    assert found("naples") == found("nap lov") == found("PIZZA of") == {"a"}
    assert found("ossi") == set()
    assert found("rossi maria") == {"b"}
    assert found("50%") == found("_") == set()
    assert not finding.is_bounded("naples", BotSession)


def test_a_list_looks_for_words_among_the_newest_and_says_so(monkeypatch: Any) -> None:
    make("5", title="Pizza lovers of Naples")
    make("b", title="Maria Rossi")
    monkeypatch.setattr(finding, "NEWEST", 1)
    assert listed("naples") == set()
    assert listed("rossi") == {"b"}
    assert listed("pizza") == {"5"}
    assert found("naples") == {"5"}
    assert finding.is_bounded("naples", BotSession)
    assert not any(finding.is_bounded(text, BotSession) for text in ("5", "default:5", "", "\0"))
    monkeypatch.setattr(finding, "NEWEST", 2)
    assert not finding.is_bounded("naples", BotSession)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="Of PostgreSQL alone.")
def test_an_index_of_words_finds_them_in_all_titles(monkeypatch: Any) -> None:
    make("a", title="Pizza lovers of Naples")
    make("b", title="Maria Rossi")
    monkeypatch.setattr(finding, "NEWEST", 1)
    assert listed("naples") == set()
    table = BotSession._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
        cursor.execute(f"CREATE INDEX words ON {table} USING gin (lower(title) gin_trgm_ops)")
        finding.has_index_of_words.cache_clear()
        try:
            assert listed("naples") == listed("nap lov") == {"a"}
            assert listed("rossi") == {"b"}
            assert listed("ossi") == set()
            assert not finding.is_bounded("naples", BotSession)
            cursor.execute("SET LOCAL enable_seqscan = off")
            assert " on words" in BotSession.objects.filter(words_of("nap lov")).explain()
        finally:
            finding.has_index_of_words.cache_clear()


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="Of PostgreSQL's planner.")
def test_postgresql_expects_to_look_at_few_sessions_for_words(monkeypatch: Any) -> None:
    BotSession.objects.bulk_create(
        BotSession(key=str(n), title="Maria", data={}) for n in range(4000)
    )
    analyze()
    monkeypatch.setattr(finding, "NEWEST", 100)
    words = BotSession.objects.filter(words_of("maria"))
    (plan,) = json.loads(words.explain(format="json"))
    expected = plan["Plan"]["Plan Rows"]
    assert expected < 5, plan


def test_each_session_is_in_one_state() -> None:
    now = timezone.now()
    ends = {"live": now + 25 * HOUR, "soon": now + HOUR, "expired": now - HOUR, "lasting": None}
    for key, expires_at in ends.items():
        make(key, expires_at=expires_at)
    states = {s.key: state_of(s).value for s in BotSession.objects.all()}
    assert states == {"live": "live", "soon": "soon", "expired": "expired", "lasting": "live"}
    for state in State:
        keys = in_state(BotSession.objects.all(), state).values_list("key", flat=True)
        assert set(keys) == {key for key in states if states[key] == state.value}
    assert in_state(BotSession.objects.all(), State.SOON, timedelta(hours=30)).count() == 2


def test_versions_are_compared_with_those_that_the_settings_declare(settings: Any) -> None:
    storage = enhance_storage(migrations={2: lambda old: old})
    several = multi_session(new=session(storage=storage), plain=session())
    settings.BOTSESSIONS = {"BOTS": {"shop": {"SESSION": several, "APPLICATION": print}}}
    make("old", bot="shop", name="new")
    make("older", bot="shop", name="new", version=Decimal(1))
    make("right", bot="shop", name="new", version=Decimal(2))
    make("newer", bot="shop", name="new", version=Decimal("2.5"))
    make("none", bot="shop", name="plain")
    make("too new", bot="shop", name="plain", version=Decimal(1))
    make("unknown", bot="other")
    keys = {
        age: set(of_age(BotSession.objects.all(), age).values_list("key", flat=True)) for age in Age
    }
    assert keys[Age.BEHIND] == {"old", "older"}
    assert keys[Age.CURRENT] == {"right", "none"}
    assert keys[Age.NEWER] == {"newer", "too new"}
    assert age_of(Decimal("2.000000"), Decimal(2)) == Age.CURRENT


def test_a_search_finds_exact_ids_and_beginnings() -> None:
    make("424242", chat_id=424242, title="Maria")
    make("5/-42", user_id=5, chat_id=-42, title="pizza lovers")
    make("55", user_id=55, title="Pizza_100%")
    assert found("424242") == {"424242"}
    assert found("4242") == set()
    assert found("4242*") == {"424242"}
    assert found("-42") == {"5/-42"}
    assert found("5") == {"5/-42"}
    assert found("5*") == {"5/-42", "55"}
    assert found(" Mar ") == {"424242"}
    assert found("maria") == {"424242"}
    assert "55" in found("Pizza_")
    assert found("Pizza%") == set()
    assert found("aria") == set()
    assert found("") == {"424242", "5/-42", "55"}
    assert found("9" * 30) == found("\0") == found("x\\'\"%") == found("*") == set()


@pytest.mark.parametrize("text", ["424242", "-42", "5/-42", "-42/7", "0042"])
def test_an_id_finds_no_stranger_whose_id_only_begins_so(text: str) -> None:
    for key in (text, f"{text}1337", f"{text}/9", f"1{text}"):
        make(key)
    make("title", title=f"{text} and others")
    assert found(text) == found(f" {text} ") == {text}
    assert found(f"{text}*") == {text, f"{text}1337", f"{text}/9", "title"}


@pytest.mark.parametrize("text", ["biz/5", "%377/5", "user-42", "5/topic 7"])
def test_nor_does_a_key_that_ends_in_an_id(text: str) -> None:
    for key in (text, f"{text}1337", f"{text}/9"):
        make(key)
    make("title", title=f"{text} and others")
    assert found(text) == {text, "title"}
    assert found(f"{text}*") == {text, f"{text}1337", f"{text}/9", "title"}


@pytest.mark.django_db(transaction=True)
def test_every_part_of_a_search_is_answered_by_an_index() -> None:
    BotSession.objects.bulk_create(
        BotSession(
            bot="default", key=f"key {n}", data={}, chat_id=n, user_id=9000 + n, title=f"title {n}"
        )
        for n in range(4000)
    )
    analyze()
    for text, needed in (
        ("4711", ["address", "chat", "user"]),
        ("4711*", ["address", "title"]),
        ("key 47", ["address", "title"]),
    ):
        sessions = BotSession.objects.all()
        plan = plan_of(partial(finding.found, sessions, finding.search_parts(text, BotSession)))
        if connection.vendor == "postgresql" and text.isdigit():  # Also as one condition.
            plan += plan_of(partial(list, search(sessions, text).order_by("-pk")[:50]))
        assert [index for index in needed if f"botsession_{index}" not in plan] == [], plan


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("backwards", [False, True])
def test_a_page_of_a_bot_is_found_without_a_walk_past_others(backwards: bool) -> None:
    BotSession.objects.bulk_create(
        BotSession(bot="old" if n < 2000 else "new", key=str(n), data={}, title="Maria")
        for n in range(4000)
    )
    analyze()
    live = in_state(of_bot(BotSession.objects.all(), "old"), State.LIVE)
    plan = plan_of(partial(walk, live, backwards, None, 10, BY_BOT)).lower()
    assert "botsession_bot" in plan
    assert "sort" not in plan
    assert "b-tree" not in plan


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("is_first", [False, True])
def test_a_page_by_expiry_is_found_by_an_index_alone(backwards: bool, is_first: bool) -> None:
    now = timezone.now()
    BotSession.objects.bulk_create(
        BotSession(bot="default", key=str(n), data={}, expires_at=now - n % 2 * HOUR)
        for n in range(4000)
    )
    analyze()
    expired = in_state(BotSession.objects.all(), State.EXPIRED)
    beyond = None if is_first else (now, expired.get(key="2000").pk)
    plan = plan_of(partial(walk_by_expiry, expired, backwards, beyond, 10)).lower()
    assert "botsession_expiry" in plan
    assert "sort" not in plan
    assert "b-tree" not in plan


def analyze() -> None:
    """Have the database look at what is stored. On MySQL that ends a transaction."""
    table = "TABLE " if connection.vendor == "mysql" else ""
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {table}{BotSession._meta.db_table}")


def plan_of(find: Callable[[], Any]) -> str:
    with CaptureQueriesContext(connection) as queries:
        find()
    explain = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
    with connection.cursor() as cursor:
        cursor.execute(f"{explain} {queries[0]['sql']}")
        return str(cursor.fetchall())
