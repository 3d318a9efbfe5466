"""Renewing sessions that are in use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ..exceptions import SessionConflict
from ..records import Record, awaited

if TYPE_CHECKING:
    from .layers import Place


def due_for_renewal(places: Sequence[Place], records: Sequence[Record | None]) -> dict[int, Record]:
    """Return what reading renews, by index, with the expiry that it shall get."""
    due = {}
    for index, record in enumerate(records):
        if record is not None and record.value is not None:
            for layer in reversed(places[index].layers):
                if (until := layer.renewal(record)) is not None:
                    due[index] = replace(record, expires_at=until)
    return due


async def renew(place: Place, record: Record) -> Record:
    """Store the expiry of ``record``; return what is stored then."""
    storage, address = place.storage, place.address
    if (ability := getattr(storage, "renew", None)) is not None:
        await awaited(ability, address, record)
        return record
    try:
        return replace(record, revision=await awaited(storage.write, address, record))
    except SessionConflict:  # Changed meanwhile: read what it is now.
        return (await awaited(storage.read, address) or Record(None)).live()
