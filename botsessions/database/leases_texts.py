"""The texts of the statements for the table of leases, a dialect each.

On PostgreSQL keys and holders are arrays, so a text does not depend on how many there are.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from django.apps import apps

from .clock import NOW
from .statements import UNFLUSHED, Statement

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

MOST_PASSED = 50
"""So many, at most, are let through before one who waits. While ``n`` are waiting, it is an
``n * (n + 1)``-th of them, and the sum of these is at most the whole, however many there are."""

NOBODY = 0
MOST_TEXTS = 64


class LeaseTexts:
    """The statements for one database's table, given keys and holders.

    A holder that is not positive is nobody: then the key is free, whatever the clock says.

    Args:
        lasting: of leases, in seconds.
        grace: for those whose turn it is, in seconds.
    """

    def __init__(self, connection: BaseDatabaseWrapper, lasting: float, grace: float) -> None:
        self.vendor = connection.vendor
        self._lasting = int(lasting * 1000)
        self._grace = int(grace * 1000)
        table: str = apps.get_model("botsessions", "BotSessionLease")._meta.db_table
        self._name = connection.ops.quote_name(table)
        # MariaDB returns the rows that it inserts, but not those that it updates.
        self.returns_drawn = connection.features.can_return_rows_from_bulk_insert
        self._drawing = lru_cache(maxsize=MOST_TEXTS)(self._text_of_draw)
        self._setting = lru_cache(maxsize=MOST_TEXTS)(self._text_of_set)
        self._turn = self._text_of_turn()
        now, end, may_pass = self._now, self._end, self._may_pass
        self._renewed = f"ends_at = {end}"
        self._released = f"ends_at = {now}, holder = {NOBODY}"
        self._handed_on = (
            f"ends_at = CASE WHEN {may_pass} THEN {end} ELSE {now} END, "
            f"holder = CASE WHEN {may_pass} THEN holder ELSE {NOBODY} END, "
            "passed = CASE WHEN drawn = served THEN 0 "
            f"WHEN {may_pass} THEN passed + 1 ELSE passed END, held_since = {now}"
        )

    def draw(self, pairs: Sequence[tuple[int, int]]) -> Statement:
        """Take keys for their holders, or draw a number; return what the rows are then.

        Args:
            pairs: of a key and its holder, in order.
        """
        if self.vendor == "postgresql":
            keys, holders = zip(*pairs, strict=True)
            return Statement(self._drawing(), [array(keys), array(holders)])
        parameters = [value for pair in pairs for value in pair]
        return Statement(self._drawing(len(pairs)), parameters)

    def rows(self, keys: Sequence[int]) -> Statement:
        """Return what the rows are."""
        return self._for_keys(f"SELECT {self._columns} FROM {self._name} WHERE", keys)  # noqa: S608

    def take_turn(self, key: int, holder: int, number: int) -> Statement:
        """Take a key if it is free and those in front have had their time."""
        return Statement(self._turn, [number, number, holder, key, number, number])

    def renew(
        self, keys: Sequence[int], holders: Sequence[int], *, unlocked: bool = False
    ) -> Statement:
        """Let leases last from now on.

        Args:
            unlocked: only those whose rows nobody has locked, if the database can say that.
        """
        statement = self._set(self._renewed, keys, holders)
        if unlocked and self.vendor == "postgresql":
            text = statement.text.replace("FOR UPDATE", "FOR UPDATE SKIP LOCKED")
            return statement._replace(text=text)
        return statement

    def release(self, keys: Sequence[int], holders: Sequence[int]) -> Statement:
        """Give leases back."""
        return self._set(self._released, keys, holders)

    def hand_on(self, keys: Sequence[int], holders: Sequence[int]) -> Statement:
        """Keep leases for others in this process if these may pass; otherwise give them back."""
        return self._set(self._handed_on, keys, holders)

    def draw_again(self, keys: Sequence[int]) -> Statement:
        """Give back keys that were just taken, drawing a number for each."""
        text = (
            f"UPDATE {self._name} SET ends_at = {self._now}, holder = {NOBODY}, "  # noqa: S608
            "drawn = drawn + 1 WHERE"
        )
        return self._for_keys(text, keys)

    def held_by_others(self, keys: Sequence[int], holder: int) -> Statement:
        """Return those that somebody else holds now."""
        held = f"SELECT id FROM {self._name} WHERE ends_at > {self._now} AND holder > {NOBODY}"  # noqa: S608
        text, parameters, *_ = self._for_keys(f"{held} AND holder <> %s AND", keys)
        return Statement(text, [holder, *parameters])

    # Texts.

    def _text_of_draw(self, count: int = 0) -> str:
        name, new = self._name, self._new
        waiting = f"({name}.drawn - {name}.served)"
        # Nobody holds it until a moment that is still to come: the clock was set back.
        passed_over = (
            f"({name}.ends_at + {waiting} * {self._grace} <= {self._now} "
            f"OR {name}.holder <= {NOBODY} AND {name}.ends_at > {self._now})"
        )
        is_free = f"({name}.holder <= {NOBODY} OR {name}.ends_at <= {self._now})"
        free = (
            f"({name}.holder = {new('holder')} OR {is_free} "
            f"AND ({self._may_pass} OR {passed_over}))"
        )
        # MySQL sees what earlier assignments have set, the others see the row as it was. So the
        # order counts, and once the holder is set, it tells whether the key was free.
        taken = f"{name}.holder = {new('holder')}" if self._is_mysql else free
        if self.vendor == "postgresql":
            rows = (
                f"SELECT id, holder, {self._end}, 0, 0, 0, {self._now} "  # noqa: S608
                f"FROM unnest(%s::bigint[], %s::bigint[]) AS new (id, holder), {UNFLUSHED}"
            )
        else:
            row = f"(%s, %s, {self._end}, 0, 0, 0, {self._now})"
            rows = f"VALUES {', '.join([row] * count)}"
        sql = (
            f"INSERT INTO {name} (id, holder, ends_at, drawn, served, passed, held_since) {rows} "
            f"{'ON DUPLICATE KEY UPDATE' if self._is_mysql else 'ON CONFLICT (id) DO UPDATE SET'} "
            f"served = CASE WHEN {free} AND {passed_over} THEN {name}.drawn "
            f"ELSE {name}.served END, "
            f"holder = CASE WHEN {free} THEN {new('holder')} ELSE {name}.holder END, "
            f"passed = CASE WHEN NOT {taken} THEN {name}.passed "
            f"WHEN {waiting} = 0 OR {passed_over} THEN 0 ELSE {name}.passed + 1 END, "
            f"drawn = CASE WHEN {taken} THEN {name}.drawn ELSE {name}.drawn + 1 END, "
            f"ends_at = CASE WHEN {taken} THEN {new('ends_at')} ELSE {name}.ends_at END, "
            f"held_since = CASE WHEN {taken} THEN {new('held_since')} ELSE {name}.held_since END"
        )
        return f"{sql} RETURNING {self._columns}" if self.returns_drawn else sql

    def _text_of_turn(self) -> str:
        in_front = f"ends_at + (%s - 1 - served) * {self._grace} <= {self._now}"
        free = f"holder <= {NOBODY} OR ends_at <= {self._now}"
        first = f"%s - 1 <= served OR holder <= {NOBODY} AND ends_at > {self._now}"
        return (
            f"UPDATE {self._name} SET "  # noqa: S608
            "served = CASE WHEN served < %s THEN %s ELSE served END, passed = 0, "
            f"holder = %s, ends_at = {self._end}, held_since = {self._now} "
            f"WHERE id = %s AND ({free}) AND ({in_front} OR {first})"
        )

    def _text_of_set(self, assignments: str, keys: int = 0, holders: int = 0) -> str:
        rows = f"id {self._among(keys)} AND holder {self._among(holders)}"
        if self.vendor != "postgresql":
            return f"UPDATE {self._name} SET {assignments} WHERE {rows}"  # noqa: S608
        # It would lock them in any order.
        ordered = f"SELECT id FROM {self._name} WHERE {rows} ORDER BY id FOR UPDATE"  # noqa: S608
        return (
            f"UPDATE {self._name} SET {assignments} WHERE id IN ({ordered}) "  # noqa: S608
            "RETURNING id, holder"
        )

    def _set(self, assignments: str, keys: Sequence[int], holders: Sequence[int]) -> Statement:
        """Set something of those that are held; PostgreSQL returns id and holder of each."""
        if self.vendor == "postgresql":
            return Statement(self._setting(assignments), [array(keys), array(holders)])
        text = self._setting(assignments, len(keys), len(holders))
        return Statement(text, [*keys, *holders])

    def _for_keys(self, text: str, keys: Sequence[int]) -> Statement:
        values = [array(keys)] if self.vendor == "postgresql" else keys
        return Statement(f"{text} id {self._among(len(keys))}", values)

    def _among(self, count: int) -> str:
        if self.vendor == "postgresql":
            return "= ANY(%s::bigint[])"
        return f"IN ({', '.join(['%s'] * count)})"

    @property
    def _may_pass(self) -> str:
        """The condition that one more may pass those who wait."""
        waiting = f"({self._name}.drawn - {self._name}.served)"
        return f"({self._name}.passed + 1) * {waiting} * ({waiting} + 1) <= {MOST_PASSED}"

    @property
    def _columns(self) -> str:
        free = f"holder <= {NOBODY} OR ends_at <= {self._now}"
        return f"id, holder, {free}, drawn, served"

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


def array(numbers: Collection[int]) -> str:
    """Return an array as PostgreSQL writes it."""
    return f"{{{','.join(map(str, numbers))}}}"
