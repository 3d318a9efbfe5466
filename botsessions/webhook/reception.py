"""The bots of this process, and one update's way to them: claim, handle, note."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextvars import Context
from http import HTTPStatus
from typing import Any

from ..bots import Bot, all_bots
from ..database.connections import close_databases
from ..ptb.lifecycle import reason
from ..ptb.webhook import Served, serve
from .claims import RENEWAL_SECONDS, Claims
from .jobs import JobLease

logger = logging.getLogger(__name__)

OK = HTTPStatus.OK
AGAIN = HTTPStatus.SERVICE_UNAVAILABLE
"""Telegram delivers again what was not answered by 200."""


class Reception:
    """Where updates arrive. All of it runs on the event loop of the bots."""

    def __init__(self) -> None:
        self._claims = Claims()
        self._bots: dict[str, asyncio.Task[Served]] = {}
        self._starting: set[asyncio.Task[Served | None]] = set()
        self._leases: dict[str, JobLease] = {}
        self._in_hand: dict[tuple[str, int], asyncio.Task[HTTPStatus]] = {}

    async def receive(self, bot: Bot, content: Mapping[str, Any]) -> HTTPStatus:
        """Handle an update to its end, and return the answer to Telegram."""
        return await asyncio.shield(self.begin(bot, content))

    def begin(self, bot: Bot, content: Mapping[str, Any]) -> asyncio.Task[HTTPStatus]:
        """Return what handles an update; the same if it is delivered again meanwhile."""
        delivery = bot.alias, content["update_id"]
        task = self._in_hand.get(delivery)
        if task is None:
            # In a context of its own: a request's tells Django that it is under way.
            task = Context().run(asyncio.create_task, self._handle(bot, content))
            self._in_hand[delivery] = task
            task.add_done_callback(lambda _: self._in_hand.pop(delivery))
        return task

    def start(self) -> None:
        """Start all bots that have a webhook, without waiting for them."""
        for bot in all_bots().values():
            if bot.webhook_secret:
                starting = Context().run(asyncio.create_task, self._served(bot))
                self._starting.add(starting)
                starting.add_done_callback(self._starting.discard)

    async def live(self, end: asyncio.Event) -> None:
        """Keep what this process has claimed until ``end``, and then finish what has begun."""
        keeping = asyncio.create_task(self._keep_claims())
        try:
            await end.wait()
        finally:  # It is cancelled where a server's event loop ends without a word.
            while self._in_hand:
                await asyncio.wait(self._in_hand.values())
            await asyncio.gather(*map(self._end, list(self._bots)))
            keeping.cancel()
            await asyncio.to_thread(close_databases)

    async def _handle(self, bot: Bot, content: Mapping[str, Any]) -> HTTPStatus:
        served = await self._served(bot)
        if served is None:
            return AGAIN
        update = served.update(content)
        if update is None:
            return HTTPStatus.BAD_REQUEST
        try:
            claim = await self._claims.claim(bot.alias, update.update_id)
        except Exception:
            logger.exception("Bot %r cannot claim update %d.", bot.alias, update.update_id)
            return AGAIN
        if claim is None:
            return OK
        try:
            handled = await served.handle(update)
        except BaseException:
            self._claims.abandon(claim)
            raise
        try:
            await (self._claims.note_handled if handled else self._claims.release)(claim)
        except Exception:
            logger.exception("Bot %r cannot note update %d.", bot.alias, update.update_id)
        return OK if handled else AGAIN

    async def _served(self, bot: Bot) -> Served | None:
        """Return a bot, started if need be; ``None`` if it cannot be."""
        try:
            return await asyncio.shield(self._started(bot))
        except Exception as exc:
            logger.error("Bot %r cannot be started: %s", bot.alias, reason(bot, exc))
            return None

    def _started(self, bot: Bot) -> asyncio.Task[Served]:
        task = self._bots.get(bot.alias)
        if task is None or (task.done() and task.exception() is not None):
            task = self._bots[bot.alias] = asyncio.create_task(self._start(bot))
        return task

    async def _start(self, bot: Bot) -> Served:
        lease = self._leases.setdefault(bot.alias, JobLease(self._claims, bot.alias))
        served = await asyncio.to_thread(serve, bot, lambda: lease.is_held)
        try:
            await served.initialize()
            if served.has_jobs_of_start:
                await lease.want()
            await served.start()
        except BaseException:
            await served.end()
            raise
        return served

    async def _end(self, alias: str) -> None:
        try:
            served = await self._bots[alias]
        except Exception:  # It was told when it happened.
            return
        try:
            await served.end()
            await self._leases[alias].release()
        except Exception:
            logger.exception("Bot %r did not end well.", alias)

    async def _keep_claims(self) -> None:
        while True:
            await asyncio.sleep(RENEWAL_SECONDS)
            try:
                await self._claims.renew()
                for lease in list(self._leases.values()):
                    await lease.keep()
            except Exception:
                logger.exception("Claims on updates and jobs cannot be renewed.")
