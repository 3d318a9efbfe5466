"""The table of leases: taking keys, keeping them, giving them back.

A lease ends by itself unless it is renewed, on the database's clock. Whoever finds it taken draws
a number, looks again from time to time, and the numbers are served in order. One who does not turn
up within :data:`GRACE_SECONDS` is passed over, so nobody has to clean up behind a process that was
killed. Those who come while the key happens to be free are let through before those who wait, for
nobody would do anything until these look again; but not often, see
:data:`.leases_texts.MOST_PASSED`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .lease import Lease
from .leases_texts import LeaseTexts
from .statements import Result, Statement, Work, exactly, in_transaction, one

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
    """One database's leases."""

    def __init__(self, texts: LeaseTexts) -> None:
        self.texts = texts

    def draw(self, leases: Iterable[Lease]) -> Work[None]:
        """Take leases of one key each, or draw their numbers."""
        leases = list(leases)
        work = self._draw(leases)
        drawn = yield from (work if self.texts.returns_drawn else in_transaction(work))
        for lease in leases:
            note_drawn(lease, drawn)

    def take_all(self, lease: Lease) -> Work[None]:
        """Take all keys of a lease, or draw a number for each."""
        yield from in_transaction(self._take_all(lease))

    def _take_all(self, lease: Lease) -> Work[None]:
        drawn = yield from self._draw([lease])
        taken = note_drawn(lease, drawn)
        if taken:  # Who held some and waited might wait for ever.
            yield from one(self.texts.draw_again(taken))
            note_drawn(lease, drawn | rows_of((yield from one(self.texts.rows(taken))).rows))

    def _draw(self, leases: Sequence[Lease]) -> Work[dict[int, Row]]:
        """Take each key for its holder, or draw a number; return what the rows are then."""
        pairs = sorted((key, lease.holder) for lease in leases for key in lease.keys)
        if self.texts.returns_drawn:
            return rows_of((yield from one(self.texts.draw(pairs))).rows)
        yield from one(self.texts.draw(pairs))
        return rows_of((yield from one(self.texts.rows([key for key, _ in pairs]))).rows)

    def look(self, leases: Sequence[Lease]) -> Work[None]:
        """See how the queues stand, and take the turns that have come, of one key each."""
        free = yield from self._look(leases)
        for lease in free:
            lease.held = yield from self._take_turn(lease, *lease.keys)

    def look_at_all(self, lease: Lease) -> Work[None]:
        """See how the queues of a lease's keys stand, and take them if all can be taken."""
        if (yield from self._look([lease])):
            try:
                lease.held = yield from in_transaction(self._take_turns(lease))
            except NotYet:
                lease.held = False

    def _look(self, leases: Sequence[Lease]) -> Work[list[Lease]]:
        """See how the queues stand; return those who wait and whose keys are free."""
        keys = [key for lease in leases for key in lease.keys]
        rows = rows_of((yield from one(self.texts.rows(keys))).rows)
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

    def _take_turns(self, lease: Lease) -> Work[bool]:
        for key in lease.keys:
            if not (yield from self._take_turn(lease, key)):
                raise NotYet
        return True

    def _take_turn(self, lease: Lease, key: int) -> Work[bool]:
        statement = self.texts.take_turn(key, lease.holder, lease.numbers[key])
        return bool((yield from one(statement)).changed)

    def renew_unlocked(self, leases: Collection[Lease]) -> Work[None]:
        """Let leases last from now on that nobody is just ending."""
        yield from one(self.texts.renew(*parts_of(leases), unlocked=True))

    def release(self, leases: Collection[Lease]) -> Work[None]:
        """Give leases back."""
        yield from one(self.texts.release(*parts_of(leases)))

    # What holders do, as statements that fail if one of the leases is not held.

    def renewing(self, leases: Collection[Lease]) -> Statement:
        """Let leases last from now on."""
        return self._of_holders(self.texts.renew, leases)

    def releasing(self, leases: Collection[Lease]) -> Statement:
        """Give leases back."""
        return self._of_holders(self.texts.release, leases)

    def handing_on(self, leases: Collection[Lease]) -> list[Statement]:
        """Keep leases for others in this process, as far as these may pass those who wait.

        The rest is given back; :meth:`handed_on` says which.
        """
        kept = "array_agg(id) FILTER (WHERE holder > 0)"
        statement = self._of_holders(self.texts.hand_on, leases, kept)
        if self.texts.vendor == "postgresql":
            return [statement]
        return [statement, self.texts.rows(parts_of(leases)[0])]

    def handed_on(self, leases: Collection[Lease], result: Result) -> list[Lease]:
        """Return those that were kept, by what the last statement of :meth:`handing_on` says."""
        if self.texts.vendor == "postgresql":
            kept = set(result.rows[0][0] or ())
            return [lease for lease in leases if kept.issuperset(lease.keys)]
        rows = rows_of(result.rows)
        return [
            lease for lease in leases if all(rows[key].holder == lease.holder for key in lease.keys)
        ]

    def _of_holders(
        self,
        make: Callable[[Sequence[int], Sequence[int]], Statement],
        leases: Collection[Lease],
        collecting: str = "0",
    ) -> Statement:
        keys, holders = parts_of(leases)
        return exactly(len(keys), make(keys, holders), self.texts.vendor, collecting)

    def is_held_by_others(self, lease: Lease) -> Work[bool]:
        """Whether somebody else holds one of the keys now."""
        statement = self.texts.held_by_others(lease.keys, lease.holder)
        return bool((yield from one(statement)).rows)


class NotYet(Exception):
    """The turn of one of several keys has not come."""


def lease_table_of(connection: BaseDatabaseWrapper) -> LeaseTable:
    """Return the leases of a connection's database."""
    wanted = (connection.alias, LEASE_SECONDS, GRACE_SECONDS)
    table = _tables.get(wanted)
    if table is None:
        table = _tables[wanted] = LeaseTable(LeaseTexts(connection, LEASE_SECONDS, GRACE_SECONDS))
    return table


_tables: dict[tuple[str, float, float], LeaseTable] = {}


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
