"""Sessions over HTTP: ``botsessions.api``."""

from __future__ import annotations

import importlib
import json
import sys
from base64 import b64encode
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from asgiref.sync import async_to_sync
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection, transaction
from django.test import AsyncClient, Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from botsessions import enhance_storage, finding, session
from botsessions.api import pagination
from botsessions.exceptions import SessionLockTimeout
from botsessions.maintenance import changing, exporting
from botsessions.maintenance.exporting import in_parts
from botsessions.models import BotSession
from project.settings import MIDDLEWARE

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
LIST = "/api/sessions/"
EVERYTHING = ("view", "view_contents", "change", "delete", "export")

shop = session(
    initial=lambda: {"pizzas": 0},
    data_type=dict[str, Any],
    storage=enhance_storage(time_to_live=HOUR, migrations={2: lambda old: old}),
)
Login = Callable[..., Client]


@pytest.fixture(autouse=True)
def bots(settings: Any) -> None:
    settings.BOTSESSIONS = {
        "BOTS": {"shop": {"SESSION": shop, "APPLICATION": print}},
        "MASKED_FIELDS": ["card"],
    }


@pytest.fixture
def login() -> Login:
    def log_in(*permissions: str) -> Client:
        user = User.objects.create_user(f"user {User.objects.count()}")
        names = [f"{permission}_botsession" for permission in permissions]
        user.user_permissions.set(Permission.objects.filter(codename__in=names))
        client = Client()
        client.force_login(user)
        return client

    return log_in


def make(key: str = "1", data: Any = None, **fields: Any) -> BotSession:
    fields = {"bot": "shop", "version": 2, "expires_at": timezone.now() + HOUR} | fields
    return BotSession.objects.create(key=key, data=data or {"pizzas": 1}, **fields)


def url(row: BotSession, action: str = "") -> str:
    return f"{LIST}{row.pk}/{action}"


def send(client: Client, method: str, path: str, data: Any = None, tag: str | None = None) -> Any:
    headers = {} if tag is None else {"If-Match": tag}
    return client.generic(
        method, path, json.dumps(data), content_type="application/json", headers=headers
    )


def tag(row: BotSession) -> str:
    return f'"{row.revision}"'


def test_a_session_can_be_read(login: Login) -> None:
    row = make("42", {"pizzas": 3, "card": 1}, chat_id=42, title="Maria")
    answer = login("view", "view_contents").get(url(row))
    assert answer.status_code == 200
    assert answer["ETag"] == tag(row)
    body = answer.json()
    assert body["etag"] == tag(row)
    assert body["data"] == {"pizzas": 3, "card": "[masked: $.card]"}
    assert (body["bot"], body["key"], body["chat_id"], body["title"]) == ("shop", "42", 42, "Maria")
    assert (body["state"], body["version"]) == ("soon", "2")


def test_who_may_not_see_contents_sees_none(login: Login) -> None:
    assert login("view").get(url(make())).json()["data"] is None


def test_a_client_that_has_the_present_state_gets_nothing_more(login: Login) -> None:
    row = make()
    client = login("view")
    answer = client.get(url(row), headers={"If-None-Match": tag(row)})
    assert (answer.status_code, answer.content) == (304, b"")
    assert client.get(url(row), headers={"If-None-Match": '"1"'}).status_code == 200


def test_what_has_expired_is_never_shown(login: Login) -> None:
    row = make(data={"pizzas": "sesame"}, expires_at=timezone.now() + HOUR)
    client = login(*EVERYTHING)
    assert "sesame" in client.get(url(row)).content.decode()
    BotSession.objects.update(expires_at=timezone.now())
    answer = client.get(url(row), headers={"If-None-Match": tag(row)})
    assert (answer.status_code, answer.json()["state"]) == (200, "expired")
    assert answer.json()["data"] is None
    for method, action, data in (
        ("PATCH", "", {"data": {"pizzas": 9}}),
        ("POST", "extend/", {"seconds": 1}),
    ):
        answer = send(client, method, url(row, action), data, '"1"')
        assert answer.status_code == 412
        assert answer.json()["session"]["data"] is None
    answer = client.get(f"{LIST}export/")
    (line,) = map(json.loads, answer.getvalue().splitlines())
    assert (line["expired"], line["data"]) == (True, None)


