"""The page of a session in the admin."""

from __future__ import annotations

import html
import json
import re
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from botsessions import enhance_storage, session
from botsessions.admin.tree import tree
from botsessions.database.lease import lease_key
from botsessions.masking import has_masks
from botsessions.models import BotSession, BotSessionLease, HistoryEntry
from botsessions.persistence.packing import packed
from botsessions.storages import Address

from .sessions import LIST, make, staff, url

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
MOST_STATEMENTS = 8


@dataclass
class Basket:
    pizzas: int = 0
    notes: list[str] = field(default_factory=list)


@pytest.fixture(autouse=True)
def bots(settings: Any) -> None:
    declared = session(initial=Basket, storage=enhance_storage(migrations={2: lambda old: old}))
    failing = session(data_type=Unreadable)
    settings.BOTSESSIONS = {
        "BOTS": {
            "default": {"SESSION": session(), "APPLICATION": print},
            "shop": {"SESSION": declared, "APPLICATION": print},
            "broken": {"SESSION": "nowhere.session", "APPLICATION": print},
            "failing": {"SESSION": failing, "APPLICATION": print},
        },
        "MASKED_FIELDS": ["pin"],
    }


@dataclass
class Unreadable:
    a: int = 0

    def __post_init__(self) -> None:
        raise RuntimeError("sesame")


@pytest.fixture
def reader(client: Client) -> Client:
    client.force_login(staff("view", "view_contents"))
    return client


def page(client: Client, row: BotSession) -> str:
    response = client.get(url("change", row))
    assert response.status_code == 200, response
    return html.unescape(response.content.decode())


def test_it_tells_the_facts(reader: Client) -> None:
    row = make(
        *("k", {"pizzas": 1}, "shop"),
        version=Decimal(2),
        chat_id=-42,
        user_id=5,
        title="Maria",
        expires_at=timezone.now() + 50 * HOUR,
    )
    text = page(reader, row)
    for fact in ("Maria", "User 5 in chat -42", "shop", "2 (current)", "in 2 days", "Live"):
        assert fact in text
    assert str(row.revision) in text


def test_data_is_a_tree_that_folds(reader: Client) -> None:
    text = page(reader, make(data={"a": {"b": [1, None, True]}, "long": "x" * 300}))
    assert "<details" in text
    assert ">300 characters<" in text
    assert '<span class="bs-number">1</span>' in text
    assert "style=" not in text.split('id="content-main"')[1]
    assert "<script>" not in text


def test_it_costs_few_statements(reader: Client, settings: Any) -> None:
    for user in range(9):
        make(user, chat_id=-42, user_id=user)
    row = make("k", chat_id=-42, user_id=5)
    page(reader, row)
    with CaptureQueriesContext(connection) as queries:
        page(reader, row)
    assert len(queries) <= MOST_STATEMENTS
    bots = settings.BOTSESSIONS["BOTS"]
    bots["default"] = {"SESSION": session(), "APPLICATION": print, "LOCK": "database"}
    settings.BOTSESSIONS = {"BOTS": bots}
    changed_by(row, f"admin:{staff('change').pk}")
    for path in ("change", "recent"):
        reader.get(url(path, row))
        with CaptureQueriesContext(connection) as queries:
            text = reader.get(url(path, row)).content.decode()
        assert len(queries) <= MOST_STATEMENTS, path
    assert "staff1 in the admin" in text


def changed_by(row: BotSession, *people: str) -> None:
    """Note that people have changed a session, the last of them to what it is now."""
    for n, by in enumerate([*people, people[-1]]):
        HistoryEntry.objects.create(
            table=row._meta.db_table,
            session_id=row.pk,
            revision=row.revision if n == len(people) else n,
            data=json.dumps({"pizza_count": n}),
            size=20,
            at=timezone.now(),
            by=by,
        )


def test_other_sessions_of_the_chat_and_of_the_user_are_named(reader: Client) -> None:
    for user in range(9):
        make(user, chat_id=-42, user_id=user, title=f"member {user}")
    for n in range(3):
        make(f"of-{n}", chat_id=-100 - n, user_id=5, title=f"elsewhere {n}")
    text = page(reader, make("k", chat_id=-42, user_id=5))
    of_chat, of_user = text.split("bs-others-1")[-1].split("bs-others-2")[-2:]
    assert [f"member {n}" for n in range(9) if f"member {n}<" in text] == [
        *("member 4", "member 5", "member 6", "member 7", "member 8")
    ]
    for title in ("elsewhere 0", "elsewhere 1", "elsewhere 2", "member 5"):
        assert f"{title}<" in of_user
    assert "elsewhere" not in of_chat
    assert "Other sessions of" not in page(reader, make("alone"))


