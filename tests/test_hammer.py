"""Processes that are killed while they and a web view change the same sessions: E6, E7."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from django.db import connection, connections, transaction
from django.test import TransactionTestCase

from botsessions.database import leases_table
from botsessions.database.connections import close_databases
from botsessions.exceptions import SessionLockError
from botsessions.locks import process_lock
from botsessions.models import BotSession

from .bots.counting import LINE, declared
from .commands import ROOT

WORKERS = 8
UPDATES = 200
"""For each worker."""
KILL_SECONDS = 0.3
UPDATES_BETWEEN_KILLS = 10
"""At least: on a busy machine a worker takes long to start."""
LEASE_SECONDS = 1.0
BOT = "1"


class Workers:
    """Processes that count, and one that forks them."""

    def __init__(self, log: Path, keys: int) -> None:
        database = {k: v for k, v in connection.settings_dict.items() if k != "TEST"}
        config = {
            "database": database,
            "lease_seconds": LEASE_SECONDS,
            "log": str(log),
            "wanted": WORKERS * UPDATES,
            "keys": keys,
        }
        self.log = log
        self.killed = 0
        self._running: list[int] = []
        self._errors = log.with_suffix(".errors")
        log.touch()
        with self._errors.open("wb") as errors:
            self._parent = subprocess.Popen(
                [sys.executable, "-m", "tests.bots.counting"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=ROOT,
                env=os.environ | {"COUNTING_BOT": json.dumps(config, default=str)},
            )

    def start_one(self) -> None:
        assert self._parent.stdin
        assert self._parent.stdout
        self._parent.stdin.write("\n")
        self._parent.stdin.flush()
        line = self._parent.stdout.readline()
        assert line, self.errors
        self._running.append(int(line))

    def kill_one(self) -> None:
        victim = self._running.pop(random.randrange(len(self._running)))  # noqa: S311
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
            self.killed += 1

    @property
    def done(self) -> int:
        """How many updates have been handled."""
        return self.log.stat().st_size // LINE

    @property
    def errors(self) -> str:
        return self._errors.read_text()

    @property
    def handled(self) -> Counter[str]:
        """How often each fragment and key was counted up."""
        counts: Counter[str] = Counter()
        for line in self.log.read_text().splitlines():
            counts.update(f"{name}{int(key)}" for name, key in zip("ab", line.split(), strict=True))
        return counts

    def close(self) -> None:
        for pid in self._running:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._parent.kill()
        self._parent.communicate()


class View(threading.Thread):
    """Edits sessions as a web view does, until it is stopped."""

    def __init__(self, keys: int) -> None:
        super().__init__()
        self.edited: Counter[str] = Counter()
        self.errors: list[Exception] = []
        self._keys = keys
        self._stopped = threading.Event()
        self._counters = declared()
        self._counters.installed(BOT, "database")

    def run(self) -> None:
        while not self._stopped.wait(0.02):
            key = str(random.randrange(self._keys))  # noqa: S311
            try:
                if random.random() < 0.5:  # noqa: S311
                    self._edit(key)
                else:
                    with transaction.atomic():
                        self._edit(key)
            except SessionLockError as exc:
                if connection.vendor != "sqlite":  # In its transactions nobody can wait.
                    self.errors.append(exc)
                continue
            except Exception as exc:
                self.errors.append(exc)
                continue
            self.edited[f"a{key}"] += 1
        connections.close_all()

    def _edit(self, key: str) -> None:
        with self._counters.a.edit(key) as data:
            data["count"] += 1

    def stop(self) -> None:
        self._stopped.set()
        self.join(30)


class Hammer(TransactionTestCase):
    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        self.directory = tmp_path
        monkeypatch.setattr(leases_table, "LEASE_SECONDS", LEASE_SECONDS)
        yield
        close_databases()

    def test_e6_on_one_key_no_change_is_lost(self) -> None:
        self.hammer(keys=1)

    def test_e6_on_ten_keys_in_any_order_no_change_is_lost(self) -> None:
        self.hammer(keys=10)

    def hammer(self, keys: int) -> None:
        view = View(keys)
        with closing(Workers(self.directory / "log", keys)) as workers:
            for _ in range(WORKERS):
                workers.start_one()
            view.start()
            try:
                self.kill_until_done(workers)
            finally:
                view.stop()
        assert view.errors == []
        assert workers.errors == ""
        assert not process_lock().busy
        stored = {f"{s.name}{s.key}": s.data["count"] for s in BotSession.objects.all()}
        acknowledged = workers.handled + view.edited
        assert stored.keys() == acknowledged.keys()
        for key, count in stored.items():
            assert count >= acknowledged[key], key
        # A worker that was killed may have saved what it could not tell any more.
        assert sum(stored.values()) <= sum(acknowledged.values()) + 2 * workers.killed
        assert workers.killed

    def kill_until_done(self, workers: Workers) -> None:
        deadline = time.monotonic() + 300
        killed_at = 0
        while workers.done < WORKERS * UPDATES:
            assert time.monotonic() < deadline, f"{workers.done} updates. {workers.errors}"
            time.sleep(KILL_SECONDS)
            if workers.done >= killed_at + UPDATES_BETWEEN_KILLS:
                killed_at = workers.done
                workers.kill_one()
                workers.start_one()
