"""Going on to the end although the task is cancelled.

A write that a thread or a server has begun cannot be called back, so whoever holds the key has to
wait for it.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

from ..database.uncancellable import Uncancellable
from ..exceptions import SessionStorageError

T = TypeVar("T")


async def to_its_end(coroutine: Coroutine[Any, Any, T]) -> T:
    """Await any coroutine to its end even if the caller is cancelled; then pass that on.

    Raises:
        SessionStorageError: it was cancelled by what it awaits itself, which cancels nobody else.
    """
    task, end = asyncio.ensure_future(coroutine), Uncancellable()
    task.add_done_callback(lambda _: end.set_result(None))
    try:
        await end
    except asyncio.CancelledError as exc:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise exc from error
        raise
    if task.cancelled():
        raise SessionStorageError("The storage's own work was cancelled before its end.")
    return task.result()


@types.coroutine
def through(coroutine: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    """Do the same without a task, for a coroutine that awaits nothing but what is uncancellable."""
    cancelled: asyncio.CancelledError | None = None
    while True:
        try:
            future = coroutine.send(None)
        except StopIteration as end:
            if cancelled is not None:
                raise cancelled from None
            return end.value  # type: ignore[no-any-return]
        except BaseException as exc:
            if cancelled is not None:
                raise cancelled from exc
            raise
        assert isinstance(future, Uncancellable)
        try:
            yield future
        except GeneratorExit:
            coroutine.close()
            raise
        except asyncio.CancelledError as exc:
            cancelled = exc
        except BaseException:  # The future's own, which the coroutine gets from it, too.
            assert future.exception() is not None
