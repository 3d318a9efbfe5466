"""The texts of the statements for the table of leases, a dialect each.

On PostgreSQL keys and holders are arrays, so a text does not depend on how many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from typing import Any

from django.apps import apps
from django.db import connections

MOST_PASSED = 50
"""So many, at most, are let through before one who waits. While ``n`` are waiting, it is an
``n * (n + 1)``-th of them, and the sum of these is at most the whole, however many there are."""

NOBODY = 0
NOW = {
    "postgresql": "CAST(EXTRACT(EPOCH FROM statement_timestamp()) * 1000 AS bigint)",
    "mysql": "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000",
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
}
"""Milliseconds since 1970 on the database's clock, the same all through a statement."""
MOST_TEXTS = 64


@lru_cache(maxsize=MOST_TEXTS)
def lease_statements_of(using: str, lasting: float, grace: float) -> LeaseStatements:
    return LeaseStatements(using, lasting, grace)


class LeaseStatements:
    """The texts for one database's table, for numbers of keys and of holders.

    Args:
        lasting: of leases, in seconds.
        grace: for those whose turn it is, in seconds.
    """

    def __init__(self, using: str, lasting: float, grace: float) -> None:
        self._lasting = int(lasting * 1000)
        self._grace = int(grace * 1000)
        connection = connections[using]
        table: str = apps.get_model("botsessions", "BotSessionLease")._meta.db_table
        self.vendor = connection.vendor
        self.name = connection.ops.quote_name(table)
        self.draw = self._kept(self._draw)
        self.rows = self._kept(self._rows)
        self.ending = lru_cache(self._ending)
        self.renew = self._kept(self._renew)
        self.release = self._kept(self._release)
        self.hand_on = self._kept(self._hand_on)
        # MariaDB returns the rows that it inserts, but not those that it updates.
        self.returns_drawn = connection.features.can_return_rows_from_bulk_insert
        self.tells_what_it_updates = self.returns_drawn and self.vendor != "mysql"

    def _kept(self, make: Callable[..., str]) -> Callable[..., str]:
        """Have texts put together once."""
        made = lru_cache(maxsize=MOST_TEXTS)(make)
        if self.vendor == "postgresql":  # The numbers make no difference.
            return lambda *counts: made(*[0] * len(counts))
        return made

    def values(self, *each: Collection[int]) -> list[Any]:
        """Return keys, holders and so on as parameters."""
        if self.vendor == "postgresql":
            return [list(some) for some in each]
        return [value for some in each for value in some]

    def pairs(self, pairs: Sequence[tuple[int, int]]) -> list[Any]:
        """Return keys with their holders as the parameters of :attr:`draw`."""
        if self.vendor == "postgresql":
            return [[key for key, _ in pairs], [holder for _, holder in pairs]]
        return [value for pair in pairs for value in pair]

    def _draw(self, count: int) -> str:
        """Take each key for its holder, or draw a number; return what the rows are then."""
        name, new = self.name, self._new
        waiting = f"({name}.drawn - {name}.served)"
        passed_over = f"{name}.ends_at + {waiting} * {self._grace} <= {self._now}"
        free = (
            f"{name}.holder = {new('holder')} OR {name}.ends_at <= {self._now} "
            f"AND ({self._may_pass} OR {passed_over})"
        )
        # MySQL sees what earlier assignments have set, the others see the row as it was.
        taken = f"{name}.holder = {new('holder')}" if self._is_mysql else free
        if self.vendor == "postgresql":
            rows = (
                f"SELECT id, holder, {self._end}, 0, 0, 0 "  # noqa: S608
                "FROM unnest(%s::bigint[], %s::bigint[]) AS new (id, holder)"
            )
        else:
            rows = f"VALUES {', '.join([f'(%s, %s, {self._end}, 0, 0, 0)'] * count)}"
        sql = (
            f"INSERT INTO {name} (id, holder, ends_at, drawn, served, passed) {rows} "
            f"{'ON DUPLICATE KEY UPDATE' if self._is_mysql else 'ON CONFLICT (id) DO UPDATE SET'} "
            f"holder = CASE WHEN {free} THEN {new('holder')} ELSE {name}.holder END, "
            f"passed = CASE WHEN {taken} AND {waiting} > 0 THEN {name}.passed + 1 "
            f"WHEN {taken} THEN 0 ELSE {name}.passed END, "
            f"served = CASE WHEN {taken} AND {passed_over} THEN {name}.drawn "
            f"ELSE {name}.served END, "
            f"drawn = CASE WHEN {taken} THEN {name}.drawn ELSE {name}.drawn + 1 END, "
            f"ends_at = CASE WHEN {taken} THEN {new('ends_at')} ELSE {name}.ends_at END"
        )
        return f"{sql} RETURNING {self._columns}" if self.returns_drawn else sql

    def _rows(self, count: int) -> str:
        return f"SELECT {self._columns} FROM {self.name} WHERE id {self.among(count)}"  # noqa: S608

    def _ending(self, several: bool) -> str:
        name = self.name
        rows = f"id {self.among(0)} AND holder {self.among(0)}"
        if several:
            rows = f"id IN (SELECT id FROM {name} WHERE {rows} ORDER BY id FOR UPDATE)"  # noqa: S608
        kept = f"{name}.id {self.among(0)} AND {self._may_pass}"
        return (
            f"UPDATE {name} SET {self._kept_if(kept, f'-{name}.holder')} "  # noqa: S608
            f"WHERE {rows} RETURNING id, holder"
        )

    def _renew(self, keys: int, holders: int) -> str:
        return self._end_at(f"ends_at = {self._end}", keys, holders)

    def _release(self, keys: int, holders: int) -> str:
        return self._end_at(f"ends_at = {self._now}, holder = {NOBODY}", keys, holders)

    def _hand_on(self, keys: int, holders: int) -> str:
        sql = self._end_at(self._kept_if(self._may_pass, str(NOBODY)), keys, holders)
        return f"{sql} RETURNING {self._columns}" if self.tells_what_it_updates else sql

    def give_back(self, count: int) -> str:
        """Give back keys that were just taken, drawing a number for each."""
        return (
            f"UPDATE {self.name} SET ends_at = {self._now}, holder = {NOBODY}, "  # noqa: S608
            f"drawn = drawn + 1 WHERE id {self.among(count)}"
        )

    def take_turn(self) -> str:
        return (
            f"UPDATE {self.name} SET holder = %s, ends_at = {self._end}, "  # noqa: S608
            "served = CASE WHEN served < %s THEN %s ELSE served END, passed = 0 "
            f"WHERE id = %s AND ends_at <= {self._now} AND "
            f"ends_at + (%s - 1 - served) * {self._grace} <= {self._now}"
        )

    def held_by_others(self, count: int) -> str:
        return (
            f"SELECT id FROM {self.name} WHERE id {self.among(count)} "  # noqa: S608
            f"AND ends_at > {self._now} AND holder <> {NOBODY} AND holder <> %s"
        )

    def _end_at(self, assignments: str, keys: int, holders: int) -> str:
        rows = f"id {self.among(keys)} AND holder {self.among(holders)}"
        if self.vendor == "postgresql":  # It would lock them in any order.
            ordered = f"SELECT id FROM {self.name} WHERE {rows} ORDER BY id FOR UPDATE"  # noqa: S608
            rows = f"id IN ({ordered})"
        return f"UPDATE {self.name} SET {assignments} WHERE {rows}"  # noqa: S608

    def _kept_if(self, may_be_kept: str, given_back: str) -> str:
        """Return the assignments that keep a lease on a condition, or give it back."""
        name = self.name
        return (
            f"ends_at = CASE WHEN {may_be_kept} THEN {self._end} ELSE {self._now} END, "
            f"holder = CASE WHEN {may_be_kept} THEN ABS({name}.holder) ELSE {given_back} END, "
            f"passed = CASE WHEN {name}.drawn = {name}.served THEN 0 "
            f"WHEN {may_be_kept} THEN {name}.passed + 1 ELSE {name}.passed END"
        )

    def among(self, count: int) -> str:
        if self.vendor == "postgresql":
            return "= ANY(%s::bigint[])"
        return f"IN ({', '.join(['%s'] * count)})"

    @property
    def _may_pass(self) -> str:
        """The condition that one more may pass those who wait."""
        waiting = f"({self.name}.drawn - {self.name}.served)"
        return f"({self.name}.passed + 1) * {waiting} * ({waiting} + 1) <= {MOST_PASSED}"

    @property
    def _columns(self) -> str:
        return f"id, holder, ends_at <= {self._now}, drawn, served"

    @property
    def _is_mysql(self) -> bool:
        return self.vendor == "mysql"

    @property
    def _now(self) -> str:
        return NOW[self.vendor]

    @property
    def _end(self) -> str:
        return f"{self._now} + {self._lasting}"

    def _new(self, column: str) -> str:
        return f"VALUES({column})" if self._is_mysql else f"excluded.{column}"
