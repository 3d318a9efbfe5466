"""The statements for the table of leases, and their dialects.

A lease ends by itself unless it is renewed, on the database's clock. Whoever finds it taken draws
a number, looks again from time to time, and the numbers are served in order. One who does not turn
up within :data:`GRACE_SECONDS` is passed over, so nobody has to clean up behind a process that was
killed. Those who come while the key happens to be free are let through before those who wait, for
nobody would do anything until these look again; but only :data:`MOST_PASSED` times.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from django.apps import apps
from django.db import connections, transaction

from .leases import Lease
from .sql import placeholders

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

LEASE_SECONDS = 7.0
"""A holder that was killed keeps its keys for at most so long."""
GRACE_SECONDS = 0.15
"""So long each of those in front has to turn up once a key is free."""
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


Statement: TypeAlias = "tuple[str, Sequence[Any]]"


class Row(NamedTuple):
    """A key's row in the table."""

    holder: int
    free: bool
    drawn: int
    """The last number that somebody has drawn,"""
    served: int
    """and the last whose turn it was."""


class LeaseTable:
    """The statements for one database's leases, on the calling thread's connection."""

    def __init__(self, using: str) -> None:
        self.using = using

    @property
    def connection(self) -> BaseDatabaseWrapper:
        return connections[self.using]

    def take(self, leases: Iterable[Lease]) -> None:
        """Take what is free; draw a number for the rest."""
        keys: set[int] = set()
        single: list[Lease] = []
        several: list[Lease] = []
        for lease in leases:
            if keys.isdisjoint(lease.keys):  # Else it has to try again.
                keys.update(lease.keys)
                (single if len(lease.keys) == 1 else several).append(lease)
        self._take(single)
        if several:
            with transaction.atomic(using=self.using):
                self._take(several)

    def _take(self, leases: Sequence[Lease]) -> None:
        """Take all keys of a lease, or draw a number for each."""
        if not leases:
            return
        drawn = self._draw({key: lease.holder for lease in leases for key in lease.keys})
        for lease in leases:
            taken = [key for key in lease.keys if drawn[key].holder == lease.holder]
            lease.held = len(taken) == len(lease.keys)
            if lease.held:
                continue
            if taken:  # Who held some and waited might wait for ever.
                drawn |= self._give_back(taken)
            lease.numbers = {key: drawn[key].drawn for key in lease.keys}
            lease.before = max(drawn[key].drawn - 1 - drawn[key].served for key in lease.keys)

    def look(self, leases: Sequence[Lease]) -> list[Lease]:
        """See how the queues stand; return those who wait and whose keys are free."""
        rows = self._rows([key for lease in leases for key in lease.keys])
        free = []
        for lease in leases:
            if not rows.keys() >= set(lease.keys):
                lease.start_anew()  # A row was deleted.
                continue
            lease.held = all(rows[key].holder == lease.holder for key in lease.keys)
            lease.before = max(lease.numbers[key] - 1 - rows[key].served for key in lease.keys)
            if not lease.held and all(rows[key].free for key in lease.keys):
                free.append(lease)
        return free

    def take_turn(self, lease: Lease) -> None:
        """Take all keys, if they are free and those in front have had their time."""
        if len(lease.keys) == 1:
            lease.held = self._take_turn(lease, *lease.keys)
        else:
            with transaction.atomic(using=self.using):
                lease.held = all(self._take_turn(lease, key) for key in lease.keys)
                if not lease.held:
                    transaction.set_rollback(True, using=self.using)

    def renew(self, leases: Collection[Lease]) -> bool:
        """Let leases last from now on; return whether all of them are still held."""
        return self._end_at(leases, f"ends_at = {self._end}")

    def release(self, leases: Collection[Lease]) -> bool:
        """Give leases back; return whether all of them were still held."""
        assignments = f"ends_at = {self._now}, holder = {NOBODY}"
        return self._end_at(leases, assignments, given_back=True)

    def ending(self, leases: Collection[Lease], handed_on: Collection[Lease]) -> Statement:
        """Return a statement that gives leases back, or hands some of them on, for PostgreSQL.

        It returns id and holder of those that were held: a negative one where it is given back,
        which :meth:`release` and :meth:`hand_on` take for held until somebody else has it.
        """
        name, keys = self._name, [key for lease in leases for key in lease.keys]
        rows = "id = ANY(%s::bigint[]) AND holder = ANY(%s::bigint[])"
        if len(keys) > 1:
            rows = f"id IN (SELECT id FROM {name} WHERE {rows} ORDER BY id FOR UPDATE)"  # noqa: S608
        kept = f"{name}.id = ANY(%s::bigint[]) AND {self._may_pass(name)}"
        sql = f"UPDATE {name} SET {self._kept_if(kept, f'-{name}.holder')} WHERE {rows} "  # noqa: S608
        kept_keys = [key for lease in handed_on for key in lease.keys]
        holders = [lease.holder for lease in leases]
        return f"{sql} RETURNING id, holder", [*[kept_keys] * 3, keys, holders]

    def hand_on(self, leases: Collection[Lease]) -> Collection[Lease] | None:
        """Keep leases for others in this process, as far as these may pass those who wait.

        Returns those that were kept, the rest was given back; or ``None``: one was not held.
        """
        assignments = self._kept_if(self._may_pass(self._name), str(NOBODY))
        keys = [key for lease in leases for key in lease.keys]
        if not keys:
            return ()
        sql, values = self._at_end(leases, assignments, given_back=True)
        returns_rows = self.connection.features.can_return_rows_from_bulk_insert
        if returns_rows and not self._is_mysql:  # MariaDB does, but for INSERT only.
            rows = rows_of(self._returned(f"{sql} RETURNING {self._columns}", values))
        else:
            rows = self._rows(keys) if self._execute(sql, values) == len(keys) else {}
        if len(rows) < len(keys):
            return None
        return {
            lease for lease in leases if all(rows[key].holder == lease.holder for key in lease.keys)
        }

    def is_held_by_others(self, lease: Lease) -> bool:
        """Whether somebody else holds one of the keys now."""
        sql = (
            f"SELECT id FROM {self._name} WHERE id IN {listed(lease.keys)} "  # noqa: S608
            f"AND ends_at > {self._now} AND holder <> {NOBODY} AND holder <> %s"
        )
        return bool(self._returned(sql, [*lease.keys, lease.holder]))

    def _draw(self, holders: Mapping[int, int]) -> dict[int, Row]:
        """Take each key for its holder, or draw a number; return what the rows are then."""
        name, new = self._name, self._new
        waiting = f"({name}.drawn - {name}.served)"
        passed_over = f"{name}.ends_at + {waiting} * {milliseconds(GRACE_SECONDS)} <= {self._now}"
        free = (
            f"{name}.holder = {new('holder')} OR {name}.ends_at <= {self._now} "
            f"AND ({self._may_pass(name)} OR {passed_over})"
        )
        # MySQL sees what earlier assignments have set, the others see the row as it was.
        taken = f"{name}.holder = {new('holder')}" if self._is_mysql else free
        sql = (
            f"INSERT INTO {name} (id, holder, ends_at, drawn, served, passed) "  # noqa: S608
            f"VALUES {', '.join([f'(%s, %s, {self._end}, 0, 0, 0)'] * len(holders))} "
            f"{'ON DUPLICATE KEY UPDATE' if self._is_mysql else 'ON CONFLICT (id) DO UPDATE SET'} "
            f"holder = CASE WHEN {free} THEN {new('holder')} ELSE {name}.holder END, "
            f"passed = CASE WHEN {taken} AND {waiting} > 0 THEN {name}.passed + 1 "
            f"WHEN {taken} THEN 0 ELSE {name}.passed END, "
            f"served = CASE WHEN {taken} AND {passed_over} THEN {name}.drawn "
            f"ELSE {name}.served END, "
            f"drawn = CASE WHEN {taken} THEN {name}.drawn ELSE {name}.drawn + 1 END, "
            f"ends_at = CASE WHEN {taken} THEN {new('ends_at')} ELSE {name}.ends_at END"
        )
        values = [value for key in sorted(holders) for value in (key, holders[key])]
        if self.connection.features.can_return_rows_from_bulk_insert:
            return rows_of(self._returned(f"{sql} RETURNING {self._columns}", values))
        with transaction.atomic(using=self.using):
            self._execute(sql, values)
            return self._rows([*holders])

    def _give_back(self, keys: Sequence[int]) -> dict[int, Row]:
        """Give back keys taken in this transaction, drawing a number for each."""
        sql = (
            f"UPDATE {self._name} SET ends_at = {self._now}, holder = {NOBODY}, "  # noqa: S608
            f"drawn = drawn + 1 WHERE id IN {listed(keys)}"
        )
        self._execute(sql, keys)
        return self._rows(keys)

    def _rows(self, keys: Sequence[int]) -> dict[int, Row]:
        if not keys:
            return {}
        where = f"id IN {listed(keys)}"
        sql = f"SELECT {self._columns} FROM {self._name} WHERE {where}"  # noqa: S608
        return rows_of(self._returned(sql, keys))

    def _may_pass(self, name: str) -> str:
        """Return the condition that one more may pass those who wait."""
        waiting = f"({name}.drawn - {name}.served)"
        return f"({name}.passed + 1) * {waiting} * ({waiting} + 1) <= {MOST_PASSED}"

    @property
    def _columns(self) -> str:
        return f"id, holder, ends_at <= {self._now}, drawn, served"

    def _take_turn(self, lease: Lease, key: int) -> bool:
        sql = (
            f"UPDATE {self._name} SET holder = %s, ends_at = {self._end}, "  # noqa: S608
            "served = CASE WHEN served < %s THEN %s ELSE served END, passed = 0 "
            f"WHERE id = %s AND ends_at <= {self._now} AND "
            f"ends_at + (%s - 1 - served) * {milliseconds(GRACE_SECONDS)} <= {self._now}"
        )
        number = lease.numbers[key]
        return bool(self._execute(sql, [lease.holder, number, number, key, number]))

    def _kept_if(self, may_be_kept: str, given_back: str) -> str:
        """Return the assignments that keep a lease on a condition, or give it back."""
        name = self._name
        return (
            f"ends_at = CASE WHEN {may_be_kept} THEN {self._end} ELSE {self._now} END, "
            f"holder = CASE WHEN {may_be_kept} THEN ABS({name}.holder) ELSE {given_back} END, "
            f"passed = CASE WHEN {name}.drawn = {name}.served THEN 0 "
            f"WHEN {may_be_kept} THEN {name}.passed + 1 ELSE {name}.passed END"
        )

    def _end_at(
        self, leases: Collection[Lease], assignments: str, *, given_back: bool = False
    ) -> bool:
        count = sum(len(lease.keys) for lease in leases)
        statement = self._at_end(leases, assignments, given_back=given_back)
        return not count or self._execute(*statement) == count

    def _at_end(
        self, leases: Collection[Lease], assignments: str, *, given_back: bool
    ) -> Statement:
        keys = [key for lease in leases for key in lease.keys]
        holders = [lease.holder for lease in leases]
        if given_back:
            holders += [-holder for holder in holders]
        rows = f"id IN {listed(keys)} AND holder IN {listed(holders)}"
        if self.connection.vendor == "postgresql":  # It would lock them in any order.
            ordered = f"SELECT id FROM {self._name} WHERE {rows} ORDER BY id FOR UPDATE"  # noqa: S608
            rows = f"id IN ({ordered})"
        sql = f"UPDATE {self._name} SET {assignments} WHERE {rows}"  # noqa: S608
        return sql, [*keys, *holders]

    # Text.

    def _execute(self, sql: str, parameters: Sequence[Any]) -> int:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return int(cursor.rowcount)

    def _returned(self, sql: str, parameters: Sequence[Any]) -> list[Any]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return list(cursor.fetchall())

    @property
    def _is_mysql(self) -> bool:
        return self.connection.vendor == "mysql"

    @property
    def _name(self) -> str:
        table: str = apps.get_model("botsessions", "BotSessionLease")._meta.db_table
        return self.connection.ops.quote_name(table)

    @property
    def _now(self) -> str:
        return NOW[self.connection.vendor]

    @property
    def _end(self) -> str:
        return f"{self._now} + {milliseconds(LEASE_SECONDS)}"

    def _new(self, column: str) -> str:
        return f"VALUES({column})" if self._is_mysql else f"excluded.{column}"


def rows_of(found: Iterable[Any]) -> dict[int, Row]:
    return {row[0]: Row(*row[1:]) for row in found}


def listed(values: Collection[Any]) -> str:
    return placeholders(len(values), 1)


def milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
