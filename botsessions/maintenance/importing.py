"""Bringing sessions in from elsewhere, in batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ..storages import Address
from .arriving import Arrival, Arrivals, Outcome
from .batches import BATCH_SIZE, Batch, Failure
from .origins import Origin
from .storing import store

MOST_BYTES = 2 * 1024 * 1024
"""Of data in a batch, before the last session. MariaDB takes statements of 16 MiB by default, and
text may need three times its length there."""


class Import:
    """Stores the sessions of an origin, each once, however often it is run.

    Nothing is stored in the place of another session, unless that is known to be older. What cannot
    be stored is among the failures.

    Args:
        batch_size: how many sessions are in memory at a time, and in a transaction.
        dry_run: write nothing.
        versions: keep the versions of data, which then are those of this code's migrations.
    """

    def __init__(
        self,
        origin: Origin,
        *,
        batch_size: int = BATCH_SIZE,
        dry_run: bool = False,
        versions: bool = True,
    ) -> None:
        self._origin = origin
        self._batch_size = batch_size
        self._dry_run = dry_run
        self._arrivals = Arrivals(versions=versions)

    def count(self) -> int:
        """Return how many sessions there are, 0 if nobody can tell."""
        return self._origin.count()

    def run(self, *, limit: int | None = None) -> Iterator[Batch]:
        """Import, and yield what each batch has done.

        Args:
            limit: import at most so many.
        """
        load = Load()
        for found in self._origin:
            arrival = found if isinstance(found, Failure) else self._arrivals.arrival(found)
            size = self._batch_size if limit is None else min(limit, self._batch_size)
            if not load.has_room_for(arrival, size):
                yield self._unloaded(load)
                limit = None if limit is None else limit - load.stored
                if limit == 0:
                    return
                load = Load()
            load.add(arrival)
        yield self._unloaded(load)

    def _unloaded(self, load: Load) -> Batch:
        load.outcomes.update(store([*load.arrivals.values()], dry_run=self._dry_run))
        counts = {outcome.value: count for outcome, count in load.outcomes.items()}
        return Batch(counts.pop(Outcome.IMPORTED.value, 0), tuple(load.failures), counts)


class Load:
    """What is to be stored together, and what was found beside it."""

    def __init__(self) -> None:
        self.arrivals: dict[Address, Arrival] = {}
        self.outcomes: Counter[Outcome] = Counter()
        self.failures: list[Failure] = []
        self._bytes = 0

    @property
    def stored(self) -> int:
        return self.outcomes[Outcome.IMPORTED] + self.outcomes[Outcome.REPLACED]

    def has_room_for(self, arrival: Arrival | Outcome | Failure, size: int) -> bool:
        """Whether it may come along. Two sessions of one address come one after the other."""
        count = len(self.arrivals) + self.outcomes.total() + len(self.failures)
        is_there = isinstance(arrival, Arrival) and arrival.address in self.arrivals
        return count < size and self._bytes < MOST_BYTES and not is_there

    def add(self, arrival: Arrival | Outcome | Failure) -> None:
        if isinstance(arrival, Failure):
            self.failures.append(arrival)
        elif isinstance(arrival, Outcome):
            self.outcomes[arrival] += 1
        else:
            self.arrivals[arrival.address] = arrival
            self._bytes += arrival.size
