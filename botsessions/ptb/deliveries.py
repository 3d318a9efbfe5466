"""Confirming updates to Telegram when they are handled, not when they are fetched.

Telegram delivers an update until getUpdates is called with an offset beyond it. PTB makes that call
as soon as it has put the update into its queue, so what a killed process was handling, or had not
begun to handle, would be lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum
from typing import Any

from telegram import Update
from telegram.error import InvalidToken, TelegramError
from telegram.ext import Updater

logger = logging.getLogger(__name__)

LIMIT = 100
"""So many updates getUpdates returns at most, those that it has returned before included."""

SHORTEST_PAUSE, LONGEST_PAUSE = 0.05, 0.5
"""Seconds between two calls while updates are being handled: Telegram does not wait with its answer
for new updates as long as it has unconfirmed ones."""


class State(Enum):
    WAITING = 1
    BEGUN = 2
    HANDLED = 3


class Deliveries:
    """Takes the place of an updater's bot and confirms only what has been handled."""

    def __init__(self, updater: Updater) -> None:
        self.refusal: asyncio.Future[InvalidToken] = asyncio.get_running_loop().create_future()
        """Has a result when Telegram has refused the token: PTB does not poll any more then."""
        self._updater = updater
        self._bot = updater.bot
        self._updates: dict[int, State] = {}
        self._all_handled = asyncio.Event()
        self._pause = SHORTEST_PAUSE

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bot, name)

    async def get_updates(
        self, *, offset: int | None = None, timeout: Any = None, **kwargs: Any
    ) -> Sequence[Update]:
        """Return updates that have not been returned before."""
        if not self._updater.running:
            return ()  # PTB would confirm what waits in its queue. confirm() comes later.
        unhandled = await self._unhandled_after_a_while()
        if unhandled is not None:
            offset, timeout = unhandled, 0
        try:
            fetched = await self._bot.get_updates(offset=offset, timeout=timeout, **kwargs)
        except InvalidToken as exc:
            self.refusal.set_result(exc)
            raise
        self._forget_those_before(unhandled)
        new = [update for update in fetched if update.update_id not in self._updates]
        if new:
            self._pause = SHORTEST_PAUSE
        elif len(fetched) >= LIMIT:
            self._make_room()
        for update in new:
            self._updates[update.update_id] = State.WAITING
        return new

    @contextmanager
    def handling(self, update: object) -> Iterator[None]:
        """Note that ``update`` is being handled, and that it has been, unless that was cancelled."""
        self._note(update, State.BEGUN)
        try:
            yield
        except asyncio.CancelledError:
            self._note(update, State.WAITING)
            raise
        finally:
            if self._state(update) is State.BEGUN:
                self._note(update, State.HANDLED)
