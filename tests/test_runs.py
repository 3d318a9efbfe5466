"""What commands note of their runs."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command, find_commands, load_command_class
from django.test import Client
from django.utils import timezone

import botsessions
from botsessions import enhance_storage, session
from botsessions.maintenance import Batch, Sweep
from botsessions.management import runs
from botsessions.management.batches import BatchCommand
from botsessions.models import Incident, MaintenanceRun

from . import everywhere
from .sessions import LIST, make

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


# Where people and machines look at them.

COMMANDS = {
    "sweep_sessions": ((), "sweep", "Last sweep"),
    "migrate_sessions": ((), "migrate", "Last migration"),
    "import_sessions": (("jsonl", os.devnull), "import", "Last import"),
    "rename_bot": (("old", "shop"), "rename", "Last renaming"),
    "rename_fragment": (("old", "", "--bot", "shop"), "rename", "Last renaming"),
    "rekey_sessions": (("per_chat", "--bot", "shop"), "rekey", "Last change of keys"),
}
PAGES = ("/admin/", "/admin/botsessions/", f"{LIST}overview/")


def pages(client: Client, settings: Any) -> tuple[list[str], str, Any]:
    """Return the admin's pages, the metrics as Prometheus reads them, and as JSON."""
    settings.ROOT_URLCONF = everywhere.URLS
    paths = (*PAGES, "/metrics/", "/metrics/figures.json")
    answers = [client.get(path) for path in paths]
    assert [answer.status_code for answer in answers] == [HTTPStatus.OK] * len(paths)
    *shown, metrics, figures = answers
    return [one.content.decode() for one in shown], metrics.content.decode(), figures.json()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_run_of_every_command_is_shown_where_people_and_machines_look(
    admin_client: Client, settings: Any, command: str
) -> None:
    arguments, work, title = COMMANDS[command]
    make(1, {"count": 1}, bot="old" if command == "rename_bot" else "shop", name="old", version=2)
    make(2, {"count": 1}, bot="shop", version=2)
    call_command(command, *arguments, verbosity=0)
    (_index, *overviews), metrics, figures = pages(admin_client, settings)
    assert all(f"{title} <strong>Done</strong>" in page for page in overviews)
    assert f'botsessions_run_success{{work="{work}"}} 1.0' in metrics
    assert figures["runs"][work]["outcome"] == "done"


def test_all_commands_that_note_their_runs_are_looked_at_here() -> None:
    names = find_commands(str(Path(botsessions.__file__).parent / "management"))
    commands = {name: load_command_class("botsessions", name) for name in names}
    noting = {name for name, command in commands.items() if isinstance(command, BatchCommand)}
    assert noting == COMMANDS.keys()


def test_what_only_newer_code_knows_is_shown_by_its_name(
    admin_client: Client, settings: Any
) -> None:
    MaintenanceRun.objects.create(work="<polish>", outcome="paused")
    Incident.objects.create(bot="shop", kind="flood")
    (_index, *overviews), metrics, figures = pages(admin_client, settings)
    for page in overviews:
        assert "Last run of &lt;polish&gt; <strong" in page
        assert ">paused</strong>" in page
        assert "flood" in page
    assert 'botsessions_run_success{work="<polish>"} 0.0' in metrics
    assert figures["runs"]["<polish>"]["outcome"] == "paused"
    assert figures["incidents"] == [{"bot": "shop", "kind": "flood", "count": 1}]


def test_the_newest_run_is_shown_however_many_others_there_are(
    admin_client: Client, settings: Any
) -> None:
    kinds = ("import", "migrate", "rekey", "rename", "sweep")
    many = [MaintenanceRun(work=work, outcome="failed") for work in kinds * runs.KEPT]
    MaintenanceRun.objects.bulk_create(many)
    call_command("sweep_sessions", verbosity=0)
    assert pages(admin_client, settings)[-1]["runs"]["sweep"]["outcome"] == "done"
