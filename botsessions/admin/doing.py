"""Doing something to many sessions, batch by batch, with a note of it in the log for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from django.db.models import QuerySet

from .. import audit
from ..maintenance import BATCH_SIZE, Batch, changing
from ..maintenance.changing import batches_of_keys
from ..models import AbstractBotSession

if TYPE_CHECKING:
    from .operations import Operation

Run: TypeAlias = "Callable[[QuerySet[Any], Mapping[str, Any], str], Iterable[Batch]]"
"""See :meth:`.Operation.run`."""

NAMED = 20
"""So many sessions are named that were left as they were for the same reason."""


@dataclass
class Left:
    """Sessions that were left as they were, for one reason."""

    count: int = 0
    first: list[tuple[Any, str]] = field(default_factory=list)
    """The primary keys and session keys of the first."""


@dataclass
class Outcome:
    """What has become of the sessions."""

    done: int = 0
    seen: int = 0
    left: dict[str, Left] = field(default_factory=dict)
    """By reason."""

    @property
    def untouched(self) -> int:
        """How many there was nothing to do for."""
        return max(0, self.seen - self.done - sum(left.count for left in self.left.values()))

    def add(self, batch: Batch, rows: Mapping[Any, Any]) -> None:
        """Add what has become of a batch.

        Args:
            rows: the primary keys of its sessions by address.
        """
        self.done += batch.done
        for failure in batch.failures:
            left = self.left.setdefault(failure.reason, Left())
            left.count += 1
            if len(left.first) < NAMED:
                left.first.append((rows.get(failure.address), str(failure.address)))


def do(
    operation: Operation,
    sessions: QuerySet[Any],
    chosen: Mapping[str, Any],
    user: Any,
    run: Run | None = None,
) -> Outcome:
    """Do it, and note for each session that has changed who did what.

    Args:
        chosen: what the operation's form says.
        run: does it to a batch, in the operation's place.
    """
    outcome, message = Outcome(), operation.message(sessions.model)
    run = run or operation.run
    try:
        for keys in batches_of_keys(sessions, BATCH_SIZE):
            batch = sessions.filter(pk__in=keys)
            before = list(batch.only("bot", "name", "key", "revision"))
            rows = {changing.address_of(session): session.pk for session in before}
            outcome.seen += len(before)
            try:
                for part in run(batch, chosen, f"admin:{user.pk}"):
                    outcome.add(part, rows)
            finally:
                if not operation.is_anonymous:
                    audit.log(user, changed(before), operation.flag, message)
    finally:  # What earlier batches have done is done, whatever happens later.
        if operation.is_anonymous or outcome.done > audit.MANY:
            audit.log_count(user, sessions.model, outcome.done, operation.flag, message)
    return outcome


def changed(sessions: list[AbstractBotSession]) -> list[AbstractBotSession]:
    """Return those whose revision is another one now, or which are gone."""
    if not sessions:
        return []
    now = type(sessions[0])._default_manager.using(sessions[0]._state.db)
    keys = [session.pk for session in sessions]
    revisions = dict(now.filter(pk__in=keys).values_list("pk", "revision"))
    return [session for session in sessions if revisions.get(session.pk) != session.revision]
