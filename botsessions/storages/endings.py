"""Changes that end their leases by the same statement, on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from .errands import Errand, change_of, write_of
from .gathering import Outcome, revisions
from .lease_sql import LeaseTable
from .leases import Ending
from .sql import Query, Table, with_revisions

Outcomes: TypeAlias = "Callable[[Iterable[Any]], dict[Errand, Outcome]]"
"""Makes of the rows the outcomes of what has landed, and notes what has become of the leases."""


def ending(
    errands: Sequence[Errand], table: Table, lease_table: LeaseTable
) -> tuple[Query, Outcomes] | None:
    """Return the query that makes changes if the leases are held, and ends these.

    ``None``: one statement cannot do it. What does not land has to be written in another way, which
    tells why.
    """
    leases = {errand.lease: errand.ending for errand in errands if errand.lease is not None}
    if len(leases) < len(errands) or any(len(lease.keys) > 1 for lease in leases):
        return None
    handed_on = [lease for lease, end in leases.items() if end is Ending.HANDED_ON]
    changes = [change_of(errand) for errand in errands]
    changing = table.changing_if_held(changes, lease_table.ending(leases, handed_on))
    if changing is None:
        return None
    group, query = changing

    def outcomes(rows: Iterable[Any]) -> dict[Errand, Outcome]:
        found = list(rows)
        landed = with_revisions(group, [revision for revision, _ in found])
        kept = found[0][1] if found else ()
        done = [e for e, change in zip(errands, changes, strict=True) if change in landed]
        for errand in done:
            errand.note_ended([lease for lease in leases if lease.keys[0] in kept])
        return {errand: revisions(write_of(errand)) for errand in done}

    return query, outcomes
