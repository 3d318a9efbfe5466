"""Ending the bots before an ASGI server that does not speak of its lifespan ends the process.

Nothing may run at exit: uvicorn ends the process by the signal that it was sent.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from contextlib import suppress
from types import FrameType
from typing import Any

from .home import home_if_any

_comes_first = False


def come_before_the_server() -> None:
    """Have SIGTERM end the bots, and then the server, if that has a handler for it.

    To be called on the server's event loop. Until the bots have ended the server goes on as if
    nothing had happened, so that it can answer what they finish.
    """
    global _comes_first
    if _comes_first or threading.current_thread() is not threading.main_thread():
        return
    _comes_first = True
    servers: Any = signal.getsignal(signal.SIGTERM)
    if callable(servers):
        signal.signal(signal.SIGTERM, Ending(asyncio.get_running_loop(), servers))


class Ending:
    """A handler for a signal that ends the bots and then calls the server's own handler."""

    def __init__(self, loop: asyncio.AbstractEventLoop, servers: Any) -> None:
        self._loop = loop
        self._servers = servers
        self._begun = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        home = home_if_any()
        if home is None or self._begun or self._loop.is_closed():
            self._servers(number, frame)
            return
        self._begun = True
        # Not here: what was interrupted may hold locks, like logging's, that the bots need.
        self._loop.call_soon_threadsafe(self._end, number)

    def _end(self, number: int) -> None:
        home = home_if_any()
        assert home is not None
        home.stop()
        home.stopped.add_done_callback(lambda _: self._hand_on(number))

    def _hand_on(self, number: int) -> None:
        with suppress(RuntimeError):  # The loop is closed: the server did not wait.
            self._loop.call_soon_threadsafe(self._servers, number, None)
