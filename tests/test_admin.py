"""The list of sessions in the admin."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urljoin

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from botsessions import enhance_storage, finding, multi_session, session
from botsessions.admin import changelist, filters, ranges, sorting
from botsessions.admin.contents import note_failures
from botsessions.models import BotSession, Incident
from botsessions.persistence import BotPersistence

from .sessions import LIST, make, staff, total, url

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


@pytest.mark.parametrize("key", ["", "  "])
def test_a_session_whose_key_is_blank_has_a_link_that_people_see(viewer: Client, key: str) -> None:
    row = make(key)
    assert f'href="{url("change", row)}"><span class="bs-title">“{key}”</span>' in html(viewer)


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
    assert total(html(viewer)) == "60 sessions"
    monkeypatch.setattr(changelist, "COUNTED", 55)
    assert total(html(viewer, "?bot=default")) == "more than 55 sessions"
    monkeypatch.setattr(changelist, "estimate", lambda sessions: 2_000_123)
    assert total(html(viewer)) == "≈ 2,000,123 sessions"
    viewer.force_login(staff("view", "delete"))
    page = html(viewer)
    assert "Select all ≈ 2,000,123 sessions" in page
    assert "All ≈ 2,000,123 selected" in page


def test_a_key_with_braces_is_no_pattern(client: Client) -> None:
    client.force_login(staff("view", "delete"))
    for key in ("{0}", "{name}", "{"):
        make(key)
    page = html(client)
    for key in ("{0}", "{name}", "{"):
        assert f'Select this object for an action - default:{key}"' in page


def test_what_an_index_finds_is_listed_up_to_a_bound(viewer: Client, monkeypatch: Any) -> None:
    now = timezone.now()
    for n in range(60):
        make(n, title=f"s{n}", expires_at=now - n * HOUR)
    assert total(html(viewer, "?state=expired")) == "60 sessions"
    assert len(shown(html(viewer, "?state=expired&p=oldest"))) == 50
    monkeypatch.setattr(finding, "LISTED", 5)
    page = html(viewer, "?state=expired")
    assert shown(page) == ["s4", "s3", "s2", "s1", "s0"]
    assert total(page) == "more than 5 sessions"
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


DIGITS = "9" * 5000


@pytest.mark.parametrize(
    "address",
    [
        *(f"?of={kind}:{sign}{DIGITS}" for kind in ("chat", "user") for sign in ("", "-")),
        *(f"?{name}={value}" for name in ("q", "bot", "fragment") for value in ("%00", DIGITS)),
        *("?key=%00", "?title__lt=%00", f"?chat_id={DIGITS}", f"?size__gte={DIGITS}"),
        *("?title__regex=(", "?title__iregex=(", "?size__range=1", "?created_at__gte=x"),
        *(f"?created_at__{year}" for year in ("year=0", "year__gte=99999999999", "iso_year=-1")),
        *("?chat_id__in=1,9223372036854775808", "?created_from=0001-01-01", "?size__in=-x"),
        *("?version__gte=nan", "?version=1e999999", f"?id__in={DIGITS}", "?title__isnull=x"),
        *(f"?p={turn}-{key}" for turn in ("older", "newer") for key in (DIGITS, "%00")),
        *(f"?{name}={DIGITS}" for name in ("size_from", "exact_version", "created_from")),
        *(f"activity/?{name}={value}" for name in ("who", "before") for value in ("%00", DIGITS)),
        *(f"{DIGITS}/change/", "%00/change/", "{}/history/?before=" + DIGITS),
        *(f"../incident/?{query}" for query in ("bot=%00", "q=%00", "error__regex=(")),
        f"../incident/?count={DIGITS}",
    ],
)
def test_an_address_that_makes_no_sense_breaks_nothing(client: Client, address: str) -> None:
    user = staff("view")
    user.user_permissions.add(Permission.objects.get(codename="view_incident"))
    client.force_login(user)
    row = make()
    Incident.objects.create(bot="default", key="1", kind="data")
    answer = client.get(urljoin(LIST, address.format(row.pk)))
    assert answer.status_code in (200, 302, 400)


def test_lists_are_narrowed_by_comparing(viewer: Client) -> None:
    make("1", title="group", chat_id=-5)
    make("2", title="user", chat_id=5)
    assert shown(html(viewer, "?chat_id__gte=1")) == ["user"]
    assert shown(html(viewer, "?chat_id__in=-5,7")) == ["group"]
    assert shown(html(viewer, "?key__exact=1")) == ["group"]


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


def test_sessions_are_put_in_orders(viewer: Client) -> None:
    now = timezone.now()
    for n, (size, changed, ends) in enumerate([(5, 3, 2), (700, 1, None), (90, 2, 1)]):
        ends_at = ends and now + ends * HOUR
        changed_at = now - changed * HOUR
        row = make(n, title=f"s{n}", expires_at=ends_at, updated_at=changed_at)
        BotSession.objects.filter(pk=row.pk).update(size=size)
    orders = {
        "": ["s2", "s1", "s0"],
        "oldest": ["s0", "s1", "s2"],
        "changed": ["s1", "s2", "s0"],
        "largest": ["s1", "s2", "s0"],
        "ends": ["s2", "s0", "s1"],
        "lasts": ["s0", "s2", "s1"],
        "nonsense": ["s2", "s1", "s0"],
    }
    for name, titles in orders.items():
        page = html(viewer, f"?sort={name}")
        assert shown(page) == titles, name
        assert total(page) == "3 sessions"
        assert shown(html(viewer, f"?sort={name}&bot=default")) == titles, name
        assert shown(html(viewer, f"?sort={name}&q=s")) == titles, name
    assert shown(html(viewer, "?sort=largest&q=s&bot=default")) == ["s1", "s2", "s0"]


@pytest.mark.parametrize("sort", ["oldest", "changed", "largest", "ends", "lasts"])
@pytest.mark.parametrize("narrowed", ["", "&bot=default", "&state=soon", "&q=s"])
def test_pages_of_an_order_are_turned(
    viewer: Client, monkeypatch: Any, sort: str, narrowed: str
) -> None:
    now = timezone.now()
    for n in range(70):
        make(n, title=f"s{n:02}", expires_at=now + HOUR + n * timedelta(seconds=1))
    query = f"?sort={sort}{narrowed}"
    first, last = html(viewer, query), html(viewer, f"{query}&p=oldest")
    assert len(shown(first)) == len(shown(last)) == 50
    older = re.search(r'href="([^"]*)" rel="next"', first)
    assert older is not None
    rest = html(viewer, older[1].replace("&amp;", "&"))
    assert {*shown(first)} | {*shown(rest)} == {f"s{n:02}" for n in range(70)}
    assert total(first) == "70 sessions"
    for module in (finding, sorting):
        monkeypatch.setattr(module, "LISTED", 10)
    monkeypatch.setattr(sorting, "COMPARED", 20)
    page = html(viewer, query)
    assert len(shown(page)) == 10
    assert "search or filter for fewer" in page
    by_index = sort in ("ends", "lasts") and narrowed in ("", "&state=soon")
    is_sure = by_index or (sort == "oldest" and not narrowed)
    assert ("only some thousand sessions were compared" in page) == (not is_sure)


def test_of_many_that_are_found_an_order_counts_no_more_than_are_found(
    viewer: Client, monkeypatch: Any
) -> None:
    make_many(60)
    BotSession.objects.update(expires_at=timezone.now() - timedelta(days=1))
    monkeypatch.setattr(finding, "LISTED", 20)
    for query in ("state=expired", "q=1*", "q=title", "state=expired&bot=default"):
        for sort in ("oldest", "changed", "largest", "ends", "lasts"):
            with CaptureQueriesContext(connection) as queries:
                html(viewer, f"?{query}&sort={sort}")
            assert not [one["sql"] for one in queries if "COUNT(*)" in one["sql"]], (query, sort)


def test_an_order_costs_few_statements(viewer: Client) -> None:
    make_many(60)
    for query in ("sort=changed", "sort=largest&bot=default", "sort=ends&q=1", "state=unreadable"):
        with CaptureQueriesContext(connection) as queries:
            html(viewer, f"?{query}")
        assert len(queries) <= MOST_STATEMENTS, query


def test_what_narrows_the_list_is_told_and_can_be_removed(viewer: Client) -> None:
    make("1", title="in", version=1)
    query = "?state=live&size_from=1&version__exact=1&sort=largest&q=in"
    page = html(viewer, query)
    assert shown(page) == ["in"]
    chips = re.findall(r'<a href="([^"]*)" title="Remove">(.*?): <strong>(.*?)</strong>', page)
    assert [(label, value) for _url, label, value in chips] == [
        ("Order", "Largest first"),
        ("State", "Live"),
        ("Bytes from", "1"),
        ("Version =", "1"),
    ]
    names = ("sort", "state", "size_from", "version__exact")
    for (url_without, *_rest), name in zip(chips, names, strict=True):
        assert name not in url_without
        assert "q=in" in url_without


@pytest.mark.parametrize(
    ("query", "titles"),
    [
        ("size_from=500", ["large"]),
        ("size_to=500", ["new", "old"]),
        ("size_from=10&size_to=500", ["new", "old"]),
        ("created_from=2026-01-01T00:00", ["new"]),
        ("created_to=2026-01-01", ["large", "old"]),
        ("changed_from=2026-01-01T00:00", ["new", "old"]),
        ("expires_to=2020-01-01T00:00", ["old"]),
        ("exact_version=2", ["new"]),
        ("exact_version=3", []),
        ("exact_version=none", ["large", "old"]),
        ("size_from=nonsense", []),
        ("created_from=yesterday", []),
    ],
)
def test_ranges(viewer: Client, query: str, titles: list[str]) -> None:
    past = datetime(2019, 5, 1, tzinfo=timezone.get_default_timezone())
    make("1", title="old", created_at=past, expires_at=past)
    make("2", {"a": "x" * 900}, title="large", created_at=past, updated_at=past)
    make("3", title="new", version=2)
    assert shown(html(viewer, f"?{query}")) == titles
    assert sorted(shown(html(viewer, f"?{query}&sort=oldest"))) == sorted(titles)


def test_changes_are_looked_for_among_the_newest(viewer: Client, monkeypatch: Any) -> None:
    make_many(9)
    recent = "?changed_from=2026-01-01T00:00"
    assert "only the newest" not in html(viewer, recent)
    monkeypatch.setattr(ranges, "NEWEST", 4)
    page = html(viewer, recent)
    assert len(shown(page)) == 4
    assert total(page) == "at least 4 sessions"
    assert "only the newest" in page


def test_words_are_looked_for_among_the_newest(viewer: Client, monkeypatch: Any) -> None:
    make("first", title="Maria Rossi")
    make_many(3)
    monkeypatch.setattr(finding, "NEWEST", 2)
    for query in ("?q=rossi", "?q=rossi&sort=changed"):
        page = html(viewer, query)
        assert total(page) == "at least 0 sessions"
        assert "only the newest" in page
        assert "None of the newest sessions is like that." in page
    assert "only the newest" not in html(viewer, "?q=7")


def test_sizes_of_one_class_are_looked_for_among_the_newest(
    viewer: Client, monkeypatch: Any
) -> None:
    monkeypatch.setattr(ranges, "LISTED", 2)
    for n in range(4):
        row = make(n, title=f"s{n}")
        BotSession.objects.filter(pk=row.pk).update(size=1100 + n)
    BotSession.objects.filter(key="0").update(size=3000)
    page = html(viewer, "?size_from=1100")
    assert shown(page) == ["s3", "s2", "s0"]
    assert "only the newest" in page
    assert shown(html(viewer, "?size_from=2500")) == ["s0"]


def test_errors_of_a_range_stand_outside_of_paragraphs(viewer: Client) -> None:
    page = html(viewer, "?size_from=-1&created_from=zz")
    assert page.count("errorlist") == 2
    assert '<p><ul class="errorlist' not in page


def test_a_range_may_begin_on_a_day_without_a_midnight(viewer: Client, settings: Any) -> None:
    settings.TIME_ZONE = "Africa/Cairo"  # There clocks go from 0 to 1 o'clock.
    begins = datetime.fromisoformat("2026-04-23T22:00+00:00")
    make("in", created_at=begins)
    make("before", created_at=begins - timedelta(seconds=1))
    assert shown(html(viewer, "?created_from=2026-04-24")) == ["in"]
    assert shown(html(viewer, "?created_from=2026-04-24&sort=oldest")) == ["in"]


def test_bots_that_are_not_in_the_settings(viewer: Client, settings: Any) -> None:
    known = {alias: {"SESSION": session(), "APPLICATION": print} for alias in ("b", "Z", "m")}
    for bot in ("a", "b", "c", "m", "Z", "z"):
        make(bot, bot=bot, title=bot)
    assert len(shown(html(viewer, "?bot=-"))) == 6
    settings.BOTSESSIONS = {"BOTS": known}
    assert shown(html(viewer, "?bot=-")) == ["z", "c", "a"]


def test_a_bot_without_a_name_can_be_chosen(viewer: Client) -> None:
    make("1", bot="")
    make("2")
    assert shown(html(viewer, "?bot=&fragment=-")) == ["1"]


def test_what_bots_cannot_read_is_found(viewer: Client, settings: Any) -> None:
    storage = enhance_storage(migrations={2: lambda old: old})
    declared = session(initial=Basket, storage=storage)
    settings.BOTSESSIONS = {"BOTS": {"default": {"SESSION": declared, "APPLICATION": print}}}
    make("1", {"pizzas": 1}, title="good", version=2)
    make("2", {"pizzas": "many"}, title="misfit", version=2)
    make("3", {"pizzas": 1}, title="newer", version=3)
    assert shown(html(viewer, "?state=unreadable")) == ["newer"]
    viewer.force_login(staff("view", "view_contents"))
    assert shown(html(viewer, "?state=unreadable")) == ["newer", "misfit"]


def test_older_data_that_bots_cannot_read_is_found_by_incidents(
    client: Client, settings: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(filters, "TRIED", 2)
    declared = session(initial=Basket)
    settings.BOTSESSIONS = {"BOTS": {"default": {"SESSION": declared, "APPLICATION": print}}}
    client.force_login(staff("view", "view_contents"))
    bounded = "only the newest sessions were looked at"
    make("misfit", {"pizzas": "many"}, title="misfit")
    make("mended", title="mended")
    assert bounded not in html(client, "?state=unreadable")
    make_many(3)
    page = html(client, "?state=unreadable")
    assert "None of the newest sessions is like that." in page
    assert bounded in page
    for key in ("misfit", "misfit", "mended"):
        Incident.objects.create(bot="default", key=key, kind=Incident.Kind.DATA)
    with CaptureQueriesContext(connection) as queries:
        page = html(client, "?state=unreadable")
    assert shown(page) == ["misfit"]
    assert bounded in page
    assert len(queries) <= MOST_STATEMENTS


@dataclass
class Basket:
    pizzas: int = 0


def test_an_address_as_logs_write_it_is_found(viewer: Client) -> None:
    make("424242", title="mine")
    make("424242", bot="gone", title="other")
    make("424242", name="user", title="fragment")
    assert shown(html(viewer, "?q=default:424242")) == ["mine"]
    assert shown(html(viewer, "?q=default:user:424242")) == ["fragment"]


@pytest.mark.django_db
def test_a_list_asks_once_what_a_bot_declares_to_know_what_has_failed(settings: Any) -> None:
    made = []

    def kept() -> BotPersistence:
        made.append(BotPersistence())
        return made[-1]

    settings.BOTSESSIONS = {"BOTS": {"kept": {"PERSISTENCE": kept, "APPLICATION": print}}}
    note_failures([make(key, bot="kept", name="ptb:user_data") for key in range(5)])
    assert len(made) == 1