def test_what_is_due_is_shown_and_exported(login: Login) -> None:
    row = make(data={"n": 1}, name="job:remind", expires_at=timezone.now() - HOUR)
    client = login(*EVERYTHING)
    shown = client.get(url(row)).json()
    assert (shown["state"], shown["data"]) == ("due", {"n": 1})
    (line,) = map(json.loads, client.get(f"{LIST}export/").getvalue().splitlines())
    assert (line["expired"], line["data"]) == (True, {"n": 1})


def test_what_has_expired_cannot_be_replaced(login: Login) -> None:
    row = make(expires_at=timezone.now())
    answer = send(login(*EVERYTHING), "PATCH", url(row), {"data": {"pizzas": 9}}, tag(row))
    assert answer.status_code == 409
    assert "has expired" in answer.json()["detail"]
    assert BotSession.objects.get().revision == row.revision


@pytest.mark.parametrize(
    "stored", ["9" * 5000, "[" * 900 + "]" * 900, '{"card": NaN}', r'{"card": "\ud800"}']
)
def test_data_that_no_json_can_hold_are_told_and_can_be_replaced(login: Login, stored: str) -> None:
    rows = [make(str(n)) for n in range(3)]
    if not store(rows[1], stored):
        pytest.skip("This database refuses to store it.")
    client = login(*EVERYTHING)
    answer = client.get(url(rows[1]))
    assert answer.status_code == 200
    assert (answer.json()["data"], answer.json()["readable"]) == (None, False)
    answer = client.get(f"{LIST}export/")
    lines = [json.loads(line) for line in answer.getvalue().splitlines()]
    assert [line["data"] for line in lines] == [{"pizzas": 1}, None, {"pizzas": 1}]
    hidden = "card" in stored
    assert lines[1]["unreadable"] == "[masked]" if hidden else stored[:5] in lines[1]["unreadable"]
    answer = send(client, "PATCH", url(rows[1]), {"data": {"pizzas": 2}}, tag(rows[1]))
    assert (answer.status_code, answer.json()["readable"]) == (200, True)


def store(row: BotSession, stored: str) -> bool:
    """Put JSON into the column as other programs may; return whether the database takes it."""
    try:
        with connection.cursor() as cursor, transaction.atomic():
            table = BotSession._meta.db_table
            cursor.execute(f"UPDATE {table} SET data = %s WHERE id = %s", [stored, row.pk])  # noqa: S608
    except DatabaseError:
        return False
    return True


def test_data_is_replaced_by_who_has_seen_what_is_stored(login: Login) -> None:
    row = make(data={"pizzas": 1, "card": 5})
    client = login("view", "view_contents", "change")
    seen = client.get(url(row))
    edited = seen.json()["data"] | {"pizzas": 2}
    answer = send(client, "PATCH", url(row), {"data": edited}, seen["ETag"])
    assert answer.status_code == 200
    assert answer.json()["data"]["pizzas"] == 2
    stored = BotSession.objects.get()
    assert stored.data == {"pizzas": 2, "card": 5}
    assert answer["ETag"] == tag(stored)


def test_secrets_of_two_places_are_not_mixed_up(login: Login) -> None:
    data = {"pizzas": 1, "a.b": {"card": "A"}, "a": {"b": {"card": "B"}}, "name": "[masked: $.x]"}
    row, client = make(data=data), login("view", "view_contents", "change")
    seen = client.get(url(row))
    answer = send(
        client, "PATCH", url(row), {"data": seen.json()["data"] | {"pizzas": 2}}, tag(row)
    )
    assert answer.status_code == 200
    assert BotSession.objects.get().data == data | {"pizzas": 2}


each_change = pytest.mark.parametrize(
    ("method", "action", "data"),
    [
        ("PATCH", "", {"data": {"pizzas": 9}}),
        ("DELETE", "", None),
        ("POST", "expire/", None),
        ("POST", "extend/", {"seconds": 86400}),
    ],
)


