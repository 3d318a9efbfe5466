"""What is told of work on many stored sessions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..maintenance import Batch


class Task(NamedTuple):
    """Work, and what it is called."""

    work: Any
    """:class:`Work`, unless a command goes through something else than tables."""
    name: str
    """What its runs are noted as."""
    done: str
    """What has been done to sessions, like ``"deleted"``; in JSON the key of their number."""
    due: str
    """The key of the number in a dry run."""


@dataclass(frozen=True)
class Part:
    """A part of a task, which has its own line in the report."""

    label: str
    count: Callable[[], int]
    """How many sessions it would be done to now, 0 if nobody can tell."""
    run: Callable[..., Iterator[Batch]]
    """Do it, to at most ``limit``."""


class Words(NamedTuple):
    """What has become of sessions besides, in words."""

    of_one: str
    of_several: str


@dataclass
class Report:
    """What has been done so far."""

    dry_run: bool
    counts: dict[str, int]
    """By the names of the tasks."""
    besides: dict[str, int]
    """By what has become of sessions that were left as they were for a good reason."""
    tables: dict[str, int] = field(default_factory=dict)
    failed: int = 0
    seconds: float = 0.0
    complete: bool = True
    unreached: Sequence[str] = ()

    def as_json(self, tasks: Sequence[Task]) -> str:
        numbers = {t.due if self.dry_run else t.done: self.counts[t.done] for t in tasks}
        result = {
            "dry_run": self.dry_run,
            **numbers,
            **self.besides,
            "failed": self.failed,
            "tables": self.tables,
            "seconds": round(self.seconds, 3),
            "complete": self.complete,
        }
        return json.dumps(result | ({"unreached": self.unreached} if self.unreached else {}))

    def sentence(self, besides: Mapping[str, Words]) -> str:
        """Return the line that a person reads in a cron mail."""
        (first, count), *others = self.counts.items()
        would = "would be " if self.dry_run else ""
        rest = "".join(f", {number} {would}{done}" for done, number in others)
        also = "".join(f", {n} {besides[name][n > 1]}" for name, n in self.besides.items() if n)
        took = "" if self.dry_run else f"{also and ','} in {self.seconds:.1f} s"
        early = "" if self.complete else " Ended early: run it again."
        unreached = f" Not reached: {', '.join(self.unreached)}." if self.unreached else ""
        return f"{sessions(count)} {would}{first}{rest}{also}{took}.{early}{unreached}"


def sessions(count: int) -> str:
    return "1 session" if count == 1 else f"{count} sessions"
