"""Figures of stored sessions: for people on call, and for machines that watch.

They cost the same however large a table is: of many sessions some are looked at, picked at random.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from django.utils import timezone

from ..declaration import Fragment
from ..finding import SOON, fragments
from ..models import AbstractBotSession
from ..storages import DatabaseStorage
from .incidents import IncidentFigures, incidents_lately
from .known import Place
from .numbers import NONE, Number
from .runs import Run, last_runs, noted_since
from .table import TableFigures, table_figures
from .times import Times

__all__ = ["Figures", "Number", "Run", "TableFigures", "figures"]

OVERDUE = timedelta(days=2)
"""So long what has expired may wait for a sweep, and what is behind for a migration."""

Model: TypeAlias = "type[AbstractBotSession]"
Table: TypeAlias = "tuple[Model, str]"


@dataclass(frozen=True)
class Figures:
    """What there is to know of the sessions of the settings' bots."""

    at: datetime
    tables: list[TableFigures]
    runs: dict[str, Run | None]
    incidents: list[IncidentFigures]
    """Those of the last day."""

    @property
    def behind(self) -> Number:
        """How many sessions are to be migrated."""
        parts = [fragment.behind for table in self.tables for fragment in table.fragments]
        return sum(parts, NONE)

    @property
    def sweep_is_overdue(self) -> bool:
        """Whether sessions that expired long ago are still stored."""
        oldest = [table.oldest_expired for table in self.tables if table.oldest_expired]
        return any(at < self.at - OVERDUE for at in oldest)

    @property
    def migration_is_overdue(self) -> bool:
        """Whether there are sessions to be migrated, and for so long nobody has done it."""
        if not self.behind:
            return False
        last = self.runs["migrate"]
        since = noted_since() if last is None else last.started_at
        return since is not None and since < self.at - OVERDUE


def figures(
    may_see: Callable[[Model], bool] = lambda model: True,
    soon: Callable[[Model], timedelta] = lambda model: SOON,
) -> Figures:
    """Look at all tables that the settings' bots keep sessions in.

    Args:
        may_see: only those whose model this allows, and incidents of the bots that keep some there.
        soon: how long before its end a session of a model expires soon.
    """
    now = timezone.now()
    times, all_tables = Times(now), tables()
    seen = {table: places for table, places in all_tables.items() if may_see(table[0])}
    found = [table_figures(*table, places, times, soon(table[0])) for table, places in seen.items()]
    incidents = incidents_lately(now)
    if len(seen) < len(all_tables):
        bots = {bot for places in seen.values() for bot, _name in places}
        incidents = [one for one in incidents if one.bot in bots]
    return Figures(now, found, last_runs(now), incidents)


def tables() -> dict[Table, dict[Place, Fragment[Any]]]:
    """Return the tables, and which fragments they hold; of a bot that is broken, nothing."""
    found: dict[Table, dict[Place, Fragment[Any]]] = {}
    for bot, fragment in fragments():
        storage = fragment.innermost
        if isinstance(storage, DatabaseStorage):
            found.setdefault((storage.model, storage.using), {})[bot, fragment.name] = fragment
    default = DatabaseStorage()
    return found or {(default.model, default.using): {}}
