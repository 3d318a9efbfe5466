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

    def add(self, batch: Batch, rows: Mapping[Any, Any], in_detail: bool) -> None:
        """Add what has become of a batch.

        Args:
            rows: the primary keys of its sessions by address.
            in_detail: with names of fields in the data.
        """
        self.done += batch.done
        for failure in batch.failures:
            reason = failure.reason if in_detail else failure.nameless or failure.reason
            left = self.left.setdefault(reason, Left())
            left.count += 1
            if len(left.first) < NAMED:
                left.first.append((rows.get(failure.address), str(failure.address)))


def do(
    operation: Operation,
    sessions: QuerySet[Any],
    chosen: Mapping[str, Any],
    user: Any,
    run: Run | None = None,
    *,
    in_detail: bool,
) -> Outcome:
    """Do it, and note for each session that has changed who did what.

    Args:
        chosen: what the operation's form says.
        run: does it to a batch, in the operation's place.
        in_detail: tell names of fields in the data.
    """
    outcome, model = Outcome(), sessions.model
    fields = set[str]()
    run = run or operation.run
    try:
        for keys in batches_of_keys(sessions, BATCH_SIZE):
            batch = sessions.filter(pk__in=keys)
            before = list(batch.only("bot", "name", "key", "revision", *columns(operation)))
            rows = {changing.address_of(session): session.pk for session in before}
            outcome.seen += len(before)
            try:
                for part in run(batch, chosen, f"admin:{user.pk}"):
                    outcome.add(part, rows, in_detail)
            finally:
                if not operation.is_anonymous:
                    for names, some in changed(before, operation).items():
                        fields.update(names)
                        audit.log(user, some, operation.flag, message(model, names))
    finally:  # What earlier batches have done is done, whatever happens later.
        if operation.is_anonymous or outcome.done > audit.MANY:
            names = tuple(name for name in operation.fields if name in fields)
            count = outcome.done
            audit.log_count(user, model, count, operation.flag, message(model, names))
    return outcome


def columns(operation: Operation) -> list[str]:
    """Return the columns that are looked at before and after."""
    return [name for name in operation.fields if name != "data"]


def changed(
    sessions: list[AbstractBotSession], operation: Operation
) -> dict[tuple[str, ...], list[AbstractBotSession]]:
    """Return those that are not what they were, or are gone, by the columns that changed."""
    found: dict[tuple[str, ...], list[AbstractBotSession]] = {}
    if not sessions:
        return found
    rows = type(sessions[0])._default_manager.using(sessions[0]._state.db)
    there = rows.filter(pk__in=[session.pk for session in sessions])
    now = {row.pk: row for row in there.only("revision", *columns(operation))}
    for session in sessions:
        row = now.get(session.pk)
        if row is None or row.revision != session.revision:
            names = audit.columns_changed(session, row, operation.fields) if row else ()
            found.setdefault(names, []).append(session)
    return found


def message(model: Any, names: tuple[str, ...]) -> Any:
    """Return what the log says, as Django's ``LogEntry`` keeps it."""
    return audit.changed(model, names) if names else ""
