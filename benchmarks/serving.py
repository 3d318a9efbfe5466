"""Two sites that are sent the same requests in turn: bots behind webhooks, or an empty view."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from .comparing import Compared
from .environments import ROOT, Missing
from .processes import cpu_seconds, memory
from .sides import TIMEOUT, Failed, Work, scratch_database
from .site.settings import BOTSESSIONS

SECRET = BOTSESSIONS["BOTS"]["default"]["WEBHOOK_SECRET"]
CHATS = 500
WARM_SECONDS = 2


@dataclass(frozen=True)
class Site:
    """A program that serves HTTP."""

    name: str
    command: Callable[[int, str], list[str]]
    """From a port and the webhook's secret."""
    path: str
    versions: Callable[[], dict[str, str]]
    counts: bool = True
    """Whether it tells at ``/counted/`` what is stored."""


@dataclass(frozen=True)
class Serving:
    """Requests that ours and a peer answer."""

    work: str
    ours: Site
    peer: Site
    connections: int
    least: float
    """How many times the peer's answers a second ours must reach."""
    most: tuple[float, float] | None = None
    """Milliseconds that ours may take to an answer: the median and the 99th percentile."""
    database: str = "postgresql"

    def measure(
        self, rounds: int, seconds: float, note: Callable[[str], object] = lambda text: None
    ) -> Served:
        """Have both sites answer for about ``seconds``, ``rounds`` times.

        Raises:
            Missing: something is not to be had here.
            Failed: a program failed.
        """
        if shutil.which("wrk") is None:
            raise Missing("wrk, which sends the requests, is not installed")
        with (
            scratch_database(self.database) as (environment, versions),
            serving(self.ours, environment) as ours,
            serving(self.peer, environment) as peer,
        ):
            sites = (ours, peer)
            for site in sites:
                site.answer(self.connections, WARM_SECONDS)
            pairs = []
            for _ in range(rounds):
                pairs.append([site.answer(self.connections, seconds) for site in sites])
                note(" : ".join(map(str, pairs[-1])))
            return Served(
                self,
                [ours for ours, _ in pairs],
                [peer for _, peer in pairs],
                (ours.lost, peer.lost),
                versions | self.ours.versions() | self.peer.versions(),
            )


@dataclass(frozen=True)
class Answers(Work):
    """What some answers took."""

    p50: float
    p99: float
    """Milliseconds to an answer."""

    def __str__(self) -> str:
        return f"{self.rate:,.0f} ({self.p50:.1f} and {self.p99:.1f} ms)"


@dataclass(frozen=True)
class Served(Compared):
    """What was found, round by round."""

    ours: Sequence[Answers]
    peer: Sequence[Answers]

    @property
    def waits(self) -> list[tuple[float, float]]:
        """Ours and the peer's time to an answer in ms, the median and the 99th percentile."""
        return [
            (median(answers.p50 for answers in side), median(answers.p99 for answers in side))
            for side in (self.ours, self.peer)
        ]

    @property
    def reached(self) -> bool:
        most = self.row.most or (float("inf"), float("inf"))
        in_time = all(took <= limit for took, limit in zip(self.waits[0], most, strict=True))
        return super().reached and in_time


@dataclass
class Server:
    """A site that runs."""

    site: Site
    process: subprocess.Popen[bytes]
    port: int
    answered: int = field(default=0)
    sent: int = field(default=0)

    def answer(self, connections: int, seconds: float) -> Answers:
        """Send requests for so long, and return what the answers took."""
        family = [self.process.pid, *children(self.process.pid)]
        cpu = sum(map(cpu_seconds, family))
        found = self._load(connections, seconds)
        if found["errors"] or not found["answers"]:
            raise Failed(f"{self.site.name}: {found['errors']} of the answers were wrong")
        self.answered += found["answers"]
        return Answers(
            updates=found["answers"],
            seconds=found["seconds"],
            cpu=sum(map(cpu_seconds, family)) - cpu,
            memory=max(map(memory, family)),
            p50=found["p50"],
            p99=found["p99"],
        )

    @property
    def lost(self) -> int:
        """How many of the updates that were answered are not in what is stored.

        The last ones of each load were handled, and nobody waited for their answers.
        """
        if not self.site.counts:
            return 0
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/counted/") as answer:
            return max(0, self.answered - int(answer.read()))

    def _load(self, connections: int, seconds: float) -> dict[str, Any]:
        self.sent += 10_000_000  # Update ids that no load had before.
        command = [
            *("wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency"),
            *("-s", str(ROOT / "benchmarks" / "site" / "updates.lua")),
            *(f"http://127.0.0.1:{self.port}{self.site.path}", "--"),
            *(str(self.sent), str(CHATS), SECRET),
        ]
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
        if done.returncode != 0:
            raise Failed(f"wrk: {done.stderr.strip()}")
        found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return found


@contextmanager
def serving(site: Site, environment: Mapping[str, str]) -> Iterator[Server]:
    """Have a site served on a free port for as long as this lasts."""
    port = free_port()
    ours = {"PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": "benchmarks.site.settings"}
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(  # noqa: S603
            site.command(port, SECRET),
            cwd=ROOT,
            env=os.environ | dict(environment) | ours,
            stdout=said,
            stderr=said,
        )
        try:
            end = time.monotonic() + TIMEOUT
            while not answers(port):
                if process.poll() is not None or time.monotonic() > end:
                    said.seek(0)
                    raise Failed(f"{site.name}: {said.read().strip()[-500:]}")
                time.sleep(0.05)
            yield Server(site, process, port)
        finally:
            process.terminate()
            try:
                process.wait(TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def children(parent: int) -> list[int]:
    done = subprocess.run(  # noqa: S603
        ["pgrep", "-P", str(parent)],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    return [int(line) for line in done.stdout.split()]


def free_port() -> int:
    with closing(socket.socket()) as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def answers(port: int) -> bool:
    """Whether a site answers, be it that there is no such page."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with closing(connection), suppress(OSError, http.client.HTTPException):
        connection.request("GET", "/counted/")
        return connection.getresponse().status == http.HTTPStatus.OK
    return False
