"""Timeouts of conversations: stored with their states, and come true whatever was restarted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple

from msgspec.structs import replace
from telegram.ext import ConversationHandler, Job

from ..database.connections import run
from ..database.storage import DatabaseStorage
from ..records import Record, Storage, utcnow
from ..storages.layers import WrappedStorage, peel

logger = logging.getLogger(__name__)

FEWEST_SECONDS, MOST_SECONDS = 0.2, 5.0
"""So often a running bot looks for conversations whose time is over, by the shortest timeout."""
AT_ONCE = 20
UPDATE = "update"
"""In what is stored of a conversation that has a timeout: its last update, as Telegram sent it."""

TimedOut = Callable[[dict[str, Any]], Awaitable[None]]


class Timeout(WrappedStorage):
    """Lets a conversation expire that nobody goes on with in time.

    Args:
        handler: its ``conversation_timeout`` says when.
        timed_out: runs what is to be run then, given what is stored of the conversation.
    """

    def __init__(
        self, inner: Storage, handler: ConversationHandler[Any], timed_out: TimedOut
    ) -> None:
        super().__init__(inner)
        self._handler = handler
        self._timed_out = timed_out
        self.on_expire = self._expire

    def outgoing(self, record: Record) -> Record:
        """Return what is stored of ``record``: it expires if the handler has begun to wait."""
        if not isinstance(record.value, dict) or UPDATE not in record.value:
            return replace(record, expires_at=None)
        return replace(record, expires_at=utcnow() + patience_of(self._handler))

    async def _expire(self, key: str, stored: Any) -> None:
        await self._timed_out(stored)


def patience_of(handler: ConversationHandler[Any]) -> timedelta:
    timeout = handler.conversation_timeout or 0
    return timeout if isinstance(timeout, timedelta) else timedelta(seconds=timeout)


class NoJobs(dict[Any, Job[Any]]):
    """In place of a handler's ``timeout_jobs``, of which there would be one per conversation.

    Args:
        on_update: called with the key of a conversation whose update is about to be handled: then
            python-telegram-bot removes the job from here.
    """

    def __init__(self, on_update: Callable[[Any], object]) -> None:
        super().__init__()
        self._on_update = on_update

    def pop(self, key: Any, default: Any = None) -> Any:
        self._on_update(key)
        return default

    def __setitem__(self, key: Any, job: Job[Any]) -> None:
        pass


class Overdue(NamedTuple):
    """A conversation whose time is over."""

    name: str
    """Its fragment's."""
    key: str
    stored: Any


def overdue(
    storage: DatabaseStorage, bot: str, names: Collection[str], limit: int = AT_ONCE
) -> list[Overdue]:
    """Return conversations whose time is over."""
    rows = storage.model._default_manager.using(storage.using)
    due = rows.filter(bot=bot, name__in=names, expires_at__lte=utcnow()).order_by("expires_at")
    return [Overdue(*row) for row in due.values_list("name", "key", "data")[:limit]]


class Watch:
    """Ends conversations in time, as long as a bot runs.

    Args:
        end: ends one, unless another process has done it or it has gone on meanwhile.
    """

    def __init__(
        self,
        bot: str,
        handlers: Iterable[tuple[str, ConversationHandler[Any], Storage]],
        end: Callable[[Overdue], Awaitable[None]],
    ) -> None:
        self._bot, self._end = bot, end
        self._names: dict[DatabaseStorage, set[str]] = {}
        shortest = MOST_SECONDS * 10
        for name, handler, storage in handlers:
            innermost = peel(storage)[1]
            if handler.conversation_timeout and isinstance(innermost, DatabaseStorage):
                self._names.setdefault(innermost, set()).add(name)
                shortest = min(shortest, patience_of(handler).total_seconds())
        self._pause = min(MOST_SECONDS, max(FEWEST_SECONDS, shortest / 10))
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._names:
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Return when what has begun has ended."""
        self._stopping.set()
        if self._task is not None:
            await self._task

    async def look(self) -> bool:
        """End some that are over now; return whether there may be more."""
        more = False
        for storage, names in self._names.items():
            some = await run(storage.using, partial(overdue, storage, self._bot, names))
            await asyncio.gather(*map(self._end, some))
            more = more or len(some) == AT_ONCE
        return more

    async def _run(self) -> None:
        while not self._stopping.is_set():
            more = False
            try:
                more = await self.look()
            except Exception:
                logger.exception("Bot %r cannot look for conversations that are over.", self._bot)
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(
                    self._stopping.wait(), FEWEST_SECONDS if more else self._pause
                )
