"""The table of claims on updates: claiming, keeping, noting what is handled.

A claim ends by itself unless it is renewed, on the database's clock.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from django.apps import apps

from ..records import dumps
from . import claims
from .claims import AlreadyHandled, Claim, ClaimedElsewhere
from .clock import NOW
from .statements import UNFLUSHED, Statement, Work, in_transaction, one

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

COLUMNS = ("bot", "update_id", "claim")


class ClaimTable:
    """One database's claims."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        model = apps.get_model("botsessions", "HandledUpdate")
        fields = {field.name: field for field in model._meta.concrete_fields}
        self._vendor = connection.vendor
        self._name = connection.ops.quote_name(model._meta.db_table)
        self._types = [fields[name].db_parameters(connection)["type"] for name in COLUMNS]
        self._now = NOW[self._vendor]
        self._returns_claimed = connection.features.can_return_rows_from_bulk_insert
        # Whether it is NULL is not asked for: SQLite 3.40 gives the wrong answer to that.
        self._rows = f"bot, update_id, claim, handled_at, claimed_until - {self._now}"

    # Works.

    def claim(self, wanted: Iterable[Claim]) -> Work[dict[Claim, Exception | None]]:
        """Claim updates; return for each why it was not claimed, or ``None``."""
        wanted, begun = sorted(wanted, key=lambda claim: claim.parts), time.monotonic()
        statement = self._claiming(wanted)
        if self._returns_claimed:
            found = (yield from one(statement)).rows
        else:
            found = yield from in_transaction(self._claim_and_look(statement, wanted))
        rows = {(bot, update_id): rest for bot, update_id, *rest in found}
        outcomes: dict[Claim, Exception | None] = {}
        for claim in wanted:
            number, handled_at, left = rows[claim.bot, claim.update_id]
            if handled_at is not None:
                outcomes[claim] = AlreadyHandled()
            elif number != claim.number:
                outcomes[claim] = ClaimedElsewhere(claim, left / 1000)
            else:
                outcomes[claim], claim.until = None, begun + claims.CLAIM_SECONDS
        return outcomes

    def _claim_and_look(self, statement: Statement, wanted: Sequence[Claim]) -> Work[Sequence[Any]]:
        yield from one(statement)
        return (yield from one(self._stored(wanted))).rows

    def note(self, handled: Sequence[Claim]) -> Work[set[Claim]]:
        """Note that updates are handled; return those that were ours to handle."""
        noted = yield from one(self._setting(self._handled, handled, alone=True))
        if noted.changed < len(handled):
            stored = (yield from one(self._stored(handled))).rows
            ours = {number for _, _, number, handled_at, _ in stored if handled_at is not None}
            return {claim for claim in handled if claim.number in ours}
        return set(handled)

    def renew(self, held: Sequence[Claim]) -> Work[None]:
        """Let claims last from now on, as far as they are still ours."""
        begun = time.monotonic()
        renewed = yield from one(self.renewing(held))
        if renewed.changed == len(held):
            for claim in held:
                claim.until = begun + claims.CLAIM_SECONDS
        elif len(held) > 1:
            for claim in held:
                yield from self.renew([claim])

    def give_back(self, held: Sequence[Claim]) -> Work[None]:
        """Let somebody else handle updates."""
        at, parameters = self._at(held)
        text = f"DELETE FROM {self._name} WHERE {at} AND handled_at IS NULL"  # noqa: S608
        yield from one(Statement(text, parameters, recurs=len(held) == 1))

    def is_noted(self, claim: Claim) -> Work[bool]:
        """Whether it is noted that we have handled an update."""
        stored = (yield from one(self._stored([claim]))).rows
        return any(number == claim.number and at is not None for _, _, number, at, _ in stored)

    # Statements.

    def _claiming(self, wanted: Sequence[Claim]) -> Statement:
        name, new = self._name, "VALUES({})" if self._vendor == "mysql" else "excluded.{}"
        number, end = new.format("claim"), new.format("claimed_until")
        kept = int(claims.KEPT_SECONDS * 1000)
        free = (
            f"({name}.claim = {number} OR {name}.handled_at IS NULL "
            f"AND {name}.claimed_until <= {self._now} OR {name}.handled_at <= {self._now} - {kept})"
        )
        # MySQL sees what earlier assignments have set, the others see the row as it was.
        taken = f"{name}.claim = {number}" if self._vendor == "mysql" else free
        otherwise = (
            "ON DUPLICATE KEY UPDATE"
            if self._vendor == "mysql"
            else "ON CONFLICT (bot, update_id) DO UPDATE SET"
        )
        rows, parameters = self._given(wanted)
        text = (
            f"INSERT INTO {name} (bot, update_id, claim, claimed_until) {rows} {otherwise} "
            f"claim = CASE WHEN {free} THEN {number} ELSE {name}.claim END, "
            f"claimed_until = CASE WHEN {taken} THEN {end} ELSE {name}.claimed_until END, "
            f"handled_at = CASE WHEN {taken} THEN NULL ELSE {name}.handled_at END"
        )
        if self._returns_claimed:
            text = f"{text} RETURNING {self._rows}"
        return Statement(text, parameters, recurs=self._vendor == "postgresql")

    def _given(self, wanted: Sequence[Claim]) -> tuple[str, list[Any]]:
        parameters = [part for claim in wanted for part in claim.parts]
        row = f"%s, %s, %s, {self._end}"
        if self._vendor != "postgresql":
            return f"VALUES {', '.join([f'({row})'] * len(wanted))}", parameters
        if len(wanted) == 1:
            return f"SELECT {row} FROM {UNFLUSHED}", parameters  # noqa: S608
        given = f"SELECT bot, update_id, claim, {self._end} FROM {self._recordset}, {UNFLUSHED}"  # noqa: S608
        return given, [self._json(wanted)]

    def noting(self, handled: Sequence[Claim]) -> Statement:
        """Return what notes that updates are handled."""
        return self._setting(self._handled, handled)

    def renewing(self, held: Sequence[Claim]) -> Statement:
        """Return what lets claims last from now on."""
        return self._setting(f"claimed_until = {self._end}", held)

    def _setting(self, assignment: str, held: Sequence[Claim], *, alone: bool = False) -> Statement:
        """Set something of those that are ours; PostgreSQL returns the number of each.

        Args:
            alone: in a transaction that changes no session.
        """
        at, parameters = self._at(held)
        among, returning = "", ""
        if self._vendor == "postgresql":
            among, returning = f" FROM {UNFLUSHED}" if alone else "", " RETURNING claim"
        text = f"UPDATE {self._name} SET {assignment}{among} WHERE {at}{returning}"  # noqa: S608
        recurs = self._vendor == "postgresql" or len(held) == 1
        return Statement(text, parameters, recurs=recurs)

    def _stored(self, wanted: Sequence[Claim]) -> Statement:
        """Return what selects the rows of updates, and perhaps some others."""
        bots = ", ".join(["%s"] * len(wanted))
        parameters = [*(claim.bot for claim in wanted), *(claim.update_id for claim in wanted)]
        text = (
            f"SELECT {self._rows} FROM {self._name} WHERE bot IN ({bots}) AND update_id IN ({bots})"  # noqa: S608
        )
        return Statement(text, parameters, recurs=len(wanted) == 1)

    def _at(self, held: Sequence[Claim]) -> tuple[str, list[Any]]:
        """Return the condition for the rows of claims, and its parameters."""
        if len(held) == 1:
            return "bot = %s AND update_id = %s AND claim = %s", list(held[0].parts)
        if self._vendor == "postgresql":
            given = f"SELECT bot, update_id, claim FROM {self._recordset} LIMIT %s"  # noqa: S608
            return f"(bot, update_id, claim) IN ({given})", [self._json(held), len(held)]
        # Numbers are like no others, so it does not matter which of them goes with which update.
        each = ", ".join(["%s"] * len(held))
        parameters = [
            part for parts in zip(*(c.parts for c in held), strict=True) for part in parts
        ]
        return " AND ".join(f"{column} IN ({each})" for column in COLUMNS), parameters

    @property
    def _recordset(self) -> str:
        columns = ", ".join(f"{c} {t}" for c, t in zip(COLUMNS, self._types, strict=True))
        return f"json_to_recordset(%s) AS given ({columns})"

    def _json(self, held: Sequence[Claim]) -> str:
        return dumps([dict(zip(COLUMNS, claim.parts, strict=True)) for claim in held])

    @property
    def _handled(self) -> str:
        return f"handled_at = {self._now}"

    @property
    def _end(self) -> str:
        return f"{self._now} + {int(claims.CLAIM_SECONDS * 1000)}"


def claim_table_of(connection: BaseDatabaseWrapper) -> ClaimTable:
    """Return the claims of a connection's database."""
    table = _tables.get(connection.alias)
    if table is None:
        table = _tables[connection.alias] = ClaimTable(connection)
    return table


_tables: dict[str, ClaimTable] = {}
