"""The units of work of updates and jobs, and running code in them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from ..database.claims import Claim
from ..declaration import Fragment
from ..keys import migration
from ..snapshots import inside
from ..sources import FromJob, FromMigration, FromUpdate
from ..supergroups import MovingUnit
from ..unit import Unit, current, open_unit

if TYPE_CHECKING:
    from .application import SessionApplication

T = TypeVar("T")


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


class EndedItself(asyncio.CancelledError):
    """An author's code was cancelled, and not because whoever waits for it was."""


async def in_its_own_task(coroutine: Coroutine[Any, Any, T]) -> T:
    """Await an author's code, which ends nothing else if it cancels its task.

    Raises:
        EndedItself: it has done so.
    """
    task = asyncio.create_task(outcome_of(coroutine))
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:  # Whoever waits: the event loop ends.
        task.cancel()
        await asyncio.wait([task])
        coroutine.close()  # It may never have begun.
        raise
    if task.cancelled():
        raise EndedItself
    result: T
    result, error = task.result()
    try:
        if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
            raise EndedItself from error
        if error is not None:
            raise error
        return result
    finally:
        del task, error  # It has this frame, and so would be in a circle.


async def outcome_of(coroutine: Coroutine[Any, Any, Any]) -> tuple[Any, BaseException | None]:
    """Return a result, or what was raised: SystemExit would end the event loop at once."""
    try:
        return await coroutine, None
    except BaseException as exc:
        return None, exc


def is_of_its_own(error: BaseException) -> bool:
    """Whether an author's code has ended itself, by cancelling its task or by ``sys.exit()``."""
    return isinstance(error, (EndedItself, SystemExit))


@contextmanager
def failing(unit: Unit | None) -> Iterator[None]:
    """Let a unit fail whose handler ends itself: its task, or the process."""
    try:
        yield
    except BaseException as exc:
        if unit is not None and is_of_its_own(exc):
            unit.failed = True
        raise