@each_change
class TestChanges:
    def test_need_a_state_that_was_seen(
        self, login: Login, method: str, action: str, data: Any
    ) -> None:
        row, client = make(), login(*EVERYTHING)
        for seen in (None, "*", ""):
            answer = send(client, method, url(row, action), data, seen)
            assert answer.status_code == 428
            assert "If-Match" in answer.json()["detail"]
        assert BotSession.objects.get().revision == row.revision

    def test_pass_where_something_on_the_way_compresses_answers(
        self, login: Login, settings: Any, method: str, action: str, data: Any
    ) -> None:
        settings.MIDDLEWARE = ["django.middleware.gzip.GZipMiddleware", *MIDDLEWARE]
        row, client = make(data={"note": "pizza " * 50}), login(*EVERYTHING)
        seen = client.get(url(row), headers={"Accept-Encoding": "gzip"})["ETag"]
        assert seen == f"W/{tag(row)}"
        assert send(client, method, url(row, action), data, seen).status_code < 300

    def test_of_another_state_are_refused_with_the_present_one(
        self, login: Login, method: str, action: str, data: Any
    ) -> None:
        row, client = make(), login(*EVERYTHING)
        answer = send(client, method, url(row, action), data, '"1"')
        assert answer.status_code == 412
        assert answer["ETag"] == tag(row)
        assert answer.json()["session"]["data"] == {"pizzas": 1}
        assert BotSession.objects.get().revision == row.revision

    def test_of_what_changes_at_that_moment_are_refused(
        self, login: Login, method: str, action: str, data: Any, monkeypatch: Any
    ) -> None:
        row, client = make(), login(*EVERYTHING)

        def bot_comes_first(*args: Any) -> Any:
            BotSession.objects.update(revision=1)
            return real(*args)

        real = changing.held
        monkeypatch.setattr(changing, "held", bot_comes_first)
        answer = send(client, method, url(row, action), data, tag(row))
        assert (answer.status_code, answer["ETag"]) == (412, '"1"')
        assert BotSession.objects.get().data == {"pizzas": 1}

    def test_of_what_is_gone_find_nothing(
        self, login: Login, method: str, action: str, data: Any
    ) -> None:
        row = make()
        BotSession.objects.all().delete()
        answer = send(login(*EVERYTHING), method, url(row, action), data, tag(row))
        assert answer.status_code == 404


def test_a_session_that_is_kept_busy_is_for_later(login: Login, monkeypatch: Any) -> None:
    def busy(*args: Any) -> Any:
        raise SessionLockTimeout("Its key was not free.")

    row = make()
    monkeypatch.setattr(changing, "held", busy)
    answer = send(login(*EVERYTHING), "POST", url(row, "expire/"), tag=tag(row))
    assert (answer.status_code, answer.json()) == (503, {"detail": "Its key was not free."})


@each_change
def test_a_session_of_a_bot_that_cannot_be_imported_is_not_changed(
    login: Login, settings: Any, method: str, action: str, data: Any
) -> None:
    settings.BOTSESSIONS["BOTS"]["broken"] = {"SESSION": "nowhere.session", "APPLICATION": print}
    row, client = make(bot="broken"), login("view", "change", "delete", "view_contents")
    answer = send(client, method, url(row, action), data, tag(row))
    assert answer.status_code == 503
    assert answer.json()["detail"].startswith("The bot's settings are wrong: BOTSESSIONS")
    assert BotSession.objects.get().revision == row.revision


def test_a_session_can_be_expired_extended_and_deleted(login: Login) -> None:
    row, client = make(), login("view", "change", "delete")
    answer = send(client, "POST", url(row, "expire/"), tag=tag(row))
    assert (answer.status_code, answer.json()["state"]) == (200, "expired")
    answer = send(client, "POST", url(row, "extend/"), {"seconds": 2 * 86400}, answer["ETag"])
    assert (answer.status_code, answer.json()["state"]) == (200, "live")
    answer = send(client, "DELETE", url(row), tag=answer["ETag"])
    assert answer.status_code == 204
    assert not BotSession.objects.exists()