@pytest.mark.parametrize(
    ("bot", "data", "version", "told"),
    [
        ("shop", {"pizzas": "many"}, 2, "$.pizzas does not fit Basket: Expected `int`"),
        ("shop", {"a": 1}, 3, "has version 3, which this code does not know"),
        ("shop", {"a": 1}, 1, "The bot migrates it to 2"),
        ("default", {"a": 1}, 1, "has version 1, which this code does not know"),
        ("gone", {"a": 1}, None, "The settings know no bot “gone”"),
        ("broken", {"a": 1}, None, "The bot's settings are wrong"),
        ("failing", {"a": 1}, None, "The bot cannot read this data"),
    ],
)
def test_what_the_bot_cannot_read_is_explained(
    reader: Client, bot: str, data: Any, version: int | None, told: str
) -> None:
    text = page(reader, make("k", data, bot, version=version))
    assert told in text
    assert "sesame" not in text
    assert "bs-tree" in text


@pytest.mark.skipif(connection.vendor == "mysql", reason="MariaDB refuses such JSON itself.")
@pytest.mark.parametrize("stored", ["[" * 3000 + "]" * 3000, "9" * 5000], ids=["depth", "digits"])
def test_json_that_python_cannot_read_is_explained(reader: Client, stored: str) -> None:
    row = make()
    store(row, stored)
    text = page(reader, row)
    assert "no JSON that Python can read" in text
    assert stored in text
    assert "</span> Unreadable</span>" in text
    assert reader.get(url("data", row)).status_code == 404
    reader.force_login(staff("change", "view_contents"))
    assert "no JSON that Python can read" in page(reader, row)
    editor = reader.get(url("edit", row))
    assert f">\n{stored}</textarea>" in editor.content.decode()
    form = {"text": '{"mended": true}', "revision": row.revision}
    assert reader.post(url("edit", row), form).url == url("change", row)
    row.refresh_from_db()
    assert row.data == {"mended": True}


@pytest.mark.skipif(connection.vendor == "mysql", reason="MariaDB refuses such JSON itself.")
@pytest.mark.parametrize("name", ["pin", r"p\u0069n"])
def test_what_cannot_be_masked_is_not_shown_nor_edited(reader: Client, name: str) -> None:
    row = make()
    store(row, f'{{"{name}": "sesame", "n": {"9" * 5000}}}')
    reader.force_login(staff("change", "view_contents"))
    text = page(reader, row)
    assert "sesame" not in text
    assert "[masked]" in text or connection.vendor == "postgresql"
    assert url("edit", row) not in text
    assert reader.get(url("edit", row)).url == url("change", row)


@pytest.mark.parametrize(
    ("bot", "data", "version"),
    [("shop", {"pizzas": "many"}, 2), ("shop", {"a": 1}, 3), ("failing", {"a": 1}, None)],
)
def test_what_the_bot_refuses_is_nowhere_called_live(
    reader: Client, bot: str, data: Any, version: int | None
) -> None:
    row = make("k", data, bot, version=version, chat_id=-42)
    make("other", chat_id=-42, bot="gone")
    reader.force_login(staff("change", "view_contents"))
    for address in (LIST, url("change", row), url("operation", row, "expire")):
        shown = html.unescape(reader.get(address).content.decode())
        assert "bs-refused" in shown, address
        assert shown.count("bs-live") <= 1, address  # That of the other one.


def test_without_permission_to_see_contents_nobody_looks_into_them(reader: Client) -> None:
    row = make("k", {"pizzas": "many"}, "shop", version=2)
    newer = make("newer", {}, "shop", version=3)
    reader.force_login(staff("view"))
    assert "bs-live" in page(reader, row)
    assert "bs-refused" in page(reader, newer)


def store(row: BotSession, stored: str) -> None:
    table = BotSession._meta.db_table
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA ignore_check_constraints = ON")
        cursor.execute(f"UPDATE {table} SET data = %s WHERE id = %s", [stored, row.pk])  # noqa: S608
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA ignore_check_constraints = OFF")


