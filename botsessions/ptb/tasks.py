"""Tasks beside an update's handlers: each has a session of its own."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any, TypeVar

from telegram.ext import ApplicationHandlerStop

from ..beside import beside
from ..unit import Unit, current, open_unit
from .connections import look_after_connections
from .scopes import unit_for

if TYPE_CHECKING:
    from .application import SessionApplication

T = TypeVar("T")
Create = Callable[[Any], asyncio.Task[Any]]
"""PTB's own way to make a task of a coroutine."""


def start_task(
    application: SessionApplication, create: Create, coroutine: Any, update: object | None
) -> asyncio.Task[Any]:
    """Run a coroutine as a task, with the session of ``update`` if that is given."""
    unit = open_unit()
    if unit is None or update is None:
        return started(create, coroutine, application.running)
    other = beside(unit) if unit.is_for(update) else unit_for(application, update, holds=False)
    token = current.set(other)
    try:
        task = started(create, InSession(other, coroutine), application.running)
    finally:
        current.reset(token)
    task.add_done_callback(lambda _: other.close())
    return task


def started(create: Create, coroutine: Any, running: bool) -> asyncio.Task[Any]:
    """Return the task; PTB's warning that the application is not running names who asked for it."""
    if running:
        return create(coroutine)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        task = create(coroutine)
    for warning in caught:  # Which PTB would lay at our door.
        warnings.warn(warning.message, stacklevel=4)
    return task


class InSession(Awaitable[T]):
    """A coroutine, or what else PTB runs as a task, in a session of its own."""

    def __init__(self, unit: Unit, coroutine: Any) -> None:
        self.coroutine = coroutine
        self._unit = unit

    def __await__(self) -> Generator[Any, Any, T]:
        return self._run().__await__()

    async def _run(self) -> T:
        try:
            await self._unit.open()
        except BaseException:
            if hasattr(self.coroutine, "close"):
                self.coroutine.close()
            raise
        try:
            old_fashioned = isinstance(self.coroutine, Generator)  # As PTB takes them.
            result: T = await (
                asyncio.ensure_future(self.coroutine) if old_fashioned else self.coroutine
            )
        except ApplicationHandlerStop:
            await self._unit.save()
            raise
        else:
            await self._unit.save()
        finally:
            await look_after_connections()
        return result
