"""Deleting rows that nobody needs any more."""

from __future__ import annotations

import time
from datetime import timedelta

from django.core.management import call_command
from django.test import TestCase

from botsessions.maintenance import forget_handled, forget_leases
from botsessions.models import BotSessionLease, HandledUpdate


class HandledUpdates(TestCase):
    def make(self, number: int, age: timedelta) -> None:
        then = round((time.time() - age.total_seconds()) * 1000)
        HandledUpdate.objects.create(
            bot="notes", update_id=number, claim=1, claimed_until=then, handled_at=then
        )

    def setUp(self) -> None:
        for number in range(5):
            self.make(number, timedelta(hours=25))
            self.make(100 + number, timedelta(hours=23))

    def left(self) -> set[int]:
        return set(HandledUpdate.objects.values_list("update_id", flat=True))

    def test_what_telegram_does_not_deliver_any_more_goes_in_batches(self) -> None:
        assert [batch.done for batch in forget_handled(batch_size=2)] == [2, 2, 1]
        assert self.left() == set(range(100, 105))

    def test_in_another_database_nothing_goes(self) -> None:
        assert list(forget_handled("other")) == []
        assert len(self.left()) == 10

    def test_sweep_sessions_forgets_them_unless_it_only_counts(self) -> None:
        call_command("sweep_sessions", "--dry-run", verbosity=0)
        assert len(self.left()) == 10
        call_command("sweep_sessions", verbosity=0)
        assert self.left() == set(range(100, 105))


class Leases(TestCase):
    def setUp(self) -> None:
        hour, now = 3600 * 1000, round(time.time() * 1000)
        for key, age in enumerate((25, 25, 25, 23, -1)):
            BotSessionLease.objects.create(
                id=key, holder=0, ends_at=now - age * hour, drawn=0, served=0, passed=0
            )

    def left(self) -> set[int]:
        return set(BotSessionLease.objects.values_list("id", flat=True))

    def test_those_of_keys_that_were_free_for_long_go_in_batches(self) -> None:
        assert [batch.done for batch in forget_leases(batch_size=2)] == [2, 1]
        assert self.left() == {3, 4}

    def test_in_another_database_nothing_goes(self) -> None:
        assert list(forget_leases("other")) == []

    def test_sweep_sessions_deletes_them(self) -> None:
        call_command("sweep_sessions", verbosity=0)
        assert self.left() == {3, 4}