@pytest.mark.skipif(connection.vendor != "sqlite", reason="Other databases refuse it.")
def test_a_lone_surrogate_is_shown_as_its_escape(reader: Client) -> None:
    row = make()
    store(row, r'{"a\ud800": "\udfff"}')
    assert r"\udfff" in page(reader, row)
    assert reader.get(url("data", row)).status_code == 200


def test_what_has_expired_is_marked_and_not_shown(reader: Client) -> None:
    row = make(data={"secret": "sesame"}, expires_at=timezone.now())  # D3
    text = page(reader, row)
    assert "Expired" in text
    assert "This session has expired" in text
    assert "sesame" not in text
    assert reader.get(url("data", row)).status_code == 404


def test_masked_fields_are_hidden_at_any_depth(reader: Client) -> None:
    row = make(data={"user": [{"pin": {"old": "sesame"}}], "pin": "sesame", "name": "Maria"})
    text = page(reader, row)
    assert "Maria" in text
    assert text.count(">hidden<") == 2
    raw = reader.get(url("data", row)).content.decode()
    assert json.loads(raw)["name"] == "Maria"
    assert "sesame" not in text + raw


def test_data_that_another_program_has_nested_deeply_are_no_error() -> None:
    for depth, with_names in ((400, "nested too deeply"), (600, "hidden")):
        value: Any = {"pin": "sesame"}
        for _ in range(depth):
            value = [value]
        assert "nested too deeply" in tree(value)
        assert with_names in tree(value, ["pin"])
        assert has_masks(value, ["pin"])
        assert not has_masks(value, [])


def test_masked_fields_of_a_users_data_are_hidden_whatever_holds_them(reader: Client) -> None:
    kept = {5: "cart", "pin": "sesame", "login": OrderedDict(pin="sesame", name="Maria")}
    row = make(name="ptb:user_data", data=packed(kept))
    text = page(reader, row)
    assert "Maria" in text
    assert text.count(">hidden<") == 2
    raw = reader.get(url("data", row)).content.decode()
    assert "sesame" not in text + raw


def test_without_contents_nothing_is_shown(client: Client) -> None:
    client.force_login(staff("view"))
    row = make("k", {"name": "Maria"}, "shop", version=Decimal(2))
    with CaptureQueriesContext(connection) as queries:
        text = page(client, row)
    assert "You may not see what is stored." in text
    assert "Maria" not in text
    assert not any('"data"' in q["sql"] or "`data`" in q["sql"] for q in queries)
    assert client.get(url("data", row)).status_code == 403


def test_it_links_to_other_sessions_of_chat_and_user(reader: Client) -> None:
    row = make("a", chat_id=-42, user_id=5)
    group, private = make("b", chat_id=-42), make("c", chat_id=5, chat_type="private")
    make("d", chat_id=-4)
    text = page(reader, row)
    assert "Other sessions of this chat" in text
    assert "Other sessions of this user" in text
    assert f'href="{url("change", group)}"' in text
    assert f'href="{url("change", private)}"' in text
    assert "?of=chat:-42" in text
    assert "?of=user:5" in text
    assert "Other sessions" not in page(reader, make("e", chat_id=77))


def test_a_session_that_is_gone_leads_to_the_list(reader: Client) -> None:
    row = make()
    for where in (url("change", row), "/admin/botsessions/botsession/nonsense/change/"):
        BotSession.objects.all().delete()
        response = reader.get(where, follow=True)
        assert "There is no session with the ID" in response.content.decode()


def test_the_page_changes_nothing(admin_client: Client) -> None:
    row = make()
    assert admin_client.post(url("change", row), {"data": "{}"}).status_code == 405
    row.refresh_from_db()
    assert row.data == {"pizza_count": 1}


def test_letters_that_nobody_sees_are_escapes(reader: Client) -> None:
    row = make(data={"": 7, "a\u202e": "b\u200bc\u0007"}, chat_id=5, title="\u202eevil")
    text = page(reader, row)
    assert '<span class="bs-name">""</span>' in text
    for escaped in ("a\\u202e", "b\\u200bc\\u0007", "\\u202eevil"):
        assert escaped in text
    assert "\u202e" not in text


@pytest.mark.parametrize("title", ["", "   ", "\u2800\u2800", "\u200b\u3164"])
def test_a_title_that_nobody_sees_is_none(reader: Client, title: str) -> None:
    make("424242", chat_id=424242, title=title)
    listed = reader.get(LIST).content.decode()
    assert '<span class="bs-title">424242</span>' in listed


