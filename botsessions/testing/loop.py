"""An event loop for sync code, which runs only while that code waits for it."""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import threading
import weakref
from collections import deque
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from asgiref.sync import AsyncToSync

from ..database.callers import Caller, running_loop

T = TypeVar("T")


class Loop:
    """One event loop on a thread of its own, for many calls.

    :func:`asgiref.sync.async_to_sync` makes a loop for each call, and what a bot's application
    keeps (tasks, timers, locks) belongs to one loop. As there, code that ``sync_to_async`` runs,
    like the ORM's, runs on the calling thread, so it is in that thread's transaction.
    """

    def __init__(self) -> None:
        close_abandoned()
        self._loop = asyncio.new_event_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="botsessions-testing")
        self._forgotten = weakref.finalize(self, abandon, self._loop, self._thread)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run ``coroutine`` and return its result."""
        caller = Caller(self._loop)
        AsyncToSync.loop_thread_executors[self._loop] = caller  # type: ignore[assignment]
        try:
            context = contextvars.copy_context()
            context.run(setattr, AsyncToSync.executors, "current", None)
            task = context.run(self._loop.create_task, coroutine)
            future = self._thread.submit(context.run, self._loop.run_until_complete, task)
            future.add_done_callback(caller.leave)
            caller.work(lambda: None, lambda: self._loop.call_soon_threadsafe(task.cancel))
            return future.result()
        finally:
            del AsyncToSync.loop_thread_executors[self._loop]

    def close(self) -> None:
        """End what still runs on the loop; a second time does nothing."""
        self._forgotten()
        close_abandoned()


_abandoned: deque[asyncio.AbstractEventLoop] = deque()


def abandon(loop: asyncio.AbstractEventLoop, thread: ThreadPoolExecutor) -> None:
    """Leave a loop to be closed later.

    The garbage collector comes by anywhere, also where a lock is held that closing would need.
    """
    thread.shutdown(wait=False)
    _abandoned.append(loop)


@atexit.register
def close_abandoned() -> None:
    """Close the loops that nobody uses any more."""
    if running_loop() is None:
        end_all()
    else:  # No other loop can run in this thread now.
        thread = threading.Thread(target=end_all)
        thread.start()
        thread.join()


def end_all() -> None:
    while _abandoned:
        loop = _abandoned.popleft()
        loop.run_until_complete(cancel_tasks())
        loop.close()


async def cancel_tasks() -> None:
    """Cancel all other tasks of the running loop, and wait for their end."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
