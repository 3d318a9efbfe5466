"""The statements of the database storage that the ORM cannot say, and their dialects.

Each compares and sets what it writes, for one session or for many in one statement; only SQLite
executes an update once for each. What did not land is told.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
from django.conf import settings
from django.db import IntegrityError, connections
from django.utils.timezone import get_default_timezone, is_aware, make_aware, make_naive

from . import cursors
from .base import ANY, ENCODER, MAX_TITLE_LENGTH, Address, Record, loads, plain, utcnow
from .statements import ADDRESS, Statements, statements_of

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from ..models import AbstractBotSession

PORTION_ROWS = 1000
PORTION_BYTES = 1024 * 1024
"""Of data in one statement. MariaDB takes 16 MiB by default; the last session may have 3 MiB."""

MOST_TABLES = 64
"""Are kept at hand."""

MYSQL_DUPLICATE = 1062
"""The number of MySQL's and MariaDB's error for a row that exists."""

Row: TypeAlias = "dict[str, Any]"
Query: TypeAlias = "tuple[str, Sequence[Any]]"
"""A statement and its parameters."""
Group: TypeAlias = "list[tuple[Change, Row]]"
"""Changes that one statement makes: all set the same columns."""


class Change(msgspec.Struct, eq=False):
    """A record to be stored, or one without a value to delete what is stored."""

    address: Address
    record: Record
    revision: int
    """The one that the record will have."""


class Table:
    """The statements for one table of one database, on the calling thread's connection."""

    def __init__(
        self,
        model: type[AbstractBotSession],
        using: str,
        connection: BaseDatabaseWrapper | None = None,
    ) -> None:
        self.model = model
        self.using = using
        self._connection = connection

    def on(self, connection: BaseDatabaseWrapper) -> Table:
        """Return the statements as they are on a connection that may be another thread's."""
        return Table(self.model, self.using, connection)

    @property
    def connection(self) -> BaseDatabaseWrapper:
        return self._connection or connections[self.using]

    # Queries, for whoever sends them, and what their rows say.

    def selection(self, addresses: Iterable[Address]) -> Query:
        """Return the query for what is stored; :meth:`loaded` reads its rows."""
        keys: dict[tuple[str, str], list[str]] = {}
        for bot, name, key in addresses:
            keys.setdefault((bot, name), []).append(key)
        texts = self._texts
        parameters = [p for start, some in keys.items() for p in (*start, texts.keys(some))]
        return texts.select(tuple(len(some) == 1 for some in keys.values())), parameters

    def loaded(self, rows: Iterable[Sequence[Any]]) -> dict[Address, Record]:
        """Return what is stored, expired or not."""
        return dict(map(self._loaded, rows))

    def changing(self, changes: Iterable[Change]) -> list[tuple[Group, Query]] | None:
        """Return the queries that make changes, each with those that it makes.

        They return the revisions of what has landed. ``None``: there are none that do.
        """
        found = []
        for (statement, _), group in self._groups(changes).items():
            if statement == self._update:
                found.append((group, self._updating(group)))
            elif statement == self._insert and len(group) == 1:
                found.append((group, self._inserting(group)))
            else:
                return None
        return found

    def changing_if_held(
        self, changes: Iterable[Change], held: Query
    ) -> tuple[Group, Query] | None:
        """Return a query like those of :meth:`changing`, if one is enough.

        It makes the changes if ``held``, put before it, returns a row for each. With each revision
        it returns the ids of the rows that still have a holder.
        """
        groups = self._groups(changes)
        if [statement for statement, _ in groups] != [self._update]:
            return None
        (group,) = groups.values()
        return group, self._updating(group, held)

    # Statements.

    def select(self, addresses: Iterable[Address]) -> dict[Address, Record]:
        """Return what is stored, expired or not."""
        asked_for = [*addresses]
        return self.loaded(self.rows(self.selection(asked_for))) if asked_for else {}

    def write(self, changes: Iterable[Change]) -> set[Change]:
        """Make the changes whose revisions are right, by one statement of each kind; return them.

        No two of them may be of one address.
        """
        landed: set[Change] = set()
        for (statement, _), group in self._groups(changes).items():
            landed |= statement(group)
        return landed

    def renew(self, records: Mapping[Address, Record]) -> None:
        """Set when records expire, and nothing else, if they have their revisions still."""
        group: Group = []
        for address, record in records.items():
            row = {"expires_at": self._moment(record.expires_at)}
            assert isinstance(record.revision, int)
            group.append((Change(address, record, record.revision), row))
        self._update(group)

    def rewrite(self, changes: Iterable[Change]) -> set[Change]:
        """Write other forms of sessions that nobody has changed: no time is touched.

        Otherwise like :meth:`write`; each change names the revision that was read.
        """
        group = [(change, self._form(change)) for change in changes]
        return {landed for portion in portions(group) for landed in self._update(portion)}

    def _groups(self, changes: Iterable[Change]) -> dict[tuple[Any, tuple[str, ...]], Group]:
        """Group changes by what makes them and the columns that it sets."""
        groups: dict[Any, Group] = {}
        now = self._moment(utcnow())
        for change in changes:
            statement, row = self._statement(change, now)
            groups.setdefault((statement, tuple(row)), []).append((change, row))
        return groups

    def _statement(self, change: Change, now: Any) -> tuple[Callable[[Group], set[Change]], Row]:
        """Return what makes a change, and the columns that it sets."""
        record = change.record
        if record.value is None:
            return self._delete_any if record.revision is ANY else self._delete, {}
        if record.revision is ANY:
            return self._replace, self._new_row(change, now)
        if record.revision is None:
            return self._insert, self._new_row(change, now)
        return self._update, self._content(change, now)

    # One statement for many rows, or executed for each of them.

    def _update(self, group: Group) -> set[Change]:
        if self._texts.tells_what_it_updates:
            return with_revisions(group, self._returned(self._updating(group)))
        if len(group) == 1:
            return {change for change, _ in group if self._execute(*self._updating(group))}
        # It does not tell which rows it has changed, only how many.
        with cursors.together(self.connection):
            if self._update_many(group) == len(group):
                return {change for change, _ in group}
            stored = self.select(change.address for change, _ in group)
        return with_revisions(group, [record.revision for record in stored.values()])

    def _update_many(self, group: Group) -> int:
        """Update rows and return how many."""
        columns = tuple(group[0][1])
        if self._is_mysql:
            return self._execute(*self._texts.update_of_mysql(columns, rows_of(group)))
        each = [values_of(change, row) for change, row in group]
        return cursors.changed_by_each(self.connection, self._texts.update_one(columns), each)

    def _updating(self, group: Group, held: Query = ("", ())) -> Query:
        """Return what updates rows and returns their revisions, if ``held`` says that it may."""
        (change, row), *others = group
        columns, (text, values) = tuple(row), held
        if others:
            sql, own = self._texts.update(columns, text), self._texts.rows(columns, rows_of(group))
        else:
            sql = self._texts.update_one(columns, text)
            own = values_of(change, row)
        return sql, [*values, *own, *([len(group)] if text else [])]

    def _insert(self, group: Group) -> set[Change]:
        if self._is_mysql:
            return self._insert_of_mysql(group)
        if self._texts.returns_rows:
            return with_revisions(group, self._returned(self._inserting(group)))
        if len(group) > 1:
            return {landed for one in group for landed in self._insert([one])}
        return {change for change, _ in group if self._execute(*self._inserting(group))}

    def _inserting(self, group: Group) -> Query:
        """Return what inserts rows that are not there, and returns their revisions if it can."""
        texts = self._texts
        returning = f" RETURNING {texts.columns(['revision'])}" if texts.returns_rows else ""
        unless_there = f"ON CONFLICT ({texts.columns(ADDRESS)}) DO NOTHING"
        return self._insertion(group, unless_there + returning)

    def _insert_of_mysql(self, group: Group) -> set[Change]:
        # INSERT IGNORE would ignore more than duplicates: it cuts off what is too long.
        try:
            self._execute(*self._insertion(group, ""))
        except IntegrityError as exc:
            if exc.args[0] != MYSQL_DUPLICATE:
                raise
            if len(group) == 1:
                return set()
            return {landed for one in group for landed in self._insert_of_mysql([one])}
        return {change for change, _ in group}

    def _replace(self, group: Group) -> set[Change]:
        if self._is_mysql:
            new, clause = "VALUES({})", "ON DUPLICATE KEY UPDATE"
        else:
            address = self._texts.columns(ADDRESS)
            new, clause = "EXCLUDED.{}", f"ON CONFLICT ({address}) DO UPDATE SET"
        (change, row), *_ = group
        changed = self._content(change, row["updated_at"])
        columns = [self._texts.columns([name]) for name in changed]
        assignments = ", ".join(f"{column} = {new.format(column)}" for column in columns)
        self._execute(*self._insertion(group, f"{clause} {assignments}"))
        return {change for change, _ in group}

    def _delete(self, group: Group) -> set[Change]:
        where = " OR ".join([f"({self._texts.at_address_and_revision})"] * len(group))
        values = [v for change, _ in group for v in (*change.address, change.record.revision)]
        sql = f"DELETE FROM {self._texts.table} WHERE {where}"  # noqa: S608
        if self._execute(sql, values) == len(group):
            return {change for change, _ in group}
        left = self.select(change.address for change, _ in group)
        return {change for change, _ in group if change.address not in left}

    def _delete_any(self, group: Group) -> set[Change]:
        where = " OR ".join([f"({self._texts.at_address})"] * len(group))
        sql = f"DELETE FROM {self._texts.table} WHERE {where}"  # noqa: S608
        self._execute(sql, [part for change, _ in group for part in change.address])
        return {change for change, _ in group}

    def _insertion(self, group: Group, otherwise: str) -> tuple[str, list[Any]]:
        (_, columns), *_ = group
        sql = (
            f"INSERT INTO {self._texts.table} ({self._texts.columns(columns)}) "  # noqa: S608
            f"VALUES {placeholders(len(columns), len(group))} {otherwise}"
        )
        return sql, [value for _, row in group for value in row.values()]

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
        data = ENCODER.encode(change.record.value)
        return {
            "data": data.decode(),
            "revision": change.revision,
            "size": len(data),
            "version": self._number(change.record.version),
        }

    def _number(self, number: Decimal | None) -> Any:
        """Return a version as the database's driver takes it, which whole numbers and text are."""
        if number is None:
            return None
        return self._field("version").get_db_prep_save(number, self.connection)

    def _moment(self, moment: datetime | None) -> Any:
        """Return an aware moment as the database's driver takes it."""
        if moment is None:
            return None
        return self.connection.ops.adapt_datetimefield_value(for_column(moment))

    def _new_row(self, change: Change, now: Any) -> Row:
        content = self._content(change, now)
        row = dict(zip(ADDRESS, change.address, strict=True)) | content
        row["created_at"] = row["updated_at"]
        return row | self._defaults(row)

    def _defaults(self, given: Collection[str]) -> Row:
        """Return what a new row holds in all other columns; a subclass may have added some."""
        values = {}
        new = self.model()
        for field in self.model._meta.concrete_fields:
            if field.name not in given and not field.generated:
                value = field.get_db_prep_save(field.pre_save(new, True), self.connection)
                left_to_database = value is None and field.primary_key
                if not left_to_database and not hasattr(value, "as_sql"):
                    values[field.name] = value
        return values

    def _loaded(self, row: Sequence[Any]) -> tuple[Address, Record]:
        bot, name, key, data, version, expires_at, revision = row
        if expires_at is not None:
            expression = self._field("expires_at").get_col(self.model._meta.db_table)
            for converter in self.connection.ops.get_db_converters(expression):
                expires_at = converter(expires_at, expression, self.connection)
        return Address(bot, name, key), Record(
            loads(data),
            None if version is None else plain(Decimal(str(version))),
            from_column(expires_at),
            revision,
        )

    # Text.

    def _execute(self, sql: str, parameters: Sequence[Any]) -> int:
        return cursors.changed(self.connection, sql, parameters)

    def rows(self, query: Query) -> list[Any]:
        """Return what a query returns."""
        return cursors.rows(self.connection, *query)

    def _returned(self, query: Query) -> list[Any]:
        return [value for (value,) in self.rows(query)]

    @property
    def _texts(self) -> Statements:
        return statements_of(self.model, self.using)

    @property
    def _is_mysql(self) -> bool:
        return self._texts.vendor == "mysql"

    def _field(self, name: str) -> Any:
        return self.model._meta.get_field(name)


