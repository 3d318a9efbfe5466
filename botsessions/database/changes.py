"""Changes of sessions, and which of them one statement makes."""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

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

    __slots__ = ("_data", "address", "record", "revision")

    def __init__(self, address: Address, record: Record, revision: int) -> None:
        self.address = address
        self.record = record
        self.revision = revision
        """The one that the record will have."""
        self._data: bytes | None = None

    @property
    def data(self) -> bytes:
        """The value as JSON; empty for a deletion."""
        if self._data is None:
            value = self.record.value
            self._data = b"" if value is None else ENCODER.encode(value)
        return self._data

    @property
    def kind(self) -> Kind:
        revision = self.record.revision
        if self.record.value is None:
            return Kind.DELETE_ANY if revision is ANY else Kind.DELETE
        if revision is ANY:
            return Kind.REPLACE
        return Kind.INSERT if revision is None else Kind.UPDATE

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

    @property
    def outcome(self) -> int | None:
        """The revision that is stored once it is made."""
        return None if self.record.value is None else self.revision


class Group(NamedTuple):
    """Changes that one statement makes: all set the same columns."""

    changes: list[Change]
    rows: list[dict[str, Any]]
    """The columns that each sets, by field name."""

    @property
    def addresses(self) -> list[tuple[Any, ...]]:
        """Address and old revision of each."""
        return [(*change.address, change.record.revision) for change in self.changes]

    def landed(self, revisions: Collection[Any]) -> set[Change]:
        found = set(revisions)
        return {change for change in self.changes if change.revision in found}

    def portions(self) -> Iterator[Group]:
        """Divide it so that each portion fits into a statement on every database."""
        start, room = 0, MOST_BYTES
        for end, change in enumerate(self.changes, 1):
            room -= len(change.data)
            if room <= 0 or end - start == MOST_ROWS or end == len(self.changes):
                yield Group(self.changes[start:end], self.rows[start:end])
                start, room = end, MOST_BYTES
