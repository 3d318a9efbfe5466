"""Which stored sessions somebody holds: those are left alone by work that can wait."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connections

from .database.execution import execute
from .database.lease import lease_key
from .database.leases_table import lease_table_of
from .database.leases_texts import NOBODY
from .database.statements import one
from .locks import process_lock
from .records import Address


def busy(addresses: Sequence[Address], using: str) -> set[Address]:
    """Return those whose keys are held, in this process or by leases on a database.

    Whoever takes one afterwards reads what is stored then.
    """
    wanted = process_lock().wanted
    found = {address for address in addresses if address in wanted}
    keys = {lease_key(address): address for address in addresses}
    if keys:
        connection = connections[using]
        statement = lease_table_of(connection).texts.held_by_others(list(keys), NOBODY)
        found |= {keys[key] for (key,) in execute(connection, one(statement)).rows}
    return found


def left(count: int) -> dict[str, int]:
    """Return what a batch tells of sessions that were left because somebody holds them."""
    return {"busy": count} if count else {}
