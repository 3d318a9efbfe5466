"""Sessions as rows: what a change sets, and what a row says."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

from django.conf import settings
from django.utils.timezone import get_default_timezone, is_aware, make_aware, make_naive

from ..records import MAX_TITLE_LENGTH, Address, Record, plain, stored_value
from .changes import Change, Group, Kind
from .sessions_texts import ADDRESS
from .statements import Result

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from ..models import AbstractBotSession

Row: TypeAlias = "dict[str, Any]"
"""Values by field name, as the database's driver takes them."""


class Rows:
    """The rows of a table, in a database's dialect."""

    def __init__(self, model: type[AbstractBotSession], connection: BaseDatabaseWrapper) -> None:
        self._model = model
        self._connection = connection

    def of(self, change: Change, now: Any) -> Row:
        """Return the columns that a change sets."""
        if change.record.value is None:
            return {}
        return (self.content if change.kind is Kind.UPDATE else self.new)(change, now)

    def content(self, change: Change, now: Any) -> Row:
        """Return the columns that a write sets, by field name."""
        row, record = self.form(change), change.record
        row["expires_at"] = self.moment(record.expires_at)
        row["updated_at"] = now
        if record.about is not None:
            row |= record.about.known()
            if "title" in row:
                row["title"] = row["title"][:MAX_TITLE_LENGTH]
        return row

    def replaced(self, group: Group) -> Row:
        """Return the columns that a group's changes set where there is a row already."""
        return self.content(group.changes[0], group.rows[0]["updated_at"])

    def form(self, change: Change) -> Row:
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
        return self._field("version").get_db_prep_save(number, self._connection)

    def moment(self, moment: datetime | None) -> Any:
        """Return an aware moment as the database's driver takes it."""
        if moment is None:
            return None
        return self._connection.ops.adapt_datetimefield_value(for_column(moment))

    def new(self, change: Change, now: Any) -> Row:
        """Return the columns of a new row."""
        content = self.content(change, now)
        row = dict(zip(ADDRESS, change.address, strict=True)) | content
        row["created_at"] = row["updated_at"]
        return row | self._defaults(row)

    def _defaults(self, given: Collection[str]) -> Row:
        """Return what a new row holds in all other columns; a subclass may have added some."""
        values = {}
        new = self._model()
        for field in self._model._meta.concrete_fields:
            if field.name not in given and not field.generated:
                given_by_default = field.pre_save(new, True)
                value = field.get_db_prep_save(given_by_default, self._connection)
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
            expression = self._field("expires_at").get_col(self._model._meta.db_table)
            for converter in self._connection.ops.get_db_converters(expression):
                expires_at = converter(expires_at, expression, self._connection)
        return Address(bot, name, key), Record(
            stored_value(data),
            None if version is None else plain(Decimal(str(version))),
            from_column(expires_at),
            revision,
        )

    def _field(self, name: str) -> Any:
        return self._model._meta.get_field(name)


def for_column(moment: datetime) -> datetime:
    """Return ``moment`` the way ``USE_TZ`` wants it."""
    if settings.USE_TZ or not is_aware(moment):
        return moment
    return make_naive(moment, get_default_timezone())


def from_column(moment: datetime | None) -> datetime | None:
    if moment is None or is_aware(moment):
        return moment
    return make_aware(moment, get_default_timezone())
