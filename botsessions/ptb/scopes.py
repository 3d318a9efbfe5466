"""The units of work of updates and jobs, and running code in them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..database.claims import Claim
from ..declaration import Fragment
from ..keys import migration
from ..snapshots import inside
from ..sources import FromJob, FromMigration, FromUpdate
from ..supergroups import MovingUnit
from ..unit import Unit, current, open_unit

if TYPE_CHECKING:
    from .application import SessionApplication


def unit_for(
    application: SessionApplication,
    subject: object,
    *,
    holds: bool = True,
    origin: Unit | None = None,
    claim: Claim | None = None,
    more: Mapping[str, Fragment[Any]] | None = None,
) -> Unit:
    """Return the unit of work for an update, or for a :class:`.FromJob`.

    Args:
        holds: whether it is to have its keys for itself.
        origin: the unit of the update, for code that runs beside its handlers or later.
        claim: on the update, if that came by webhook.
        more: fragments besides the application's.
    """
    fragments, bot = application.fragments, application.session_bot
    if more:
        fragments = {**fragments, **more}
    outer, lock = open_unit() if holds else None, application.session_lock
    if (moved := migration(subject)) is not None and holds:
        source = FromMigration(subject, moved[1])
        return MovingUnit(fragments, bot, source, *moved, lock=lock, outer=outer, claim=claim)
    return Unit(
        fragments,
        bot,
        subject if isinstance(subject, FromJob) else FromUpdate(subject),
        lock=lock,
        holds=holds,
        outer=outer,
        origin=origin,
        claim=claim,
    )


class CurrentUnit:
    """Makes a unit the current one, and closes it in the end."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._outer, self._inside = current.get(), inside.get()

    def __enter__(self) -> None:
        current.set(self._unit)
        if self._unit.outer is not None:
            self._unit.contents.step_in()

    def __exit__(self, kind: type[BaseException] | None, *raised: object) -> None:
        if kind is not None:
            self._unit.failed = True
        self._unit.close()
        current.set(self._outer)
        inside.set(self._inside)


def is_of_its_own(error: BaseException) -> bool:
    """Whether code has ended itself, and was not ended by whoever ends the process or the task."""
    if isinstance(error, asyncio.CancelledError):
        cancelling = getattr(asyncio.current_task(), "cancelling", None)  # Since Python 3.11.
        return cancelling is not None and not cancelling()
    return isinstance(error, SystemExit)


@contextmanager
def failing(unit: Unit | None) -> Iterator[None]:
    """Let a unit fail whose handler ends itself: its task, or the process."""
    try:
        yield
    except BaseException as exc:
        if unit is not None and is_of_its_own(exc):
            unit.failed = True
        raise
