"""Bots that poll Telegram, several in one process and event loop."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import cast

from django.core.exceptions import ImproperlyConfigured
from django.db import close_old_connections
from telegram import Bot as TelegramBot
from telegram.error import Conflict, InvalidToken, TelegramError

from ..bots import Bot
from ..unmigrated import refuse_unmigrated, tables_of
from .application import SessionApplication
from .builder import build_application
from .deliveries import Deliveries
from .lifecycle import end, reason

logger = logging.getLogger(__name__)

RETRIES = 3
"""How often a bot tries again that does not reach Telegram when it starts."""
CONFLICT_SECONDS = 300.0
"""So seldom it is told that others get the bot's updates."""


class Polling:
    """Bots that poll side by side: the failure of one does not stop the others.

    Args:
        bots: bots of the settings.
        on_start: called with a bot that polls now and its username.
        on_failure: called with a bot that has failed and the reason, to be shown to people.
        on_stop: called when :meth:`stop` begins to take effect.
        delete_webhooks: poll even if Telegram sends a bot's updates to a webhook, which it then
            forgets.
    """

    def __init__(
        self,
        bots: Sequence[Bot],
        on_start: Callable[[Bot, str], object],
        on_failure: Callable[[Bot, str], object],
        on_stop: Callable[[], object],
        *,
        delete_webhooks: bool = False,
    ) -> None:
        self._failed = False
        self._bots = bots
        self._on_start = on_start
        self._on_failure = on_failure
        self._on_stop = on_stop
        self._delete_webhooks = delete_webhooks
        self._lives: list[Life] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = False

    def run(self) -> bool:
        """Poll until :meth:`stop` is called or all bots have ended; return whether none failed."""
        # Outside of the event loop, because the authors' functions may use the database.
        self._lives = list(self._built())
        close_old_connections()
        asyncio.run(self._run())
        return not self._failed

    def stop(self) -> None:
        """Let the bots finish what they have begun; from any thread, or from a signal handler."""
        self._stopped = True
        if self._loop is not None:
            with suppress(RuntimeError):  # The loop is closed: they have ended.
                self._loop.call_soon_threadsafe(self._stop)

    def _built(self) -> Iterator[Life]:
        for bot in self._bots:
            try:
                refuse_unmigrated(tables_of(bot))
                yield Life(bot, build_application(bot), self._delete_webhooks)
            except Exception as exc:
                self._fail(bot, exc)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        await asyncio.gather(*map(self._live, self._lives))

    async def _live(self, life: Life) -> None:
        if self._stopped:
            return
        try:
            await life.live(self._on_start)
        except Exception as exc:
            self._fail(life.bot, exc)

    def _stop(self) -> None:
        self._on_stop()
        for life in self._lives:
            life.stop()

    def _fail(self, bot: Bot, exc: Exception) -> None:
        self._failed = True
        if not isinstance(exc, (ImproperlyConfigured, TelegramError)):
            logger.error("Bot %r failed.", bot.alias, exc_info=exc)
        self._on_failure(bot, reason(bot, exc))


class Life:
    """One bot's life, in the order of PTB's ``run_polling()``."""

    def __init__(
        self, bot: Bot, application: SessionApplication, deletes_webhook: bool = False
    ) -> None:
        if application.updater is None:
            raise ImproperlyConfigured(
                f"APPLICATION of bot {bot.alias!r} built an application without an updater: it "
                "cannot poll."
            )
        self.bot = bot
        self._deletes_webhook = deletes_webhook
        self._application = application
        self._updater = application.updater
        self._task: asyncio.Task[None] | None = None
        self._conflict_told_at = -CONFLICT_SECONDS

    async def live(self, on_start: Callable[[Bot, str], object]) -> None:
        """Start the bot, let it poll until :meth:`stop`, and end it.

        Raises:
            Exception: it could not start, could not go on, or could not end in good order.
        """
        self._task = asyncio.current_task()
        deliveries = Deliveries(self._updater)
        self._updater.bot = cast(TelegramBot, deliveries)
        self._application.handling = deliveries.handling
        self._application.on_stop_running = self.stop
        try:
            await self._start()
            on_start(self.bot, self._application.bot.username)
            raise await deliveries.refusal
        except asyncio.CancelledError:
            pass
        finally:
            self._task = None
            await self._end(deliveries)

    def stop(self) -> None:
        """Make :meth:`live` end the bot."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _start(self) -> None:
        application = self._application
        await self._initialize()
        if application.post_init:
            await application.post_init(application)
        await self._updater.start_polling(
            # Without any list Telegram would go on with the one it was given last.
            allowed_updates=list(self.bot.allowed_updates or ()),
            bootstrap_retries=RETRIES,
            error_callback=self._report,
        )
        await application.start()

    async def _initialize(self) -> None:
        for attempt in range(RETRIES):
            try:
                return await self._reach_telegram()
            except InvalidToken:
                raise
            except TelegramError as exc:
                logger.warning("Bot %r tries to start again after: %s", self.bot.alias, exc)
            await asyncio.sleep(1.5**attempt)
        return await self._reach_telegram()

    async def _reach_telegram(self) -> None:
        await self._application.initialize()
        if self._deletes_webhook:
            return
        webhook = await self._application.bot.get_webhook_info()
        if webhook.url:
            raise ImproperlyConfigured(
                f"Telegram sends its updates to {webhook.url}, and would forget that if it polled. "
                f"Run manage.py delete_webhook {self.bot.alias}, or run_bot with --delete-webhook."
            )

    def _report(self, error: TelegramError) -> None:
        application = self._application
        if isinstance(error, Conflict):
            self._tell_of_conflict(error)
            if not application.error_handlers:  # PTB would log a traceback each time.
                return
        application.create_task(application.process_error(update=None, error=error))

    def _tell_of_conflict(self, error: Conflict) -> None:
        now = time.monotonic()
        if now - self._conflict_told_at < CONFLICT_SECONDS:
            return
        self._conflict_told_at = now
        alias = self.bot.alias
        if "webhook" in error.message:
            cause = f"a webhook was set. Run manage.py delete_webhook {alias}, or end run_bot"
        else:
            cause = (
                "another process, or another bot of BOTSESSIONS['BOTS'], polls with the same "
                "TOKEN. Telegram serves one at a time: end the other"
            )
        logger.error("Bot %r does not get all of its updates: %s.", alias, cause)

    async def _end(self, deliveries: Deliveries) -> None:
        try:
            if self._updater.running:
                await self._updater.stop()
        finally:
            await end(self._application, when_stopped=deliveries.confirm)
