"""The orders of the list, each at a cost that does not grow with the table."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.db.models import QuerySet
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from ..finding import COMPARED, LISTED
from ..maintenance.batches import with_keys


class Sort(NamedTuple):
    """An order of sessions."""

    label: str | Promise
    column: str
    backwards: bool = False
    by_index: str = ""
    """The order of an index in which they are; empty if none is."""

    @property
    def nearly(self) -> str:
        """The order of an index in which those come first that are to be compared."""
        return "-size_class" if self.column == "size" else "-pk"


SORTS = {
    "oldest": Sort(_("Oldest first"), "created_at", by_index="created_at"),
    "changed": Sort(_("Last changed first"), "updated_at", backwards=True),
    "largest": Sort(_("Largest first"), "size", backwards=True),
    "ends": Sort(_("Next to expire first"), "expires_at", by_index="expires_at"),
    "lasts": Sort(_("Last to expire first"), "expires_at", True, "-expires_at"),
}
"""By what stands in the list's address; the newest come first where nothing does.

An index of the moment of the last change would end PostgreSQL's heap-only updates, and so would one
of the size. So where there are more, some are compared: the newest, or those of the highest size
classes. So it is as well where a filter has found too many, which the index of an order might meet
after a million others.
"""


class Ordered(NamedTuple):
    """The first sessions in an order."""

    keys: list[Any]
    """Primary keys, at most :data:`.finding.LISTED`."""
    total: int | None
    """How many are in that order at all, ``None`` for more than were looked at."""
    is_sure: bool
    """Whether all were compared that there are."""


def in_index_order(sessions: QuerySet[Any], sort: Sort) -> Ordered:
    """Return the first sessions in the order of an index; those that never expire come last."""
    by_key = "-pk" if sort.backwards else "pk"
    there = sessions.filter(**{f"{sort.column}__isnull": False})
    keys = list(there.order_by(sort.by_index, by_key).values_list("pk", flat=True)[: LISTED + 1])
    if len(keys) <= LISTED and sort.column == "expires_at":
        lasting = sessions.filter(expires_at=None).order_by(by_key).values_list("pk", flat=True)
        keys += lasting[: LISTED + 1 - len(keys)]
    return Ordered(keys[:LISTED], len(keys) if len(keys) <= LISTED else None, is_sure=True)


def compared(sessions: QuerySet[Any], sort: Sort, found: list[Any], *, is_all: bool) -> Ordered:
    """Return sessions in an order, of those that were found; those that never expire come last.

    Args:
        sessions: those of the whole table.
        found: primary keys.
        is_all: whether there are no others.
    """
    rows = list(with_keys(sessions, found).values_list(sort.column, "pk"))
    there = sorted((row for row in rows if row[0] is not None), reverse=sort.backwards)
    lasting = sorted((row for row in rows if row[0] is None), reverse=sort.backwards)
    total = len(rows) if is_all else None
    return Ordered([key for _value, key in [*there, *lasting][:LISTED]], total, is_sure=is_all)


def first_of(sessions: QuerySet[Any], sort: Sort, newest: tuple[str, ...] | None) -> Ordered:
    """Return sessions in an order that no index has, of the first that are to be compared.

    Args:
        newest: of a part of the table, perhaps a small one, the order of an index that has its
            newest first; ``None``: these are the whole table.
    """
    most = COMPARED if sort.nearly == "-pk" else LISTED
    if newest:  # Keys alone, which an index answers without a look at the table.
        keys = list(sessions.order_by(*newest).values_list("pk", flat=True)[: COMPARED + 1])
        table = sessions.model._default_manager.using(sessions.db)
        return compared(table, sort, keys[:COMPARED], is_all=len(keys) <= COMPARED)
    order = dict.fromkeys([sort.nearly, "-pk"])
    rows = list(sessions.order_by(*order).values_list(sort.column, "pk")[: most + 1])
    total = len(rows) if len(rows) <= most else None
    rows.sort(reverse=sort.backwards)
    return Ordered([key for _value, key in rows[:LISTED]], total, is_sure=total is not None)
