"""What each event loop has of its own, and work that would hold one up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async

from ..database.callers import sync_code_waits

T = TypeVar("T")


async def unblocked(function: Callable[..., T], *args: object) -> T:
    """Return what ``function(*args)`` returns, without holding up the event loop.

    It is called in another thread, or, if sync code waits for the result, in that code's own.
    """
    if sync_code_waits():
        return await sync_to_async(function)(*args)
    return await asyncio.to_thread(function, *args)


class PerLoop(Generic[T]):
    """An object for each event loop, made when it is first asked for."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: WeakKeyDictionary[asyncio.AbstractEventLoop, T] = WeakKeyDictionary()

    def get(self) -> T:
        """Return the running loop's object."""
        loop = asyncio.get_running_loop()
        if loop not in self._made:
            self._made[loop] = self._make()
        return self._made[loop]

    def pop(self) -> T | None:
        """Return the running loop's object, if it has one, and forget it."""
        return self._made.pop(asyncio.get_running_loop(), None)