@lru_cache(maxsize=MOST_TABLES)
def table_of(model: type[AbstractBotSession], using: str) -> Table:
    """Return the same table for all errands to it, which so go together."""
    return Table(model, using)


def portions(group: Group) -> Iterator[Group]:
    """Divide changes so that each portion fits into a statement on every database."""
    portion: Group = []
    room = PORTION_BYTES
    for change, row in group:
        portion.append((change, row))
        room -= row["size"]
        if room <= 0 or len(portion) == PORTION_ROWS:
            yield portion
            portion, room = [], PORTION_BYTES
    if portion:
        yield portion


def rows_of(group: Group) -> list[tuple[Any, ...]]:
    """Return of each change what updates many rows: address, old revision, and new values."""
    return [(*c.address, c.record.revision, *row.values()) for c, row in group]


def values_of(change: Change, row: Row) -> list[Any]:
    """Return what updates one row: new values, address, old revision."""
    return [*row.values(), *change.address, change.record.revision]


def placeholders(columns: int, rows: int) -> str:
    return ", ".join([f"({', '.join(['%s'] * columns)})"] * rows)


def with_revisions(group: Group, revisions: Collection[Any]) -> set[Change]:
    landed = set(revisions)
    return {change for change, _ in group if change.revision in landed}


def for_column(moment: datetime) -> datetime:
    """Return an aware ``moment`` the way ``USE_TZ`` wants it."""
    if settings.USE_TZ:
        return moment
    return make_naive(moment, get_default_timezone())


def from_column(moment: datetime | None) -> datetime | None:
    if moment is None or is_aware(moment):
        return moment
    return make_aware(moment, get_default_timezone())
