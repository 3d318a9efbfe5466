"""Awaitables that were assigned to a lazy session."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable
from contextvars import ContextVar
from typing import Any, ClassVar, Generic, TypeVar

from .exceptions import SessionError

T = TypeVar("T")


class Promise(Generic[T]):
    """An awaitable that was assigned to a lazy session.

    What it awaits may itself await the session, and then gets the data from before the assignment.
    """

    _running: ClassVar[ContextVar[tuple[Promise[Any], ...]]] = ContextVar("promises", default=())

    def __init__(self, awaitable: Awaitable[T | None]) -> None:
        self.given: T | None = None
        """A copy of what the awaitable has given, once somebody works with that."""
        self._awaitable = awaitable
        self._assigner = asyncio.current_task()
        self._task: asyncio.Future[T | None] | None = None

    async def kept(self) -> T | None:
        """Return what the awaitable gives; it is awaited once.

        Raises:
            SessionError: it was cancelled, which is no reason to cancel whoever waits for it.
            Exception: what it has raised.
        """
        if self._task is None:
            token = self._running.set((*self._running.get(), self))
            self._task = asyncio.ensure_future(self._wait())
            self._task.add_done_callback(note_outcome)
            self._running.reset(token)
        await asyncio.wait([self._task])  # Which does not cancel it with whoever waits.
        if self._task.cancelled():
            raise SessionError("What was assigned to the session was cancelled: nothing is stored.")
        return self._task.result()

    async def _wait(self) -> T | None:
        return await self._awaitable

    def waits_for_this_code(self) -> bool:
        """Whether the running code is what the promise waits for."""
        if self in self._running.get():
            return True
        # A task or future runs by itself, and nobody can tell which tasks it waits for.
        return (
            isinstance(self._awaitable, asyncio.Future)
            and not self._awaitable.done()
            and asyncio.current_task() is not self._assigner
        )

    def drop(self) -> None:
        """Give up an awaitable that nobody has awaited."""
        if self._task is None and inspect.iscoroutine(self._awaitable):
            self._awaitable.close()


def note_outcome(task: asyncio.Future[Any]) -> None:
    """Look at what a task has come to, for else asyncio complains if nobody is left to ask."""
    if not task.cancelled():
        task.exception()
