"""A table of sessions: reading, and changing what has not been changed by others meanwhile.

Each change compares and sets what it writes, for one session or for many in one statement; only
SQLite executes an update once for each. What did not land is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, connections

from ..records import Address, Record, utcnow
from .changes import Change, Group, Kind
from .errors import is_refusal
from .execution import execute
from .sessions_rows import Rows
from .sessions_texts import Texts
from .statements import Result, Statement, Work, exactly, in_transaction, one

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from ..models import AbstractBotSession

MOST_TABLES = 64
"""Are kept at hand."""


class Table:
    """A table on one database."""

    texts_type: type[Texts] = Texts
    texts: Texts
    rows: Rows
    """Both once it is adapted to a connection."""

    def __init__(self, model: type[AbstractBotSession], using: str) -> None:
        self.model = model
        self.using = using
        self._is_adapted = False
        self.usual_size = 0
        """Of a session's data lately, in bytes."""

    def adapt_to(self, connection: BaseDatabaseWrapper) -> Table:
        """Take a connection's dialect; return the table, whose works can be done then."""
        if not self._is_adapted:
            self.rows = Rows(self.model, connection)
            self.texts = self.texts_type(self.model, connection)
            self._is_adapted = True
        return self

    # For whoever is on a thread of its own.

    def select(self, addresses: Iterable[Address]) -> dict[Address, Record]:
        """Return what is stored, expired or not."""
        stored: dict[Address, Record] = self._execute(partial(self.reading, list(addresses)))
        return stored

    def write(self, changes: Iterable[Change]) -> set[Change]:
        """Make the changes whose revisions are right; return them.

        No two of them may be of one address.
        """
        landed: set[Change] = self._execute(partial(self.writing, list(changes)))
        return landed

    def renew(self, records: Mapping[Address, Record]) -> None:
        """Set when records expire, and nothing else, if they have their revisions still."""
        self._execute(partial(self.renewing, list(records.items())))

    def rewrite(self, changes: Iterable[Change]) -> set[Change]:
        """Write other forms of sessions that nobody has changed: no time is touched.

        Otherwise like :meth:`write`; each change names the revision that was read.
        """
        landed: set[Change] = self._execute(partial(self.rewriting, list(changes)))
        return landed

    def _execute(self, work: Callable[[], Work[Any]]) -> Any:
        connection = connections[self.using]
        self.adapt_to(connection)
        return execute(connection, work())

    # Works.

    def reading(self, addresses: Sequence[Address]) -> Work[dict[Address, Record]]:
        """Return what is stored, expired or not."""
        if not addresses:
            return {}
        return self._loaded((yield from one(self.texts.select(addresses))))

    def writing(self, changes: Iterable[Change]) -> Work[set[Change]]:
        """Make the changes whose revisions are right; return them."""
        landed: set[Change] = set()
        for kind, group in self.groups(changes):
            landed |= yield from self.making(kind, group)
        return landed

    def making(self, kind: Kind, group: Group) -> Work[set[Change]]:
        """Make those of a group's changes whose revisions are right; return them."""
        if kind is Kind.UPDATE:
            return (yield from self.update(group))
        if kind is Kind.INSERT:
            return (yield from self._insert(group))
        if kind is Kind.DELETE:
            return (yield from self._delete(group))
        if kind is Kind.REPLACE:
            yield from one(self.texts.replace(group.rows, self.rows.replaced(group)))
        else:
            yield from one(self.texts.delete(group.bare_addresses))
        return set(group.changes)

    def statements(self, changes: Iterable[Change]) -> list[Statement]:
        """Return what makes changes, in a transaction, and fails unless all can be made."""
        made: list[Statement] = []
        for kind, group in self.groups(changes):
            count, addresses = len(group.changes), group.bare_addresses
            if kind is Kind.UPDATE:
                made.append(self._exactly(count, self.texts.update(group.addresses, group.rows)))
            elif kind is Kind.INSERT:
                made.append(self._exactly(count, self.texts.insert(group.rows)))
            elif kind is Kind.REPLACE:
                made.append(self.texts.replace(group.rows, self.rows.replaced(group)))
            elif kind is Kind.DELETE:
                made.append(self.texts.delete(group.addresses))
                made.append(self.texts.nothing_at(addresses))
            else:
                made.append(self.texts.delete(addresses))
        return made

    def _exactly(self, count: int, statement: Statement) -> Statement:
        return exactly(count, statement, self.texts.vendor)

    def renewing(self, records: Sequence[tuple[Address, Record]]) -> Work[set[Change]]:
        """Set when records expire, and nothing else, if they have their revisions still."""
        group = Group()
        for address, record in records:
            assert isinstance(record.revision, int)
            unchanged = Record(None, revision=record.revision)
            row = {"expires_at": self.rows.moment(record.expires_at)}
            group.add(Change(address, unchanged, record.revision), row)
        return (yield from self.update(group))

    def rewriting(self, changes: Iterable[Change]) -> Work[set[Change]]:
        """Write other forms of sessions that nobody has changed: no time is touched."""
        landed: set[Change] = set()
        for _, group in grouped((change, self.rows.form(change)) for change in changes):
            landed |= yield from self.update(group)
        return landed

    def groups(self, changes: Iterable[Change]) -> list[tuple[Kind, Group]]:
        """Group changes by what makes them and the columns that it sets."""
        now = self.rows.moment(utcnow())
        return grouped((change, self.rows.of(change, now)) for change in changes)

    # One statement for many rows, or executed for each of them.

    def update(self, group: Group) -> Work[set[Change]]:
        """Set the columns of rows whose revisions are right."""
        statement = self.texts.update(group.addresses, group.rows)
        if self.texts.tells_what_it_updates:
            return group.landed((yield from one(statement)).rows)
        if len(group.changes) == 1:
            return (yield from self._update(group, statement))
        return (yield from in_transaction(self._update(group, statement)))

    def _update(self, group: Group, statement: Statement) -> Work[set[Change]]:
        """Update rows where it is not told which, only how many."""
        count = (yield from one(statement)).changed
        if count == len(group.changes):
            return set(group.changes)
        if len(group.changes) == 1 or not count:
            return set()
        stored = yield from self.reading(group.bare_addresses)
        return group.landed((record.revision,) for record in stored.values())

    def _insert(self, group: Group) -> Work[set[Change]]:
        if self.texts.vendor == "mysql":
            return (yield from self._insert_of_mysql(group))
        if self.texts.returns_rows:
            made = yield from one(self.texts.insert(group.rows))
            return group.landed(made.rows)
        landed = set()
        for change, row in zip(group.changes, group.rows, strict=True):
            if (yield from one(self.texts.insert([row]))).changed:
                landed.add(change)
        return landed

    def _insert_of_mysql(self, group: Group) -> Work[set[Change]]:
        try:
            yield from one(self.texts.insert(group.rows))
        except IntegrityError as exc:
            if not is_refusal(exc):
                raise
        else:
            return set(group.changes)
        landed: set[Change] = set()
        if len(group.changes) > 1:
            for change, row in zip(group.changes, group.rows, strict=True):
                alone = Group()
                alone.add(change, row)
                landed |= yield from self._insert_of_mysql(alone)
        return landed

    def _delete(self, group: Group) -> Work[set[Change]]:
        deleted = yield from one(self.texts.delete(group.addresses))
        return (yield from self.gone(group, deleted))

    def gone(self, group: Group, deleted: Result) -> Work[set[Change]]:
        """Return which of some changes have been made that delete."""
        if deleted.changed == len(group.changes):
            return set(group.changes)
        left = yield from self.reading(group.bare_addresses)
        return {change for change in group.changes if change.address not in left}

    def _loaded(self, result: Result) -> dict[Address, Record]:
        if result.rows:
            size = sum(len(row[3]) for row in result.rows) // len(result.rows)
            self.usual_size += (size - self.usual_size) // 4
        return self.rows.loaded(result)


@lru_cache(maxsize=MOST_TABLES)
def table_of(model: type[AbstractBotSession], using: str) -> Table:
    """Return the same table for all that is asked of it, which so goes together."""
    return Table(model, using)


def grouped(changes: Iterable[tuple[Change, dict[str, Any]]]) -> list[tuple[Kind, Group]]:
    """Group changes by what makes them and the columns that it sets."""
    groups: list[tuple[Kind, Group]] = []
    last: dict[Any, Group] = {}
    for change, row in changes:
        alike = (change.kind, *row)
        group = last.get(alike)
        if group is None or group.is_full:
            group = last[alike] = Group()
            groups.append((change.kind, group))
        group.add(change, row)
    return groups
