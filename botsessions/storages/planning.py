"""What the event loop can do by itself: errands by statements of which each is a transaction.

What they leave undone, the database's thread does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from .endings import ending
from .errands import Errand, change_of, write_of
from .gathering import Outcome, Plan, Read, Step, Write, found_of, outcome_of
from .lease_sql import LeaseTable
from .leases import Ending, Lease, NotHeldYet
from .sql import Table, with_revisions

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from .nonblocking import Rows


def plan_errands(
    using: str, errands: Sequence[Errand], connection: BaseDatabaseWrapper
) -> Plan | None:
    """Return how to carry out errands to one table; ``None``: there is no way."""
    for errand in errands:
        if errand.table is not None:
            planning = Planning(errand.table.on(connection), LeaseTable(using))
            return planning.plan(errands)
    return None


class Planning:
    """Errands by what has to be done, and what has come of them."""

    def __init__(self, table: Table, leases: LeaseTable) -> None:
        self._table = table
        self._lease_table = leases
        self._ending: list[Errand] = []
        self._writing: list[Errand] = []
        self._reading: dict[Errand, Read] = {}
        self._unheld: dict[Lease, list[Errand]] = {}
        self._outcomes: dict[Errand, Outcome] = {}

    def plan(self, errands: Sequence[Errand]) -> Plan | None:
        for errand in errands:
            if not self._takes(errand):
                return None
        # Leases are given back first, then others are taken, and then it is read.
        steps: list[Step] = []
        if (
            (self._ending and not self._plan_ending(steps))
            or (self._writing and not self._plan_writing(steps))
            or (self._unheld and not self._plan_taking(steps))
        ):
            return None
        if self._reading:
            self._plan_reading(steps)
        return Plan(steps, self._outcomes)

    def _takes(self, errand: Errand) -> bool:
        """Note an errand, and return whether it can be planned."""
        request, lease = errand.request, errand.lease
        if errand.table is not None and errand.table.model is not self._table.model:
            return False
        if lease is not None:
            if len(lease.keys) > 1 or lease.released:
                return False
            if not lease.held:
                self._unheld.setdefault(lease, []).append(errand)
        if isinstance(request, Read):
            self._reading[errand] = request
        elif isinstance(request, Write):
            if len(request.changes) != 1:
                return False
            if lease is None:
                self._writing.append(errand)
            elif lease.held and errand.ending is not Ending.KEPT:
                self._ending.append(errand)
            else:
                return False
        return request is None or isinstance(request, (Read, Write))

    def _plan_ending(self, steps: list[Step]) -> bool:
        """Let changes be made and their leases end by one statement."""
        planned = ending(self._ending, self._table, self._lease_table)
        if planned is None:
            return False
        query, outcomes = planned
        steps.append((query, lambda rows: self._outcomes.update(outcomes(rows))))
        return True

    def _plan_writing(self, steps: list[Step]) -> bool:
        errands = {change_of(errand): errand for errand in self._writing}
        changing = self._table.changing(errands)
        if changing is None:
            return False
        for group, query in changing:

            def note(rows: Rows, group: Any = group) -> None:
                landed = with_revisions(group, [revision for (revision,) in rows])
                for change, _ in group:
                    errand = errands[change]
                    self._outcomes[errand] = outcome_of(write_of(errand), landed)

            steps.append((query, note))
        return True

    def _plan_taking(self, steps: list[Step]) -> bool:
        """Let leases be taken, or those who wait look whether they can be."""
        table, waiting = self._lease_table, [lease for lease in self._unheld if lease.numbers]
        fresh = [lease for lease in self._unheld if not lease.numbers]
        if len({lease.keys[0] for lease in self._unheld}) < len(self._unheld):
            return False
        if waiting:
            steps.append((table.looking(waiting), lambda rows: self._looked(waiting, rows)))
        if fresh:
            steps.append((table.drawing(fresh), lambda rows: self._drawn(fresh, rows)))
        return True

    def _looked(self, leases: Sequence[Lease], rows: Rows) -> None:
        free = self._lease_table.looked(leases, rows)
        # To take one that is free, or to begin again, is the thread's.
        self._note_taken([lease for lease in leases if lease.numbers and lease not in free])

    def _drawn(self, leases: Sequence[Lease], rows: Rows) -> None:
        self._lease_table.drawn(leases, rows)
        self._note_taken(leases)

    def _note_taken(self, leases: Iterable[Lease]) -> None:
        for lease in leases:
            outcome = None if lease.held else NotHeldYet()
            self._outcomes |= dict.fromkeys(self._unheld[lease], outcome)

    def _plan_reading(self, steps: list[Step]) -> None:
        addresses = {a for read in self._reading.values() for a in read.addresses}
        steps.append((self._table.selection(addresses), self._read))

    def _read(self, rows: Rows) -> None:
        stored = self._table.loaded(rows)
        for errand, read in self._reading.items():
            if errand.lease is None or errand.lease.held:
                self._outcomes[errand] = found_of(read, stored)
