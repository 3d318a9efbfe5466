"""The figures for machines: who gets them, as JSON and as Prometheus reads them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from django.utils import timezone
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as metrics

from botsessions import session
from botsessions.figures import figures, webhooks
from botsessions.metrics.prometheus import exposition
from botsessions.models import MaintenanceRun
from botsessions.permissions import PERMISSIONS

from . import everywhere
from .botapi import CRASH, BotApi, serving
from .sessions import make, staff
from .sites import SECRET, TOKEN

pytestmark = pytest.mark.django_db

METRICS_TOKEN = "for-prometheus-and-nobody-else"
TEXT, JSON = "/metrics/", "/metrics/figures.json"
KNOWS = {"Authorization": f"Bearer {METRICS_TOKEN}"}
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def site(settings: Any) -> None:
    settings.ROOT_URLCONF = everywhere.URLS
    bot = {"SESSION": session(), "APPLICATION": print}
    settings.BOTSESSIONS = {"BOTS": {"shop": bot}, "METRICS_TOKEN": METRICS_TOKEN}


def samples(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    return {
        family.name: {tuple(s.labels.values()): s.value for s in family.samples}
        for family in metrics(text)
    }


@pytest.mark.parametrize("path", [TEXT, JSON])
def test_only_who_knows_the_token_or_may_see_sessions_gets_figures(
    client: Client, path: str
) -> None:
    assert client.get(path).status_code == HTTPStatus.UNAUTHORIZED
    assert client.get(path)["WWW-Authenticate"] == "Bearer"
    for wrong in ("Bearer ", f"Bearer {METRICS_TOKEN}x", METRICS_TOKEN, f"Basic {METRICS_TOKEN}"):
        answer = client.get(path, headers={"Authorization": wrong})
        assert answer.status_code == HTTPStatus.UNAUTHORIZED
    assert client.get(path, headers=KNOWS).status_code == HTTPStatus.OK
    other_letters = {"Authorization": f"bearer {METRICS_TOKEN}"}  # As RFC 9110 has it.
    assert client.get(path, headers=other_letters).status_code == HTTPStatus.OK
    for name in PERMISSIONS:
        client.force_login(staff(name))
        may = name == "view"
        status = HTTPStatus.OK if may else HTTPStatus.FORBIDDEN
        assert client.get(path).status_code == status, name
    assert client.post(path, headers=KNOWS).status_code == HTTPStatus.METHOD_NOT_ALLOWED


def test_without_a_token_in_the_settings_none_is_right(client: Client, settings: Any) -> None:
    del settings.BOTSESSIONS["METRICS_TOKEN"]
    for wrong in ("", "None", "<secret>"):
        answer = client.get(JSON, headers={"Authorization": f"Bearer {wrong}"})
        assert answer.status_code == HTTPStatus.UNAUTHORIZED


def test_no_cache_keeps_figures(client: Client) -> None:
    assert "no-store" in client.get(TEXT, headers=KNOWS)["Cache-Control"]


def test_prometheus_reads_the_figures(client: Client) -> None:
    now = timezone.now()
    make(1, bot="shop", title="Maria", expires_at=now - timedelta(hours=1))
    make(2, bot="shop", updated_at=now - timedelta(hours=2))
    MaintenanceRun.objects.create(work="sweep", outcome="failed", done=7)
    answer = client.get(TEXT, headers=KNOWS)
    assert answer["Content-Type"].startswith("text/plain; version=")
    found = samples(answer.content.decode())
    states = found["botsessions_sessions"]
    assert states == {("shop", "", "live"): 1, ("shop", "", "soon"): 0, ("shop", "", "expired"): 1}
    assert found["botsessions_sessions_active"]["shop", "", "1h"] == 1
    assert found["botsessions_sessions_active"]["shop", "", "1d"] == 2
    assert found["botsessions_run_sessions"] == {("sweep",): 7}
    assert found["botsessions_run_success"] == {("sweep",): 0}
    assert found["botsessions_estimated"] == {("default", "botsessions_botsession"): 0}
    assert sum(found["botsessions_sessions_created"].values()) == 2
    assert len(found["botsessions_sessions_created"]) == 14


def test_who_asks_for_open_metrics_gets_that(client: Client) -> None:
    accept = "application/openmetrics-text; version=1.0.0"
    answer = client.get(TEXT, headers={**KNOWS, "Accept": accept})
    assert answer["Content-Type"].startswith("application/openmetrics-text")
    assert {"botsessions_sessions"} <= {f.name for f in open_metrics(answer.content.decode())}


@pytest.mark.parametrize("version", ["zz", "1.zz"])
def test_a_version_that_there_is_not_is_no_error(client: Client, version: str) -> None:
    accept = f"application/openmetrics-text; version={version}"
    answer = client.get(TEXT, headers={**KNOWS, "Accept": accept})
    assert answer["Content-Type"].startswith("text/plain")


def test_sessions_of_a_fragment_in_two_tables_are_one_series() -> None:
    make(1, bot="shop")
    found = figures()
    two = [replace(table, using=using) for table in found.tables for using in ("default", "other")]
    text, _type = exposition(replace(found, tables=two), {}, "application/openmetrics-text")
    series = {
        f.name: {tuple(s.labels.values()): s.value for s in f.samples}
        for f in open_metrics(text.decode())
    }
    assert series["botsessions_sessions"]["shop", "", "live"] == 2
    assert series["botsessions_sessions_by_version"] == {("shop", "", ""): 2}
    table = "botsessions_botsession"
    assert series["botsessions_expired"] == {("default", table): 0, ("other", table): 0}


def test_neither_titles_nor_keys_are_among_the_figures(client: Client) -> None:
    make("secret key", bot="shop", title="Maria Rossi", chat_id=424242, user_id=515151)
    for path in (TEXT, JSON):
        text = client.get(path, headers=KNOWS).content.decode()
        assert "shop" in text
        for private in ("secret key", "Maria", "424242", "515151"):
            assert private not in text


def test_json_has_the_same_figures(client: Client) -> None:
    make(1, bot="shop", expires_at=timezone.now() - timedelta(days=3))
    found = client.get(JSON, headers=KNOWS).json()
    (table,) = found["tables"]
    (fragment,) = table["fragments"]
    assert (fragment["bot"], fragment["expired"]) == ("shop", {"value": 1, "exact": True})
    assert table["estimated"] is False
    assert len(table["days"]) == 14
    assert table["largest"][0]["size"] > 0
    assert found["overdue"] == {"sweep": True, "migrate": False}
    assert found["runs"] == {"sweep": None, "migrate": None}
    assert found["webhooks"] == {}


def test_without_prometheus_client_it_says_what_to_install(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "botsessions.metrics.prometheus", raising=False)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ImproperlyConfigured, match=r"pip install 'django-botsessions\[metrics\]'"):
        client.get(TEXT, headers=KNOWS)
    assert client.get(JSON, headers=KNOWS).status_code == HTTPStatus.OK


@pytest.mark.once
def test_the_dashboard_shows_figures_that_there_are(client: Client) -> None:
    MaintenanceRun.objects.create(work="sweep", outcome="done")
    text = client.get(TEXT, headers=KNOWS).content.decode()
    names = {family.name for family in metrics(text)}
    dashboard = json.loads((ROOT / "docs" / "grafana.json").read_text())
    queries = [t["expr"] for p in dashboard["panels"] for t in p.get("targets", ())]
    asked = {word for query in queries for word in words(query) if word.startswith("botsessions_")}
    assert len(asked) > 10
    assert asked <= names


def words(query: str) -> list[str]:
    return "".join(c if c.isalnum() or c == "_" else " " for c in query).split()


# What Telegram says.


@pytest.fixture
def api(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[BotApi]:
    bot = {"SESSION": "tests.bots.notes.notes", "APPLICATION": "tests.bots.notes.build"}
    bots = {"notes": bot | {"TOKEN": TOKEN, "WEBHOOK_SECRET": SECRET}, "offline": bot}
    settings.BOTSESSIONS = {"BOTS": bots, "METRICS_TOKEN": METRICS_TOKEN}
    webhooks.forget()
    with serving() as api:
        monkeypatch.setenv("BOT_API", api.url)
        api.account(TOKEN).webhook = {"url": "https://example.com/telegram/notes/"}
        yield api
    webhooks.telegram_says(20.0)  # Its thread ends.
    webhooks.forget()


@pytest.mark.once
def test_pending_updates_and_the_last_error_are_what_telegram_says(
    client: Client, api: BotApi
) -> None:
    account = api.account(TOKEN)
    account.pending = [{"update_id": n} for n in range(3)]
    account.last_error = {"last_error_message": "Wrong response", "last_error_date": 1_700_000_000}
    assert webhooks.telegram_says(20.0).keys() == {"notes"}
    found = client.get(JSON, headers=KNOWS).json()["webhooks"]["notes"]
    assert (found["pending_updates"], found["last_error"]) == (3, "Wrong response")
    assert found["has_webhook"]
    text = client.get(TEXT, headers=KNOWS).content.decode()
    assert samples(text)["botsessions_pending_updates"] == {("notes",): 3}
    assert samples(text)["botsessions_webhook_last_error_timestamp_seconds"] == {
        ("notes",): 1_700_000_000
    }


@pytest.mark.once
def test_nobody_waits_for_a_telegram_that_does_not_answer(api: BotApi) -> None:
    with api.account(TOKEN).hold("getWebhookInfo"):
        assert webhooks.telegram_says() == {"notes": None}
        assert webhooks.telegram_says(0.1) == {"notes": None}
    said = webhooks.telegram_says(20.0)["notes"]
    assert said is not None
    assert said.info is not None


@pytest.mark.once
def test_an_answer_is_not_asked_for_again_within_a_minute(
    api: BotApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = webhooks.telegram_says(20.0)
    assert webhooks.telegram_says(20.0) == first
    monkeypatch.setattr(webhooks, "FRESH_SECONDS", 0.0)
    api.account(TOKEN).pending = [{"update_id": 1}]
    again = webhooks.telegram_says(20.0)["notes"]
    assert again is not None
    assert again.info is not None
    assert again.info.pending_updates == 1


@pytest.mark.once
def test_what_goes_wrong_is_said_without_the_token(api: BotApi, settings: Any) -> None:
    api.account(TOKEN).fail("getWebhookInfo", CRASH)
    said = webhooks.telegram_says(20.0)["notes"]
    assert said is not None
    assert "Internal Server Error" in said.problem
    webhooks.forget()
    broken = {"SESSION": "tests.bots.notes.notes", "APPLICATION": crash, "TOKEN": TOKEN}
    settings.BOTSESSIONS = {"BOTS": {"broken": broken}}
    said = webhooks.telegram_says(20.0)["broken"]
    assert said is not None
    assert said.problem == "ZeroDivisionError"


def crash(builder: Any) -> Any:
    raise ZeroDivisionError(TOKEN)