def test_a_long_title_is_cut_where_there_is_no_place_for_it(reader: Client) -> None:
    row = make("5", chat_id=5, title="x" * 255)
    assert f">{'x' * 80}…<" in reader.get(LIST).content.decode()
    text = page(reader, row)
    assert f"<h1>{'x' * 255}</h1>" in text
    assert "x" * 81 not in text.split("</ol>")[0].split("</title>")[1]


def test_topics_and_bots_are_told_apart(reader: Client) -> None:
    rows = [make(f"-42/{topic}", chat_id=-42, chat_type="supergroup") for topic in (7, 9)]
    other = make("-42", bot="shop", chat_id=-42, chat_type="supergroup")
    assert "Supergroup -42, topic 7 · default" in page(reader, rows[0])
    assert "Supergroup -42, topic 9" in page(reader, rows[0])
    assert "Supergroup -42 · shop" in page(reader, other)


def test_types_and_moments_explain_values(reader: Client) -> None:
    text = page(
        reader, make("k", {"pizzas": 1, "notes": ["a"], "at": "2026-01-02T03:04:05Z"}, "shop")
    )
    assert '<span class="bs-note">int</span>' in text
    assert '<span class="bs-note">str</span>' in text
    assert 'datetime="2026-01-02T03:04:05+00:00"' in text


@pytest.mark.parametrize(
    ("zone", "moment"),
    [
        ("Europe/Berlin", "9999-12-31T23:59:00+00:00"),
        ("America/New_York", "0001-01-01T00:01:00+00:00"),
    ],
)
def test_moments_that_have_no_date_in_the_time_zone_are_shown(
    client: Client, settings: Any, zone: str, moment: str
) -> None:
    settings.TIME_ZONE = zone
    client.force_login(User.objects.create_superuser("boss"))
    when = datetime.fromisoformat(moment)
    ends = when if when.year > 1 else None
    row = make("k", {"at": moment}, created_at=when, updated_at=when, expires_at=ends)
    assert f'datetime="{moment}"' in page(client, row)
    for path in (LIST, f"{LIST}overview/", url("past", row), url("recent", row)):
        assert client.get(path).status_code == 200, path
    answer = client.get("/api/sessions/").json()
    assert answer["results"][0]["created_at"] == moment.replace("+00:00", "Z")


def one(client: Client, row: BotSession, path: str, value: str, opened: Any, kind: str) -> Any:
    form = {"path": path, "value": value, "opened": json.dumps(opened), "kind": kind}
    return client.post(url("value", row), form)


def test_a_single_value_is_edited(reader: Client) -> None:
    row = make(data={"a": [{"b": "old"}], "n": 1, "yes": True, "pin": "sesame"})
    reader.force_login(staff("change", "view_contents"))
    assert f"{url('value', row)}?path=%24.a%5B0%5D.b" in page(reader, row)
    asked = reader.get(url("value", row), {"path": "$.a[0].b", "part": "1"}).content.decode()
    assert ">\nold</textarea>" in asked
    assert "<html" not in asked
    assert one(reader, row, "$.a[0].b", 'new "b"', "old", "text").url == url("change", row)
    BotSession.objects.filter(pk=row.pk).update(revision=5)  # It is of another value.
    assert one(reader, row, "$.n", "[2]", 1, "json").status_code == 302
    assert one(reader, row, "$.yes", "false", True, "truth").status_code == 302
    row.refresh_from_db()
    assert row.data == {"a": [{"b": 'new "b"'}], "n": [2], "yes": False, "pin": "sesame"}


@pytest.mark.parametrize(
    ("path", "value", "opened", "told"),
    [
        ("$.pizzas", "many", 1, "this is no JSON"),
        ("$.pizzas", '"many"', 1, "$.pizzas does not fit Basket"),
        ("$.pizzas", "3", 2, "It was changed meanwhile"),
    ],
)
def test_a_value_that_cannot_be_saved_stays_to_be_mended(
    reader: Client, path: str, value: str, opened: Any, told: str
) -> None:
    row = make("k", {"pizzas": 1}, "shop", version=2)
    reader.force_login(staff("change", "view_contents"))
    answer = html.unescape(one(reader, row, path, value, opened, "json").content.decode())
    assert told in answer
    row.refresh_from_db()
    assert row.data == {"pizzas": 1}


