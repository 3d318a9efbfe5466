"""Confirming updates to Telegram when they have been handled, not when they were fetched.

Telegram delivers an update until getUpdates is called with an offset beyond it. PTB makes that call
as soon as the update is in its queue, so what a killed process was handling, or had not begun to
handle, would be lost.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from functools import partial
from typing import Any

from telegram import Update
from telegram.error import InvalidToken, TelegramError, TimedOut
from telegram.ext import Updater

logger = logging.getLogger(__name__)

LIMIT = 100
"""So many updates getUpdates returns, counted from the first that was not confirmed."""

SHORTEST_PAUSE, LONGEST_PAUSE = 0.05, 0.5
"""Seconds between two calls while updates are being handled: as long as there are some that were
not confirmed, Telegram answers at once instead of waiting for new ones."""


PATIENCE = 10.0
"""Seconds after which an update that is still being handled may be confirmed to see newer ones, and
one is that was cancelled although the process goes on: by its own handler."""


class State(Enum):
    WAITING = 1
    BEGUN = 2
    HANDLED = 3
    CANCELLED = 4


class Deliveries:
    """Stands between an updater and its bot, and confirms what has been handled."""

    def __init__(self, updater: Updater) -> None:
        self.refusal: asyncio.Future[InvalidToken] = asyncio.get_running_loop().create_future()
        """Done when Telegram has refused the token: PTB has stopped polling then."""
        self._updater = updater
        self._bot = updater.bot
        self._updates: dict[int, State] = {}
        self._fetched: dict[int, Update] = {}
        """By ``id()``, the updates whose handling has not begun."""
        self._begun_at: dict[int, float] = {}
        self._all_handled = asyncio.Event()
        self._pause = SHORTEST_PAUSE

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bot, name)

    async def get_updates(
        self, *, offset: int | None = None, timeout: Any = None, **kwargs: Any
    ) -> Sequence[Update]:
        """Fetch updates that were not fetched before."""
        if not self._updater.running:
            return ()  # PTB would confirm what waits in its queue. See confirm().
        await self._rest()
        self._give_up(State.CANCELLED)
        first = self._first_unhandled()
        if first is not None:
            offset, timeout = first, 0
        try:
            fetched = await self._bot.get_updates(offset=offset, timeout=timeout, **kwargs)
        except InvalidToken as exc:
            self.refusal.set_result(exc)
            raise
        self._forget_until(first)
        new = [update for update in fetched if update.update_id not in self._updates]
        if new:
            self._updates.update((update.update_id, State.WAITING) for update in new)
            self._fetched.update((id(update), update) for update in new)
            self._pause = SHORTEST_PAUSE
        elif len(fetched) >= LIMIT:
            self._give_up(State.BEGUN, LIMIT // 2)  # They hide newer ones.
        return new

    @contextmanager
    def handling(self, update: object) -> Iterator[bool]:
        """Note that ``update`` is being handled and, unless that is cut short, has been.

        Gives whether Telegram may have given it before, to a process that was killed when it had
        handled but not confirmed it. What the bot itself feeds, also if it is such an update once
        more, is another matter.
        """
        end = State.HANDLED
        self._note(update, State.BEGUN)
        try:
            yield self._fetched.pop(id(update), None) is not None
        except (asyncio.CancelledError, GeneratorExit):
            end = State.CANCELLED
            raise
        finally:
            self._note(update, end)

    async def confirm(self) -> None:
        """Confirm what has been handled, without fetching more, when polling is over."""
        if not self._updates:
            return
        first = self._first_unhandled()
        offset = next(reversed(self._updates)) + 1 if first is None else first
        confirming = partial(self._bot.get_updates, offset=offset, limit=1, timeout=0)
        try:
            try:
                await confirming()
            except TimedOut:
                # PTB has cancelled its last call, and httpx may think that it still has the only
                # connection.
                await self._bot.shutdown()
                await self._bot.initialize()
                await confirming()
        except TelegramError:
            logger.exception("Telegram will deliver updates again that have been handled.")

    def _note(self, update: object, state: State) -> None:
        update_id = getattr(update, "update_id", None)
        if update_id in self._updates:
            self._updates[update_id] = state
            self._begun_at[update_id] = time.monotonic()
        if self._first_unhandled() is None:
            self._all_handled.set()

    async def _rest(self) -> None:
        if self._first_unhandled() is None:
            return
        self._all_handled.clear()
        try:
            await asyncio.wait_for(self._all_handled.wait(), self._pause)
        except asyncio.TimeoutError:
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
        else:
            self._pause = SHORTEST_PAUSE

    def _first_unhandled(self) -> int | None:
        unhandled = (number for number, state in self._updates.items() if state != State.HANDLED)
        return next(unhandled, None)

    def _forget_until(self, first: int | None) -> None:
        for number in list(self._updates):
            if number == first:
                return
            del self._updates[number]
            self._begun_at.pop(number, None)

    def _give_up(self, state: State, oldest: int | None = None) -> None:
        """Let updates be confirmed that have been in a state for long; all, or of the oldest."""
        long_ago = time.monotonic() - PATIENCE
        for number in list(self._updates)[:oldest]:
            if self._updates[number] is state and self._begun_at[number] <= long_ago:
                self._updates[number] = State.HANDLED
