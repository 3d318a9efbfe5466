"""What buttons stand for (``arbitrary_callback_data``): a row for each keyboard."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any, Final
from weakref import WeakKeyDictionary

from msgspec.structs import replace
from telegram import CallbackQuery, InlineKeyboardMarkup, Update
from telegram.ext import CallbackDataCache
from telegram.ext._callbackdatacache import _KeyboardData

from ..conf import max_bytes
from ..data import Data
from ..database.connections import run
from ..database.storage import DatabaseStorage
from ..declaration import Fragment
from ..deleting import delete_rows
from ..due import KEPT
from ..exceptions import SessionError
from ..records import ANY, Address, Record, Storage, utcnow
from ..storages.layers import WrappedStorage
from ..unit import Unit, current, open_unit
from ..when import localized, zone_of
from .fragments import nothing
from .values import ValueCodec

CALLBACK_DATA: Final = f"{KEPT}callback_data"
LIFE: Final = timedelta(days=90)
"""So long a keyboard is kept after it was sent, or a button of it pressed."""
ID_LENGTH = 32
"""Of a keyboard's id and of a button's. Telegram gets both, one after the other."""


class Kept(WrappedStorage):
    """Lets keyboards expire of which no button is pressed for long."""

    def outgoing(self, record: Record) -> Record:
        return replace(record, expires_at=utcnow() + LIFE)

    def renewal(self, record: Record) -> datetime | None:
        until = utcnow() + LIFE
        is_due = record.expires_at is None or until - record.expires_at >= LIFE / 10
        return until if is_due else None


class KeptCallbackData(CallbackDataCache):
    """A cache whose keyboards other processes, and this one after a restart, know, too.

    Args:
        before: python-telegram-bot's own, which it replaces.
    """

    __slots__ = ("store",)

    def __init__(
        self,
        before: CallbackDataCache,
        store: CallbackDataStore,
    ) -> None:
        super().__init__(before.bot, before.maxsize)
        self.store = store

    def process_keyboard(self, reply_markup: InlineKeyboardMarkup) -> InlineKeyboardMarkup:
        """Replace what buttons stand for by ids, and save it."""
        sent = super().process_keyboard(reply_markup)
        for row in sent.inline_keyboard:
            for button in row:
                if sent is not reply_markup and isinstance(button.callback_data, str):
                    keyboard = button.callback_data[:ID_LENGTH]
                    self.store.save(keyboard, self._keyboard_data[keyboard].button_data)
                    return sent
        return sent

    def process_callback_query(self, callback_query: CallbackQuery) -> None:
        """Do nothing yet: it is not read before the update is handled. See :meth:`fill_in`."""

    def fill_in(self, update: Update, data: Data[Any]) -> None:
        """Replace the ids in an update by what the buttons stand for."""
        buttons = data.get() if data.stored is not None else None
        keyboard = None if data.address is None else data.address.key
        if keyboard is not None and buttons is not None:
            self._keyboard_data[keyboard] = _KeyboardData(keyboard, button_data=buttons)
        elif keyboard is not None and not self.store.is_saving(keyboard):
            self._keyboard_data.pop(keyboard, None)  # Another process has dropped it.
        if update.callback_query is not None:
            super().process_callback_query(update.callback_query)

    def drop_data(self, callback_query: CallbackQuery) -> None:
        """Delete what the buttons of a query's keyboard stand for; see PTB."""
        keyboard = self._callback_queries.get(callback_query.id)
        super().drop_data(callback_query)
        unit = open_unit()
        data = None if unit is None else unit.contents.all.get(CALLBACK_DATA)
        if data is not None and data.address is not None and data.address.key == keyboard:
            data.assign(None)  # With the update, which may have changed it before.
        elif keyboard is not None:
            self.store.delete(keyboard)

    def clear_callback_data(self, time_cutoff: float | datetime | None = None) -> None:
        """Delete what all buttons of the bot stand for; see PTB.

        Args:
            time_cutoff: delete only keyboards that were sent, or pressed, longest before this
                moment. That is noted to within nine days.

        Raises:
            SessionError: the storage is not a database, so nobody knows what it holds.
        """
        moment: datetime | None = None
        if isinstance(time_cutoff, datetime):
            moment = localized(time_cutoff, zone_of(self.bot))
        elif time_cutoff:
            moment = datetime.fromtimestamp(time_cutoff, timezone.utc)
        self.store.clear(moment)
        super().clear_callback_data(time_cutoff)


