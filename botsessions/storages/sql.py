"""The statements of the database storage that the ORM cannot say, and their dialects.

All of them are single statements that compare and set: no transaction is needed around one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

from django.conf import settings
from django.db import IntegrityError, connections, transaction
from django.utils.timezone import get_default_timezone, is_aware, make_aware, make_naive

from .base import (
    ANY,
    MAX_TITLE_LENGTH,
    Address,
    Changes,
    Record,
    Revision,
    conflict,
    dumps,
    new_revision,
    plain,
    utcnow,
)

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from ..models import AbstractBotSession

ADDRESS = ("bot", "name", "key")
LOADED = (*ADDRESS, "data", "version", "expires_at", "revision")
ABOUT = ("chat_id", "user_id", "chat_type", "title")


MYSQL_DUPLICATE = 1062
"""The number of MySQL's and MariaDB's error for a row that exists."""

OnDuplicate: TypeAlias = "Callable[[Iterable[str]], str]"


class Table:
    """The statements for one table of one database, on the calling thread's connection."""

    def __init__(self, model: type[AbstractBotSession], using: str) -> None:
        self.model = model
        self.using = using

    @property
    def connection(self) -> BaseDatabaseWrapper:
        return connections[self.using]

    def select(self, addresses: Sequence[Address]) -> list[tuple[Address, Record]]:
        if not addresses:
            return []
        where = " OR ".join([f"({self._at_address})"] * len(addresses))
        sql = f"SELECT {self._columns(LOADED)} FROM {self._name} WHERE {where}"  # noqa: S608
        with self.connection.cursor() as cursor:
            cursor.execute(sql, [part for address in addresses for part in address])
            return [self._loaded(row) for row in cursor.fetchall()]

    def write(self, address: Address, record: Record) -> int:
        """Insert, update or replace a row, as the record's revision says."""
        if record.revision is ANY:
            return self._insert(address, record, self._or_replace)
        if record.revision is None:
            return self._insert(address, record, self._or_nothing)
        return self._update(address, record)

    def delete(self, address: Address, revision: Revision) -> None:
        sql = f"DELETE FROM {self._name} WHERE {self._at_address}"  # noqa: S608
        if revision is ANY:
            self._execute(sql, address)
            return
        compare = f"{sql} AND {self._quote('revision')} = %s"
        if not self._execute(compare, [*address, revision]) and self.select([address]):
            raise conflict(address)

    def write_all(self, changes: Changes) -> list[int | None]:
        """Make all changes or none. A record without a value deletes."""
        revisions: list[int | None] = []
        with transaction.atomic(using=self.using):
            for address, record in changes:
                if record.value is not None:
                    revisions.append(self.write(address, record))
                    continue
                self.delete(address, record.revision)
                revisions.append(None)
        return revisions

    def _update(self, address: Address, record: Record) -> int:
        revision = new_revision()
        content = self._content(record, revision)
        assignments = ", ".join(f"{self._quote(name)} = %s" for name in content)
        sql = (
            f"UPDATE {self._name} SET {assignments} "  # noqa: S608
            f"WHERE {self._at_address} AND {self._quote('revision')} = %s"
        )
        if not self._execute(sql, [*content.values(), *address, record.revision]):
            raise conflict(address)
        return revision

    def _insert(self, address: Address, record: Record, otherwise: OnDuplicate) -> int:
        revision = new_revision()
        content = self._content(record, revision)
        row = dict(zip(ADDRESS, address, strict=True)) | content
        row["created_at"] = row["updated_at"]
        row = self._defaults(row) | row
        sql = (
            f"INSERT INTO {self._name} ({self._columns(row)}) "  # noqa: S608
            f"VALUES ({', '.join(['%s'] * len(row))}) {otherwise(content)}"
        )
        try:
            inserted = self._execute(sql, list(row.values()))
        except IntegrityError as exc:
            # MySQL's INSERT IGNORE would do more than ignore this: it cuts off what is too long.
            if self.connection.vendor != "mysql" or exc.args[0] != MYSQL_DUPLICATE:
                raise
            inserted = 0
        if not inserted:
            raise conflict(address)
        return revision

    def _defaults(self, given: Collection[str]) -> dict[str, Any]:
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

    def _or_nothing(self, content: Iterable[str]) -> str:
        if self.connection.vendor == "mysql":
            return ""
        return f"ON CONFLICT ({self._columns(ADDRESS)}) DO NOTHING"

    def _or_replace(self, content: Iterable[str]) -> str:
        if self.connection.vendor == "mysql":
            new, clause = "VALUES({})", "ON DUPLICATE KEY UPDATE"
        else:
            new, clause = "EXCLUDED.{}", f"ON CONFLICT ({self._columns(ADDRESS)}) DO UPDATE SET"
        columns = [self._quote(name) for name in content]
        return f"{clause} {', '.join(f'{c} = {new.format(c)}' for c in columns)}"

    def _content(self, record: Record, revision: int) -> dict[str, Any]:
        """Return the columns of a row that a write sets, by field name."""
        data = dumps(record.value)
        values: dict[str, Any] = {
            "version": record.version,
            "expires_at": for_column(record.expires_at),
            "revision": revision,
            "size": len(data.encode()),
            "updated_at": for_column(utcnow()),
        }
        if record.about is not None:
            values |= {
                "chat_id": record.about.chat_id,
                "user_id": record.about.user_id,
                "chat_type": record.about.chat_type,
                "title": record.about.title and record.about.title[:MAX_TITLE_LENGTH],
            }
        connection = self.connection
        return {"data": data} | {
            name: self._field(name).get_db_prep_save(value, connection)
            for name, value in values.items()
            if value is not None or name not in ABOUT
        }

    def _loaded(self, row: Sequence[Any]) -> tuple[Address, Record]:
        bot, name, key, data, version, expires_at, revision = row
        expression = self._field("expires_at").get_col(self.model._meta.db_table)
        for converter in self.connection.ops.get_db_converters(expression):
            expires_at = converter(expires_at, expression, self.connection)
        return Address(bot, name, key), Record(
            json.loads(data),
            None if version is None else plain(Decimal(str(version))),
            from_column(expires_at),
            revision,
        )

    def _execute(self, sql: str, parameters: Sequence[Any]) -> int:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return int(cursor.rowcount)

    @property
    def _name(self) -> str:
        return self.connection.ops.quote_name(self.model._meta.db_table)

    @property
    def _at_address(self) -> str:
        return " AND ".join(f"{self._quote(name)} = %s" for name in ADDRESS)

    def _columns(self, names: Iterable[str]) -> str:
        return ", ".join(self._quote(name) for name in names)

    def _quote(self, name: str) -> str:
        return self.connection.ops.quote_name(self._field(name).column)

    def _field(self, name: str) -> Any:
        return self.model._meta.get_field(name)


def for_column(moment: datetime | None) -> datetime | None:
    """Return an aware ``moment`` the way ``USE_TZ`` wants it."""
    if moment is None or settings.USE_TZ:
        return moment
    return make_naive(moment, get_default_timezone())


def from_column(moment: datetime | None) -> datetime | None:
    if moment is None or is_aware(moment):
        return moment
    return make_aware(moment, get_default_timezone())
