"""python-telegram-bot's persistence, as fragments of the bot's sessions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, NoReturn

from django.core.exceptions import ImproperlyConfigured
from telegram import Bot
from telegram.ext import BasePersistence, ContextTypes, ExtBot, PersistenceInput

from ..arguments import check_storage, telling_usage, wrong
from ..declaration import Fragment
from ..due import CONVERSATION, KEPT
from ..editing import AsyncEdit
from ..records import Record, Storage
from ..sources import FromIds, FromKey, Source
from ..storages import DatabaseStorage
from ..unit import open_unit
from .callback_data import CALLBACK_DATA, CallbackDataStore
from .fragments import BOT_DATA, CHAT_DATA, THE_BOT, USER_DATA, fragments_of, nothing
from .mappings import not_in_memory
from .outside import OutsideBotData
from .values import ValueCodec


class BotPersistence(BasePersistence[Any, Any, Any]):
    """Keeps ``user_data``, ``chat_data``, ``bot_data`` and conversations with the bot's sessions.

    They are read with the update's session, in the same statement, and saved with it, in the same
    transaction; only what code outside of updates changes in ``bot_data`` waits for
    python-telegram-bot's ``update_interval``. The application needs a session, if only
    ``multi_session()``, which has none of its own.

    Args:
        store_data: what to keep; ``None`` is all. The rest is python-telegram-bot's, in memory.
        storage: where; ``None`` is :class:`DatabaseStorage`.
        all_conversations: whether to keep conversations without ``persistent=True``, too. One
            without a name is known by the function that its first entry point calls.
    """

    @telling_usage
    def __init__(
        self,
        store_data: PersistenceInput | None = None,
        *,
        storage: Storage | None = None,
        all_conversations: bool = False,
    ) -> None:
        if not isinstance(store_data, PersistenceInput | None):
            wrong("store_data", store_data, "a PersistenceInput(…)")
        super().__init__(store_data=store_data)
        self.all_conversations = all_conversations
        self.storage = DatabaseStorage() if storage is None else storage
        check_storage(self.storage)
        self.fragments = self._declared(ContextTypes())
        """What is kept of an update whatever its handlers are, by name."""
        self._bot_alias: str | None = None
        self._lock = "process"
        self._outside: OutsideBotData | None = None

    def attach(self, alias: str, lock: str, types: ContextTypes[Any, Any, Any, Any]) -> None:
        """Belong to the application of a bot. Called by the application.

        Args:
            types: python-telegram-bot's, which name the classes of the data.
        """
        if self._bot_alias not in (None, alias):
            raise ImproperlyConfigured(
                "A BotPersistence belongs to one bot: make another one for the other bot."
            )
        self._bot_alias, self._lock = alias, lock
        self.fragments = self._declared(types)

    def edit_user_data(self, user_id: int) -> AsyncEdit[Any]:
        """Hold a user's ``user_data``, fresh, and save it on leaving: ``async with … as data``.

        A handler whose update is this user's gets what ``context.user_data`` is.

        Raises:
            ImproperlyConfigured: the application is not built yet.
        """
        return AsyncEdit(*self._place(USER_DATA, FromIds({"user": user_id})))

    def edit_chat_data(self, chat_id: int) -> AsyncEdit[Any]:
        """Do the same for a chat's ``chat_data``."""
        return AsyncEdit(*self._place(CHAT_DATA, FromIds({"chat": chat_id})))

    def edit_bot_data(self) -> AsyncEdit[Any]:
        """Do the same for ``bot_data``: one edit at a time, so none of them meets a conflict."""
        return BotDataEdit(*self._place(BOT_DATA, FromKey(THE_BOT)))

    def _place(self, name: str, source: Source) -> tuple[Fragment[Any], str, Source, str]:
        if self._bot_alias is None or name not in self.fragments:
            raise ImproperlyConfigured(
                f"{name.removeprefix(KEPT)} is not kept: "
                + (NOT_INSTALLED if self._bot_alias is None else "see store_data.")
            )
        return self.fragments[name], self._bot_alias, source, self._lock

    def _stored(self, name: str, source: Source) -> AsyncEdit[Any]:
        """Return an edit whose data is ``None`` where nothing is stored."""
        fragment, alias, source, lock = self._place(name, source)
        return AsyncEdit(replace(fragment, initial=nothing), alias, source, lock)

    async def add_user_data(self, before: Mapping[int, Any]) -> None:
        """Store what was put there before the application was initialized, where nothing is."""
        for user_id, data in list(before.items()):
            await added(self._stored(USER_DATA, FromIds({"user": user_id})), data)

    async def add_chat_data(self, before: Mapping[int, Any]) -> None:
        """Do the same for ``chat_data``."""
        for chat_id, data in list(before.items()):
            await added(self._stored(CHAT_DATA, FromIds({"chat": chat_id})), data)

    async def move_chat_data(self, old_chat_id: int, new_chat_id: int) -> None:
        """Give a chat's ``chat_data``, if it has any, to another chat in place of its own."""
        old = self._stored(CHAT_DATA, FromIds({"chat": old_chat_id}))
        new = self._stored(CHAT_DATA, FromIds({"chat": new_chat_id}))
        async with old as data, new:
            if data is not None:
                new.data, old.data = data, None

    def callback_data(self) -> CallbackDataStore:
        """Return where keyboards are stored."""
        assert self._bot_alias is not None
        return CallbackDataStore(self._bot_alias, self.storage, ValueCodec(bot=self.telegram_bot))

    async def bot_data_outside(self) -> OutsideBotData:
        """Return ``bot_data`` for code that runs outside of updates and jobs."""
        self._outside = outside = OutsideBotData(*self._place(BOT_DATA, FromKey(THE_BOT)))
        await outside.load()
        return outside

    def _note_bot_data(self, record: Record | None) -> None:
        if self._outside is not None:
            self._outside.newest = record

    def _declared(self, types: ContextTypes[Any, Any, Any, Any]) -> Mapping[str, Fragment[Any]]:
        return fragments_of(
            self.store_data, types, self.storage, self.telegram_bot, self._note_bot_data
        )

    def telegram_bot(self) -> Bot | None:
        """Return the bot that Telegram's objects among the data get."""
        bot: ExtBot[Any] | None = getattr(self, "bot", None)
        return bot

    # What python-telegram-bot calls on persistences that keep everything in memory.

    async def get_user_data(self) -> NoReturn:
        self._refuse(USER_DATA)

    async def get_chat_data(self) -> NoReturn:
        self._refuse(CHAT_DATA)

    async def get_bot_data(self) -> NoReturn:
        self._refuse(BOT_DATA)

    async def get_callback_data(self) -> NoReturn:
        self._refuse(CALLBACK_DATA)

    async def get_conversations(self, name: str) -> NoReturn:
        self._refuse(f"{CONVERSATION}{name}")

    def _refuse(self, name: str) -> NoReturn:
        if self._bot_alias is None:
            raise ImproperlyConfigured(NOT_INSTALLED)
        raise not_in_memory(name)

    async def update_user_data(self, user_id: int, data: Any) -> None:
        """Replace a user's ``user_data``, whatever it holds."""
        await replaced(self.edit_user_data(user_id), data)

    async def update_chat_data(self, chat_id: int, data: Any) -> None:
        """Replace a chat's ``chat_data``, whatever it holds."""
        await replaced(self.edit_chat_data(chat_id), data)

    async def update_bot_data(self, data: Any) -> None:
        """Replace ``bot_data``, whatever it holds."""
        await replaced(self.edit_bot_data(), data)

    async def drop_user_data(self, user_id: int) -> None:
        """Delete a user's ``user_data``."""
        await replaced(self.edit_user_data(user_id), None)

    async def drop_chat_data(self, chat_id: int) -> None:
        """Delete a chat's ``chat_data``."""
        await replaced(self.edit_chat_data(chat_id), None)

    async def update_conversation(self, name: str, key: Any, new_state: object) -> None:
        """Do nothing: a conversation's state is saved with its update."""

    async def update_callback_data(self, data: Any) -> None:
        """Do nothing: it is saved when it is made."""

    async def refresh_user_data(self, user_id: int, user_data: Any) -> None:
        """Do nothing: it is fresh. A subclass may fill in what is not to be stored."""

    async def refresh_chat_data(self, chat_id: int, chat_data: Any) -> None:
        """Do nothing: it is fresh. A subclass may fill in what is not to be stored."""

    async def refresh_bot_data(self, bot_data: Any) -> None:
        """Do nothing: it is fresh. A subclass may fill in what is not to be stored."""

    @property
    def refreshes(self) -> bool:
        """Whether it wants to see data before handlers do."""
        names = ("refresh_user_data", "refresh_chat_data", "refresh_bot_data")
        return any(getattr(type(self), n) is not getattr(BotPersistence, n) for n in names)

    async def flush(self) -> None:
        """Do nothing: everything is saved already."""


def all_conversations() -> BotPersistence:
    """Return a persistence that keeps all conversations, for ``PERSISTENCE`` in the settings."""
    return BotPersistence(all_conversations=True)


NOT_INSTALLED = (
    "BotPersistence needs an application with a session. In a script: "
    "multi_session().install(Application.builder()).token(…).persistence(BotPersistence()).build()"
)


class BotDataEdit(AsyncEdit[Any]):
    """An edit that the running handler sees, too, although it does not hold what is edited."""

    async def __aenter__(self) -> Any:
        unit = open_unit()
        if unit is not None and BOT_DATA in unit.contents.all and not unit.failed:
            await unit.save()
        return await super().__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._unit is not None
        edited = dict(self._unit.contents.all)
        await super().__aexit__(kind, error, traceback)
        unit = open_unit()
        if error is None and unit is not None and BOT_DATA in unit.contents.all:
            unit.contents.replace(edited)


async def added(edit: AsyncEdit[Any], data: Any) -> None:
    async with edit as stored:
        if data and stored is None:
            edit.data = data


async def replaced(edit: AsyncEdit[Any], data: Any) -> None:
    async with edit:
        edit.data = data
