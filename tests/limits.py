"""Limits of time: what hangs fails, with what it hangs in."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from contextvars import Context
from types import FrameType
from typing import Any, TypeVar

from django.db import connections

T = TypeVar("T")

AGAIN_SECONDS = 1.0
"""So often whoever does not end at all is interrupted again."""


class Hang(SystemExit):
    """Something goes on for too long. An event loop lets it through, as it would not Exception."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fail if the block, which is the main thread's, takes longer."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        if not told:
            told.append(True)
            show_what_waits()
        raise Hang(f"It goes on for more than {seconds:g} s.")

    told: list[bool] = []
    assert threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def show_what_waits() -> None:
    """Write where all threads, and the tasks of the running event loop, are."""
    faulthandler.dump_traceback(sys.__stderr__)
    with suppress(RuntimeError):
        for task in asyncio.all_tasks(asyncio.get_running_loop()):
            task.print_stack(file=sys.stderr)


def run(coroutine: Coroutine[Any, Any, T], seconds: float = 10) -> T:
    """Run a coroutine on an event loop of its own; fail if it takes longer."""
    with within(seconds):
        try:
            return asyncio.run(coroutine)
        finally:
            gc.collect()  # What asyncio has to say of tasks that were left is said now.


def in_thread(function: Callable[..., T], *args: Any) -> Future[T]:
    """Call a function in a thread of its own, which does not keep the process from ending."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()  # Whoever waits may be cancelled; the thread goes on.

    def call() -> None:
        try:
            future.set_result(function(*args))
        except BaseException as exc:
            future.set_exception(exc)
        finally:
            connections.close_all()

    threading.Thread(target=Context().run, args=[call], daemon=True).start()
    return future


async def aside(function: Callable[..., T], *args: Any) -> T:
    """Await a function in such a thread."""
    return await asyncio.wrap_future(in_thread(function, *args))
