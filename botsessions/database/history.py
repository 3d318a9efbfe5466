"""A table of sessions of which the last versions are kept, each written together with its save.

A session's past is gone as soon as the session is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..records import utcnow
from .changes import Change, Group, Kind
from .history_texts import HistoryTexts, Trimming
from .sessions_table import MOST_TABLES, Table
from .statements import BEGIN, COMMIT, Statement, Work, in_transaction, one, result_of

if TYPE_CHECKING:
    from ..models import AbstractBotSession

TRIMMED_ONCE_IN = 8
"""Saves, on average: between them a few versions more are kept."""
DELETIONS = (Kind.DELETE, Kind.DELETE_ANY)


class HistoryTable(Table):
    """A table on one database, with the past of its sessions.

    Args:
        kept: so many versions of each session, the present one included.
    """

    texts_type = HistoryTexts
    texts: HistoryTexts

    def __init__(self, model: type[AbstractBotSession], using: str, kept: int) -> None:
        super().__init__(model, using)
        self._kept = kept

    def making(self, kind: Kind, group: Group) -> Work[set[Change]]:
        if self.texts.vendor == "postgresql":
            return (yield from self._making_at_once(kind, group))
        return (yield from in_transaction(self._making(kind, group)))

    def statements(self, changes: Iterable[Change]) -> list[Statement]:
        changes = list(changes)
        deleted = [change.address for change in changes if change.kind in DELETIONS]
        forgetting = [self.texts.forget([address]) for address in deleted]
        if self.texts.vendor != "postgresql":
            stored = [change for change in changes if change.kind not in DELETIONS]
            made = super().statements(changes)
            return [*forgetting, *made, *self._noting(stored)]
        made = super().statements(change for change in changes if change.kind in DELETIONS)
        noting = (
            self._noted(kind, group, exactly=True)
            for kind, group in self.groups(changes)
            if kind not in DELETIONS
        )
        return [*forgetting, *made, *noting]

    def update(self, group: Group) -> Work[set[Change]]:
        if "revision" not in group.rows[0]:  # What is stored is only renewed.
            return (yield from super().update(group))
        return (yield from self.making(Kind.UPDATE, group))

    def _making_at_once(self, kind: Kind, group: Group) -> Work[set[Change]]:
        """Make changes without waiting within a transaction: other work goes along."""
        if kind in DELETIONS:
            addresses = deleted_at(kind, group)
            forget, delete = self.texts.forget(addresses), self.texts.delete(addresses)
            answers = yield [BEGIN, forget, delete, COMMIT]
            for answer in answers:
                result_of(answer)
            if kind is Kind.DELETE_ANY:
                return set(group.changes)
            return (yield from self.gone(group, result_of(answers[2])))
        noted = self._noted(kind, group)
        return group.landed((yield from one(noted)).rows)

    def _noted(self, kind: Kind, group: Group, *, exactly: bool = False) -> Statement:
        """Return what makes changes and notes them: on PostgreSQL."""
        if kind is Kind.UPDATE:
            statement = self.texts.update(group.addresses, group.rows)
        elif kind is Kind.INSERT:
            statement = self.texts.insert(group.rows)
        else:
            statement = self.texts.replace(group.rows, self.rows.replaced(group))
        trimming = Trimming(self._kept, TRIMMED_ONCE_IN)
        return self.texts.noted(statement, group.changes, self._now, trimming, exactly=exactly)

    def _making(self, kind: Kind, group: Group) -> Work[set[Change]]:
        if kind in DELETIONS:
            yield from one(self.texts.forget(deleted_at(kind, group)))
        if kind is Kind.UPDATE:
            landed = yield from super().update(group)
        else:
            landed = yield from super().making(kind, group)
        if kind not in DELETIONS:
            for statement in self._noting([change for change in group.changes if change in landed]):
                yield from one(statement)
        return landed

    def _noting(self, changes: Sequence[Change]) -> list[Statement]:
        """Return what notes changes, and deletes what is too old: on other databases."""
        # Revisions are random numbers.
        trimmed = [change for change in changes if change.revision % TRIMMED_ONCE_IN == 0]
        return [
            *self.texts.notes(changes, self._now),
            *(self.texts.trim(change.address, self._kept) for change in trimmed),
        ]

    @property
    def _now(self) -> Any:
        return self.rows.moment(utcnow())


def deleted_at(kind: Kind, group: Group) -> Sequence[tuple[Any, ...]]:
    """Return what says which rows go: with their revisions, if these have to be right."""
    return group.addresses if kind is Kind.DELETE else group.bare_addresses


@lru_cache(maxsize=MOST_TABLES)
def history_table_of(model: type[AbstractBotSession], using: str, kept: int) -> HistoryTable:
    """Return the same table for all that is asked of it, which so goes together."""
    return HistoryTable(model, using, kept)
