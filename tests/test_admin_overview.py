"""The overview in the admin: the first thing that people on call see."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.admin import AdminSite, site
from django.db import connection, router
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from botsessions import enhance_storage, session
from botsessions.admin import BotSessionAdmin
from botsessions.figures import sampling, table, webhooks
from botsessions.models import BotSession, MaintenanceRun

from .botapi import BotApi, serving
from .sessions import LIST, let_runs_be_noted_for, make, staff, total
from .sites import SECRET, TOKEN

pytestmark = pytest.mark.django_db

APP = "/admin/botsessions/"
OVERVIEW = f"{LIST}overview/"
DAY = timedelta(days=1)
MOST_STATEMENTS = 10


@pytest.fixture(autouse=True)
def bots(settings: Any) -> None:
    storage = enhance_storage(migrations={2: lambda old: old})
    bot = {"SESSION": session(data_type=dict[str, int], storage=storage), "APPLICATION": print}
    settings.BOTSESSIONS = {"BOTS": {"shop": bot}}


@pytest.fixture
def viewer(client: Client) -> Client:
    client.force_login(staff("view"))
    return client


def html(client: Client, path: str = APP) -> str:
    response = client.get(path)
    assert response.status_code == HTTPStatus.OK, response
    return str(response.content.decode())


def text(page: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


@pytest.mark.parametrize("path", [APP, OVERVIEW])
def test_it_counts_and_leads_to_what_it_counts(viewer: Client, path: str) -> None:
    now = timezone.now()
    make(1, {"n": 1}, bot="shop", version=2, title="Maria", expires_at=now + 2 * DAY)
    make(2, {"n": 1}, bot="shop", version=1)
    make(3, {"n": "x"}, bot="shop", version=2, expires_at=now - DAY)
    make(4, bot="gone")
    make(5, bot="gone", name="job:remind", expires_at=now - DAY)
    page = html(viewer, path)
    for query, number in {
        "bot=shop&amp;fragment=-": 3,
        "bot=shop&amp;fragment=-&amp;state=expired": 1,
        "bot=shop&amp;fragment=-&amp;version=behind": 1,
        "bot=gone&amp;fragment=-": 1,
        "bot=gone&amp;fragment=-&amp;state=live": 1,
        "bot=gone&amp;fragment=job%3Aremind&amp;state=due": 1,
        "state=expired": 1,
        "version=behind": 1,
    }.items():
        assert f'href="{LIST}?{query}"><bdi>{number}</bdi></a>' in page, query
        listed = html(viewer, f"{LIST}?{query.replace('&amp;', '&')}")
        assert listed.count('class="bs-title"') == number, query
    assert "1 of 2" in text(page)
    assert "gone not in the settings" in text(page)
    assert "Maria Key 1 shop" in text(page)


def test_numbers_run_from_left_to_right_in_every_language(viewer: Client) -> None:
    make(1, bot="shop", version=2)
    page = html(viewer)
    own = rf'href="{LIST}\?bot=shop&amp;fragment=-[^"]*"[^>]*><bdi>1</bdi>'
    assert len(re.findall(own, page)) == 3  # All, those that are live, and those of the version.
    assert not re.findall(r"(<dd>|<td[^>]*>|<a [^>]*>|<strong>)\d", page)
    assert "<bdi>1</bdi> session" in html(viewer, LIST)


def test_it_is_the_first_thing_in_the_app(viewer: Client) -> None:
    make(1, bot="shop")
    page = html(viewer)
    assert page.index('class="bs-overview"') < page.index('class="app-botsessions')
    assert f'href="{OVERVIEW}"' in html(viewer, LIST)


def test_sessions_of_a_database_that_the_list_does_not_read_have_no_links(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.force_login(staff("view", "change"))
    make(1, bot="shop", version=1)
    page = html(client)
    assert LIST + "?" in page
    assert "/change/" in page
    assert "Expire now…" in page
    of_other = BotSession.objects.using("other")
    monkeypatch.setattr(BotSessionAdmin, "get_queryset", lambda *_: of_other)
    page = html(client)
    assert LIST + "?" not in page
    assert "/change/" not in page
    assert "Expire now…" not in page
    of = {BotSession: "other"}  # A copy of the default database.
    monkeypatch.setattr(router, "db_for_read", lambda model, **_: of.get(model, "default"))
    assert LIST + "?" in html(client)


def test_another_site_of_the_same_name_does_not_take_its_place(viewer: Client) -> None:
    make(1, bot="shop")
    others = [AdminSite() for _ in range(20)]
    assert f'href="{LIST}?bot=shop' in html(viewer)
    assert {other.name for other in others} == {site.name}


def test_versions_lead_to_their_sessions_and_to_what_can_be_done(client: Client) -> None:
    for n, version in enumerate([1, 1, None, 2, 3]):
        make(n, bot="shop", version=version)
    make("x", bot="gone")
    client.force_login(staff("change"))
    page = unescape(html(client))
    own, actions = "bot=shop&fragment=-&exact_version", {}
    for where, number in {
        f"{own}=1": 2,
        f"{own}=none": 1,
        "bot=gone&fragment=-&exact_version=none": 1,
    }.items():
        assert f'href="{LIST}?{where}"' in page
        assert html(client, f"{LIST}?{where}").count('class="bs-title"') == number
    for name, of in {"migrate": (1, "none"), "expire": (1, "none", 3)}.items():
        actions[name] = re.findall(rf'href="{LIST}action/{name}/\?{own}=([^"]*)"', page)
        assert sorted(actions[name]) == sorted(map(str, of))
    assert f"{LIST}action/expire/?bot=gone" in page
    client.force_login(staff("view"))
    assert f"{LIST}action/" not in html(client)


@pytest.mark.parametrize(
    ("bot", "name"),
    [("shop", "job:remind"), ("shop", "left"), ("gone", "job:remind"), ("gone", "")],
)
def test_of_a_fragment_that_the_settings_do_not_know_only_its_own_are_meant(
    client: Client, bot: str, name: str
) -> None:
    make(1, bot=bot, name=name)
    for other in ("cart", "job:tell", "ptb:conversation:order"):
        make(2, bot=bot, name=other)
    client.force_login(staff("change"))
    page = unescape(html(client))
    row = urlencode({"bot": bot, "fragment": name or "-"})
    of_version = f"{row}&exact_version=none"
    for query in (row, of_version):
        assert f'href="{LIST}?{query}"' in page
        listed = html(client, f"{LIST}?{query}")
        assert listed.count('class="bs-title"') == 1
    assert f'href="{LIST}action/expire/?{of_version}"' in page
    client.post(f"{LIST}action/expire/?{of_version}", {"confirmed": "yes"})
    (ended,) = BotSession.objects.exclude(expires_at=None)
    assert (ended.bot, ended.name) == (bot, name)


def test_sessions_are_searched_for_from_here(viewer: Client) -> None:
    make(424242, bot="shop")
    assert f'<form class="bs-search" method="get" action="{LIST}"' in html(viewer)
    assert 'class="bs-title"' in html(viewer, f"{LIST}?q=424242")


@pytest.mark.parametrize("path", [APP, OVERVIEW])
def test_it_costs_few_statements(viewer: Client, path: str, monkeypatch: Any) -> None:
    for n in range(30):
        make(n, bot="shop", version=2)
    html(viewer, path)
    with CaptureQueriesContext(connection) as queries:
        html(viewer, path)
    assert len(queries) <= MOST_STATEMENTS
    for module in (sampling, table):
        monkeypatch.setattr(module, "LOOKED_AT", 20)
    with CaptureQueriesContext(connection) as queries:
        page = html(viewer, path)
    assert len(queries) <= MOST_STATEMENTS
    assert "picked at random" in page


def test_the_charts_are_read_by_screen_readers_too(viewer: Client) -> None:
    now = timezone.now()
    for n in range(3):
        make(n, bot="shop", created_at=now - 2 * DAY)
    page = html(viewer)
    (label,) = re.findall(r'role="img" aria-label="(Created\.[^"]*)"', page)
    assert "Most on one day: 3; today: 0." in label
    assert page.count("<rect ") == 28
    assert page.count("<title>") == 29


def test_it_says_how_the_last_runs_went_and_what_is_overdue(viewer: Client) -> None:
    make(1, bot="shop", version=1, expires_at=timezone.now() - 3 * DAY)
    make(2, bot="shop", version=1)
    assert "Sessions behind the code" not in text(html(viewer))
    let_runs_be_noted_for(3 * DAY)
    run = {"only": "shop", "outcome": "failed", "reason": "OperationalError", "done": 1200}
    MaintenanceRun.objects.create(work="sweep", **run)
    page = text(html(viewer))
    assert "Last sweep Failed 1,200 done, 0 left as they were, in 0.0 s" in page
    assert "only shop · OperationalError just now" in page
    assert "Last migration Never noted" in page
    assert "Sessions that expired 3 days ago are still stored" in page
    assert "Sessions behind the code: 1." in page
    assert "overdue" not in page


def test_nobody_sees_it_who_may_not_see_sessions(client: Client) -> None:
    make(1, bot="shop", title="Maria")
    client.force_login(staff("delete"))
    assert "bs-overview" not in html(client)
    assert client.get(OVERVIEW).status_code == HTTPStatus.FORBIDDEN
    assert client.get(f"{OVERVIEW}webhooks/").status_code == HTTPStatus.FORBIDDEN


def test_an_admin_that_shows_some_people_less_can_keep_it_from_them(
    viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(1, bot="shop", title="Maria")
    monkeypatch.setattr(BotSessionAdmin, "has_overview_permission", lambda *args: False)
    assert "bs-overview" not in html(viewer)
    assert viewer.get(OVERVIEW).status_code == HTTPStatus.FORBIDDEN


def test_markup_in_names_is_text(viewer: Client) -> None:
    make(1, bot="<b>bot</b>", name="<i>", title="<script>alert(1)</script>")
    page = html(viewer)
    assert "<b>bot" not in page
    assert "<script>alert" not in page


@pytest.fixture
def api(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[BotApi]:
    bot = {"SESSION": "tests.bots.notes.notes", "APPLICATION": "tests.bots.notes.build"}
    settings.BOTSESSIONS = {"BOTS": {"notes": bot | {"TOKEN": TOKEN, "WEBHOOK_SECRET": SECRET}}}
    webhooks.forget()
    with serving() as api:
        monkeypatch.setenv("BOT_API", api.url)
        yield api
    webhooks.telegram_says(20.0)
    webhooks.forget()


@pytest.mark.once
def test_the_page_does_not_wait_for_telegram_but_what_comes_after_it_does(
    viewer: Client, api: BotApi
) -> None:
    account = api.account(TOKEN)
    account.webhook = {"url": "https://example.com/telegram/notes/"}
    account.pending = [{"update_id": 1}]
    account.last_error = {
        "last_error_message": f"Wrong response from /bot{TOKEN}/",
        "last_error_date": 1_700_000_000,
    }
    with account.hold("getWebhookInfo"):
        page = html(viewer)
        assert "Telegram has not answered yet." in page
        assert f'data-fetch="{OVERVIEW}webhooks/"' in page
    webhooks.telegram_says(20.0)
    said = html(viewer, f"{OVERVIEW}webhooks/")
    assert "pending: 1" in said
    assert "Wrong response from /bot4711001:[hidden]/" in said
    assert "<html" not in said
    assert BotSession.objects.count() == 0


def test_what_expires_soon_is_what_the_list_calls_so(
    viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BotSessionAdmin, "expires_soon", timedelta(hours=1))
    for hours in (0.5, 2):
        make(hours, {}, bot="shop", expires_at=timezone.now() + timedelta(hours=hours))
    page = html(viewer)
    for state in ("live", "soon"):
        (query, number) = re.findall(rf'href="[^"]*(\?[^"]*state={state})"><bdi>(\d+)<', page)[0]
        assert number == "1"
        assert total(html(viewer, LIST + unescape(query))) == "1 session"
