"""The states of ``ConversationHandler``: read before it looks for a handler, saved as all is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, MutableMapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast
from weakref import WeakKeyDictionary, WeakSet

from telegram import Update
from telegram.ext import ConversationHandler
from telegram.ext._handlers.conversationhandler import PendingState

from ..data import Data
from ..declaration import Fragment
from ..editing import AsyncEdit
from ..exceptions import ConversationStateError, SessionClosed
from ..keys import KeyFunction, joined, no_key
from ..lookout import Due
from ..records import Storage
from ..sources import Source
from ..unit import Unit, current
from .fragments import nothing
from .last_updates import kept_update, last_update
from .mappings import data_here
from .matching import ConversationKey, Key, may_take
from .naming import fragment_name
from .timeouts import NoJobs, Timeout
from .values import ValueCodec

if TYPE_CHECKING:
    from .application import PersistentApplication

HANDLED: Final = "handled"
"""In what is stored of a conversation: the id of its last update, when that was handled, and the id
of the bot."""
DAY_SECONDS: Final = 24 * 3600
WAITING: Final = "waiting"
"""In what is stored of a conversation: until when others are to wait for its step, which runs with
``block=False``. The process that runs it says so again in time."""
WAITING_SECONDS: Final = 60.0


class Conversations(MutableMapping[Key, Any]):
    """What a ``ConversationHandler`` keeps its states in: those of the running update.

    A step that runs with ``block=False`` is a task of this process; for others it is stored that
    they have to wait.
    """

    def __init__(
        self, handler: ConversationHandler[Any], application: PersistentApplication
    ) -> None:
        assert application.kept is not None
        self.handler, self.application = handler, application
        storage = application.kept.storage
        if handler.conversation_timeout:
            storage = Timeout(storage, handler, self._time_out)
        name = fragment_name(handler, application.kept.all_conversations)
        self.fragment = conversation_of(name, storage, ConversationKey(handler))
        self.nested = [adopt(child, application) for child in handler._child_conversations]
        self._pending: dict[Key, PendingState] = {}
        self._waiting: WeakKeyDictionary[Unit, dict[str, Any]] = WeakKeyDictionary()
        """By the unit, what is stored of an update after which it is to go on in time."""
        self._beside: WeakSet[Unit] = WeakSet()
        """Of the updates whose step runs beside others."""

    def all(self) -> Iterator[Conversations]:
        """Yield itself and those nested in it."""
        yield self
        for conversations in self.nested:
            yield from conversations.all()

    def needed(self, update: object) -> Iterator[Conversations]:
        """Yield itself and those nested in it whose states decide who handles an update."""
        if may_take(self.handler, update):
            yield self
            for conversations in self.nested:
                yield from conversations.needed(update)

    def __getitem__(self, key: Key) -> Any:
        if key in self._pending:
            return self._pending[key]
        data = self._data(key)
        conversation = data.get() if data is not None and data.is_known else None
        if conversation is None:
            raise KeyError(key)
        if conversation.get(WAITING, 0) > time.time():  # In another process.
            return PendingState(cast("Any", NotDone), conversation["state"])
        if conversation["state"] is None:  # Its first step never ended.
            raise KeyError(key)
        return conversation["state"]

    def __setitem__(self, key: Key, state: Any) -> None:
        data = self._data(key)
        if isinstance(state, PendingState):
            self._wait_for(key, state)
            if data is not None:
                data.assign(waiting_in(self._kept(state.old_state, None, data.get())))
        elif data is not None:
            self._pending.pop(key, None)
            unit = current.get()
            waiting = None if unit is None else self._waiting.get(unit)
            data.assign(self._kept(state, waiting, data.get()))
        elif key not in self._pending:  # What is pending is saved when it has ended.
            raise SessionClosed("This conversation's update is over.")

    def __delitem__(self, key: Key) -> None:
        self._pending.pop(key, None)
        data = self._data(key)
        if data is not None:
            data.assign(None)

    def __iter__(self) -> NoReturn:
        raise TypeError("Only the running update's conversations are in memory.")

    def __len__(self) -> NoReturn:
        raise TypeError("Only the running update's conversations are in memory.")

    def wait(self, key: Key, update: Update) -> None:
        """Let the conversation expire if nothing comes in time after this update."""
        data, unit = self._data(key), current.get()
        if data is None or unit is None or unit.origin in self._beside:
            return  # The step that runs beside others sees to it when it has ended.
        self._waiting[unit] = waiting = kept_update(update)
        conversation = data.get()
        if conversation is not None:
            data.assign(self._kept(conversation["state"], waiting, conversation))

    def touch(self, key: Key) -> None:
        """Note that the running update is handled, whether or not the state changes."""
        data = self._data(key)
        conversation = None if data is None else data.get()
        if data is not None and conversation is not None:
            data.assign(self._stamped(conversation, conversation))

    def has_handled(self, unit: Unit, update: Update) -> bool:
        """Whether the conversation has seen an update that the bot is given again."""
        number, seconds, *bot = (self._read_in(unit) or {}).get(HANDLED, (0, 0))
        # After a week without updates Telegram may begin to count anew; it keeps them for a day.
        # It counts for each bot, and the alias may have got another one's token.
        is_same = bot in ([], [self.application.bot.id])
        return bool(update.update_id <= number and time.time() - seconds < DAY_SECONDS and is_same)

    async def end(self, due: Due) -> None:
        """End a conversation whose time is over, unless that is done or it has gone on."""
        fragment = replace(self.fragment, key=due.key)
        await self.application.load_overdue(fragment, self._last_update(due.key, due.stored))

    async def _time_out(self, key: str, stored: Any) -> None:
        update = self._last_update(key, stored)
        if update is not None:
            handlers = self.handler.states.get(self.handler.TIMEOUT, [])
            await self.application.run_timeout(handlers, update)

    def _last_update(self, key: str, stored: Any) -> Update | None:
        chat = key.partition("/")[0] if self.handler.per_chat else None
        return last_update(stored, chat, self.application.bot)

    def unknown_state(self, unit: Unit) -> ConversationStateError | None:
        """Return the error that a unit's conversation is in a state that the code does not have."""
        conversation = self._read_in(unit)
        if conversation is None or conversation["state"] in {*self.handler.states, None}:
            return None
        # A state's name is the code's: it says nothing of a person.
        address = unit.contents.all[self.fragment.name].address
        return ConversationStateError(
            f"Conversation {address} is in state {conversation['state']!r}, which "
            "its ConversationHandler does not have (any more). It stays stored; fallbacks, and "
            "entry points with allow_reentry, still take its updates. Give the state back to the "
            "code, or delete the conversation in the admin."
        )

    def _read_in(self, unit: Unit) -> dict[str, Any] | None:
        """Return what is stored of a unit's conversation; ``None`` if it cannot be read."""
        data = unit.contents.all.get(self.fragment.name)
        return None if data is None or data.error is not None else data.get()

    def _kept(
        self, state: Any, waiting: dict[str, Any] | None, before: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Return what is stored of a conversation.

        Args:
            waiting: of the update after which it is to go on in time; ``None``: it has no timeout.
            before: what was.
        """
        return self._stamped({"state": state, **(waiting or {})}, before)

    def _stamped(
        self, conversation: dict[str, Any], before: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Note the running update as the last one, if Telegram may give it again."""
        unit, stamp = current.get(), (before or {}).get(HANDLED)
        if unit is not None and unit.source in self.application.given:
            number = unit.source.subject.update_id  # type: ignore[attr-defined]
            stamp = [number, int(time.time()), self.application.bot.id]
        return conversation if stamp is None else {**conversation, HANDLED: stamp}

    def _data(self, key: Key) -> Data[Any] | None:
        return data_here(self.fragment.name, joined(*key))

    def _wait_for(self, key: Key, pending: PendingState) -> None:
        unit = current.get()
        assert unit is not None
        self._pending[key] = pending
        self._beside.add(unit.origin)
        self.application.create_task(self._settle(key, pending, unit.source))

    async def _settle(self, key: Key, pending: PendingState, source: Source) -> None:
        """Save the state that a step with ``block=False`` has led to."""
        current.set(None)  # It is not the handlers' code.
        application = self.application
        place = self.fragment, application.session_bot, source, application.session_lock
        while not (await asyncio.wait([pending.task], timeout=WAITING_SECONDS / 3))[0]:
            async with AsyncEdit(*place) as conversation:
                if conversation is not None and self._pending.get(key) is pending:
                    conversation |= waiting_in(conversation)
        edit = AsyncEdit(*place)
        try:
            async with edit as conversation:
                # Unless the next update has found it already.
                if self._pending.get(key) is pending:
                    state = result_of(pending)
                    if state is None or state == self.handler.END:
                        edit.data = None
                    else:
                        waits = has_timeouts(self.handler, application)
                        waiting = kept_update(cast("Update", source.subject)) if waits else None
                        edit.data = self._kept(state, waiting, conversation)
        finally:
            if self._pending.get(key) is pending:
                del self._pending[key]


def adopt(handler: ConversationHandler[Any], application: PersistentApplication) -> Conversations:
    """Have a handler keep its states with the sessions.

    It keeps them in a private attribute. That is the only place where they can be had before it
    decides: what it calls itself, ``BasePersistence.get_conversations()``, it calls once, at the
    start, for the conversations of everybody.
    """
    known = handler._conversations
    if isinstance(known, Conversations) and known.application is application:
        return known  # It is in several others.
    conversations = Conversations(handler, application)
    handler._conversations = conversations
    handler.timeout_jobs = NoJobs(conversations.touch)
    return conversations


def conversation_of(name: str, storage: Storage, key: KeyFunction = no_key) -> Fragment[Any]:
    """Return the fragment of that name, without a handler if only its rows are of interest."""
    return Fragment(name, nothing, key, storage, ValueCodec(), lazy=False)


class NotDone:
    """In place of the task of a step that runs in another process."""

    @staticmethod
    def done() -> bool:
        return False


def waiting_in(conversation: dict[str, Any]) -> dict[str, Any]:
    """Return what is stored of a conversation whose step runs beside others for now."""
    return {**conversation, WAITING: int(time.time() + WAITING_SECONDS)}


def has_timeouts(handler: ConversationHandler[Any], application: PersistentApplication) -> bool:
    """Whether a timeout is not ignored, as python-telegram-bot does without a job queue."""
    jobs = application.job_queue
    return bool(handler.conversation_timeout and jobs is not None and jobs.scheduler.running)


def is_kept(callback: Any, context: Any) -> bool:
    """Take note of a timeout that a handler asks the job queue for, if its states are kept."""
    handler = getattr(callback, "__self__", None)
    conversations = getattr(handler, "_conversations", None)
    if handler is None or not isinstance(conversations, Conversations):
        return False
    if callback != handler._trigger_timeout:
        return False
    conversations.wait(context.conversation_key, context.update)
    return True


def result_of(pending: PendingState) -> Any:
    """Return the state that a step has led to that has ended; ``None`` for the end."""
    return pending.old_state if pending.task.cancelled() else pending.resolve()