def test_the_log_says_who_did_what(login: Login) -> None:
    row, client = make(data={"pizzas": 1, "card": "sesame"}), login(*EVERYTHING)
    answer = send(client, "PATCH", url(row), {"data": {"pizzas": 2, "card": "swordfish"}}, tag(row))
    answer = send(client, "POST", url(row, "extend/"), {"seconds": 10**6}, answer["ETag"])
    answer = send(client, "POST", url(row, "extend/"), {"seconds": 1}, answer["ETag"])
    assert client.get(f"{LIST}export/").getvalue()
    answer = send(client, "POST", url(row, "expire/"), None, answer["ETag"])
    send(client, "DELETE", url(row), tag=answer["ETag"])
    send(client, "DELETE", url(row), tag=answer["ETag"])  # It is gone.
    entries = LogEntry.objects.order_by("pk")
    changed, *others = [entry.get_change_message() for entry in entries]
    # PostgreSQL puts names in an order of its own.
    assert changed in ("Changed data.pizzas and data.card.", "Changed data.card and data.pizzas.")
    assert others == [
        "Changed Expires.",
        "Exported.",
        "Changed Expires.",
        "",
    ]
    assert {(e.object_id, e.object_repr) for e in entries} == {
        (str(row.pk), f"Session {row.pk} of shop")
    }
    assert [entry.action_flag for entry in entries] == [2, 2, 2, 2, 3]
    assert {entry.user for entry in entries} == {User.objects.get()}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b'{"data": {"a": NaN}}', "NaN"),
        (b'{"data": ' + b"[" * 40 + b"]" * 40 + b"}", "nested deeper"),
        (b'{"data": ' + b"[" * 600 + b"]" * 600 + b"}", "nested deeper"),
        (b'{"data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested"),
        (b'{"data": "\\u0000"}', "NUL"),
        (b'{"data": null}', "null"),
        (b'{"data": [1]}', "does not fit"),
        (b'{"data": {"card": "[masked: $.card]"}}', "where nothing is stored"),
        (b"{", "JSON"),
        (b"\xff", "JSON"),
        (b'{"data": {"a": 1}, "data": {"a": 2}}', "stands there twice"),
        (b'{"data": {"a": 1, "a": 2}}', "stands there twice"),
        (b'{"other": 1}', "required"),
    ],
)
def test_what_cannot_be_stored_is_refused(login: Login, data: bytes, problem: str) -> None:
    row = make()
    answer = login(*EVERYTHING).patch(
        url(row), data, content_type="application/json", headers={"If-Match": tag(row)}
    )
    assert answer.status_code == 400
    assert problem in answer.content.decode()
    assert BotSession.objects.get().data == {"pizzas": 1}


def test_a_session_of_many_megabytes_is_replaced(login: Login, settings: Any) -> None:
    settings.BOTSESSIONS = settings.BOTSESSIONS | {"MAX_BYTES": 4 * 2**20}
    row, client = make(), login(*EVERYTHING)
    answer = send(client, "PATCH", url(row), {"data": {"note": "x" * 3 * 2**20}}, tag(row))
    assert answer.status_code == 200
    answer = send(client, "PATCH", url(row), {"data": {"note": "x" * 5 * 2**20}}, answer["ETag"])
    assert answer.status_code == 400
    assert "MAX_BYTES" in answer.json()["data"][0]


def test_more_than_any_session_may_hold_is_not_even_parsed(login: Login, settings: Any) -> None:
    settings.BOTSESSIONS = settings.BOTSESSIONS | {"MAX_BYTES": 10}
    row = make()
    answer = send(login(*EVERYTHING), "PATCH", url(row), {"data": "x" * 2000}, tag(row))
    assert answer.status_code == 413


def test_sessions_are_listed_without_their_data(login: Login) -> None:
    make()
    body = login("view").get(LIST).json()
    assert "data" not in body["results"][0]
    assert (body["next"], body["previous"], body["incomplete"]) == (None, None, False)


def follow(client: Client, page: Any, way: str) -> list[list[str]]:
    """Return the keys of a page and of those that it leads to."""
    pages = [page]
    while pages[-1][way]:
        pages.append(client.get(pages[-1][way]).json())
    return [[row["key"] for row in page["results"]] for page in pages]