class CallbackDataStore:
    """Where keyboards are stored, for one bot.

    A keyboard is stored as soon as it is sent, not when its update ends: whoever sees a button may
    press it at once, and the update that has sent it may still fail.
    """

    def __init__(self, alias: str, storage: Storage, codec: ValueCodec) -> None:
        self._alias, self._storage = alias, Kept(storage)
        self.fragment: Fragment[Any] = Fragment(
            CALLBACK_DATA, nothing, keyboard_key, self._storage, codec, lazy=False
        )
        self._under_way: dict[asyncio.Task[object], str] = {}
        """By the task, the keyboard that is written."""
        self._begun: WeakKeyDictionary[Unit, list[asyncio.Task[object]]] = WeakKeyDictionary()
        """By the unit of an update or job, what its handlers have begun to write."""

    def save(self, keyboard: str, buttons: dict[str, Any]) -> None:
        """Begin to store what a keyboard's buttons stand for.

        Raises:
            SessionDataError: it cannot be stored.
        """
        unit = current.get()
        about = None if unit is None else unit.source.about(keyboard_key)
        value = self.fragment.codec.encode(buttons, {}, max_bytes())
        self._begin(keyboard, Record(value, revision=ANY, about=about))

    def delete(self, keyboard: str) -> None:
        """Begin to delete a keyboard."""
        self._begin(keyboard, Record(None, revision=ANY))

    def clear(self, before: datetime | None) -> None:
        """Begin to delete the keyboards that are there, or those last pressed before a moment.

        Raises:
            SessionError: the storage is not a database.
        """
        storage = self.fragment.innermost
        if not isinstance(storage, DatabaseStorage):
            raise SessionError(
                f"{type(storage).__name__} cannot be asked for all callback data of bot "
                f"{self._alias!r}, so it cannot be cleared. Use DatabaseStorage, or "
                "drop_callback_data()."
            )
        self._start("", self._clear(storage, before, [*self._under_way]))

    def is_saving(self, keyboard: str) -> bool:
        """Whether a keyboard is being written, so that reads do not find it yet."""
        return keyboard in self._under_way.values()

    async def settled(self, unit: Unit) -> None:
        """Return when what handlers of a unit have begun is done.

        Raises:
            Exception: the storage failed.
        """
        if tasks := self._begun.pop(unit.origin, None):
            await asyncio.gather(*tasks)

    def _begin(self, keyboard: str, record: Record) -> None:
        address = Address(self._alias, CALLBACK_DATA, keyboard)
        self._start(keyboard, self._storage.write_many([(address, record)]))

    def _start(self, keyboard: str, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.ensure_future(work)
        self._under_way[task] = keyboard
        task.add_done_callback(self._under_way.pop)
        unit = current.get()
        if unit is not None and not unit.origin.over:
            self._begun.setdefault(unit.origin, []).append(task)

    async def _clear(
        self, storage: DatabaseStorage, before: datetime | None, writes: list[asyncio.Task[object]]
    ) -> None:
        await asyncio.gather(*writes, return_exceptions=True)  # Who began them is told.
        rows = storage.model._default_manager.using(storage.using)
        rows = rows.filter(bot=self._alias, name=CALLBACK_DATA)
        if before is not None:
            rows = rows.filter(expires_at__lt=before + LIFE)
        await run(storage.using, partial(delete_rows, rows))


def keyboard_key(update: Update) -> str | None:
    """Return the id of the keyboard of which a button was pressed."""
    query = update.callback_query
    data = None if query is None else query.data
    return data[:ID_LENGTH] if isinstance(data, str) and len(data) == 2 * ID_LENGTH else None