@pytest.mark.parametrize(
    "path", [r'$["\x"]', r'$["\u12"]', '$["a\nb"]', f"$[{'1' * 5000}]", "$.a[7]", "nonsense"]
)
def test_a_path_that_cannot_be_read_leads_to_no_value(reader: Client, path: str) -> None:
    row = make(data={"a": [1]})
    reader.force_login(staff("change", "view_contents"))
    asked = reader.get(url("value", row), {"path": path})
    assert (asked.status_code, asked.url) == (302, url("change", row))
    assert one(reader, row, path, "1", 1, "json").status_code in (200, 302)


def test_what_was_typed_stays_beside_what_is_stored_since(reader: Client) -> None:
    row = make(data={"note": "theirs"})
    reader.force_login(staff("change", "view_contents"))
    answer = html.unescape(one(reader, row, "$.note", "mine", "old", "text").content.decode())
    assert "It was changed meanwhile" in answer
    assert '<code class="bs-json">"theirs"</code>' in answer
    assert ">\nmine</textarea>" in answer
    (opened,) = re.findall(r'name="opened" value="("theirs")"', answer)
    assert one(reader, row, "$.note", "mine", json.loads(opened), "text").status_code == 302
    row.refresh_from_db()
    assert row.data == {"note": "mine"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("delete", "The session was deleted meanwhile. Nothing was saved."),
        ("expire", "The session has expired meanwhile. Nothing was saved."),
        ("drop", "There is no value at $.note (any more)."),
    ],
)
def test_what_was_typed_stays_when_there_is_no_such_value_any_more(
    reader: Client, change: str, told: str
) -> None:
    row = make(data={"note": "old"})
    reader.force_login(staff("change", "view_contents"))
    rows = BotSession.objects.filter(pk=row.pk)
    if change == "delete":
        rows.delete()
    else:
        rows.update(**({"expires_at": timezone.now()} if change == "expire" else {"data": {}}))
    answer = one(reader, row, "$.note", "mine", "old", "text")
    assert answer.status_code == 200
    text = html.unescape(answer.content.decode())
    assert told in text
    assert ">\nmine</textarea>" in text


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"value": "a\0b"}, "Value: Null characters are not allowed."),
        ({"opened": ""}, "Opened: This field is required."),
    ],
)
def test_a_form_that_is_no_form_is_told_what_is_wrong(
    reader: Client, changed: Any, told: str
) -> None:
    row = make(data={"note": "old"})
    reader.force_login(staff("change", "view_contents"))
    form = {"path": "$.note", "value": "new", "opened": '"old"', "kind": "text"}
    text = reader.post(url("value", row), form | changed).content.decode()
    assert told in text


@pytest.mark.parametrize(("letter", "count"), [("ж", 230_000), ("a", 2_000_000)])
def test_a_large_value_is_edited_in_its_place(settings: Any, letter: str, count: int) -> None:
    letters = letter * count
    settings.BOTSESSIONS = settings.BOTSESSIONS | {"MAX_BYTES": 4 * 2**20}
    row = make(data={"note": letters})
    reader = Client(enforce_csrf_checks=True)
    reader.force_login(staff("change", "view_contents"))
    reader.get(url("value", row), {"path": "$.note"})
    form = {"path": "$.note", "value": f"{letters}!", "opened": f'"{letters}"', "kind": "text"}
    kind = "application/x-www-form-urlencoded"
    refused = reader.post(url("value", row), urlencode(form), content_type=kind)
    assert refused.status_code == 403
    form["csrfmiddlewaretoken"] = reader.cookies["csrftoken"].value
    answer = reader.post(url("value", row), urlencode(form), content_type=kind)
    assert (answer.status_code, answer.url) == (302, url("change", row))
    row.refresh_from_db()
    assert row.data == {"note": f"{letters}!"}


@pytest.mark.parametrize("theirs", [5, None, True, {"a": 1}])
def test_what_was_typed_stays_beside_what_is_no_text_any_more(reader: Client, theirs: Any) -> None:
    row = make(data={"note": theirs})
    reader.force_login(staff("change", "view_contents"))
    answer = html.unescape(one(reader, row, "$.note", "mine", "old", "text").content.decode())
    assert "It was changed meanwhile" in answer
    assert ">\nmine</textarea>" in answer


def test_text_with_line_ends_that_a_form_would_change_is_edited_as_json(reader: Client) -> None:
    row = make(data={"note": "a\r\nb"})
    reader.force_login(staff("change", "view_contents"))
    asked = reader.get(url("value", row), {"path": "$.note"}).content.decode()
    assert r"&quot;a\r\nb&quot;</textarea>" in asked
    assert 'name="kind" value="json"' in asked
    one(reader, row, "$.note", r'"a\r\nb!"', "a\r\nb", "json")
    row.refresh_from_db()
    assert row.data == {"note": "a\r\nb!"}


