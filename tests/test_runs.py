"""What commands note of their runs."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from botsessions import enhance_storage, session
from botsessions.maintenance import Batch, Sweep
from botsessions.management import runs
from botsessions.models import MaintenanceRun

from .sessions import make

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def bots(settings: Any) -> None:
    storage = enhance_storage(migrations={2: lambda old: {"count": old["count"]}})
    declared = session(storage=storage)
    settings.BOTSESSIONS = {"BOTS": {"shop": {"SESSION": declared, "APPLICATION": print}}}


def noted() -> list[tuple[str, str, str, int, int]]:
    names = ("work", "only", "outcome", "done", "left")
    return list(MaintenanceRun.objects.order_by("pk").values_list(*names))


def test_a_sweep_notes_what_it_has_done_and_how_long_it_took() -> None:
    for n in range(3):
        make(n, bot="shop", expires_at=timezone.now())
    call_command("sweep_sessions", verbosity=0)
    assert noted() == [("sweep", "", "done", 3, 0)]
    run = MaintenanceRun.objects.get()
    assert run.started_at <= run.seen_at <= timezone.now()


def test_a_sweep_that_migrates_notes_both_and_what_was_left() -> None:
    make(1, {"count": 1}, bot="shop", version=1)
    make(2, {"wrong": 1}, bot="shop", version=1)
    with pytest.raises(CommandError):
        call_command("sweep_sessions", "--migrate", "--bot", "shop", verbosity=0)
    assert noted() == [("sweep", "shop", "done", 0, 0), ("migrate", "shop", "done", 1, 1)]


def test_a_run_that_ends_early_or_fails_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sweep, "run", ended)
    with pytest.raises(SystemExit):
        call_command("sweep_sessions", verbosity=0)
    monkeypatch.setattr(Sweep, "run", broken)
    with pytest.raises(ZeroDivisionError):
        call_command("sweep_sessions", verbosity=0)
    assert noted() == [("sweep", "", "early", 1, 0), ("sweep", "", "failed", 0, 0)]
    assert MaintenanceRun.objects.latest("pk").reason == "ZeroDivisionError"


def ended(*args: Any, **kwargs: Any) -> Iterator[Batch]:
    os.kill(os.getpid(), signal.SIGTERM)
    yield Batch(1)
    yield Batch(1)


def broken(*args: Any, **kwargs: Any) -> Any:
    raise ZeroDivisionError


def test_what_only_looks_is_not_noted() -> None:
    call_command("sweep_sessions", "--dry-run", verbosity=0)
    call_command("migrate_sessions", "--plan", verbosity=0)
    assert noted() == []


def test_few_runs_are_remembered_of_each_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "KEPT", 2)
    call_command("migrate_sessions", verbosity=0)
    for _ in range(4):
        call_command("sweep_sessions", verbosity=0)
    assert [work for work, *_ in noted()] == ["migrate", "sweep", "sweep"]


def test_a_long_run_says_meanwhile_that_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "PAUSE", 0.0)
    for n in range(3):
        make(n, bot="shop", expires_at=timezone.now())
    real, seen = Sweep.run, list[tuple[str, int]]()

    def watched(*args: Any, **kwargs: Any) -> Any:
        for batch in real(*args, **kwargs):
            yield batch
            seen.extend((run.outcome, run.done) for run in MaintenanceRun.objects.all())

    monkeypatch.setattr(Sweep, "run", watched)
    call_command("sweep_sessions", "--batch-size", "1", verbosity=0)
    assert ("running", 1) in seen
    assert ("running", 2) in seen
