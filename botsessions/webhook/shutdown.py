"""Ending the bots before an ASGI server ends the process.

Uvicorn ends it by the signal that it was sent, so that nothing runs at exit; and Django does not
take part in the lifespan protocol.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from . import thread

_waiting = 0
_comes_first = False


@contextmanager
def waiting() -> Iterator[None]:
    """Note that a request waits for its answer: the server does not end the process meanwhile."""
    global _waiting
    _waiting += 1
    try:
        yield
    finally:
        _waiting -= 1


def come_before_the_servers() -> None:
    """Have SIGTERM end the bots as well as the server, if that has a handler for it.

    To be called on the server's event loop. As long as requests wait for bots they are answered
    when these have ended; without any, the event loop waits for that.
    """
    global _comes_first
    if _comes_first or threading.current_thread() is not threading.main_thread():
        return
    _comes_first = True
    loop = asyncio.get_running_loop()
    servers: Any = signal.getsignal(signal.SIGTERM)
    if not callable(servers):
        return

    def handle(number: int, frame: FrameType | None) -> None:
        running = thread.running_thread()
        if running is not None:
            running.stop()
            # Not here: what was interrupted may hold locks, like logging's, that the bots need.
            with suppress(RuntimeError):  # The loop is closed.
                loop.call_soon_threadsafe(wait_for, running)
        servers(number, frame)

    signal.signal(signal.SIGTERM, handle)


def wait_for(running: thread.BotsThread) -> None:
    if not _waiting:
        running.stopped.result()
