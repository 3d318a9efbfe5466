"""A bot's application without Telegram: it handles updates, and time passes for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from datetime import timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any

from django.db.models import F
from telegram import Update

from ..arguments import check_function
from ..bots import get_bot
from ..database.connections import run
from ..database.storage import DatabaseStorage
from ..ptb import SessionApplication, build_application
from ..ptb.builder import call
from ..sources import FromUpdate
from ..unit import Unit
from .answers import Answers
from .offline import Call, OfflineBuilder, OfflineTelegram
from .updates import Json, Place, Telegram

answering: ContextVar[Answers | None] = ContextVar("answering", default=None)
"""Of the update that the running code belongs to."""
Build = Callable[[Any], SessionApplication]


class Conversation:
    """A bot's application, offline, and what it does with updates."""

    def __init__(
        self, bot: str | None, build: Build | None, raise_errors: bool | None, timeout: float
    ):
        self.telegram = OfflineTelegram(on_call=self._note_call)
        self.updates = Telegram(self.telegram)
        self.timeout = timeout
        builder = OfflineBuilder(self.telegram)
        self.application = application_of(bot, build, builder)
        self.raise_errors = (
            not self.application.error_handlers if raise_errors is None else raise_errors
        )
        self.application.add_error_handler(self._note_error)
        self._starting = asyncio.Lock()
        self._meanwhile: Answers | None = None
        """What the application does by itself while time passes."""

    async def deliver(self, content: object, wait: bool) -> Answers:
        """Let the application handle an update, with the tasks that it starts."""
        await self._start()
        update = self._update(content) if isinstance(content, dict) else content
        return await self._answered(self.application.process_update(update), wait)

    async def let_time_pass(self, length: timedelta) -> Answers:
        """Let what is stored be older, and the application do what is due by then."""
        await self._start()
        return await self._answered(self._pass(length), wait=True)

    async def _pass(self, length: timedelta) -> None:
        self._meanwhile = answering.get()
        try:
            for storage in self.storages:
                await run(storage.using, partial(self._age, storage, length))
            await self.application.do_what_is_due()
        finally:
            self._meanwhile = None

    @property
    def storages(self) -> set[DatabaseStorage]:
        """Those of the bot that are in a database."""
        watched = [one.storage for one in self.application.watched()]
        own = [fragment.innermost for fragment in self.application.fragments.values()]
        return {storage for storage in [*own, *watched] if isinstance(storage, DatabaseStorage)}

    def _age(self, storage: DatabaseStorage, length: timedelta) -> None:
        rows = storage.model._default_manager.using(storage.using)
        ending = rows.filter(bot=self.application.session_bot, expires_at__isnull=False)
        ending.update(expires_at=F("expires_at") - length)

    async def _answered(self, work: Awaitable[None], wait: bool) -> Answers:
        answers = Answers([], [])
        # Tasks inherit it, so updates that are handled side by side have answers of their own.
        token = answering.set(answers)
        try:
            await work
            if wait:
                await self._settle()
        finally:
            answering.reset(token)
        if self.raise_errors and answers.errors:
            raise answers.errors[0]
        return answers

    async def _start(self) -> None:
        async with self._starting:
            if not self.application.running:
                await self.application.initialize()
                await self.application.start()

    async def stored(self, place: Place) -> Any:
        """Return what the session holds in which a message from ``place`` would be handled."""
        session = self.application.session
        message = {"message_id": 0, "date": 0, "chat": place.chat, **place.message_fields()}
        if place.sender is not None:
            message["from"] = place.sender
        update = self._update({"update_id": 0, place.kind: message})
        unit = Unit(
            session.fragments, self.application.session_bot, FromUpdate(update), holds=False
        )
        await unit.enter()
        data = {name: await unit.data(name).get_stored() for name in unit.fragments}
        return SimpleNamespace(**data) if session.is_multi else next(iter(data.values()))

    async def close(self) -> None:
        """Stop the application."""
        if self.application.running:
            await self.application.stop()
            await self.application.shutdown()

    def _update(self, content: Json) -> Update:
        try:
            return Update.de_json(content, self.application.bot)
        except Exception as exc:
            raise ValueError(
                f"python-telegram-bot cannot read this as an update: {type(exc).__name__}: {exc}. "
                "Write all that the Bot API tells of such an update, as it does."
            ) from exc

    async def _settle(self) -> None:
        """Handle updates that handlers have put into the queue, and wait for the bot's tasks."""
        queue = self.application.update_queue
        # PTB keeps the tasks of its handlers under this (mangled) name.
        tasks: set[asyncio.Task[Any]] = self.application._Application__create_task_tasks  # type: ignore[attr-defined]
        while tasks or not queue.empty():
            if not queue.empty():
                await self.application.process_update(queue.get_nowait())
                queue.task_done()
                continue
            _, pending = await asyncio.wait(set(tasks), timeout=self.timeout)
            if pending:
                names = ", ".join(sorted(task.get_name() for task in pending))
                raise TimeoutError(
                    f"The bot's tasks did not end within {self.timeout} s: {names}. "
                    "If they are meant to go on, call with wait=False."
                )

    def _note_call(self, call: Call) -> None:
        if (answers := answering.get() or self._meanwhile) is not None:
            answers.calls.append(call)

    async def _note_error(self, update: object, context: Any) -> None:
        if (answers := answering.get() or self._meanwhile) is not None:
            answers.errors.append(context.error)


def application_of(
    bot: str | None, build: Build | None, builder: OfflineBuilder
) -> SessionApplication:
    if build is None:
        return build_application(get_bot(bot), builder)
    if bot is not None:
        raise TypeError("Give either a bot's alias or build, not both.")
    check_function("build", build, "a function from a builder to an application", "builder")
    return call(build, builder, "build")
