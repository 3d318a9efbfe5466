"""Writes that are made together or not at all, under the leases and claims of their units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..exceptions import SessionConflict
from ..records import conflict
from .changes import Change
from .claims import Claim, lost
from .claims_table import claim_table_of
from .errors import is_refusal
from .lease import Ending, Lease, cut_off
from .leases_table import lease_table_of
from .requests import Write
from .statements import BEGIN, COMMIT, Answer, Result, Statement, Work, exactly, result_of

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from .sessions_table import Table


class Step(NamedTuple):
    """A statement of a save, and what it is about if it fails."""

    statement: Statement
    about: Lease | Claim | None = None
    """``None``: sessions."""


class Save:
    """Writes of units that still have their keys and updates, as one transaction."""

    def __init__(self, writes: Sequence[Write], connection: BaseDatabaseWrapper) -> None:
        self.writes = writes
        self._leases = lease_table_of(connection)
        self._claims = claim_table_of(connection)
        self._vendor = connection.vendor
        self._ended: dict[Ending, list[Lease]] = {ending: [] for ending in Ending}
        endings: dict[Lease | None, Ending] = {}
        for write in writes:
            if write.ending is not Ending.KEPT or write.lease not in endings:
                endings[write.lease] = write.ending
        for lease, ending in endings.items():
            if lease is not None:
                self._ended[ending].append(lease)
        self._handed_on_at: int | None = None

    def carry_out(self) -> Work[None]:
        """Make all changes.

        Raises:
            SessionConflict: one of them cannot be made, or a lease or claim has gone to others.
            DatabaseError: nothing was changed.
        """
        steps = self._steps()
        _, *answers, committed = yield [BEGIN, *(step.statement for step in steps), COMMIT]
        for step, answer in zip(steps, answers, strict=True):
            if isinstance(answer, Exception):
                raise self._refusal(step, answer) if is_refusal(answer) else answer
        result_of(committed)
        handed_on = self._handed_on(answers)
        for write in self.writes:
            write.note_made(handed_on)

    def _steps(self) -> list[Step]:
        # Everybody goes by this order, so nobody waits for another in a circle.
        steps = [*self._steps_of_leases(), *self._steps_of_claims()]
        changes: dict[Table, list[Change]] = {}
        for write in self.writes:
            for table, some in write.tables.items():
                changes.setdefault(table, []).extend(some)
        for table, some in changes.items():
            steps += [Step(statement) for statement in table.statements(some)]
        return steps

    def _steps_of_leases(self) -> list[Step]:
        steps = []
        if released := self._ended[Ending.GIVEN_BACK]:
            steps.append(Step(self._leases.releasing(released), released[0]))
        if kept := self._ended[Ending.KEPT]:
            steps.append(Step(self._leases.renewing(kept), kept[0]))
        if handed_on := self._ended[Ending.HANDED_ON]:
            steps += [Step(s, handed_on[0]) for s in self._leases.handing_on(handed_on)]
            self._handed_on_at = len(steps) - 1
        return steps

    def _steps_of_claims(self) -> list[Step]:
        noted = [w.claim for w in self.writes if w.claim is not None and w.is_last]
        kept = [w.claim for w in self.writes if w.claim is not None and not w.is_last]
        return [
            Step(exactly(len(some), make(some), self._vendor), some[0])
            for some, make in ((noted, self._claims.noting), (kept, self._claims.renewing))
            if some
        ]

    def _handed_on(self, answers: Sequence[Answer]) -> Sequence[Lease]:
        if self._handed_on_at is None:
            return ()
        result = answers[self._handed_on_at]
        assert isinstance(result, Result)
        return self._leases.handed_on(self._ended[Ending.HANDED_ON], result)

    def _refusal(self, step: Step, error: Exception) -> SessionConflict:
        """Return what is to be told, which names the first of those that it may be about."""
        if isinstance(step.about, Lease):
            return cut_off(step.about)
        if isinstance(step.about, Claim):
            return lost(step.about)
        return conflict(self.writes[0].addresses[0])


def save_alone(write: Write, connection: BaseDatabaseWrapper) -> Work[None]:
    """Make one write's changes.

    Raises:
        SessionConflict: they cannot be made.
        DatabaseError: nothing was changed.
    """
    if write.tried and write.replaces and (yield from has_landed(write, connection)):
        return
    try:
        yield from Save([write], connection).carry_out()
    except SessionConflict as exc:
        # Another's, or that of an earlier attempt of ours.
        if write.tried and (yield from has_landed(write, connection)):
            return
        raise (yield from explained(exc, write)) from None


def has_landed(write: Write, connection: BaseDatabaseWrapper) -> Work[bool]:
    """Return whether an earlier attempt has made the changes, and note it."""
    if write.claim is not None and write.is_last:
        landed = yield from claim_table_of(connection).is_noted(write.claim)
    else:
        landed = bool(write.tables) or write.ending is not Ending.KEPT
        for table, changes in write.tables.items():
            stored = yield from table.reading([change.address for change in changes])
            landed = landed and all(
                change.is_made(stored.get(change.address)) for change in changes
            )
    if landed:
        write.note_made(None)
    return landed


def explained(error: SessionConflict, write: Write) -> Work[SessionConflict]:
    """Return the error that names the session that somebody else has changed."""
    if len(write.changes) > 1 and str(error) == str(conflict(write.addresses[0])):
        for table, changes in write.tables.items():
            stored = yield from table.reading([change.address for change in changes])
            for change in changes:
                if change.is_refused(stored.get(change.address)):
                    return conflict(change.address)
    return error
