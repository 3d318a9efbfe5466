"""The thread of this process that its bots live in, with an event loop of their own.

An application belongs to one event loop. Under WSGI there is none that lasts, and under ASGI a slow
handler would share it with the site's other requests.
"""

from __future__ import annotations

import asyncio
import concurrent.futures.thread
import os
import threading
from collections.abc import Mapping
from contextvars import Context
from http import HTTPStatus
from typing import Any

from ..bots import Bot
from ..logs import tokens_hidden
from .reception import Reception


async def received(bot: Bot, content: Mapping[str, Any]) -> HTTPStatus:
    """Return the answer to an update, once there is one.

    The update is handled to its end even if whoever waits here is cancelled.
    """
    thread = bots_thread()
    future = thread.receive(bot, content)
    if future is None:
        return HTTPStatus.SERVICE_UNAVAILABLE
    status = await asyncio.shield(asyncio.wrap_future(future))
    if thread.stopping:  # The server may end the process as soon as it has answered.
        await asyncio.shield(asyncio.wrap_future(thread.stopped))
    return status


class BotsThread:
    """A thread with the bots of this process, from its making until :meth:`stop`."""

    def __init__(self) -> None:
        self.stopping = False
        self.stopped: concurrent.futures.Future[None] = concurrent.futures.Future()
        # Reentrant, because a signal's handler stops it in the midst of anything.
        self._mutex = threading.RLock()
        self._reception = Reception()
        self._end = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="botsessions-webhook", daemon=True)
        self._thread.start()
        self._ready.wait()

    def receive(
        self, bot: Bot, content: Mapping[str, Any]
    ) -> concurrent.futures.Future[HTTPStatus] | None:
        """Return a future of the answer to an update; ``None`` if no more are taken."""
        with self._mutex:
            if self.stopping:
                return None
            # In a context of its own: the request's tells Django that sync code waits for it.
            return Context().run(
                asyncio.run_coroutine_threadsafe,
                self._reception.receive(bot, content),
                self._loop,
            )

    def stop(self) -> None:
        """Take no more updates, let the bots finish what they have begun, and end the thread."""
        with self._mutex:
            if not self.stopping:
                self.stopping = True
                self._loop.call_soon_threadsafe(self._end.set)

    def _run(self) -> None:
        try:
            with tokens_hidden():
                asyncio.run(self._live())
        finally:
            self.stopping = True
            self._ready.set()
            self.stopped.set_result(None)

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ready.set()
        await self._reception.live(self._end)


_thread: BotsThread | None = None
_mutex = threading.Lock()


def bots_thread() -> BotsThread:
    """Return the thread of this process, started when it is first asked for."""
    global _thread
    with _mutex:
        if _thread is None:
            _thread = BotsThread()
        return _thread


def running_thread() -> BotsThread | None:
    """Return the thread if it was started."""
    return _thread


def stop_and_wait() -> None:
    """End the bots of this process; it gets no others."""
    if _thread is not None:
        _thread.stop()
        _thread.stopped.result()


def _forget_thread() -> None:
    """In a forked child: its parent's thread is not its own."""
    global _thread, _mutex
    _thread, _mutex = None, threading.Lock()


os.register_at_fork(after_in_child=_forget_thread)
# Not atexit: before that, concurrent.futures closes all executors, which handlers use that are
# still running. Its own callback is registered by the import above, and the last one comes first.
threading._register_atexit(stop_and_wait)  # type: ignore[attr-defined]
