"""What changes right before it would be deleted stays, whoever listens to Django's signals."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeAlias

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection, connections
from django.db.models.signals import pre_delete
from django.test import Client
from django.utils import timezone

from botsessions.maintenance.people import forget_user
from botsessions.models import BotSession, BotSessionLease, HandledUpdate
from botsessions.records import new_revision

from .sessions import LIST, make, url

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = timedelta(hours=1)
SECONDS = 1.0
"""For so long a change is waited for that may have to wait itself."""
Change: TypeAlias = "Callable[[], int]"
"""Changes a row from another connection, and returns how many it has changed."""


@contextmanager
def listening(heard: Callable[[Any], None]) -> Iterator[None]:
    """Call ``heard`` with each row right before Django deletes it."""

    def receive(instance: Any, **kwargs: Any) -> None:
        if instance._meta.app_label == "botsessions":  # Logins delete rows, too.
            heard(instance)

    pre_delete.connect(receive)
    try:
        yield
    finally:
        pre_delete.disconnect(receive)


class Meanwhile:
    """Somebody who changes a row right before it is deleted, from another connection."""

    def __init__(self, change: Change) -> None:
        self.changed = 0
        self._change = change
        self._thread: threading.Thread | None = None

    def __call__(self, instance: Any) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run)
            self._thread.start()
            self._thread.join(SECONDS)

    def end(self) -> None:
        assert self._thread, "Nobody was told that a row is deleted."
        self._thread.join()

    def _run(self) -> None:
        try:
            self.changed = self._change()
        finally:
            connections.close_all()


def sweep() -> None:
    call_command("sweep_sessions", verbosity=0)


def sweep_idle() -> None:
    call_command("sweep_sessions", "--idle-for", "10d", verbosity=0)


def delete_over_the_api() -> None:
    row = BotSession.objects.get()
    operator().delete(f"/api/sessions/{row.pk}/", headers={"If-Match": f'"{row.revision}"'})


def delete_what_has_expired_in_the_admin() -> None:
    chosen = {"action": "delete_selected", "_selected_action": "0", "select_across": "1"}
    operator().post(f"{LIST}?state=expired", chosen | {"confirmed": "yes"})


def operator() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("admin"))
    return client


@pytest.mark.parametrize(
    "delete",
    [sweep, sweep_idle, delete_over_the_api, delete_what_has_expired_in_the_admin],
)
def test_a_session_that_changes_meanwhile_is_never_lost(delete: Callable[[], None]) -> None:
    now = timezone.now()
    row = make("1", expires_at=now - HOUR, updated_at=now - 300 * HOUR)

    def renew() -> int:
        same = BotSession.objects.filter(pk=row.pk, revision=row.revision)
        later = timezone.now() + HOUR
        return same.update(
            revision=new_revision(), data={"new": 1}, expires_at=later, updated_at=timezone.now()
        )

    bot = Meanwhile(renew)
    with listening(bot):
        delete()
        bot.end()
    assert BotSession.objects.count() == bot.changed


def test_a_claim_that_is_renewed_meanwhile_is_not_forgotten() -> None:
    HandledUpdate.objects.create(bot="notes", update_id=1, claim=1, claimed_until=0)
    worker = Meanwhile(lambda: HandledUpdate.objects.update(claimed_until=2**62))
    with listening(worker):
        sweep()
        worker.end()
    assert HandledUpdate.objects.count() == worker.changed


def test_a_lease_that_is_taken_meanwhile_is_not_forgotten() -> None:
    BotSessionLease.objects.create(id=1, holder=0, ends_at=0, drawn=0, served=0, passed=0)
    worker = Meanwhile(lambda: BotSessionLease.objects.update(ends_at=2**62))
    with listening(worker):
        sweep()
        worker.end()
    assert BotSessionLease.objects.count() == worker.changed


def test_who_listens_is_told_of_each_session_once() -> None:
    for n in range(5):
        make(n, expires_at=timezone.now() - HOUR)
    heard: list[str] = []
    with listening(lambda row: heard.append(row.key)):
        sweep()
    assert sorted(heard) == ["0", "1", "2", "3", "4"]
    assert not BotSession.objects.exists()


def test_data_that_nobody_can_read_are_deleted_whoever_listens() -> None:
    rows = [make(n, expires_at=timezone.now() - HOUR) for n in range(3)]
    with connection.cursor() as cursor:
        cursor.execute("UPDATE botsessions_botsession SET data = %s", ["9" * 5000])
    with listening(lambda row: None):
        client = operator()
        client.post(url("operation", rows[0], "delete_selected"), {"confirmed": "yes"})
        assert BotSession.objects.count() == 2
        sweep()
    assert not BotSession.objects.exists()


def test_forgetting_a_user_tells_how_many_sessions_went() -> None:
    make("5", chat_id=5)
    make("5/-1", user_id=5, chat_id=-1)
    with listening(lambda row: None):
        assert forget_user(5) == 2
