"""A table of sessions: reading, and changing what has not been changed by others meanwhile.

Each change compares and sets what it writes, for one session or for many in one statement; only
SQLite executes an update once for each. What did not land is told.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from django.conf import settings
from django.db import IntegrityError, connections
from django.utils.timezone import get_default_timezone, is_aware, make_aware, make_naive

from ..records import ANY, ENCODER, MAX_TITLE_LENGTH, Address, Record, loads, plain, utcnow
from .execution import execute
from .sessions_texts import ADDRESS, Guard, Texts
from .statements import Result, Statement, Work, in_transaction, one, together

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from ..models import AbstractBotSession

MOST_ROWS = 1000
MOST_BYTES = 1024 * 1024
"""Of data in one statement. MariaDB takes 16 MiB by default; the last session may have 3 MiB."""
MOST_TABLES = 64
"""Are kept at hand."""
MYSQL_DUPLICATE = 1062
"""The number of MySQL's and MariaDB's error for a row that exists."""

Row: TypeAlias = "dict[str, Any]"


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
    def updates(self) -> bool:
        """Whether it changes what is stored, and only if that has its revision."""
        return self.record.value is not None and isinstance(self.record.revision, int)

    @property
    def outcome(self) -> int | None:
        """The revision that is stored once it is made."""
        return None if self.record.value is None else self.revision


Step: TypeAlias = "Callable[[Group, bool], Work[set[Change]]]"


class Group(NamedTuple):
    """Changes that one statement makes: all set the same columns."""

    changes: list[Change]
    rows: list[Row]

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


class Table:
    """A table on one database."""

    def __init__(self, model: type[AbstractBotSession], using: str) -> None:
        self.model = model
        self.using = using
        self._adapting: BaseDatabaseWrapper | None = None
        self._texts: Texts | None = None
        self.usual_size = 0
        """Of a session's data lately, in bytes."""

    def adapt_to(self, connection: BaseDatabaseWrapper) -> Table:
        """Take a connection's dialect; return the table, whose works can be done then."""
        if self._texts is None:
            self._adapting, self._texts = connection, Texts(self.model, connection)
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
        return self.loaded((yield from one(self.texts.select(addresses))))

    def writing(self, changes: Iterable[Change], within: bool = False) -> Work[set[Change]]:
        """Make the changes whose revisions are right; return them.

        Args:
            within: whether a transaction has begun.
        """
        steps = [step(group, within) for step, group in self.groups(changes)]
        if within or self.texts.tells_what_it_updates:
            made = yield from together(steps)
        else:
            made = []
            for step in steps:
                made.append((yield from step))
        return set().union(*made)

    def renewing(self, records: Sequence[tuple[Address, Record]]) -> Work[set[Change]]:
        """Set when records expire, and nothing else, if they have their revisions still."""
        group = Group([], [])
        for address, record in records:
            assert isinstance(record.revision, int)
            group.changes.append(Change(address, record, record.revision))
            group.rows.append({"expires_at": self._moment(record.expires_at)})
        return (yield from self.update(group))

    def rewriting(self, changes: Iterable[Change]) -> Work[set[Change]]:
        """Write other forms of sessions that nobody has changed: no time is touched."""
        landed: set[Change] = set()
        changes = list(changes)
        for portion in Group(changes, list(map(self._form, changes))).portions():
            landed |= yield from self.update(portion)
        return landed

    def groups(self, changes: Iterable[Change]) -> list[tuple[Step, Group]]:
        """Group changes by what makes them and the columns that it sets."""
        groups: dict[Any, Group] = {}
        now = self._moment(utcnow())
        for change in changes:
            step, row = self._step(change, now)
            group = groups.setdefault((step, tuple(row)), Group([], []))
            group.changes.append(change)
            group.rows.append(row)
        return [
            (step, portion) for (step, _), group in groups.items() for portion in group.portions()
        ]

    def _step(self, change: Change, now: Any) -> tuple[Step, Row]:
        """Return what makes a change, and the columns that it sets."""
        record = change.record
        if record.value is None:
            return self._delete_any if record.revision is ANY else self._delete, {}
        if record.revision is ANY:
            return self._replace, self._new_row(change, now)
        if record.revision is None:
            return self._insert, self._new_row(change, now)
        return self.update, self._content(change, now)

    # One statement for many rows, or executed for each of them.

    def update(self, group: Group, within: bool = False) -> Work[set[Change]]:
        """Set the columns of rows whose revisions are right."""
        statement = self.texts.update(group.addresses, group.rows)
        if self.texts.tells_what_it_updates:
            return group.landed(only_column((yield from one(statement))))
        if len(group.changes) == 1 or within:
            return (yield from self._update(group, statement))
        return (yield from in_transaction(self._update(group, statement)))

    def _update(self, group: Group, statement: Statement) -> Work[set[Change]]:
        """Update rows where it is not told which, only how many."""
        count = (yield from one(statement)).changed
        if count == len(group.changes):
            return set(group.changes)
        if len(group.changes) == 1 or not count:
            return set()
        stored = yield from self.reading([change.address for change in group.changes])
        return group.landed([record.revision for record in stored.values()])

    def update_if_held(self, group: Group, guard: Guard) -> Statement:
        """Return PostgreSQL's statement that updates rows on a condition.

        It returns of each its revision, and the ids of the leases that still have a holder.
        """
        return self.texts.update(group.addresses, group.rows, guard)

    def _insert(self, group: Group, within: bool) -> Work[set[Change]]:
        if self.texts.vendor == "mysql":
            return (yield from self._insert_of_mysql(group, within))
        if self.texts.returns_rows:
            made = yield from one(self.texts.insert(group.rows))
            return group.landed(only_column(made))
        landed = set()
        for change, row in zip(*group, strict=True):
            if (yield from one(self.texts.insert([row]))).changed:
                landed.add(change)
        return landed

    def _insert_of_mysql(self, group: Group, within: bool) -> Work[set[Change]]:
        try:
            yield from one(self.texts.insert(group.rows))
        except IntegrityError as exc:
            if exc.args[0] != MYSQL_DUPLICATE:
                raise
        else:
            return set(group.changes)
        landed: set[Change] = set()
        if len(group.changes) > 1:
            for change, row in zip(*group, strict=True):
                landed |= yield from self._insert_of_mysql(Group([change], [row]), within)
        return landed

    def _replace(self, group: Group, within: bool) -> Work[set[Change]]:
        changed = self._content(group.changes[0], group.rows[0]["updated_at"])
        yield from one(self.texts.replace(group.rows, changed))
        return set(group.changes)

    def _delete(self, group: Group, within: bool) -> Work[set[Change]]:
        deleted = yield from one(self.texts.delete(group.addresses))
        if deleted.changed == len(group.changes):
            return set(group.changes)
        left = yield from self.reading([change.address for change in group.changes])
        return {change for change in group.changes if change.address not in left}

    def _delete_any(self, group: Group, within: bool) -> Work[set[Change]]:
        yield from one(self.texts.delete([change.address for change in group.changes]))
        return set(group.changes)

    # Rows.

    def _content(self, change: Change, now: Any) -> Row:
        """Return the columns that a write sets, by field name."""
        row, record = self._form(change), change.record
        row["expires_at"] = self._moment(record.expires_at)
        row["updated_at"] = now
        if record.about is not None:
            row |= record.about.known()
            if "title" in row:
                row["title"] = row["title"][:MAX_TITLE_LENGTH]
        return row

    def _form(self, change: Change) -> Row:
        """Return the columns that hold the data and what follows from it."""
        return {
            "data": change.data.decode(),
            "revision": change.revision,
            "size": len(change.data),
            "version": self._number(change.record.version),
        }

    def _number(self, number: Decimal | None) -> Any:
        """Return a version as the database's driver takes it, which whole numbers and text are."""
        if number is None:
            return None
        assert self._adapting is not None
        return self._field("version").get_db_prep_save(number, self._adapting)

    def _moment(self, moment: datetime | None) -> Any:
        """Return an aware moment as the database's driver takes it."""
        if moment is None:
            return None
        assert self._adapting is not None
        return self._adapting.ops.adapt_datetimefield_value(for_column(moment))

    def _new_row(self, change: Change, now: Any) -> Row:
        content = self._content(change, now)
        row = dict(zip(ADDRESS, change.address, strict=True)) | content
        row["created_at"] = row["updated_at"]
        return row | self._defaults(row)

    def _defaults(self, given: Collection[str]) -> Row:
        """Return what a new row holds in all other columns; a subclass may have added some."""
        assert self._adapting is not None
        values = {}
        new = self.model()
        for field in self.model._meta.concrete_fields:
            if field.name not in given and not field.generated:
                given_by_default = field.pre_save(new, True)
                value = field.get_db_prep_save(given_by_default, self._adapting)
                left_to_database = value is None and field.primary_key
                if not left_to_database and not hasattr(value, "as_sql"):
                    values[field.name] = value
        return values

    def loaded(self, result: Result) -> dict[Address, Record]:
        """Return what the rows of a selection say."""
        return dict(map(self._loaded, result.rows))

    def _loaded(self, row: Sequence[Any]) -> tuple[Address, Record]:
        bot, name, key, data, version, expires_at, revision = row
        if expires_at is not None:
            assert self._adapting is not None
            expression = self._field("expires_at").get_col(self.model._meta.db_table)
            for converter in self._adapting.ops.get_db_converters(expression):
                expires_at = converter(expires_at, expression, self._adapting)
        return Address(bot, name, key), Record(
            loads(data),
            None if version is None else plain(Decimal(str(version))),
            from_column(expires_at),
            revision,
        )

    @property
    def texts(self) -> Texts:
        assert self._texts is not None, "Call adapt_to() first."
        return self._texts

    def _field(self, name: str) -> Any:
        return self.model._meta.get_field(name)


@lru_cache(maxsize=MOST_TABLES)
def table_of(model: type[AbstractBotSession], using: str) -> Table:
    """Return the same table for all that is asked of it, which so goes together."""
    return Table(model, using)


def only_column(result: Result) -> list[Any]:
    return [value for (value,) in result.rows]


def for_column(moment: datetime) -> datetime:
    """Return an aware ``moment`` the way ``USE_TZ`` wants it."""
    if settings.USE_TZ:
        return moment
    return make_naive(moment, get_default_timezone())


def from_column(moment: datetime | None) -> datetime | None:
    if moment is None or is_aware(moment):
        return moment
    return make_aware(moment, get_default_timezone())
