"""Moments that PostgreSQL knows and Python does not, as another program may write them."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client

from botsessions import DatabaseStorage, session
from botsessions.api.pagination import SessionPagination
from botsessions.models import BotSession, HistoryEntry

from .sessions import LIST, make, url

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="No other database has them."),
]
MOMENTS = ["infinity", "-infinity", "0044-03-15 12:00 BC", "12000-01-01"]
FIRST_ONES = ["-infinity", "0044-03-15 12:00 BC", "0001-01-01", "0001-01-03"]
LISTS = ["", "?state=expired", "?sort=-expires", "?sort=changed", "?expires_from=2020-01-01"]
PAGES = ["change", "edit", "past", "recent", "history"]
shop: Any = session(initial=dict, storage=DatabaseStorage(history=3))


@pytest.fixture(autouse=True)
def bots(settings: Any) -> None:
    settings.BOTSESSIONS = {"BOTS": {"default": {"SESSION": shop, "APPLICATION": print}}}


def store(moment: str, *columns: str, model: Any = BotSession) -> None:
    table = connection.ops.quote_name(model._meta.db_table)
    texts = ", ".join(f"{column} = '{moment}'" for column in columns)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET {texts}")  # noqa: S608


@pytest.mark.parametrize("moment", MOMENTS)
def test_pages_show_them(admin_client: Client, moment: str) -> None:
    with shop.edit("5") as data:
        data["count"] = 1
    row = BotSession.objects.get()
    store(moment, "expires_at", "created_at", "updated_at")
    store(moment, "expires_at", "at", model=HistoryEntry)
    paths = [LIST + query for query in (*LISTS, "overview/")]
    paths += [url(page, row) for page in PAGES]
    paths += [f"/api/sessions/{end}" for end in ("", "export/", f"{row.pk}/")]
    for path in (*paths, "/metrics/figures.json"):
        assert admin_client.get(path, follow=True).status_code == 200, path
    is_over = "BC" in moment or moment.startswith("-")
    state = admin_client.get(f"/api/sessions/{row.pk}/").json()["state"]
    assert state == ("expired" if is_over else "live")


@pytest.mark.parametrize("moment", MOMENTS)
def test_bots_and_commands_go_on(moment: str) -> None:
    for key in "123":
        make(key, {"count": 1})
    store(moment, "expires_at", "created_at", "updated_at")
    is_over = "BC" in moment or moment.startswith("-")
    assert shop.get("1") == (None if is_over else {"count": 1})
    with shop.edit("1") as data:
        data["count"] = data.get("count", 0) + 1
    assert shop.get("1") == {"count": 1 if is_over else 2}
    for command in ("export_sessions", "migrate_sessions", "sweep_sessions"):
        call_command(command, stdout=StringIO())
    assert BotSession.objects.count() == (1 if is_over else 3)


@pytest.mark.parametrize("moment", FIRST_ONES)
def test_pages_of_them_are_turned(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    for key in "12345":
        make(key)
    store(moment, "expires_at")
    monkeypatch.setattr(SessionPagination, "page_size", 2)
    path = "/api/sessions/?state=expired"
    for turn in ("next", "previous"):
        seen: list[str] = []
        link: str | None = path
        while link:
            path = link
            page = admin_client.get(path).json()
            seen += [row["key"] for row in page["results"]]
            link = page[turn]
            assert len(seen) <= 5
        assert sorted(seen) == [*"12345"]


@pytest.mark.parametrize("moment", FIRST_ONES)
def test_a_sweep_goes_on_behind_one_that_is_held(moment: str) -> None:
    for key in "123":
        make(key)
    store(moment, "expires_at")
    with shop.edit("1"):
        call_command("sweep_sessions", batch_size=1, stdout=StringIO())
        assert [*BotSession.objects.values_list("key", flat=True)] == ["1"]
