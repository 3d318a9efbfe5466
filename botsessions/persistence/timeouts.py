"""Timeouts of conversations: stored with their states, and come true whatever was restarted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from msgspec.structs import replace
from telegram.ext import ConversationHandler, Job

from ..records import Record, Storage, utcnow
from ..storages.layers import WrappedStorage

UPDATE = "update"
"""In what is stored of a conversation that has a timeout: its last update, as Telegram sent it."""

TimedOut = Callable[[str, Any], Awaitable[None]]


class Timeout(WrappedStorage):
    """Lets a conversation expire that nobody goes on with in time.

    Args:
        handler: its ``conversation_timeout`` says when.
        timed_out: runs what is to be run then, given the key and what is stored.
    """

    def __init__(
        self, inner: Storage, handler: ConversationHandler[Any], timed_out: TimedOut
    ) -> None:
        super().__init__(inner)
        self._handler = handler
        self.on_expire = timed_out

    def outgoing(self, record: Record) -> Record:
        """Return what is stored of ``record``: it expires if the handler has begun to wait."""
        if not isinstance(record.value, dict) or UPDATE not in record.value:
            return replace(record, expires_at=None)
        return replace(record, expires_at=utcnow() + patience_of(self._handler))


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
