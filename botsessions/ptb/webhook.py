"""A bot whose updates come by webhook: its application's life, and one update's way into it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from django.db import connections
from telegram import Update
from telegram.ext import Job

from ..bots import Bot
from ..database.claims import Claim
from ..unmigrated import refuse_unmigrated, tables_of
from .builder import build_application
from .delivery import Delivery
from .lifecycle import end, initialize

logger = logging.getLogger(__name__)


class Served:
    """A bot that this process serves. To be made outside of an event loop, like any application.

    Args:
        bot: one of the settings.
        has_jobs: whether this process is the one that runs the jobs of the bot's start.
    """

    def __init__(self, bot: Bot, has_jobs: Callable[[], bool]) -> None:
        self.bot = bot
        self._application = build_application(bot)
        self._application.on_stop_running = self._refuse_to_stop
        self._application.runs_here = self._runs_here
        self._has_jobs = has_jobs
        self._jobs_of_start: set[Job[Any]] = set()

    async def initialize(self) -> None:
        """Reach Telegram, and call ``post_init``."""
        application = self._application
        await initialize(application)
        if application._job_queue is not None:  # Its property warns where there is none.
            self._jobs_of_start = set(application._job_queue.jobs())

    @property
    def has_jobs_of_start(self) -> bool:
        """Whether the author's functions scheduled jobs before the first update came."""
        return bool(self._jobs_of_start)

    async def start(self) -> None:
        """Let jobs run."""
        await self._application.start()

    def update(self, content: Mapping[str, Any]) -> Update | None:
        """Return the update that Telegram's JSON describes; ``None`` if it describes none."""
        try:
            return Update.de_json(dict(content), self._application.bot)
        except Exception:  # It says nothing, or a date beyond all years, or replies without end.
            logger.exception("Bot %r was sent what is no update.", self.bot.alias)
            return None

    async def handle(self, update: Update, claim: Claim) -> Delivery:
        """Have an update handled, if it can be claimed; return what has become of it."""
        application, delivery = self._application, Delivery(claim)
        application.deliveries[id(update)] = delivery
        try:
            await application.update_processor.process_update(
                update, application.process_update(update)
            )
        finally:
            application.deliveries.pop(id(update), None)
        return delivery

    async def end(self) -> None:
        """Finish what has begun, and end the application."""
        await end(self._application)

    def _runs_here(self, job: Job[Any]) -> bool:
        return job not in self._jobs_of_start or self._has_jobs()

    def _refuse_to_stop(self) -> None:
        logger.warning(
            "Bot %r called stop_running(): the web server decides when it stops.", self.bot.alias
        )


def serve(bot: Bot, has_jobs: Callable[[], bool]) -> Served:
    """Return the bot, built in a thread that keeps no connection.

    Raises:
        ImproperlyConfigured: the settings are wrong, or somebody has to migrate.
    """
    try:
        refuse_unmigrated(tables_of(bot))
        return Served(bot, has_jobs)
    finally:
        connections.close_all()