def of_three_states() -> None:
    """Make sessions of which many end at the same moment, in other orders than the keys'."""
    now = timezone.now()
    for n in range(12):
        ended = now - timedelta(microseconds=n % 2)
        ends = (ended, now + HOUR * (1 + n // 6), None)[n % 3]
        make(str(n), expires_at=ends, title=f"Maria {n}", bot=("shop", "other")[n // 6])


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        ({}, "11 10 9 8 7 6 5 4 3 2 1 0"),
        ({"bot": "other"}, "11 10 9 8 7 6"),
        ({"state": "live"}, "11 8 5 2"),
        ({"state": "soon"}, "10 7 4 1"),
        ({"state": "expired"}, "6 0 9 3"),
        ({"state": "expired", "bot": "shop"}, "0 3"),
        ({"search": "Maria"}, "11 10 9 8 7 6 5 4 3 2 1 0"),
        ({"search": "maria 1"}, "11 10 1"),
        ({"search": "Maria", "state": "expired"}, "9 6 3 0"),
        ({"search": "Maria", "state": "soon", "bot": "other"}, "10 7"),
        ({"search": "nobody"}, ""),
        ({"search": " ", "state": "expired"}, "6 0 9 3"),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_pages_turn_both_ways(login: Login, query: Any, keys: str, size: int) -> None:
    of_three_states()
    client = login("view")
    page = client.get(LIST, query | {"page_size": size}).json()
    pages = follow(client, page, "next")
    assert [key for keys in pages for key in keys] == keys.split()
    assert all(len(keys) == size for keys in pages[:-1])
    while page["next"]:
        page = client.get(page["next"]).json()
    assert follow(client, page, "previous")[::-1] == pages


def test_pages_turn_by_expiry_without_time_zones(login: Login) -> None:
    with override_settings(USE_TZ=False, TIME_ZONE="Asia/Kolkata"):
        of_three_states()
        client = login("view")
        page = client.get(LIST, {"state": "expired", "page_size": 1}).json()
        assert follow(client, page, "next") == [["6"], ["0"], ["9"], ["3"]]


@pytest.mark.parametrize("query", [{}, {"state": "expired"}, {"search": "1*"}])
def test_pages_turn_where_sessions_are_deleted(login: Login, query: Any) -> None:
    now = timezone.now()
    for n in range(10, 20):
        make(str(n), expires_at=now)
    client = login("view")

    def keys(page: Any) -> list[str]:
        return [row["key"] for row in page["results"]]

    def after_deleting(gone: list[str], link: str) -> Any:
        BotSession.objects.filter(key__in=gone).delete()
        return client.get(link).json()

    first = client.get(LIST, query | {"page_size": 3}).json()
    assert keys(first) == ["19", "18", "17"]
    second = after_deleting(["17", "16"], first["next"])
    assert keys(second) == ["15", "14", "13"]
    none = after_deleting(["12", "11", "10"], second["next"])
    assert (keys(none), none["next"]) == ([], None)
    last = client.get(none["previous"]).json()
    assert (keys(last), last["next"]) == (["15", "14", "13"], None)
    none = after_deleting(["19", "18"], last["previous"])
    assert (keys(none), none["previous"]) == ([], None)
    assert keys(client.get(none["next"]).json()) == ["15", "14", "13"]
    none = after_deleting(["15", "14", "13"], none["next"])
    assert none == {"next": None, "previous": None, "results": [], "incomplete": False}


def test_what_changes_while_a_page_is_loaded_hides_nothing(login: Login, monkeypatch: Any) -> None:
    def bot_comes_first(*args: Any) -> Any:
        BotSession.objects.filter(key="1").update(expires_at=None)
        BotSession.objects.filter(key="2").delete()
        return real(*args)

    now = timezone.now()
    for n in range(4):
        make(str(n), expires_at=now - n * HOUR)
    real = pagination.with_keys
    monkeypatch.setattr(pagination, "with_keys", bot_comes_first)
    client = login("view")
    page = client.get(LIST, {"state": "expired", "page_size": 2}).json()
    assert follow(client, page, "next") == [["0"], ["3"]]


def test_a_search_that_finds_too_much_is_marked(login: Login, monkeypatch: Any) -> None:
    monkeypatch.setattr(finding, "LISTED", 5)
    for n in range(6):
        make(f"1{n}", expires_at=timezone.now() + HOUR * (n - 1), title="Maria")
    client = login("view")
    for query in ({"search": "1*"}, {"search": "Maria"}, {"search": "1*", "bot": "shop"}):
        page = client.get(LIST, query | {"page_size": 3}).json()
        assert page["incomplete"] is True
        assert client.get(page["next"]).json()["incomplete"] is True
        assert [len(keys) for keys in follow(client, page, "next")] == [3, 2]
    for query in ({}, {"state": "soon"}, {"search": "12"}, {"search": "1*", "state": "soon"}):
        assert client.get(LIST, query).json()["incomplete"] is False


def test_a_search_that_leaves_out_older_sessions_says_so_and_an_export_does_not(
    login: Login, monkeypatch: Any
) -> None:
    make("a", title="Maria Rossi")
    make("b", title="Anna")
    monkeypatch.setattr(finding, "NEWEST", 1)
    client = login("view", "view_contents", "export")
    page = client.get(LIST, {"search": "rossi"}).json()
    assert (page["results"], page["incomplete"]) == ([], True)
    assert client.get(LIST, {"search": "a"}).json()["incomplete"] is True
    assert client.get(LIST, {"search": "5"}).json()["incomplete"] is False
    lines = b"".join(client.get(f"{LIST}export/", {"search": "rossi"}).streaming_content)
    assert json.loads(lines)["key"] == "a"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"bot": "shop"}, {"a", "b"}),
        ({"name": ""}, {"a", "b", "c"}),
        ({"key": "a"}, {"a"}),
        ({"chat_id": 7}, {"b"}),
        ({"user_id": 8}, {"c"}),
        ({"state": "expired"}, {"b"}),
        ({"version": "behind"}, {"b"}),
        ({"search": "Mar"}, {"a"}),
        ({"search": "7"}, {"b"}),
        ({"bot": "shop", "state": "soon"}, {"a"}),
    ],
)
def test_lists_are_filtered_as_in_the_admin(login: Login, query: Any, found: set[str]) -> None:
    make("a", title="Maria")
    make("b", chat_id=7, expires_at=timezone.now(), version=1)
    make("c", bot="other", user_id=8, expires_at=None)
    answer = login("view").get(LIST, query)
    assert {row["key"] for row in answer.json()["results"]} == found


