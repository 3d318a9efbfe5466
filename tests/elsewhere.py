"""Another process on the same database, which edits the sessions that a bot under test has."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection

from .commands import ROOT
from .locked import BOT


class TooLong(AssertionError):
    """It does not answer in time."""


class Elsewhere:
    """The process. It does one thing after another; see :mod:`tests.bots.elsewhere`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.pid = process.pid
        self._process = process
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._answers.put(line)

    def tell(self, **command: Any) -> None:
        """Have it do something; it does not wait for that."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def answer(self, seconds: float = 5) -> Any:
        """Return what it says next.

        Raises:
            TooLong: it says nothing.
        """
        try:
            said = json.loads(self._answers.get(timeout=seconds))
        except queue.Empty:
            raise TooLong(f"The other process is not done within {seconds:g} s.") from None
        assert "error" not in said, said["error"]
        return said["result"]

    def ask(self, seconds: float = 5, **command: Any) -> Any:
        """Have it do something, and return what it says."""
        self.tell(**command)
        return self.answer(seconds)

    def count(self, key: str, seconds: float = 5, by: int = 1, fragment: str = "") -> Any:
        """Have it edit a session; return what the count is then."""
        return self.ask(seconds, do="count", key=key, by=by, fragment=fragment)

    def sweep(self, seconds: float = 5, **options: Any) -> Any:
        """Have it sweep; return numbers of sessions, and of whom it was told so far."""
        return self.ask(seconds, do="sweep", **options)

    def hold(self, key: str, *, atomic: bool = False, seconds: float = 5) -> None:
        """Have it enter ``edit()``, change the data, and stay there until :meth:`let_go`.

        Args:
            atomic: it enters in a transaction, and stays in that when it has left ``edit()``.
        """
        self.ask(seconds, do="hold", key=key, atomic=atomic)

    def let_go(self, seconds: float = 5) -> None:
        self.ask(seconds, do="let go")

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def elsewhere(
    lock: str, declared: str = "tests.bots.elsewhere.counter", **database: Any
) -> Iterator[Elsewhere]:
    """Run such a process.

    Args:
        declared: the path of the session.
        database: what its settings of the database differ in.
    """
    settings = {k: v for k, v in connection.settings_dict.items() if k != "TEST"} | database
    config = {"database": settings, "lock": lock, "declared": declared, "bot": BOT}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bots.elsewhere"],
        cwd=ROOT,
        env=os.environ | {"ELSEWHERE": json.dumps(config, default=str)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    other = Elsewhere(process)
    try:
        assert other.answer(30) == "ready"
        yield other
    finally:
        other.close()
