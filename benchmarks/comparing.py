"""Two sides that do the same work in turn, so that both meet the machine in the same moods."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from .sides import Program, Side, Work, running, scratch_database


@dataclass(frozen=True)
class Comparison:
    """Work that ours and a peer do."""

    work: str
    ours: Program
    peer: Program
    database: str
    chats: int
    in_flight: int
    """Updates of each process."""
    least: float
    """How many times the peer's updates a second ours must reach."""
    processes: int = 1
    in_turn: bool = True
    """Whether the chats write in turn, or at random, so that one may meet itself."""

    def measure(
        self, rounds: int, seconds: float, note: Callable[[str], object] = lambda text: None
    ) -> Compared:
        """Have both sides work for about ``seconds``, ``rounds`` times.

        Raises:
            Missing: something is not to be had here.
            Failed: a program failed.
        """
        with (
            scratch_database(self.database) as (environment, versions),
            running(self.ours, self.processes, environment) as ours,
            running(self.peer, self.processes, environment) as peer,
        ):
            sides = (ours, peer)
            numbers = [self._updates_within(seconds, side) for side in sides]
            pairs = []
            for seed in range(rounds):
                pairs.append([self._run(*it, seed) for it in zip(sides, numbers, strict=True)])
                note(" : ".join(f"{work.rate:,.0f}" for work in pairs[-1]))
            return Compared(
                self,
                [ours for ours, _ in pairs],
                [peer for _, peer in pairs],
                (ours.lost, peer.lost),
                versions | ours.versions | peer.versions,
            )

    def _updates_within(self, seconds: float, side: Side) -> int:
        """Warm a side up; return how many updates it handles within ``seconds``."""
        some = max(self.chats, self.in_flight * self.processes)
        work = self._run(side, some, seed=-1)
        warm = 0.0
        while warm < seconds:
            work = self._run(side, some, seed=-1)
            warm += work.seconds
        return max(round(work.rate * seconds), some)

    def _run(self, side: Side, updates: int, seed: int) -> Work:
        return side.run(self._order(updates, seed), self.in_flight)

    def _order(self, updates: int, seed: int) -> Sequence[int]:
        chats = range(1, self.chats + 1)
        if self.in_turn:
            return list(itertools.islice(itertools.cycle(chats), updates))
        return random.Random(seed).choices(chats, k=updates)  # noqa: S311


@dataclass(frozen=True)
class Compared:
    """What a comparison found, round by round."""

    row: Comparison
    ours: Sequence[Work]
    peer: Sequence[Work]
    lost: tuple[int, int]
    """Updates whose change is not stored in the end: ours, the peer's."""
    versions: dict[str, str]

    @property
    def ratio(self) -> float:
        """Ours to the peer's updates a second, the median of the rounds."""
        pairs = zip(self.ours, self.peer, strict=True)
        return median(ours.rate / peer.rate for ours, peer in pairs)

    @property
    def reached(self) -> bool:
        return self.ratio >= self.row.least and not self.lost[0]


def median_rate(works: Sequence[Work]) -> float:
    return median(work.rate for work in works)


def median_cpu(works: Sequence[Work]) -> float:
    """Return the processors' time that an update takes, in µs."""
    return median(work.cpu / work.updates * 1e6 for work in works)