def test_an_id_takes_no_stranger_along(login: Login) -> None:
    make("424242", chat_id=424242)
    make("4242421337", chat_id=4242421337)
    client = login("view", "view_contents", "export")
    (listed,) = client.get(LIST, {"search": "424242"}).json()["results"]
    (line,) = client.get(f"{LIST}export/", {"search": "424242"}).getvalue().splitlines()
    assert listed["key"] == json.loads(line)["key"] == "424242"
    assert len(client.get(LIST, {"search": "424242*"}).json()["results"]) == 2


@pytest.mark.parametrize(
    "query",
    [{"state": "gone"}, {"chat_id": "x"}, {"chat_id": 2**63}, {"version": "1"}, {"bot": "a\0"}],
)
def test_wrong_filters_are_explained(login: Login, query: Any) -> None:
    answer = login("view").get(LIST, query)
    assert answer.status_code == 400
    assert next(iter(query)) in answer.json()


MISSPELT = ["serach=1", "bot=shop&bot=other", "page=2", "offset=9"]
FILTERS = ["bot", "key", "chat_id", "user_id", "state", "version", "search"]


@pytest.mark.parametrize("query", [*MISSPELT, *(f"{name}=" for name in FILTERS)])
@pytest.mark.parametrize("path", [LIST, f"{LIST}export/"])
def test_a_misspelt_or_empty_filter_returns_nothing_instead_of_everything(
    login: Login, query: str, path: str
) -> None:
    make()
    answer = login("view", "view_contents", "export").get(f"{path}?{query}")
    assert answer.status_code == 400
    assert list(json.loads(answer.content)) == [query.partition("=")[0]]


def test_parameters_that_an_action_does_not_know_are_refused(login: Login) -> None:
    row, client = make(), login(*EVERYTHING)
    for method, path, data in (
        ("GET", url(row) + "?state=live", None),
        ("GET", f"{LIST}export/?page_size=9", None),
        ("DELETE", url(row) + "?force=1", None),
        ("PATCH", url(row), {"data": {"pizzas": 2}, "expires_at": None}),
        ("POST", url(row, "extend/"), {"seconds": 9, "days": 1}),
    ):
        assert send(client, method, path, data, tag(row)).status_code == 400, path
    assert BotSession.objects.get().revision == row.revision
    assert client.get(f"{LIST}?format=json&page_size=5&bot=shop").status_code == 200


