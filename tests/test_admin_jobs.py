"""Stored jobs in the admin: found by their function, due at a time, put off, run and cancelled."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.test import Client
from django.utils import timezone

from botsessions import session
from botsessions.database.lease import lease_key
from botsessions.jobs import stored_job
from botsessions.maintenance.changing import address_of
from botsessions.models import BotSession, BotSessionLease
from botsessions.testing import BotClient

from .sessions import LIST, make, url

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
LATER = timedelta(days=3)
YES = {"confirmed": "yes"}

counting = session(initial=dict)


async def remind(context: Any) -> None:
    context.session["reminded"] = context.job.data


def build(builder: Any) -> Any:
    return builder.build()


@pytest.fixture(autouse=True)
def bots(settings: Any) -> None:
    bot = {"SESSION": counting, "APPLICATION": build}
    settings.BOTSESSIONS = {"BOTS": {"default": bot}, "MASKED_FIELDS": ["pin"]}
    stored_job(remind)


def job(due: timedelta, name: str = "tea", data: Any = None) -> BotSession:
    return make(
        f"5/{name}",
        {"data": data},
        name="job:remind",
        chat_id=5,
        user_id=5,
        expires_at=timezone.now() + due,
    )


def page(client: Client, where: str) -> str:
    return client.get(where).content.decode()


def test_a_job_is_found_by_its_function_and_says_when_it_is_due(admin_client: Client) -> None:
    make("5")
    for due, state in ((-HOUR, "Due"), (HOUR, "Due soon"), (LATER, "Live")):
        row = job(due)
        listed = page(admin_client, f"{LIST}?fragment=job:remind")
        assert "5/tea" in listed
        assert f"</span> {state}</span>" in listed
        assert "job:remind" in listed
        assert f"</span> {state}</span>" in page(admin_client, url("change", row))
        row.delete()


def test_due_jobs_are_no_expired_sessions(admin_client: Client) -> None:
    job(-HOUR, "one")
    make("expired", expires_at=timezone.now() - HOUR)
    for state, found, other in (("due", "5/one", "expired"), ("expired", "expired", "5/one")):
        listed = page(admin_client, f"{LIST}?state={state}&q=")
        assert f">{found}<" in listed
        assert f">{other}<" not in listed


def test_the_data_of_a_due_job_is_shown_and_can_be_edited(admin_client: Client) -> None:
    row = job(-HOUR, data={"tea": "green", "pin": "1234"})
    shown = page(admin_client, url("change", row))
    assert "green" in shown
    assert "1234" not in shown
    assert "Its time has come" in shown
    assert "has expired" not in shown
    form = page(admin_client, url("edit", row))
    assert "green" in form
    sent = {"text": json.dumps({"data": "black"}), "revision": row.revision}
    admin_client.post(url("edit", row), sent)
    row.refresh_from_db()
    assert row.data == {"data": "black"}
    assert row.expires_at is not None
    assert row.expires_at < timezone.now()


@pytest.mark.parametrize("from_page", [True, False])
def test_a_due_job_is_exported_with_its_data(admin_client: Client, from_page: bool) -> None:
    row = job(-HOUR, data={"tea": "green", "pin": "1234"})
    gone = make("gone", expires_at=timezone.now() - HOUR)
    chosen = {"action": "export", "_selected_action": [row.pk, gone.pk], **YES}
    answer: Any = admin_client.post(url("operation", row, "export") if from_page else LIST, chosen)
    (line,) = map(json.loads, answer.getvalue().splitlines())
    assert line["data"] == {"data": {"tea": "green", "pin": "[masked: $.data.pin]"}}


def test_it_is_run_by_expire_now_and_put_off_by_extend(admin_client: Client) -> None:
    now, later = job(LATER, "now", "now"), job(HOUR, "later", "later")
    admin_client.post(url("operation", now, "expire"), YES)
    admin_client.post(url("operation", later, "extend"), {**YES, "amount": 2, "unit": "days"})
    later.refresh_from_db()
    assert later.expires_at is not None
    assert later.expires_at > timezone.now() + timedelta(days=1)
    BotClient("default").let_time_pass(timedelta(seconds=1))
    assert counting.get(chat=5) == {"reminded": "now"}
    assert [row.key for row in BotSession.objects.filter(name="job:remind")] == ["5/later"]


@pytest.mark.django_db(transaction=True)
def test_one_that_another_process_runs_just_now_is_not_changed_meanwhile(
    admin_client: Client,
) -> None:
    row, now = job(-HOUR, data="tea"), round(time.time() * 1000)
    BotSessionLease.objects.create(
        id=lease_key(address_of(row)),
        holder=7,
        ends_at=now + 60_000,
        held_since=now,
        **dict.fromkeys(("drawn", "served", "passed"), 0),
    )
    sent = {"text": json.dumps({"data": "black"}), "revision": row.revision}
    with mock.patch("botsessions.maintenance.changing.PATIENCE_SECONDS", 0.1):
        admin_client.post(url("edit", row), sent)
        admin_client.post(url("operation", row, "extend"), {**YES, "amount": 2, "unit": "days"})
    assert BotSession.objects.get().revision == row.revision
    assert "by running code" in page(admin_client, url("change", row))


def test_the_overview_counts_jobs_and_knows_their_function(admin_client: Client) -> None:
    job(-HOUR)
    shown = page(admin_client, "/admin/botsessions/")
    assert "job:remind" in shown
    assert "state=due" in shown
