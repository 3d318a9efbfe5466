"""The texts of the statements for the past of sessions, a dialect each.

What is stored is copied inside the database: it is not sent once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from django.apps import apps

from ..records import dumps
from .changes import Change
from .sessions_texts import MOST_TEXTS, Texts
from .statements import Statement, refusing_others

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from ..models import AbstractBotSession

UNTIL = "kept_until"
MOST_NOTED = 100
"""Changes are noted by one statement."""
COPIED = ("revision", "data", "version", "size", "expires_at")


class Trimming(NamedTuple):
    """How much of a session's past is kept."""

    kept: int
    """Versions."""
    once_in: int
    """So many saves, on average, older ones are deleted."""


class HistoryTexts(Texts):
    """The statements for a table of sessions of which a history is kept."""

    def __init__(self, model: type[AbstractBotSession], connection: BaseDatabaseWrapper) -> None:
        super().__init__(model, connection)
        quote, past = connection.ops.quote_name, apps.get_model("botsessions", "HistoryEntry")
        self._name = model._meta.db_table
        self._past = quote(past._meta.db_table)
        fields = {field.name: field for field in past._meta.concrete_fields}
        self._past_columns = {name: quote(field.column) for name, field in fields.items()}
        self._past_types = {
            name: field.db_parameters(connection)["type"] for name, field in fields.items()
        }
        self._pk = quote(model._meta.pk.column)
        self._noted = lru_cache(maxsize=MOST_TEXTS)(self._text_of_noted)

    def noted(
        self,
        statement: Statement,
        changes: Sequence[Change],
        now: Any,
        trimming: Trimming,
        *,
        exactly: bool = False,
    ) -> Statement:
        """Return what does the same, and notes what has come of it: on PostgreSQL.

        Args:
            exactly: it fails unless all changes are made; otherwise it returns their revisions.
        """
        by = dumps({str(change.revision): change.by for change in changes})
        noting = [self._name, now, by, self._name, trimming.once_in, trimming.kept - 1]
        parameters = [*statement.parameters, *noting, *([len(changes)] if exactly else [])]
        text = self._noted(statement.text, exactly)
        return statement._replace(text=text, parameters=parameters)

    def _text_of_noted(self, text: str, exactly: bool) -> str:
        text = f"{text.removesuffix(f' RETURNING {self._returned}')} RETURNING {self.table}.*"
        past, revision = self._past_columns, f"made.{self._columns['revision']}"
        by = f"CAST(%s AS json) ->> CAST({revision} AS text)"
        # It does not see what is noted at the same moment.
        first = (
            f"SELECT known.{past['id']} FROM {self._past} AS known "  # noqa: S608
            f"WHERE known.{past['session_id']} = made.{self._pk} "
            f"ORDER BY known.{past['id']} DESC LIMIT 1 OFFSET %s"
        )
        trimming = (
            f"DELETE FROM {self._past} AS old USING made WHERE old.{past['table']} = %s "  # noqa: S608
            f"AND MOD({revision}, %s) = 0 AND old.{past['session_id']} = made.{self._pk} "
            f"AND old.{past['id']} <= ({first})"
        )
        told = refusing_others() if exactly else f"SELECT {revision} FROM made"  # noqa: S608
        return (
            f"WITH made AS ({text}), noted AS ({self._copying('made', 'made', by)}), "
            f"trimmed AS ({trimming}) {told}"
        )

    def _copying(self, source: str, rows: str, by: str) -> str:
        """Return what copies rows, given their table's name, a time, and whatever is in ``by``."""
        names = ("table", "session_id", *COPIED, "at", "by")
        columns = ", ".join(self._past_columns[name] for name in names)
        copied = ", ".join(self._copied(rows, name) for name in COPIED)
        table, at = self._cast("table"), self._cast("at")
        return (
            f"INSERT INTO {self._past} ({columns}) "  # noqa: S608
            f"SELECT {table}, {rows}.{self._pk}, {copied}, {at}, {by} FROM {source}"
        )

    def _copied(self, rows: str, name: str) -> str:
        column = f"{rows}.{self._columns[name]}"
        as_text = name == "data" and self.vendor == "postgresql"
        return f"CAST({column} AS text)" if as_text else column

    def _cast(self, name: str) -> str:
        """Return a parameter of a column's type; PostgreSQL could not tell it."""
        return f"CAST(%s AS {self._past_types[name]})" if self.vendor == "postgresql" else "%s"

    def notes(self, changes: Sequence[Change], now: Any) -> list[Statement]:
        """Return what notes changes, if they were made: on SQLite, MySQL and MariaDB."""
        most = 1 if self.vendor == "sqlite" else MOST_NOTED  # With OR, SQLite reads all rows.
        portions = (changes[start : start + most] for start in range(0, len(changes), most))
        return [self._note(portion, now) for portion in portions]

    def _note(self, changes: Sequence[Change], now: Any) -> Statement:
        count = len(changes)
        by = f"CASE {self._columns['revision']} {' '.join(['WHEN %s THEN %s'] * count)} END"
        text = self._copying(self.table, self.table, by)
        where = " OR ".join([f"({self._at_revision})"] * count)
        said = [value for change in changes for value in (change.revision, change.by)]
        at = [value for change in changes for value in (*change.address, change.revision)]
        return Statement(f"{text} WHERE {where}", [self._name, now, *said, *at], recurs=count == 1)

    def keep(
        self, keys: Sequence[Any], *, at: Any = None, by: str = "", until: Any = None
    ) -> Statement:
        """Return what notes sessions as they are now, unless that is noted already.

        Args:
            keys: the sessions' primary keys.
            at: when they were made so; ``None``: when they were changed last.
            until: when that may be forgotten.
        """
        past, columns = self._past_columns, self._columns
        names = ", ".join(past[n] for n in ("table", "session_id", *COPIED, "at", "by", UNTIL))
        copied = ", ".join(self._copied(self.table, name) for name in COPIED)
        when = f"{self.table}.{columns['updated_at']}" if at is None else self._cast("at")
        among = ", ".join(["%s"] * len(keys))
        text = (
            f"INSERT INTO {self._past} ({names}) "  # noqa: S608
            f"SELECT {self._cast('table')}, {self.table}.{self._pk}, {copied}, {when}, "
            f"{self._cast('by')}, {self._cast(UNTIL)} FROM {self.table} "
            f"WHERE {self.table}.{self._pk} IN ({among}) AND NOT EXISTS (SELECT 1 "
            f"FROM {self._past} AS known WHERE known.{past['table']} = %s "
            f"AND known.{past['session_id']} = {self.table}.{self._pk} "
            f"AND known.{past['revision']} = {self.table}.{columns['revision']})"
        )
        moment = [] if at is None else [at]
        parameters = [self._name, *moment, by, until, *keys, self._name]
        return Statement(text, parameters, recurs=False)

    def forget(self, addresses: Sequence[tuple[Any, ...]]) -> Statement:
        """Return what deletes the past of sessions that :meth:`delete` is about to delete."""
        deletion = self.delete(addresses)
        which = deletion.text.removeprefix("DELETE ")
        past = self._past_columns
        text = (
            f"DELETE FROM {self._past} WHERE {past['table']} = %s "  # noqa: S608
            f"AND {past['session_id']} IN (SELECT {self._pk} {which})"
        )
        return deletion._replace(text=text, parameters=[self._name, *deletion.parameters])

    def trim(self, address: Sequence[str], kept: int) -> Statement:
        """Return what deletes all but the last versions of a session."""
        past = self._past_columns
        session = f"(SELECT {self._pk} FROM {self.table} WHERE {self._at_address})"  # noqa: S608
        own = f"{past['table']} = %s AND {past['session_id']} = {session}"
        first = (
            f"SELECT {past['id']} FROM {self._past} WHERE {own} "  # noqa: S608
            f"ORDER BY {past['id']} DESC LIMIT 1 OFFSET {kept}"
        )
        # MySQL does not read from what it deletes from, but from a table made of that.
        text = (
            f"DELETE FROM {self._past} WHERE {own} AND {past['id']} <= "  # noqa: S608
            f"(SELECT {past['id']} FROM ({first}) AS beyond)"
        )
        return Statement(text, [self._name, *address, self._name, *address])
