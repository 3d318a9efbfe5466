"""The event loop that the bots of this process live on.

An application belongs to one event loop. It is the server's own where :mod:`botsessions.asgi`
serves the webhooks, and else one in a thread: under WSGI there is none that lasts.
"""

from __future__ import annotations

import asyncio
import concurrent.futures.thread
import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from ..bots import Bot
from ..forking import at_fork
from ..logs import tokens_hidden
from .reception import AGAIN, Reception

logger = logging.getLogger(__name__)


class Home:
    """Where the bots of this process live: on the running event loop, until :meth:`stop`."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.reception = Reception()
        self.stopping = False
        self.left = False
        """Whether its event loop has ended although nobody asked for it, as after a test."""
        self.stopped: concurrent.futures.Future[None] = concurrent.futures.Future()
        # Reentrant, because a signal's handler stops it in the midst of anything.
        self._mutex = threading.RLock()
        self._end = asyncio.Event()
        self._life = self.loop.create_task(self._live())

    async def receive(self, bot: Bot, content: Mapping[str, Any]) -> HTTPStatus:
        """Return the answer to an update, on whatever event loop.

        The update is handled to its end even if whoever waits here is cancelled.
        """
        if self.loop is asyncio.get_running_loop():
            return AGAIN if self.stopping else await self.reception.receive(bot, content)
        future = self.begin(bot, content)
        return AGAIN if future is None else await asyncio.shield(asyncio.wrap_future(future))

    def wait_for(self, bot: Bot, content: Mapping[str, Any]) -> HTTPStatus:
        """Return the answer to an update, in a thread without an event loop."""
        future = self.begin(bot, content)
        return AGAIN if future is None else future.result()

    def begin(
        self, bot: Bot, content: Mapping[str, Any]
    ) -> concurrent.futures.Future[HTTPStatus] | None:
        """Return a future of the answer to an update, in any thread; ``None`` at the end."""
        with self._mutex:
            if self.stopping or self.loop.is_closed():
                return None
            future: concurrent.futures.Future[HTTPStatus] = concurrent.futures.Future()
            self.loop.call_soon_threadsafe(self._begin, bot, content, future)
            return future

    def stop(self) -> None:
        """Take no more updates, let the bots finish what they have begun, and end them."""
        with self._mutex:
            self.stopping, self.left = True, False
            with suppress(RuntimeError):  # The loop is closed.
                self.loop.call_soon_threadsafe(self._end.set)

    async def end(self) -> None:
        """Stop, and return when the bots have ended."""
        self.stop()
        await asyncio.shield(asyncio.wrap_future(self.stopped))

    def wait(self) -> None:
        """Return when the bots have ended; their event loop goes on for that if it has stopped."""
        if self.loop.is_running() or self.stopped.done():
            self.stopped.result()
        elif self.loop.is_closed():
            logger.warning("The server has closed its event loop before its bots could end.")
        else:
            self.loop.run_until_complete(self._life)

    def _begin(
        self, bot: Bot, content: Mapping[str, Any], future: concurrent.futures.Future[HTTPStatus]
    ) -> None:
        def tell(task: asyncio.Task[HTTPStatus]) -> None:
            if task.cancelled():
                future.set_result(AGAIN)
            elif error := task.exception():
                future.set_exception(error)
            else:
                future.set_result(task.result())

        self.reception.begin(bot, content).add_done_callback(tell)

    async def _live(self) -> None:
        try:
            with tokens_hidden():
                await self.reception.live(self._end)
        finally:
            self.left = not self.stopping
            self.stopped.set_result(None)


def home_here() -> Home:
    """Return the home of the bots of this process; it is made here if there is none."""
    return home_made_by(Home)


def home_in_a_thread() -> Home:
    """Return the home of the bots of this process; it is made in a thread if there is none."""
    return home_made_by(in_a_thread)


def home_made_by(make: Callable[[], Home]) -> Home:
    global _home
    home = _home
    if home is None or home.left:
        with _mutex:
            home = _home
            if home is None or home.left:
                home = _home = make()
    return home


def forget_stopped_home() -> None:
    """Let the bots of this process live again: a server starts anew in it."""
    global _home
    with _mutex:
        if _home is not None and _home.stopped.done():
            _home = None


def home_if_any() -> Home | None:
    """Return the home of the bots of this process if it was made."""
    return _home


def in_a_thread() -> Home:
    """Return a home whose event loop runs in a thread until the bots have ended."""
    made: concurrent.futures.Future[Home] = concurrent.futures.Future()

    async def live() -> None:
        try:
            home = Home()
        except BaseException as exc:
            made.set_exception(exc)
        else:
            made.set_result(home)
            await asyncio.wrap_future(home.stopped)

    # Daemonic, because Python would wait for it before it calls what ends it.
    name = "botsessions-webhook"
    threading.Thread(target=lambda: asyncio.run(live()), name=name, daemon=True).start()
    return made.result()


_home: Home | None = None
_mutex = threading.Lock()


def stop_and_wait() -> None:
    """End the bots of this process; it gets no others, unless a server starts anew in it."""
    if _home is not None:
        _home.stop()
        _home.wait()


def _forget_home() -> None:
    """In a forked child: its parent's is not its own."""
    global _home, _mutex
    _home, _mutex = None, threading.Lock()


at_fork(after_in_child=_forget_home)
# Not atexit: before that, concurrent.futures closes all executors, which handlers use that are
# still running. Its own callback is registered by the import above, and the last one comes first.
threading._register_atexit(stop_and_wait)  # type: ignore[attr-defined]