@pytest.mark.parametrize("installed", [False, True], ids=["not installed", "installed"])
def test_a_browser_gets_an_answer_whether_the_framework_is_an_app_or_not(
    login: Login, settings: Any, installed: bool
) -> None:
    if installed:
        settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "rest_framework"]
    row = make()
    browser = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
    for client in (login(*EVERYTHING), login(), Client()):
        for path in (LIST, url(row), url(row, "extend/"), f"{LIST}0/", f"{LIST}?state=gone"):
            answer = client.get(path, headers=browser)
            assert answer.status_code < 500
            kind = "text/html" if installed else "application/json"
            assert answer["Content-Type"].startswith(kind)


@pytest.mark.parametrize("query", [{}, {"state": "expired"}, {"search": "1"}])
@pytest.mark.parametrize(
    "cursor",
    [
        *("p=a", "p=%00", "p=", "p=,", "p=1,a", "p=1,2,3", "p=1.5", "o=a&p=1", f"p={'9' * 5000}"),
        *(f"p={10**30}", f"p={10**30},1", f"p=1,{10**30}", f"p=-{10**17},1"),
    ],
)
def test_a_wrong_cursor_is_not_found(login: Login, cursor: str, query: Any) -> None:
    client = login("view")
    encoded = b64encode(cursor.encode()).decode()
    assert client.get(LIST, query | {"cursor": encoded}).status_code == 404
    assert client.get(LIST, query | {"cursor": "x"}).status_code == 404


def test_a_cursor_of_another_order_is_not_found(login: Login) -> None:
    of_three_states()
    client = login("view")
    queries: tuple[Any, ...] = ({}, {"state": "expired"}, {"state": "expired", "search": "Maria"})
    by_key, by_expiry, searched = (
        parse_qs(urlsplit(client.get(LIST, query | {"page_size": 1}).json()["next"]).query)
        for query in queries
    )
    for query, wrong in ((queries[0], by_expiry), (queries[1], by_key), (queries[2], by_expiry)):
        assert client.get(LIST, query | {"cursor": wrong["cursor"]}).status_code == 404
    assert client.get(LIST, {"cursor": searched["cursor"]}).status_code == 200


def test_sessions_are_exported_a_line_each(login: Login) -> None:
    for n in range(3):
        make(str(n), {"card": n}, chat_id=n)
    make("other", bot="other")
    client = login("view", "view_contents", "export")
    with CaptureQueriesContext(connection) as queries:
        answer = client.get(f"{LIST}export/", {"bot": "shop"})
        lines = [json.loads(line) for line in answer.getvalue().splitlines()]
    assert answer["Content-Type"] == "application/x-ndjson"
    assert [line["key"] for line in lines] == ["0", "1", "2"]
    assert lines[1]["data"] == {"card": "[masked: $.card]"}
    assert lines[1]["chat_id"] == 1
    assert len(queries) <= 8  # One of them notes who has taken them away.


@pytest.mark.parametrize("accept", ["application/json", "*/*", "text/html,*/*;q=0.8"])
def test_an_export_is_there_for_every_client_and_an_error_is_none(
    login: Login, accept: str
) -> None:
    make("5")
    headers, path = {"Accept": accept}, f"{LIST}export/"
    answer = login("view", "view_contents", "export").get(path, headers=headers)
    assert answer["Content-Type"] == "application/x-ndjson"
    assert [json.loads(line)["key"] for line in answer.getvalue().splitlines()] == ["5"]
    for query, client, status in (("", login("view"), 403), ("?x=1", login(*EVERYTHING), 400)):
        answer = client.get(path + query, headers=headers)
        assert (answer.status_code, answer["Content-Type"]) == (status, "application/json")
        assert "Content-Disposition" not in answer


def test_an_export_holds_few_sessions_in_memory(login: Login, monkeypatch: Any) -> None:
    monkeypatch.setattr(exporting, "BATCH_SIZE", 3)
    monkeypatch.setattr(exporting, "MOST_BYTES", 20)
    for n in range(8):
        make(str(n), size=9)
    make("big", size=100)
    parts = [[row.key for row in part] for part in in_parts(BotSession.objects.all())]
    assert parts == [["0", "1"], ["2"], ["3", "4"], ["5"], ["6", "7"], ["big"]]


