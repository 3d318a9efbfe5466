"""The orders of the list, each at a cost that does not grow with the table."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.db.models import QuerySet
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from ..finding import COMPARED, LISTED


class Sort(NamedTuple):
    """An order of sessions."""

    label: str | Promise
    column: str
    backwards: bool = False
    by_index: str = ""
    """The order of an index in which they nearly are; empty if none is."""
    is_exact: bool = True
    """Whether they are in just that order."""


SORTS = {
    "oldest": Sort(_("Oldest first"), "created_at", by_index="created_at"),
    "changed": Sort(_("Last changed first"), "updated_at", backwards=True),
    "largest": Sort(_("Largest first"), "size", True, "-size_class", is_exact=False),
    "ends": Sort(_("Next to expire first"), "expires_at", by_index="expires_at"),
    "lasts": Sort(_("Last to expire first"), "expires_at", True, "-expires_at"),
}
"""By what stands in the list's address; the newest come first where nothing does.

An index of the moment of the last change would end PostgreSQL's heap-only updates, and so would one
of the size. So of more than :data:`.finding.COMPARED` sessions the newest, or those of the highest
size classes, are put in order.
"""


class Ordered(NamedTuple):
    """The first sessions in an order."""

    keys: list[Any]
    """Primary keys, at most :data:`.finding.LISTED`."""
    total: int | None
    """How many are in that order at all, ``None`` for more than were looked at."""
    is_sure: bool
    """Whether all were compared that there are."""


def ordered(sessions: QuerySet[Any], sort: Sort, *, narrowed: bool) -> Ordered:
    """Return the first sessions in an order.

    Args:
        narrowed: they are a part of the table only, perhaps a small one.
    """
    if sort.column == "expires_at":
        sessions = sessions.filter(expires_at__isnull=False)
    sign = "-" if sort.backwards else ""
    if sort.by_index and sort.is_exact and not narrowed:
        rows = sessions.order_by(sort.by_index, f"{sign}pk").values_list("pk", flat=True)
        keys = list(rows[: LISTED + 1])
        return Ordered(keys[:LISTED], len(keys) if len(keys) <= LISTED else None, is_sure=True)
    found = compared(sessions, sort, "-pk" if narrowed else sort.by_index)
    if len(found) > COMPARED and sort.by_index and narrowed:
        if sort.is_exact:
            return ordered(sessions, sort, narrowed=False)
        found = compared(sessions, sort, sort.by_index)
    found.sort(reverse=sort.backwards)
    total = len(found) if len(found) <= COMPARED else None
    return Ordered([key for _value, key in found[:LISTED]], total, is_sure=total is not None)


def compared(sessions: QuerySet[Any], sort: Sort, index: str) -> list[tuple[Any, Any]]:
    """Return values and primary keys of the first sessions by an index, one more than compared."""
    order = dict.fromkeys([index or "-pk", "-pk"])
    return list(sessions.order_by(*order).values_list(sort.column, "pk")[: COMPARED + 1])
