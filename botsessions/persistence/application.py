"""Conversations and buttons of an application that are kept with the bot's sessions."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from django.core.exceptions import ImproperlyConfigured
from telegram import Update
from telegram.ext import ConversationHandler

from ..database.claims import AlreadyHandled
from ..database.storage import DatabaseStorage
from ..due import CONVERSATION
from ..lookout import Lookout, Watched
from ..sources import Source
from ..steps import StepHandler
from ..unit import Unit
from .callback_data import CALLBACK_DATA, KeptCallbackData
from .conversations import Conversations, adopt
from .data import DataApplication
from .timeouts import patience_of

if TYPE_CHECKING:
    from telegram.ext import BaseHandler

    from ..declaration import Fragment
    from ..exceptions import ConversationStateError

logger = logging.getLogger(__name__)

IN_MEMORY = (
    "Bot %r has a ConversationHandler without persistent=True. Its states are in the memory of one "
    "process, so other workers do not know them. Let the persistence keep all_conversations, or "
    "write persistent=True and a name."
)


class PersistentApplication(DataApplication):
    """An application that may have a :class:`.BotPersistence`, or any other, or none.

    Beside the data, that keeps the states of conversations, and what buttons stand for.
    """

    def __init__(self, **kwargs: Any) -> None:
        self._conversations: list[Conversations] = []
        """Those that are in no other."""
        self._by_name: dict[str, Conversations] = {}
        """All of them, by the name of the fragment."""
        self._lookout: Lookout | None = None
        self._buttons: KeptCallbackData | None = None
        self.looks_by_itself = True
        """Whether what comes due is done without anybody asking for that."""
        self.given: WeakSet[Source] = WeakSet()
        """Of the updates that Telegram gives again if the process is killed."""
        super().__init__(**kwargs)

    async def _initialize_persistence(self) -> None:
        await super()._initialize_persistence()
        if self.kept is None:
            return
        # python-telegram-bot has refused a plain Bot, which has no cache, if they are to be kept.
        before = self.bot.callback_data_cache if self.kept.store_data.callback_data else None
        if before is not None:
            self._buttons = KeptCallbackData(before, self.kept.callback_data())
            self.bot._callback_data_cache = self._buttons

    def add_handler(self, handler: BaseHandler[Any, Any, Any], group: int = 0) -> None:
        """Add a handler; see PTB. From then on a conversation that is to be kept is.

        Raises:
            ImproperlyConfigured: it cannot be kept, or another one has its name.
        """
        super().add_handler(handler, group)
        if self.kept is None:
            return
        for one in conversations_in(handler):
            if one.persistent or self.kept.all_conversations:
                self._keep(adopt(one, self))
            elif self.session_lock == "database":
                logger.warning(IN_MEMORY, self.session_bot)

    def remove_handler(self, handler: BaseHandler[Any, Any, Any], group: int = 0) -> None:
        """Remove a handler; see PTB. Its conversations stay stored, and do not come due any more.

        Another one may then have its name, and go on.
        """
        super().remove_handler(handler, group)
        there = [
            one
            for handlers in self.handlers.values()
            for other in handlers
            for one in conversations_in(other)
        ]
        self._conversations = [known for known in self._conversations if known.handler in there]
        before, self._by_name = (
            self._by_name,
            {one.fragment.name: one for known in self._conversations for one in known.all()},
        )
        if self._lookout is not None:
            for name in before.keys() - self._by_name.keys():
                self._lookout.unwatch(name)

    def _keep(self, conversations: Conversations) -> None:
        self._conversations.append(conversations)
        for one in conversations.all():
            self._name(one)
            if self._lookout is not None:
                for watched in watched_of(one):
                    self._lookout.watch(watched)

    def _name(self, conversations: Conversations) -> None:
        name = conversations.fragment.name
        if self._by_name.setdefault(name, conversations) is not conversations:
            raise ImproperlyConfigured(
                f"Two conversations are named {name.removeprefix(CONVERSATION)!r}, so each would "
                "find the other's states: give each ConversationHandler a name= of its own."
            )

    async def _add_ch_to_persistence(self, handler: ConversationHandler[Any]) -> None:
        if self.kept is None:
            await super()._add_ch_to_persistence(handler)

    def kept_fragments(self) -> Mapping[str, Fragment[Any]]:
        """Return the fragments of what is kept, by name: of data, and of conversations."""
        data = {} if self.kept is None else self.kept.fragments
        return {**data, **{name: one.fragment for name, one in self._by_name.items()}}

    def needed(self, update: object) -> Mapping[str, Fragment[Any]]:
        """Return the fragments that decide which handler takes an update, by name."""
        buttons = self._buttons
        if buttons is None or not isinstance(update, Update) or update.callback_query is None:
            found = [one for known in self._conversations for one in known.needed(update)]
            return {one.fragment.name: one.fragment for one in found}
        # Patterns cannot be asked yet: what the button stands for is not read.
        fragments = [one.fragment for one in self._by_name.values()]
        return {fragment.name: fragment for fragment in [*fragments, buttons.store.fragment]}

    def prepare(self, update: object, unit: Unit, may_be_known: bool) -> None:
        """Let handlers be chosen by what was read.

        Args:
            may_be_known: whether Telegram may have given the update before, or gives it again.
                The bot itself may hand on others as often as it likes, under any id.

        Raises:
            AlreadyHandled: a conversation has seen the update before.
        """
        if may_be_known:
            self.given.add(unit.source)
            known = self._by_name.values()
            if isinstance(update, Update) and any(one.has_handled(unit, update) for one in known):
                told = f"Update {update.update_id} of bot {self.session_bot!r} was handled before."
                logger.info("%s It is skipped.", told)
                raise AlreadyHandled(told)
        if self._buttons is not None and CALLBACK_DATA in unit.fragments:
            assert isinstance(update, Update)
            self._buttons.fill_in(update, unit.data(CALLBACK_DATA))

    def lost_states(self, unit: Unit) -> Iterator[ConversationStateError]:
        """Yield the errors that a unit's conversations are in states that the code has not."""
        for one in self._by_name.values():
            if (error := one.unknown_state(unit)) is not None:
                yield error

    async def buttons_saved(self, unit: Unit) -> None:
        """Return when what a unit's handlers have sent with buttons is stored.

        Raises:
            Exception: the storage failed.
        """
        if self._buttons is not None:
            await self._buttons.store.settled(unit)

    async def start(self) -> None:
        """Start; see PTB. What ``post_init`` has changed in ``bot_data`` is saved."""
        if self._outside is not None:
            await self._outside.save(starting=True)
        await self.update_persistence()
        await super().start()
        self._lookout = self.lookout()
        if self.looks_by_itself:
            self._lookout.start()

    async def stop(self) -> None:
        """Stop; see PTB."""
        if self._lookout is not None:
            await self._lookout.stop()
            self._lookout = None
        await super().stop()

    @property
    def is_stopping(self) -> bool:
        """Whether what waits for its turn is left to other processes, or to the next start."""
        return self._lookout is not None and self._lookout.is_stopping

    def lookout(self) -> Lookout:
        """Return what has done what comes due."""
        return Lookout(self.session_bot, self.watched())

    async def do_what_is_due(self) -> int:
        """Do what is due now, if the application runs; return how much that was."""
        return 0 if self._lookout is None else await self._lookout.look_to_the_end()

    def watched(self) -> Iterator[Watched]:
        """Yield what comes due at a time: conversations end that have a timeout."""
        for one in self._by_name.values():
            yield from watched_of(one)

    async def load_overdue(self, fragment: Fragment[Any], update: Update | None) -> None:
        """Load a conversation whose time is over, among all processes, so that it is ended.

        Raises:
            NotNow: it cannot be loaded, or its session cannot.
        """
        raise NotImplementedError

    async def run_timeout(
        self, handlers: Sequence[BaseHandler[Any, Any, Any]], update: Update
    ) -> None:
        """Run the handlers for a conversation whose time is over, with its last update."""
        raise NotImplementedError


def conversations_in(handler: BaseHandler[Any, Any, Any]) -> Iterator[ConversationHandler[Any]]:
    """Yield a handler, or those among the handlers of a ``StepHandler``, that are conversations."""
    for one in handler.handlers if isinstance(handler, StepHandler) else [handler]:
        if isinstance(one, ConversationHandler):
            yield one


def watched_of(one: Conversations) -> Iterator[Watched]:
    """Yield what comes due of a conversation if that has a timeout."""
    storage = one.fragment.innermost
    if one.handler.conversation_timeout and isinstance(storage, DatabaseStorage):
        seconds = patience_of(one.handler).total_seconds() / 10
        yield Watched(storage, one.fragment.name, one.end, seconds)