def test_text_that_turns_the_line_round_is_edited_as_json(reader: Client) -> None:
    row = make(data={"note": "ab\u202ecd\n"})
    reader.force_login(staff("change", "view_contents"))
    asked = html.unescape(reader.get(url("value", row), {"path": "$.note"}).content.decode())
    assert "\u202e" not in asked
    (shown,) = re.findall(r">\n(.*)</textarea>", asked)
    assert json.loads(shown) == row.data["note"]
    assert one(reader, row, "$.note", shown, row.data["note"], "json").status_code == 302
    assert BotSession.objects.get().revision == row.revision


@pytest.mark.parametrize("path", ["", "$.gone", "$.pizzas[0]", "nonsense", "$.pizzas x", "$[9]"])
def test_a_path_that_leads_nowhere_leads_to_the_session(reader: Client, path: str) -> None:
    row = make(data={"pizzas": 1})
    reader.force_login(staff("change", "view_contents"))
    assert reader.get(url("value", row), {"path": path}).url == url("change", row)


def test_the_revision_is_told(reader: Client) -> None:
    row = make()
    assert reader.get(url("revision", row)).content.decode() == str(row.revision)
    gone = url("revision", row)
    row.delete()
    assert reader.get(gone).content == b""


@pytest.mark.once
class TestTree:
    def test_many_items_are_grouped(self) -> None:
        text = tree(list(range(120)))
        assert "<summary>0 – 49</summary>" in text
        assert "<summary>100 – 119</summary>" in text

    def test_the_number_of_nodes_is_bounded(self) -> None:
        text = tree({str(n): list(range(200)) for n in range(200)})
        assert text.count("bs-leaf") < 2100
        assert "more are not shown" in text

    def test_depth_is_bounded(self) -> None:
        value: Any = 1
        for _ in range(200):
            value = [value]
        assert "nested too deeply" in tree(value)

    def test_markup_in_names_and_values_is_text(self) -> None:
        text = tree({"<script>": ["<script>", "<script>" * 100]})
        assert "<script>" not in text
        assert "&lt;script&gt;" in text

    def test_values_of_every_kind(self) -> None:
        text = tree({"a": None, "b": 1.5, "c": {}, "d": [], "e": "ä", "f": 0, "": 7})
        for shown in ("null", "1.5", "{}", "[]", "&quot;ä&quot;", ">7<"):
            assert shown in text

    @pytest.mark.parametrize("value", [0, "", None, [], "text", False])
    def test_data_need_be_no_object(self, value: Any) -> None:
        assert "bs-leaf" in tree(value)


def test_it_says_for_how_long_a_handler_holds_the_key(reader: Client, settings: Any) -> None:
    bots = settings.BOTSESSIONS["BOTS"]
    bots["default"] = {"SESSION": session(), "APPLICATION": print, "LOCK": "database"}
    settings.BOTSESSIONS = {"BOTS": bots}
    row, now = make("1"), round(time.time() * 1000)
    key, numbers = lease_key(Address("default", "", "1")), dict.fromkeys(LEASE_NUMBERS, 0)
    BotSessionLease.objects.create(
        id=key, holder=7, ends_at=now + 60_000, held_since=now - 40_000, **numbers
    )
    page = reader.get(url("change", row)).content.decode()
    assert re.search(r"by running code, for 4\d s", page)
    for unknown in (0, -(2**63)):
        BotSessionLease.objects.update(held_since=unknown)
        assert "by running code, for ?" in reader.get(url("change", row)).content.decode()
    for changes in ({"holder": 0}, {"holder": 7, "ends_at": now - 60_000}):
        BotSessionLease.objects.update(**changes)
        assert "by running code" not in reader.get(url("change", row)).content.decode()


LEASE_NUMBERS = ("drawn", "served", "passed")


def test_what_a_persistence_alone_keeps_is_known(admin_client: Client, settings: Any) -> None:
    settings.BOTSESSIONS = {"BOTS": {"kept": {"PERSISTENCE": True, "APPLICATION": print}}}
    row = make("5", {"a": 1}, bot="kept", name="ptb:user_data")
    assert "The settings know no bot" not in page(admin_client, row)
    assert "The settings know no bot" in page(admin_client, make("6", bot="gone"))
