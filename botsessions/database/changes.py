"""Changes of sessions, and which of them one statement makes."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import Any

from ..records import ANY, ENCODER, Address, Record

MOST_ROWS = 1000
MOST_BYTES = 1024 * 1024
"""Of data in one statement. MariaDB takes 16 MiB by default; the last session may have 3 MiB."""


class Kind(enum.Enum):
    """What makes a change."""

    UPDATE = enum.auto()
    INSERT = enum.auto()
    REPLACE = enum.auto()
    DELETE = enum.auto()
    DELETE_ANY = enum.auto()


class Change:
    """A record to be stored, or one without a value to delete what is stored."""

    __slots__ = ("address", "by", "data", "kind", "outcome", "record", "revision")

    def __init__(self, address: Address, record: Record, revision: int, by: str = "") -> None:
        self.address = address
        self.record = record
        self.revision = revision
        """The one that the record will have."""
        self.by = by
        """Who makes the change, for tables that keep a history."""
        value, old = record.value, record.revision
        self.data = b"" if value is None else ENCODER.encode(value)
        """The value as JSON; empty for a deletion."""
        self.outcome = None if value is None else revision
        """The revision that is stored once the change is made."""
        if value is None:
            self.kind = Kind.DELETE_ANY if old is ANY else Kind.DELETE
        elif old is ANY:
            self.kind = Kind.REPLACE
        else:
            self.kind = Kind.INSERT if old is None else Kind.UPDATE

    def is_made(self, stored: Record | None) -> bool:
        """Whether what is stored is what it makes of it."""
        if self.record.value is None:
            return stored is None
        return stored is not None and stored.revision == self.revision

    def is_refused(self, stored: Record | None) -> bool:
        """Whether what is stored is not what it names."""
        if self.record.revision is ANY:
            return False
        if stored is None:
            return self.kind is Kind.UPDATE
        return stored.revision != self.record.revision


class Group:
    """Changes that one statement makes: all set the same columns."""

    __slots__ = ("addresses", "changes", "rows", "size")

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.addresses: list[tuple[Any, ...]] = []
        """Address and old revision of each."""
        self.rows: list[dict[str, Any]] = []
        """The columns that each sets, by field name."""
        self.size = 0
        """Of the data, in bytes."""

    @property
    def bare_addresses(self) -> list[Address]:
        return [change.address for change in self.changes]

    @property
    def is_full(self) -> bool:
        """Whether no more fits into a statement on every database."""
        return self.size >= MOST_BYTES or len(self.changes) == MOST_ROWS

    def add(self, change: Change, row: dict[str, Any]) -> None:
        self.changes.append(change)
        self.addresses.append((*change.address, change.record.revision))
        self.rows.append(row)
        self.size += len(change.data)

    def landed(self, rows: Iterable[Sequence[Any]]) -> set[Change]:
        """Return the changes whose revisions a statement has returned."""
        found = {revision for (revision,) in rows}
        return {change for change in self.changes if change.revision in found}
