"""What a bot's process keeps of chats that it has seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .sides import Program, running, scratch_database


@dataclass(frozen=True)
class Growth:
    """Updates that each come from a chat of their own."""

    work: str
    ours: Program
    database: str
    warm_after: int
    chats: int
    in_flight: int
    most: float
    """MB that may come on top."""

    def measure(
        self, rounds: int, seconds: float, note: Callable[[str], object] = lambda text: None
    ) -> Grown:
        """Handle an update of each chat, once, and see how much memory there is now.

        Raises:
            Missing: something is not to be had here.
            Failed: a program failed.
        """
        memory = {}
        with (
            scratch_database(self.database) as (environment, versions),
            running(self.ours, 1, environment) as side,
        ):
            # As many updates exist at any time, so that they do not count as growth.
            for seen in range(0, self.chats, self.warm_after):
                some = range(seen + 1, seen + self.warm_after + 1)
                memory[some[-1]] = side.run(some, self.in_flight).memory
                if some[-1] % (10 * self.warm_after) == 0:
                    note(f"{some[-1]:,} chats: {memory[some[-1]]:.0f} MB")
            return Grown(
                self, memory[self.warm_after], memory[self.chats], versions | side.versions
            )


@dataclass(frozen=True)
class Grown:
    """The memory that a process has, in MB."""

    row: Growth
    before: float
    after: float
    versions: dict[str, str]

    @property
    def reached(self) -> bool:
        return self.after - self.before <= self.row.most
