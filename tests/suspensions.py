"""Cancelling at every point where somebody waits: ``async for`` the points of a scenario.

A scenario is run again and again. The first time whatever waits first is cancelled there, the next
time whatever waits second, and so on, until a run has no such point any more. Tasks count that an
author makes or lets PTB make; the package's own, which nobody else can cancel, do not.
"""

from __future__ import annotations

import asyncio
import enum
import inspect
import types
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import apscheduler
import telegram

import botsessions

T = TypeVar("T")

HERE = Path(__file__).parent
SCHEDULER = str(Path(apscheduler.__file__).parent)
DRIVEN = (str(HERE), str(Path(telegram.__file__).parent), SCHEDULER)
"""Where the code is from whose tasks are cancelled."""
SHOWN = (str(HERE), str(Path(botsessions.__file__).parent))


class Moment(enum.Enum):
    """When what waits is cancelled."""

    WAITING = "while it waits"
    WAKING = "when what it waits for is there, but it has not gone on yet"


class Cancellation:
    """Cancels the task that comes to wait as the ``number``-th."""

    def __init__(self, number: int, moment: Moment) -> None:
        self.number = number
        self.moment = moment
        self.tasks: list[asyncio.Task[Any]] = []
        """Those that it drives."""
        self.victim: asyncio.Task[Any] | None = None
        self.place = ""
        """Where the victim waits."""
        self._code = ""
        self._seen = 0

    @property
    def happened(self) -> bool:
        return self.victim is not None

    @property
    def swallowed(self) -> bool:
        """Whether the victim has ended in some other way. The scheduler's own tasks do."""
        victim = self.victim
        return not (victim is None or victim.cancelled() or self._code.startswith(SCHEDULER))

    def __str__(self) -> str:
        return f"{self.number}, {self.place}, {self.moment.value}"

    @contextmanager
    def driving(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        """Drive the tasks that are made meanwhile."""
        before = loop.get_task_factory()
        loop.set_task_factory(self._make)
        try:
            yield
        finally:
            loop.set_task_factory(before)

    def _make(
        self, loop: asyncio.AbstractEventLoop, coroutine: Any, **kwargs: Any
    ) -> asyncio.Task[Any]:
        driven = inspect.iscoroutine(coroutine) and coroutine.cr_code.co_filename.startswith(DRIVEN)
        if driven:
            coroutine = drive(coroutine, self._note)
        task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **kwargs)
        if driven:
            self.tasks.append(task)
        return task

    def _note(self, coroutine: Any, awaited: Any) -> None:
        self._seen += 1
        if self._seen != self.number:
            return
        self.victim = task = asyncio.current_task()
        assert task is not None
        self.place = place_of(coroutine)
        self._code = coroutine.cr_code.co_filename
        if self.moment is Moment.WAKING and asyncio.isfuture(awaited):
            # Before the task's own callback, which is added when this has been told.
            awaited.add_done_callback(lambda _: task.cancel())
        else:
            asyncio.get_running_loop().call_soon(task.cancel)


def drive(
    coroutine: Coroutine[Any, Any, T], note: Callable[[Any, Any], object]
) -> Coroutine[Any, Any, T]:
    """Return a coroutine that does the same, and tells when it comes to wait, and for what."""

    @types.coroutine
    def steps() -> Generator[Any, Any, T]:
        value, error = None, None
        while True:
            try:
                if error is None:
                    awaited = coroutine.send(value)
                else:
                    raised, error = error, None
                    awaited = coroutine.throw(raised)
            except StopIteration as end:
                result: T = end.value
                return result
            note(coroutine, awaited)
            try:
                value = yield awaited
            except BaseException as exc:
                error = exc

    async def driven() -> T:
        return await steps()

    return driven()


def place_of(coroutine: Any) -> str:
    """Return where a coroutine waits: file and line of the innermost of ours that it awaits."""
    place = "?"
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is not None and frame.f_code.co_filename.startswith(SHOWN):
            path = Path(frame.f_code.co_filename)
            place = f"{path.parent.name}/{path.name}:{frame.f_lineno}"
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return place
