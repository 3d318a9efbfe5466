"""The table of incidents: what is added, what is kept, what goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

from django.db import router, transaction
from django.db.models import F, QuerySet

from ..models import Incident
from ..records import Address
from .notes import Identity, Note

SAME_FOR = timedelta(hours=1)
"""What fails again within this time is counted in the same row."""
MOST_OF_SESSION = 20
MOST = 10_000
"""So many rows are kept of a session, and in all."""


def incidents() -> QuerySet[Incident]:
    """Return all, where they are written."""
    return Incident._default_manager.using(router.db_for_write(Incident))


def write(notes: Collection[Note]) -> None:
    """Add notes to the table: a few statements, however many there are."""
    rows = incidents()
    with transaction.atomic(using=rows.db):
        known = recent(rows, notes)
        again = [counted(known[note.identity], note) for note in notes if note.identity in known]
        if again:
            rows.bulk_update(again, ["count", "message", "by", "last_at"])
        new = [note for note in notes if note.identity not in known]
        if new:
            rows.bulk_create([made(note) for note in new])
            trim(rows, {note.identity.address for note in new})


def recent(rows: QuerySet[Incident], notes: Collection[Note]) -> dict[Identity, Incident]:
    """Return the rows in which some notes are to be counted."""
    keys = {note.identity.address.key for note in notes}
    since = min(note.last_at for note in notes) - SAME_FOR
    found = rows.filter(key__in=keys, first_at__gte=since).order_by("pk")
    return {Identity(address_of(row), row.kind, row.error): row for row in found}


def counted(row: Incident, note: Note) -> Incident:
    counter: Any = F("count") + note.count  # Another process may be counting, too.
    row.count = counter
    row.message, row.by, row.last_at = note.message, note.by, note.last_at
    return row


def made(note: Note) -> Incident:
    address, kind, error = note.identity
    return Incident(
        **address._asdict(),
        kind=kind,
        error=error,
        message=note.message,
        by=note.by,
        chat_id=note.chat_id,
        user_id=note.user_id,
        count=note.count,
        first_at=note.first_at,
        last_at=note.last_at,
    )


def trim(rows: QuerySet[Incident], addresses: Collection[Address]) -> None:
    """Delete what is too much of some sessions, and in all."""
    keys = {address.key for address in addresses if address.key}
    seen, too_many = Counter[Address](), []
    for row in rows.filter(key__in=keys).order_by("-pk").only("bot", "name", "key"):
        seen[address_of(row)] += 1
        if seen[address_of(row)] > MOST_OF_SESSION:
            too_many.append(row.pk)
    if too_many:
        rows.filter(pk__in=too_many).delete()
    last = rows.order_by("-pk").values_list("pk", flat=True)[MOST : MOST + 1].first()
    if last is not None:
        rows.filter(pk__lte=last).delete()


def follow(moves: Mapping[Address, Address]) -> None:
    """Give the incidents of sessions to the new addresses of these.

    Args:
        moves: new addresses by old ones.
    """
    rows = incidents()
    found = [row for row in rows.filter(key__in={a.key for a in moves}) if address_of(row) in moves]
    for row in found:
        row.bot, row.name, row.key = moves[address_of(row)]
    if found:
        rows.bulk_update(found, ["bot", "name", "key"])


def follow_bot(old: str, new: str) -> None:
    """Give the incidents of no session in particular to a bot's new alias."""
    incidents().filter(bot=old, key="").update(bot=new)


def address_of(row: Incident) -> Address:
    return Address(row.bot, row.name, row.key)