@pytest.mark.parametrize(
    ("permissions", "allowed"),
    [
        ((), set()),
        (("view_contents", "change", "delete", "export"), set()),
        (("view",), {"list", "retrieve"}),
        (("view", "view_contents"), {"list", "retrieve"}),
        (("view", "change"), {"list", "retrieve", "expire", "extend"}),
        (("view", "delete"), {"list", "retrieve", "delete"}),
        (("view", "export"), {"list", "retrieve"}),
        (("view", "view_contents", "export"), {"list", "retrieve", "export"}),
        (("view", "view_contents", "change"), {"list", "retrieve", "expire", "extend", "change"}),
        (EVERYTHING, {"list", "retrieve", "expire", "extend", "change", "delete", "export"}),
    ],
)
def test_each_verb_has_its_permission(
    login: Login, permissions: tuple[str, ...], allowed: set[str]
) -> None:
    client = login(*permissions)
    done = set()
    for name, method, action, data in (
        ("change", "PATCH", "", {"data": {"pizzas": 2}}),
        ("expire", "POST", "expire/", None),
        ("extend", "POST", "extend/", {"seconds": 10**6}),
        ("delete", "DELETE", "", None),
    ):
        row = make(name)
        before = tag(row)
        answer = send(client, method, url(row, action), data, before)
        now = BotSession.objects.filter(pk=row.pk, revision=row.revision).exists()
        assert now == (answer.status_code == 403), name
        if answer.status_code != 403:
            done.add(name)
    row = make("read")
    for name, path in (("list", LIST), ("retrieve", url(row)), ("export", f"{LIST}export/")):
        if client.get(path, headers={"Accept": "*/*"}).status_code == 200:
            done.add(name)
    assert done == allowed


@pytest.mark.parametrize(
    "query",
    [
        *({}, {"bot": "shop"}, {"state": "live"}, {"state": "soon"}, {"version": "behind"}),
        *({"search": "1"}, {"search": "Maria"}, {"search": "Maria", "state": "soon"}),
    ],
)
def test_a_page_of_a_list_costs_six_statements_and_one_where_it_looks_for_words(
    login: Login, query: Any
) -> None:
    soon, later = timezone.now() + HOUR, timezone.now() + 30 * HOUR
    for n in range(12):
        make(f"1/{n}", chat_id=1, title="Maria", version=1, expires_at=(soon, later)[n % 2])
    client = login("view")
    link = LIST + "?" + urlencode(query | {"page_size": 4})
    for _page in range(2):
        with CaptureQueriesContext(connection) as queries:
            page = client.get(link).json()
        assert len(queries) == 6 + (query.get("search") == "Maria")
        statements = " ".join(query["sql"] for query in queries)
        assert not any(word in statements for word in ('"data"', "`data`", "OFFSET"))
        assert page["results"]
        link = page["next"]


@pytest.mark.parametrize("size", ["abc", "0", "-1", "", "1.5"])
def test_a_page_size_that_is_none_is_refused(login: Login, size: str) -> None:
    answer = login("view").get(LIST, {"page_size": size})
    assert answer.status_code == 400
    assert list(answer.json()) == ["page_size"]


def test_the_largest_page_costs_no_more_statements(login: Login) -> None:
    BotSession.objects.bulk_create(BotSession(bot="shop", key=str(n), data={}) for n in range(1001))
    client = login("view")
    with CaptureQueriesContext(connection) as queries:
        assert len(client.get(LIST, {"page_size": 9999}).json()["results"]) == 1000
    assert len(queries) == 6


def test_reading_a_session_costs_five_statements(login: Login) -> None:
    row, client = make(), login("view", "view_contents")
    with CaptureQueriesContext(connection) as queries:
        client.get(url(row))
    assert len(queries) == 5


def test_an_asynchronous_server_sends_an_export_while_it_is_made(login: Login) -> None:
    async def parts(cookies: Any) -> list[bytes]:
        client = AsyncClient()
        client.cookies = cookies
        answer = await client.get(f"{LIST}export/")
        assert answer.is_async
        return [part async for part in answer.streaming_content]

    make("1")
    (part,) = async_to_sync(parts)(login("view", "view_contents", "export").cookies)
    assert json.loads(part)["key"] == "1"


@pytest.mark.parametrize("package", ["rest_framework", "drf_spectacular"])
def test_without_its_packages_it_says_what_to_install(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(sys.modules):
        if name == "botsessions.api.urls" or name.startswith(f"{package}."):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImproperlyConfigured, match=r"pip install 'django-botsessions\[api\]'"):
        importlib.import_module("botsessions.api.urls")
