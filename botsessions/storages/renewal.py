"""Renewing sessions that are in use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from ..exceptions import SessionConflict
from .base import Record, all_of, awaited

if TYPE_CHECKING:
    from .layers import Place


async def renewed(
    places: Sequence[Place], records: Sequence[Record | None]
) -> Sequence[Record | None]:
    """Renew, side by side, what is due for that; return the records as they are then."""
    due = {
        index: replace(record, expires_at=until)
        for index, record in enumerate(records)
        if record is not None and record.value is not None
        if (until := renewal(places[index], record)) is not None
    }
    if not due:
        return records
    found = await all_of(renew(places[index], record) for index, record in due.items())
    after = dict(zip(due, found, strict=True))
    return [after.get(index, record) for index, record in enumerate(records)]


def renewal(place: Place, record: Record) -> datetime | None:
    """Return until when reading a record renews it; ``None`` if it does not."""
    until = None
    for layer in reversed(place.layers):
        until = layer.renewal(record) or until
    return until


async def renew(place: Place, record: Record) -> Record:
    storage, address = place.storage, place.address
    if (ability := getattr(storage, "renew", None)) is not None:
        await awaited(ability, address, record)
        return record
    try:
        return replace(record, revision=await awaited(storage.write, address, record))
    except SessionConflict:  # Changed meanwhile: read what it is now.
        return (await awaited(storage.read, address) or Record(None)).live()
