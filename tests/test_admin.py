"""The list of sessions in the admin."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from botsessions import enhance_storage, finding, multi_session, session
from botsessions.admin import changelist
from botsessions.models import BotSession

from .sessions import LIST, make, staff, url

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
MOST_STATEMENTS = 8


@pytest.fixture
def viewer(client: Client) -> Client:
    client.force_login(staff("view"))
    return client


def html(client: Client, query: str = "") -> str:
    response = client.get(LIST + query)
    assert response.status_code == 200, response
    return str(response.content.decode())


def shown(page: str) -> list[str]:
    return re.findall(r'class="bs-title">([^<]*)<', page)


def test_a_row_says_whose_it_is_and_how_it_is(viewer: Client) -> None:
    now = timezone.now()
    make(
        *("-42", {"a": "x" * 3000}),
        chat_id=-42,
        chat_type="supergroup",
        title="Pizza lovers",
        updated_at=now - timedelta(minutes=3, seconds=5),
        expires_at=now + 2.5 * HOUR,
    )
    page = html(viewer)
    for text in ("Pizza lovers", "Supergroup -42", "default", "Expires soon", "2.9", "3 min ago"):
        assert text in page
    assert "in 2 h" in page
    assert (
        f'datetime="{timezone.localtime(now + 2.5 * HOUR).isoformat(timespec="seconds")}"' in page
    )
    assert "xxx" not in page


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"chat_id": 5, "chat_type": "private"}, "Private chat 5"),
        ({"chat_id": -5}, "Chat -5"),
        ({"user_id": 5, "chat_id": -7}, "User 5 in chat -7"),
        ({"user_id": 5}, "User 5"),
        ({"user_id": -8, "chat_id": -7}, "Channel -8 in chat -7"),
        ({"user_id": -8}, "Channel -8"),
        ({}, "Key k"),
    ],
)
def test_whose_a_session_is(viewer: Client, fields: dict[str, Any], text: str) -> None:
    make("k", **fields)
    assert f'<span class="bs-kind">{text}</span>' in html(viewer)


def test_filters(viewer: Client, settings: Any) -> None:
    storage = enhance_storage(migrations={2: lambda old: old})
    several = multi_session(user=session(storage=storage), chat=session())
    settings.BOTSESSIONS = {
        "BOTS": {
            "shop": {"SESSION": several, "APPLICATION": print},
            "help": {"SESSION": session(), "APPLICATION": print},
        }
    }
    now = timezone.now()
    make("a", bot="shop", name="user", version=1)
    make("b", bot="shop", name="chat", expires_at=now)
    make("c", bot="help", expires_at=now + HOUR)
    make("d", bot="gone")
    assert shown(html(viewer)) == ["d", "c", "b", "a"]
    for query, keys in {
        "state=live": ["d", "a"],
        "state=soon": ["c"],
        "state=expired": ["b"],
        "bot=shop": ["b", "a"],
        "bot=gone": ["d"],
        "fragment=user": ["a"],
        "fragment=-": ["c"],
        "version=behind": ["a"],
        "version=current": ["c", "b"],
        "version=newer": [],
        "bot=shop&state=live": ["a"],
        "state=nonsense": ["d", "c", "b", "a"],
        "of=nonsense": ["d", "c", "b", "a"],
    }.items():
        assert shown(html(viewer, f"?{query}")) == keys, query


def test_search_has_help_and_finds(viewer: Client) -> None:
    make(1, chat_id=1, title="Maria")
    make(2, chat_id=2, title="Mario")
    page = html(viewer, "?q=Maria")
    assert shown(page) == ["Maria"]
    assert "The exact id of a chat or user" in page
    assert shown(html(viewer, "?q=2")) == ["Mario"]


PAGES = [
    *("", "?q=4711", "?q=Maria", "?state=live", "?state=soon", "?state=expired", "?bot=default"),
    *("?fragment=-", "?version=behind", "?version=current", "?of=chat:-1", "?of=user:7"),
    *("?p=older-{key}", "?p=newer-{key}", "?p=oldest"),
]


@pytest.mark.parametrize("query", PAGES)
def test_a_page_costs_few_statements_and_loads_no_data(viewer: Client, query: str) -> None:
    query = query.format(key=make_many(120)[60])
    html(viewer, query)
    with CaptureQueriesContext(connection) as queries:
        html(viewer, query)
    assert len(queries) <= MOST_STATEMENTS
    statements = " ".join(query["sql"] for query in queries)
    assert '"data"' not in statements
    assert "`data`" not in statements
    assert "DISTINCT" not in statements
    assert "OFFSET" not in statements


def make_many(count: int) -> list[int]:
    rows = BotSession.objects.bulk_create(
        BotSession(bot="default", key=str(n), title=f"s{n}", data={}) for n in range(count)
    )
    assert rows
    return list(BotSession.objects.order_by("-pk").values_list("pk", flat=True))


def test_pages_turn_by_primary_key(viewer: Client) -> None:
    keys = make_many(120)
    newest, middle, oldest = keys[:50], keys[50:100], keys[100:]

    def listed(query: str) -> list[int]:
        found = re.findall(r'name="_selected_action" value="(\d+)"', html(viewer, query))
        return [int(key) for key in found]

    viewer.force_login(staff("view", "change"))
    assert listed("") == newest
    assert listed(f"?p=older-{newest[-1]}") == middle
    assert listed(f"?p=older-{middle[-1]}") == oldest
    assert listed(f"?p=newer-{middle[0]}") == newest
    assert listed(f"?p=newer-{oldest[0]}") == middle
    assert listed("?p=oldest") == keys[-50:]
    assert listed("?p=7") == listed(f"?p=newer-{newest[0]}") == newest
    assert f"?p=older-{newest[-1]}" in html(viewer)
    assert "‹ Newer" not in html(viewer)
    assert "Older ›" not in html(viewer, f"?p=older-{middle[-1]}")
    assert viewer.get(f"{LIST}?p=older-x").status_code == 302


def test_few_are_counted_and_many_estimated(viewer: Client, monkeypatch: Any) -> None:
    make_many(60)
    assert "60 sessions" in html(viewer)
    monkeypatch.setattr(changelist, "COUNTED", 55)
    assert "more than 55 sessions" in html(viewer, "?bot=default")
    monkeypatch.setattr(changelist, "estimate", lambda sessions: 2_000_123)
    assert "≈ 2,000,123 sessions" in html(viewer)
    viewer.force_login(staff("view", "delete"))
    page = html(viewer)
    assert "Select all ≈ 2,000,123 sessions" in page
    assert "All ≈ 2,000,123 selected" in page


def test_what_an_index_finds_is_listed_up_to_a_bound(viewer: Client, monkeypatch: Any) -> None:
    now = timezone.now()
    for n in range(60):
        make(n, title=f"s{n}", expires_at=now - n * HOUR)
    assert "60 sessions" in html(viewer, "?state=expired")
    assert len(shown(html(viewer, "?state=expired&p=oldest"))) == 50
    monkeypatch.setattr(finding, "LISTED", 5)
    page = html(viewer, "?state=expired")
    assert shown(page) == ["s4", "s3", "s2", "s1", "s0"]
    assert "more than 5 sessions" in page
    assert "search or filter for fewer" in page
    viewer.force_login(staff("view", "change"))
    row = BotSession.objects.all()[:1]
    chosen = {"action": "extend", "select_across": "1", "_selected_action": [row[0].pk]}
    assert b"Extend: 60 sessions" in viewer.post(f"{LIST}?state=expired", chosen).content


def test_the_database_estimates(db: None) -> None:
    make_many(100)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"ANALYZE {BotSession._meta.db_table}")
    estimated = changelist.estimate(BotSession.objects.all())
    if connection.vendor == "mysql":  # It has its own time for that.
        assert estimated >= 0
    else:
        assert estimated == (100 if connection.vendor == "postgresql" else 0)


def test_nobody_adds_a_session(admin_client: Client) -> None:
    assert admin_client.get(f"{LIST}add/").status_code == 403
    assert "Add session" not in html(admin_client)


def test_an_empty_list_says_so(viewer: Client) -> None:
    assert "No bot has stored a session yet." in html(viewer)
    assert "No session is like that." in html(viewer, "?q=x")


@pytest.mark.parametrize("query", ["?data__pin=1", "?data__pin__startswith=1", "?data__contains=1"])
def test_what_is_stored_cannot_be_guessed_by_filters(viewer: Client, query: str) -> None:
    make(data={"pin": 1})
    assert viewer.get(LIST + query).status_code in (302, 400)


def test_the_list_of_one_chat(viewer: Client) -> None:
    make("a", chat_id=-42, title="group")
    make("b", chat_id=-42, user_id=5, title="member")
    make("c", chat_id=5, chat_type="private", title="private")
    make("d", chat_id=-421, title="other")
    assert shown(html(viewer, "?of=chat:-42")) == ["member", "group"]
    assert shown(html(viewer, "?of=user:5")) == ["private", "member"]
    assert "User 5" in html(viewer, "?of=user:5")


def test_listing_leaves_no_trace(viewer: Client) -> None:
    row = make()
    html(viewer)
    viewer.get(url("change", row))
    assert not LogEntry.objects.exists()
