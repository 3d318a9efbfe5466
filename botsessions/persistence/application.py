"""What python-telegram-bot's application does with a persistence, done by units of work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from telegram import Update
from telegram.ext import Application, ConversationHandler, ExtBot, JobQueue

from ..database.claims import AlreadyHandled
from ..unit import Unit
from .callback_data import CALLBACK_DATA, KeptCallbackData
from .conversations import Conversations, adopt
from .mappings import OpenData, data_here
from .persistence import BOT_DATA, CHAT_DATA, THE_BOT, USER_DATA, BotPersistence
from .timeouts import Overdue, Watch

if TYPE_CHECKING:
    from telegram import Message
    from telegram.ext import BaseHandler

    from ..declaration import Fragment
    from ..exceptions import ConversationStateError


class PersistentApplication(
    Application[ExtBot[None], Any, dict[Any, Any], dict[Any, Any], dict[Any, Any], JobQueue[Any]]
):
    """An application that may have a :class:`BotPersistence`, or any other, or none."""

    session_bot: str
    session_lock: str

    def __init__(self, **kwargs: Any) -> None:
        self._outside: Unit | None = None
        self._in_memory: Any = None
        self._conversations: list[Conversations] = []
        """Those that are in no other."""
        self._by_name: dict[str, Conversations] = {}
        """All of them, by the name of the fragment."""
        self._watch: Watch | None = None
        self._buttons: KeptCallbackData | None = None
        self.skips_handled = False
        """Whether updates come again that were handled just before the process was killed, so that
        conversations are to let them pass."""
        super().__init__(**kwargs)
        self.kept = self.persistence if isinstance(self.persistence, BotPersistence) else None
        """The persistence, if it is ours."""
        self.refreshes_data = (
            self.persistence is not None if self.kept is None else self.kept.refreshes
        )
        """Whether the persistence wants to see data before handlers do."""

    def keep(self, alias: str, lock: str) -> None:
        """Have the persistence, if it is ours, keep the bot's data under this alias."""
        if self.kept is None:
            return
        self.kept.attach(alias, lock, self.context_types)

    @property
    def bot_data(self) -> Any:
        """That of the running update; outside of updates, what it was when the bot started.

        What is changed outside is saved when the bot starts, when it stops, and by
        ``update_persistence()``.
        """
        if self.kept is None or BOT_DATA not in self.kept.fragments:
            return self._in_memory
        data = data_here(BOT_DATA, THE_BOT)
        if data is not None and data.stored is not None and data.stored.is_known:
            return data.get()
        return self._in_memory if self._outside is None else self._outside.data(BOT_DATA).get()

    @bot_data.setter
    def bot_data(self, data: Any) -> None:
        self._in_memory = data

    async def _initialize_persistence(self) -> None:
        if self.kept is None:
            await super()._initialize_persistence()
            return
        if BOT_DATA in self.kept.fragments:
            self._outside = await self.kept.bot_data_outside()
        if USER_DATA in self.kept.fragments and not isinstance(self._user_data, OpenData):
            await self.kept.add_user_data(self._user_data)
            self._user_data: Any = OpenData(USER_DATA, "user")
            self.user_data = self._user_data
        if CHAT_DATA in self.kept.fragments and not isinstance(self._chat_data, OpenData):
            await self.kept.add_chat_data(self._chat_data)
            self._chat_data: Any = OpenData(CHAT_DATA, "chat")
            self.chat_data = self._chat_data
        before = self.bot.callback_data_cache
        if before is not None and self.kept.store_data.callback_data:
            self._buttons = KeptCallbackData(before, self.kept.callback_data())
            self.bot._callback_data_cache = self._buttons

    async def _add_ch_to_persistence(self, handler: ConversationHandler[Any]) -> None:
        if self.kept is None:
            await super()._add_ch_to_persistence(handler)
            return
        conversations = adopt(handler, self, self.kept.storage)
        for one in conversations.all():
            if self._by_name.setdefault(one.fragment.name, one).handler is not one.handler:
                raise ImproperlyConfigured(
                    f"Two conversations are named {one.handler.name!r}: each needs its own name."
                )
            self._by_name[one.fragment.name] = one
        others = [one for one in self._conversations if one.handler is not handler]
        self._conversations = [*others, conversations]

    def needed(self, update: object) -> Mapping[str, Fragment[Any]]:
        """Return the fragments that decide which handler takes an update, by name."""
        buttons = self._buttons
        if buttons is None or not isinstance(update, Update) or update.callback_query is None:
            found = [one for known in self._conversations for one in known.needed(update)]
            return {one.fragment.name: one.fragment for one in found}
        # Patterns cannot be asked yet: what the button stands for is not read.
        fragments = [one.fragment for one in self._by_name.values()]
        return {fragment.name: fragment for fragment in [*fragments, buttons.store.fragment]}

    def prepare(self, update: object, unit: Unit) -> None:
        """Let handlers be chosen by what was read.

        Raises:
            AlreadyHandled: a conversation has seen the update before.
        """
        known = self._by_name.values() if self.skips_handled else ()
        if isinstance(update, Update) and any(one.has_handled(unit, update) for one in known):
            raise AlreadyHandled(f"Update {update.update_id} was handled before.")
        if self._buttons is not None and CALLBACK_DATA in unit.fragments:
            assert isinstance(update, Update)
            self._buttons.fill_in(update, unit.data(CALLBACK_DATA))

    def lost_states(self, unit: Unit) -> Iterator[ConversationStateError]:
        """Yield the errors that a unit's conversations are in states that the code has not."""
        for one in self._by_name.values():
            if (error := one.unknown_state(unit)) is not None:
                yield error

    async def buttons_saved(self) -> None:
        """Return when what was sent with buttons is stored.

        Raises:
            Exception: the storage failed.
        """
        if self._buttons is not None:
            await self._buttons.store.settled()

    async def start(self) -> None:
        """Start; see PTB. What ``post_init`` has changed in ``bot_data`` is saved."""
        await self.update_persistence()
        await super().start()
        if self.kept is not None:
            self._watch = self.watch()
            self._watch.start()

    async def stop(self) -> None:
        """Stop; see PTB."""
        if self._watch is not None:
            await self._watch.stop()
            self._watch = None
        await super().stop()

    def watch(self) -> Watch:
        """Return what ends conversations whose time is over."""

        async def end(overdue: Overdue) -> None:
            await self._by_name[overdue.name].end(overdue)

        handlers = [(n, one.handler, one.fragment.storage) for n, one in self._by_name.items()]
        return Watch(self.session_bot, handlers, end)

    async def load_overdue(self, fragment: Fragment[Any], update: Update | None) -> None:
        """Load a conversation whose time is over, among all processes, so that it is ended."""
        raise NotImplementedError

    async def run_timeout(
        self, handlers: Sequence[BaseHandler[Any, Any, Any]], update: Update
    ) -> None:
        """Run the handlers for a conversation whose time is over, with its last update."""
        raise NotImplementedError

    async def update_persistence(self) -> None:
        """Save what code outside of updates has changed in ``bot_data``; all else is saved."""
        if self.kept is None:
            await super().update_persistence()
        elif self._outside is not None:
            await self._outside.save()

    def drop_user_data(self, user_id: int) -> None:
        """Delete the ``user_data`` of the running update's user; see PTB.

        Raises:
            SessionError: it is not the running update's: use ``persistence.drop_user_data()``.
        """
        if not isinstance(self._user_data, OpenData):
            super().drop_user_data(user_id)
        else:
            self._user_data.pop(user_id)

    def drop_chat_data(self, chat_id: int) -> None:
        """Delete the ``chat_data`` of the running update's chat; see PTB.

        Raises:
            SessionError: it is not the running update's: use ``persistence.drop_chat_data()``.
        """
        if not isinstance(self._chat_data, OpenData):
            super().drop_chat_data(chat_id)
        else:
            self._chat_data.pop(chat_id)

    def migrate_chat_data(
        self,
        message: Message | None = None,
        old_chat_id: int | None = None,
        new_chat_id: int | None = None,
    ) -> None:
        """Do nothing where ``chat_data`` is kept: it has moved already; see PTB."""
        if not isinstance(self._chat_data, OpenData):
            super().migrate_chat_data(message, old_chat_id, new_chat_id)

    def mark_data_for_update_persistence(self, chat_ids: Any = None, user_ids: Any = None) -> None:
        """Do nothing where data is kept: what an update changes is saved anyway; see PTB."""
        if self.kept is None:
            super().mark_data_for_update_persistence(chat_ids, user_ids)

    def _mark_for_persistence_update(self, **kwargs: Any) -> None:
        # PTB would note the ids of all chats and users for ever, also where nobody asks for them.
        if self.persistence is not None and self.kept is None:
            super()._mark_for_persistence_update(**kwargs)
