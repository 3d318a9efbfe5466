"""The statements for the table of leases.

A lease ends by itself unless it is renewed, on the database's clock. Whoever finds it taken draws
a number, looks again from time to time, and the numbers are served in order. One who does not turn
up within :data:`GRACE_SECONDS` is passed over, so nobody has to clean up behind a process that was
killed. Those who come while the key happens to be free are let through before those who wait, for
nobody would do anything until these look again; but not often, see
:data:`.lease_statements.MOST_PASSED`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import connections, transaction

from . import cursors
from .lease_statements import LeaseStatements, lease_statements_of
from .leases import Lease
from .sql import Query

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

LEASE_SECONDS = 7.0
"""A holder that was killed keeps its keys for at most so long."""
GRACE_SECONDS = 0.15
"""So long each of those in front has to turn up once a key is free."""


class Row(NamedTuple):
    """A key's row in the table."""

    holder: int
    free: bool
    drawn: int
    """The last number that somebody has drawn,"""
    served: int
    """and the last whose turn it was."""


class LeaseTable:
    """The statements for one database's leases, on the calling thread's connection."""

    def __init__(self, using: str) -> None:
        self.using = using

    @property
    def connection(self) -> BaseDatabaseWrapper:
        return connections[self.using]

    # Queries, for whoever sends them, and what their rows say.

    def drawing(self, leases: Iterable[Lease]) -> Query:
        """Return the query that takes leases or draws their numbers, for :meth:`drawn`."""
        pairs = sorted((key, lease.holder) for lease in leases for key in lease.keys)
        return self.texts.draw(len(pairs)), self.texts.pairs(pairs)

    def drawn(self, leases: Iterable[Lease], found: Iterable[Any]) -> None:
        """Note of leases of one key each what has become of them."""
        rows = rows_of(found)
        for lease in leases:
            note_drawn(lease, rows)

    def looking(self, leases: Iterable[Lease]) -> Query:
        """Return the query for how the queues stand, for :meth:`looked`."""
        keys = [key for lease in leases for key in lease.keys]
        return self.texts.rows(len(keys)), self.texts.values(keys)

    def looked(self, leases: Sequence[Lease], found: Iterable[Any]) -> list[Lease]:
        """Note how the queues stand; return those who wait and whose keys are free."""
        rows = rows_of(found)
        free = []
        for lease in leases:
            if not rows.keys() >= set(lease.keys):
                lease.start_anew()  # A row was deleted.
                continue
            lease.held = all(rows[key].holder == lease.holder for key in lease.keys)
            lease.before = max(lease.numbers[key] - 1 - rows[key].served for key in lease.keys)
            if not lease.held and all(rows[key].free for key in lease.keys):
                free.append(lease)
        return free

    def ending(self, leases: Collection[Lease], handed_on: Collection[Lease]) -> Query:
        """Return a query that gives leases back, or hands some of them on, for PostgreSQL.

        It returns id and holder of those that were held: a negative one where it is given back,
        which :meth:`release` and :meth:`hand_on` take for held until somebody else has it.
        """
        keys = [key for lease in leases for key in lease.keys]
        kept = [key for lease in handed_on for key in lease.keys]
        holders = [lease.holder for lease in leases]
        return self.texts.ending(len(keys) > 1), [*[kept] * 3, keys, holders]

    # Statements.

    def take(self, leases: Iterable[Lease]) -> None:
        """Take what is free; draw a number for the rest."""
        keys: set[int] = set()
        single: list[Lease] = []
        several: list[Lease] = []
        for lease in leases:
            if keys.isdisjoint(lease.keys):  # Else it has to try again.
                keys.update(lease.keys)
                (single if len(lease.keys) == 1 else several).append(lease)
        self._take(single)
        if several:
            with transaction.atomic(using=self.using):
                self._take(several)

    def _take(self, leases: Sequence[Lease]) -> None:
        """Take all keys of a lease, or draw a number for each."""
        if not leases:
            return
        drawn = self._draw(leases)
        for lease in leases:
            if taken := note_drawn(lease, drawn):  # Who held some and waited might wait for ever.
                drawn |= self._give_back(taken)
                note_drawn(lease, drawn)

    def look(self, leases: Sequence[Lease]) -> list[Lease]:
        """See how the queues stand; return those who wait and whose keys are free."""
        return self.looked(leases, self._returned(*self.looking(leases))) if leases else []

    def take_turn(self, lease: Lease) -> None:
        """Take all keys, if they are free and those in front have had their time."""
        if len(lease.keys) == 1:
            lease.held = self._take_turn(lease, *lease.keys)
        else:
            with transaction.atomic(using=self.using):
                lease.held = all(self._take_turn(lease, key) for key in lease.keys)
                if not lease.held:
                    transaction.set_rollback(True, using=self.using)

    def renew(self, leases: Collection[Lease]) -> bool:
        """Let leases last from now on; return whether all of them are still held."""
        keys, holders = parts_of(leases)
        return self._were_all_held(self.texts.renew, keys, holders)

    def release(self, leases: Collection[Lease]) -> bool:
        """Give leases back; return whether all of them were still held."""
        keys, holders = parts_of(leases)
        return self._were_all_held(self.texts.release, keys, given_back(holders))

    def hand_on(self, leases: Collection[Lease]) -> Collection[Lease] | None:
        """Keep leases for others in this process, as far as these may pass those who wait.

        Returns those that were kept, the rest was given back; or ``None``: one was not held.
        """
        if not leases:
            return ()
        keys, holders = parts_of(leases)
        holders = given_back(holders)
        sql = self.texts.hand_on(len(keys), len(holders))
        values = self.texts.values(keys, holders)
        if self.texts.tells_what_it_updates:
            rows = rows_of(self._returned(sql, values))
        else:
            rows = self._rows(keys) if self._execute(sql, values) == len(keys) else {}
        if len(rows) < len(keys):
            return None
        return {
            lease for lease in leases if all(rows[key].holder == lease.holder for key in lease.keys)
        }

    def is_held_by_others(self, lease: Lease) -> bool:
        """Whether somebody else holds one of the keys now."""
        sql = self.texts.held_by_others(len(lease.keys))
        return bool(self._returned(sql, [*self.texts.values(lease.keys), lease.holder]))

    def _draw(self, leases: Sequence[Lease]) -> dict[int, Row]:
        """Take each key for its holder, or draw a number; return what the rows are then."""
        query = self.drawing(leases)
        if self.texts.returns_drawn:
            return rows_of(self._returned(*query))
        with transaction.atomic(using=self.using):
            self._execute(*query)
            return self._rows([key for lease in leases for key in lease.keys])

    def _give_back(self, keys: Sequence[int]) -> dict[int, Row]:
        """Give back keys taken in this transaction, drawing a number for each."""
        self._execute(self.texts.give_back(len(keys)), self.texts.values(keys))
        return self._rows(keys)

    def _rows(self, keys: Sequence[int]) -> dict[int, Row]:
        return rows_of(self._returned(self.texts.rows(len(keys)), self.texts.values(keys)))

    def _take_turn(self, lease: Lease, key: int) -> bool:
        number = lease.numbers[key]
        values = [lease.holder, number, number, key, number]
        return bool(self._execute(self.texts.take_turn(), values))

    def _were_all_held(
        self, text: Callable[..., str], keys: Sequence[int], holders: Sequence[int]
    ) -> bool:
        if not keys:
            return True
        sql, values = text(len(keys), len(holders)), self.texts.values(keys, holders)
        return self._execute(sql, values) == len(keys)

    def _execute(self, sql: str, parameters: Sequence[Any]) -> int:
        return cursors.changed(self.connection, sql, parameters)

    def _returned(self, sql: str, parameters: Sequence[Any]) -> list[Any]:
        return cursors.rows(self.connection, sql, parameters)

    @property
    def texts(self) -> LeaseStatements:
        return lease_statements_of(self.using, LEASE_SECONDS, GRACE_SECONDS)


def note_drawn(lease: Lease, drawn: Mapping[int, Row]) -> list[int]:
    """Note whether a lease is held, or its numbers; return the keys of one that is held in part."""
    taken = [key for key in lease.keys if drawn[key].holder == lease.holder]
    lease.held = len(taken) == len(lease.keys)
    if lease.held:
        return []
    lease.numbers = {key: drawn[key].drawn for key in lease.keys}
    lease.before = max(drawn[key].drawn - 1 - drawn[key].served for key in lease.keys)
    return taken


def rows_of(found: Iterable[Any]) -> dict[int, Row]:
    return {row[0]: Row(*row[1:]) for row in found}


def parts_of(leases: Collection[Lease]) -> tuple[list[int], list[int]]:
    """Return the keys and the holders of leases."""
    return [key for lease in leases for key in lease.keys], [lease.holder for lease in leases]


def given_back(holders: Sequence[int]) -> list[int]:
    """Return holders as the table may know them since the lease was given back: as negatives."""
    return [*holders, *(-holder for holder in holders)]
