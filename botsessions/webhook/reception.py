"""The bots of this process, and one update's way to them: claim, handle, note."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from contextvars import Context
from http import HTTPStatus
from typing import Any

from ..bots import Bot, all_bots
from ..database.callers import running_loop
from ..database.claims import Claim
from ..database.connections import close_databases
from ..database.transaction import note_handled
from ..ptb.delivery import Delivery
from ..ptb.lifecycle import reason
from ..ptb.webhook import Served, serve
from .jobs import JobLease

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 20.0
"""So long a delivery waits for another process that handles the same update."""
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
LOOK_AGAIN_SECONDS = 3.0
"""So often it is asked whether another process has left its jobs."""

OK = HTTPStatus.OK
AGAIN = HTTPStatus.SERVICE_UNAVAILABLE
"""Telegram delivers again what was not answered by 200."""


class Reception:
    """Where updates arrive. All of it runs on the event loop of the bots."""

    def __init__(self) -> None:
        self._bots: dict[str, asyncio.Task[Served]] = {}
        self._starting: set[asyncio.Task[Served | None]] = set()
        self._leases: dict[str, JobLease] = {}
        self._in_hand: dict[tuple[str, int], asyncio.Task[HTTPStatus]] = {}
        self._is_cut_off = False

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
        """Keep the jobs that this process runs until ``end``, and then finish what has begun."""
        keeping = asyncio.create_task(self._keep_leases())
        try:
            await end.wait()
            await self._finish()
        except asyncio.CancelledError:  # A server's event loop ends without a word.
            self._is_cut_off = True
            await self._finish()
            raise
        finally:
            await asyncio.gather(*map(self._end, list(self._bots)))
            keeping.cancel()
            await asyncio.to_thread(close_databases)

    async def _finish(self) -> None:
        while self._in_hand:
            await asyncio.wait(self._in_hand.values())

    async def _handle(self, bot: Bot, content: Mapping[str, Any]) -> HTTPStatus:
        served = await self._served(bot)
        if served is None:
            return AGAIN
        update = served.update(content)
        if update is None:
            return HTTPStatus.BAD_REQUEST
        claim = Claim(bot.alias, update.update_id)
        end, pause = time.monotonic() + PATIENCE_SECONDS, FIRST_PAUSE
        while True:
            delivery = await self._attempt(served, update, claim)
            if delivery.elsewhere is None:
                return await answer_to(delivery)
            if time.monotonic() >= end:
                logger.error("Another process is still handling update %d.", update.update_id)
                return AGAIN
            await asyncio.sleep(min(pause, max(FIRST_PAUSE, delivery.elsewhere)))
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _attempt(self, served: Served, update: Any, claim: Claim) -> Delivery:
        try:
            return await served.handle(update, claim)
        except BaseException as exc:
            if not await self._is_of_its_own(exc):
                claim.give_up()
                raise
            # It is the web server that decides when the process exits.
            logger.warning("A handler of update %d ended itself.", update.update_id, exc_info=exc)
            return Delivery(claim)  # As any error of its own: it would do so again.

    async def _is_of_its_own(self, error: BaseException) -> bool:
        """Whether a handler has ended itself: others cancel it only when the event loop ends."""
        if isinstance(error, asyncio.CancelledError):
            await asyncio.sleep(0)  # If it ends, whatever lives on it is told in this turn.
            return not self._is_cut_off
        return isinstance(error, SystemExit) or (
            isinstance(error, GeneratorExit) and running_loop() is not None
        )

    async def _served(self, bot: Bot) -> Served | None:
        """Return a bot, started if need be; ``None`` if it cannot be."""
        started = self._started(bot)
        try:
            return await (started if started.done() else asyncio.shield(started))
        except (Exception, asyncio.CancelledError) as exc:
            if isinstance(exc, asyncio.CancelledError) and not started.cancelled():
                raise  # It is whoever waits here.
            logger.error("Bot %r cannot be started: %s", bot.alias, reason(bot, exc))
            return None

    def _started(self, bot: Bot) -> asyncio.Task[Served]:
        task = self._bots.get(bot.alias)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._bots[bot.alias] = asyncio.create_task(self._start(bot))
        return task

    async def _start(self, bot: Bot) -> Served:
        lease = self._leases.setdefault(bot.alias, JobLease(bot.alias))
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
            self._leases[alias].release()
        except Exception:
            logger.exception("Bot %r did not end well.", alias)

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
            for lease in list(self._leases.values()):
                await lease.keep()


async def answer_to(delivery: Delivery) -> HTTPStatus:
    """Note that an update is handled, if the saving of its session has not, and answer."""
    claim = delivery.claim
    if delivery.was_handled_before or not claim.is_had:
        return AGAIN if delivery.has_failed else OK
    if not delivery.has_failed:
        try:
            if claim.is_over or await note_handled(claim):
                return OK
        except (
            Exception
        ):  # Its handlers have done all there was to do: they are not to do it again.
            logger.exception("Bot %r cannot note update %d.", claim.bot, claim.update_id)
            return OK
    claim.give_up()
    return AGAIN
