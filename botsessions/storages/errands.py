"""Errands to a database: requests for sessions, and the leases that ride along with them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import msgspec

from .gathering import Request, Write
from .leases import Ending, Lease
from .sql import Change, Table


class Errand(msgspec.Struct, eq=False):
    """A request for a table's sessions, or none, under a lease, or none.

    A write checks the lease, in its own transaction, and anything else takes it first.
    """

    table: Table | None = None
    request: Request | None = None
    lease: Lease | None = None
    ending: Ending = Ending.KEPT
    """What a write makes of the lease."""

    @property
    def written(self) -> Collection[Any]:
        """What no other errand of the same batch may write."""
        if not isinstance(self.request, Write):
            return ()
        return [change.address for change in self.request.changes]

    def note_ended(self, handed_on: Collection[Lease] | None = None) -> None:
        """Note what has become of the lease; of one to be handed on, ``None``: unknown."""
        lease = self.lease
        if lease is None or self.ending is Ending.KEPT:
            return
        if self.ending is Ending.GIVEN_BACK or (handed_on is not None and lease not in handed_on):
            lease.held, lease.released = False, True
        else:
            lease.handed_on = handed_on is not None


def by_table(errands: Iterable[Errand]) -> dict[Table, list[Errand]]:
    tables: dict[Table, list[Errand]] = {}
    for errand in errands:
        if errand.table is not None and errand.request is not None:
            tables.setdefault(errand.table, []).append(errand)
    return tables


def write_of(errand: Errand) -> Write:
    assert isinstance(errand.request, Write)
    return errand.request


def change_of(errand: Errand) -> Change:
    """Return the only change of a write."""
    (change,) = write_of(errand).changes
    return change
