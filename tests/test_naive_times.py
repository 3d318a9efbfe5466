"""A project with ``USE_TZ = False``: its moments have no zone, and are those of ``TIME_ZONE``."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from telegram.ext import CommandHandler

from botsessions import DatabaseStorage, enhance_storage, session
from botsessions.jobs import stored_job
from botsessions.models import BotSession, MaintenanceRun
from botsessions.testing import BotClient

from . import everywhere
from .sites import TOKEN

pytestmark = pytest.mark.django_db
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

storage = enhance_storage(DatabaseStorage(history=2), time_to_live=HOUR)
tea: Any = session(initial=dict, storage=storage)


async def remind(context: Any) -> None:
    context.session["reminded"] = True


async def brew(update: Any, context: Any) -> None:
    stored_job(remind).run_once(60)
    context.session["cups"] = context.session.get("cups", 0) + 1


def build(builder: Any) -> Any:
    application = builder.build()
    application.add_handler(CommandHandler("brew", brew))
    return application


@pytest.fixture(autouse=True)
def project(settings: Any) -> None:
    stored_job(remind)  # It is known when the bot starts.
    settings.USE_TZ, settings.TIME_ZONE = False, "Asia/Kolkata"
    settings.ROOT_URLCONF = everywhere.URLS
    bot = {"TOKEN": TOKEN, "SESSION": tea, "APPLICATION": build, "FREE_STORAGE": True}
    settings.BOTSESSIONS = {"BOTS": {"shop": bot}}


@pytest.fixture
def row() -> BotSession:
    with tea.edit(chat=5, bot="shop") as data:
        data["cups"] = 1
    return BotSession.objects.get()


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("admin"))
    return client


def test_stored_jobs_run_in_time() -> None:
    maria = BotClient[Any]("shop").user()
    maria.send("/brew")
    maria.client.let_time_pass(HOUR / 4)
    assert maria.session == {"cups": 1, "reminded": True}
    assert not BotSession.objects.filter(name__startswith="job:").exists()


def test_a_sweep_deletes_what_has_expired(row: BotSession) -> None:
    out = StringIO()
    call_command("sweep_sessions", stdout=out)
    assert BotSession.objects.exists()
    BotSession.objects.update(expires_at=timezone.now() - HOUR)
    call_command("sweep_sessions", stdout=out)
    assert not BotSession.objects.exists()


@pytest.mark.parametrize("age", [-HOUR, 9 * DAY], ids=["live", "expired long ago"])
def test_overview_and_metrics_are_shown(row: BotSession, operator: Client, age: Any) -> None:
    BotSession.objects.update(expires_at=timezone.now() - age)
    for page in ("/admin/botsessions/botsession/overview/", "/metrics/", "/metrics/figures.json"):
        assert operator.get(page).status_code == 200, page


def test_moments_of_the_first_year_are_no_error(row: BotSession, operator: Client) -> None:
    BotSession.objects.update(expires_at=datetime(1, 1, 1, 12))  # noqa: DTZ001 (it has no zone)
    MaintenanceRun.objects.create(work="sweep", started_at=datetime(1, 1, 1, 12))  # noqa: DTZ001
    for page in ("/admin/botsessions/botsession/overview/", "/metrics/", "/metrics/figures.json"):
        assert operator.get(page).status_code == 200, page


@pytest.mark.parametrize(("action", "content"), [("extend/", {"seconds": 90_000}), ("expire/", {})])
def test_sessions_are_extended_and_expired_over_the_api(
    row: BotSession, operator: Client, action: str, content: Any
) -> None:
    answer = operator.post(
        f"/api/sessions/{row.pk}/{action}",
        json.dumps(content),
        content_type="application/json",
        headers={"If-Match": f'"{row.revision}"'},
    )
    assert answer.status_code == 200
    changed = BotSession.objects.get()
    assert changed.expires_at is not None
    assert (changed.expires_at > timezone.now() + DAY) is (action == "extend/")


def test_the_free_storage_keeps_sessions(client: Client) -> None:
    login = client.post("/free/login", json.dumps({"token": TOKEN}), "text/plain").json()
    headers = {"Authorization": f"Bearer {login['token']}"}
    client.post("/free/session/7", "1", "text/plain", headers=headers)
    assert client.get("/free/session/7", headers=headers).json() == 1
    assert client.get("/free/sessions", headers=headers).json() == ["7"]


def test_moments_in_the_data_and_in_filters_are_understood(operator: Client, settings: Any) -> None:
    settings.TIME_ZONE = "America/New_York"
    row = BotSession.objects.create(bot="shop", key="9", data={"at": "2026-01-01T00:00:00Z"})
    page = operator.get(f"/admin/botsessions/botsession/{row.pk}/change/").content.decode()
    assert 'datetime="2025-12-31T19:00:00-05:00"' in page
    for filtered in ("created_from=0001-01-01", "created_to=9999-12-31"):
        answer = operator.get(f"/admin/botsessions/botsession/?{filtered}")
        assert answer.status_code == 200, filtered
