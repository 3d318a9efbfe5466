"""``user_data``, ``chat_data`` and ``bot_data`` of an application, kept with the bot's sessions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from telegram.ext import Application, ExtBot, JobQueue

from ..exceptions import SessionConflict
from ..unit import current, open_unit
from .fragments import BOT_DATA, CHAT_DATA, THE_BOT, USER_DATA
from .mappings import OpenData, data_here
from .outside import OutsideBotData
from .persistence import BotPersistence

if TYPE_CHECKING:
    from telegram import Message

    from ..data import Data


logger = logging.getLogger(__name__)

NOT_SAVED = "Bot %r: what code outside of updates has changed in bot_data is %s."


class DataApplication(
    Application[ExtBot[None], Any, dict[Any, Any], dict[Any, Any], dict[Any, Any], JobQueue[Any]]
):
    """An application whose data a :class:`.BotPersistence` may keep, or any other, or none."""

    session_bot: str
    session_lock: str

    def __init__(self, **kwargs: Any) -> None:
        self.kept: BotPersistence | None = None
        """The persistence, if it is ours."""
        self._dropping: set[asyncio.Task[Any]] = set()
        """What drops or moves the data of others."""
        self._outside: OutsideBotData | None = None
        self._in_memory: Any = None
        super().__init__(**kwargs)
        if isinstance(self.persistence, BotPersistence):
            self.kept = self.persistence
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
        """That of the running update; outside of updates, as the process has last read or saved it.

        What is changed outside is saved when the bot starts, once a minute while it runs, when it
        stops, and by ``update_persistence()``.
        """
        data = self._kept_bot_data()
        return self._in_memory if data is None else data.get()

    @bot_data.setter
    def bot_data(self, value: Any) -> None:
        data = self._kept_bot_data()
        if data is None:
            self._in_memory = value
        else:
            data.assign(value)

    def _kept_bot_data(self) -> Data[Any] | None:
        if self.kept is None or BOT_DATA not in self.kept.fragments:
            return None
        data = data_here(BOT_DATA, THE_BOT)
        if data is not None and data.is_known:
            return data
        return None if self._outside is None else self._outside.data

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

    async def update_persistence(self) -> None:
        """Save what code outside of updates has changed in ``bot_data``; all else is saved.

        Outside of updates, return when what was dropped there is deleted, too.

        Raises:
            SessionConflict: others have changed the same; then ``bot_data`` is what they have made.
        """
        if self.kept is None:
            await super().update_persistence()
            return
        if self._dropping and open_unit() is None:
            await asyncio.wait({*self._dropping})
        if self._outside is not None:
            await self._outside.save()

    async def shutdown(self) -> None:
        """Shut down; see PTB. What cannot be saved of ``bot_data`` any more is told to the log."""
        try:
            if self.kept is not None:
                await self.update_persistence()
        except SessionConflict:
            logger.exception(NOT_SAVED, self.session_bot, "lost")
        await super().shutdown()

    async def _persistence_updater(self) -> None:
        if self.kept is None:
            return await super()._persistence_updater()
        while True:  # An error would end PTB's for good, and stop() would raise it.
            try:
                return await super()._persistence_updater()
            except SessionConflict:
                logger.exception(NOT_SAVED, self.session_bot, "lost")
            except Exception:
                logger.exception(NOT_SAVED, self.session_bot, "not saved yet")

    def drop_user_data(self, user_id: int) -> None:
        """Delete a user's ``user_data``; see PTB.

        That of the running update is deleted when it is saved, anybody else's at once, in a task.
        To have it done, await ``persistence.drop_user_data()`` instead.
        """
        if self.kept is None or not isinstance(self._user_data, OpenData):
            super().drop_user_data(user_id)
        elif not self._user_data.drop(user_id):
            self._beside(self.kept.drop_user_data(user_id))

    def drop_chat_data(self, chat_id: int) -> None:
        """Delete a chat's ``chat_data``, as :meth:`drop_user_data` does; see PTB."""
        if self.kept is None or not isinstance(self._chat_data, OpenData):
            super().drop_chat_data(chat_id)
        elif not self._chat_data.drop(chat_id):
            self._beside(self.kept.drop_chat_data(chat_id))

    def migrate_chat_data(
        self,
        message: Message | None = None,
        old_chat_id: int | None = None,
        new_chat_id: int | None = None,
    ) -> None:
        """Give a chat's ``chat_data`` to another chat, in a task; see PTB.

        Where it is kept there is nothing to do for a ``message`` of Telegram: it has moved already.

        Raises:
            ValueError: there is neither a message nor both ids.
        """
        if self.kept is None or not isinstance(self._chat_data, OpenData):
            super().migrate_chat_data(message, old_chat_id, new_chat_id)
        elif isinstance(old_chat_id, int) and isinstance(new_chat_id, int):
            self._beside(self.kept.move_chat_data(old_chat_id, new_chat_id))
        elif message is None:
            raise ValueError("Give migrate_chat_data() a message, or old_chat_id and new_chat_id.")

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Do what python-telegram-bot leaves to the next ``update_persistence()``."""

        async def alone() -> None:
            current.set(None)  # It is not the handlers' code, and waits until they have ended.
            await work

        task = self.create_task(alone())
        self._dropping.add(task)
        task.add_done_callback(self._dropping.discard)

    def mark_data_for_update_persistence(self, chat_ids: Any = None, user_ids: Any = None) -> None:
        """Do nothing where data is kept: what an update changes is saved anyway; see PTB."""
        if self.kept is None:
            super().mark_data_for_update_persistence(chat_ids, user_ids)

    def _mark_for_persistence_update(self, **kwargs: Any) -> None:
        # PTB would note the ids of all chats and users for ever, also where nobody asks for them.
        if self.persistence is not None and self.kept is None:
            super()._mark_for_persistence_update(**kwargs)
