"""A bot of python-telegram-bot alone, to see what it does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from telegram.ext import DictPersistence

from botsessions.database.storage import DatabaseStorage
from botsessions.testing import AsyncBotClient
from botsessions.testing.conversation import Conversation
from botsessions.testing.offline import OfflineBuilder, OfflineTelegram
from botsessions.testing.updates import Telegram


class PlainConversation(Conversation):
    """An application without sessions, which is not restarted."""

    def __init__(self, build: Callable[[Any], Any]) -> None:
        self.telegram = OfflineTelegram(on_call=self._note_call)
        self.updates = Telegram(self.telegram)
        self.timeout = 10
        self.raise_errors = True
        builder = OfflineBuilder(self.telegram).persistence(DictPersistence())
        self.application = build(builder)
        self.application.add_error_handler(self._note_error)
        self._starting = asyncio.Lock()
        self._meanwhile = None

    @property
    def storages(self) -> set[DatabaseStorage]:
        return set()

    async def let_every_job_come_due(self) -> Any:
        return await self._answered(self._run_jobs(), wait=True)

    async def _run_jobs(self) -> None:
        assert self.application.job_queue is not None
        for job in self.application.job_queue.jobs():
            job.schedule_removal()
            await job.run(self.application)


class Plain(AsyncBotClient[Any]):
    """Talks to such a bot."""

    conversation: PlainConversation

    def __init__(self, build: Callable[[Any], Any]) -> None:
        self.conversation = PlainConversation(build)
