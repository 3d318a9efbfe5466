"""The two sides of a comparison: processes of a program, and the work that they do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from .environments import ROOT, Missing

TIMEOUT = 120
"""Seconds until a program that does not answer is ended."""


class Failed(Exception):
    """A program ended, or did not answer; the text is the last that it said."""


@dataclass(frozen=True)
class Program:
    """A program, and how it is to work."""

    name: str
    command: Callable[[], list[str]]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Work:
    """What some updates took."""

    updates: int
    seconds: float
    cpu: float
    """Seconds of the processors' time that the processes used; servers are not counted."""
    memory: float
    """MB that the largest process has."""

    @property
    def rate(self) -> float:
        """Updates a second."""
        return self.updates / self.seconds


class Process:
    """A running program that answers questions; see :mod:`benchmarks.protocol`."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(  # noqa: S603
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "DJANGO_DEBUG": "0", **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
        )

    def ask(self, question: Mapping[str, Any]) -> None:
        """Ask; the answer can be waited for when others were asked, too."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as exc:
            raise Failed(self._last_words()) from exc

    def answer(self) -> dict[str, Any]:
        """Return the next answer.

        Raises:
            Failed: the program ended, or did not answer in time.
        """
        assert self._process.stdout is not None
        end = threading.Timer(TIMEOUT, self._process.kill)
        end.start()
        try:
            line = self._process.stdout.readline()
        finally:
            end.cancel()
        if not line:
            raise Failed(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """Let the program end itself."""
        try:
            self._process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._said.close()

    def _last_words(self) -> str:
        self._process.wait()
        self._said.seek(0)
        words = self._said.read().strip()
        return words.splitlines()[-1] if words else f"no answer within {TIMEOUT} s"


class Side:
    """Processes of one program that work at the same time, on the same data."""

    def __init__(self, program: Program, processes: Sequence[Process]) -> None:
        self.program = program
        self.versions: dict[str, str] = {}
        self.sent = 0
        self._processes = processes
        for process in processes:
            self.versions |= process.answer()["versions"]

    def run(self, chats: Sequence[int], in_flight: int) -> Work:
        """Have an update of each of ``chats`` handled, ``in_flight`` at a time by each process."""
        share = len(self._processes)
        self._ask_all([{"prepare": list(chats[i::share])} for i in range(share)])
        answers = self._ask_all([{"run": in_flight}] * share)
        self.sent += len(chats)
        return Work(
            updates=len(chats),
            seconds=max(answer["seconds"] for answer in answers),
            cpu=sum(answer["cpu"] for answer in answers),
            memory=max(answer["memory"] for answer in answers),
        )

    @property
    def lost(self) -> int:
        """How many of the updates that were sent are not in what is stored."""
        process = self._processes[0]
        process.ask({"counted": None})
        return self.sent - int(process.answer()["counted"])

    def _ask_all(self, questions: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for process, question in zip(self._processes, questions, strict=True):
            process.ask(question)
        return [process.answer() for process in self._processes]


@contextmanager
def running(program: Program, processes: int, environment: Mapping[str, str]) -> Iterator[Side]:
    """Have a side's processes for as long as this lasts."""
    command = [*program.command(), json.dumps(dict(program.options))]
    with ExitStack() as stack:
        started = [Process(command, environment) for _ in range(processes)]
        for process in started:
            stack.callback(process.close)
        yield Side(program, started)


@contextmanager
def scratch_database(vendor: str) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """Have an empty database; yields the environment that leads to it, and the server's version.

    Raises:
        Missing: the server does not answer.
    """
    choice = {"BOTSESSIONS_DATABASE": vendor, "DJANGO_SETTINGS_MODULE": "project.settings"}
    process = Process([sys.executable, "-m", "benchmarks.databases"], choice)
    try:
        try:
            answer = process.answer()
        except Failed as exc:
            raise Missing(f"{vendor} does not answer: {exc}") from exc
        yield {**choice, **answer["environment"]}, answer["versions"]
    finally:
        process.close()
