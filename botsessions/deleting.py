"""Deleting rows only as they were when it was decided that they go."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.deletion import Collector


def delete_rows(rows: QuerySet[Any]) -> int:
    """Delete those rows that are in a query set still, and return how many.

    One statement looks and deletes, unless Django has to load them: for signals, or for rows that
    refer to them. Then it would delete by primary key whatever has become of them meanwhile, so
    they are locked first.
    """
    if is_deleted_as_filtered(rows):
        return deleted(rows)
    with transaction.atomic(using=rows.db):
        locked = rows.order_by("pk").select_for_update()
        return deleted(rows.filter(pk__in=list(locked.values_list("pk", flat=True))))


def is_deleted_as_filtered(rows: QuerySet[Any]) -> bool:
    """Whether Django's own ``DELETE`` has the conditions of a query set."""
    return Collector(using=rows.db, origin=rows).can_fast_delete(rows)


def deleted(rows: QuerySet[Any]) -> int:
    """Delete rows and return how many, those apart that referred to them."""
    return rows.delete()[1].get(rows.model._meta.label, 0)
