"""What buttons stand for (``arbitrary_callback_data``): a row for each keyboard."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace
from telegram import CallbackQuery, InlineKeyboardMarkup, Update
from telegram.ext import CallbackDataCache
from telegram.ext._callbackdatacache import _KeyboardData

from ..conf import max_bytes
from ..data import Data
from ..declaration import Fragment
from ..records import ANY, Address, Record, Storage, utcnow
from ..storages.layers import WrappedStorage, write_all
from ..unit import current
from .values import ValueCodec

if TYPE_CHECKING:
    from datetime import datetime

CALLBACK_DATA: Final = "ptb:callback_data"
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
        if buttons is not None and data.address is not None:
            known = _KeyboardData(data.address.key, button_data=buttons)
            self._keyboard_data[data.address.key] = known
        if update.callback_query is not None:
            super().process_callback_query(update.callback_query)

    def drop_data(self, callback_query: CallbackQuery) -> None:
        """Delete what the buttons of a query's keyboard stand for; see PTB."""
        keyboard = self._callback_queries.get(callback_query.id)
        super().drop_data(callback_query)
        if keyboard is not None:
            self.store.delete(keyboard)


class CallbackDataStore:
    """Where keyboards are stored, for one bot.

    A keyboard is stored as soon as it is sent, not when its update ends: whoever sees a button may
    press it at once, and the update that has sent it may still fail.
    """

    def __init__(self, alias: str, fragment: Fragment[Any]) -> None:
        self.fragment = fragment
        self._alias = alias
        self._under_way: set[asyncio.Task[None]] = set()

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

    async def settled(self) -> None:
        """Return when what has begun is done.

        Raises:
            Exception: the storage failed.
        """
        if self._under_way:
            await asyncio.gather(*self._under_way)

    def _begin(self, keyboard: str, record: Record) -> None:
        task = asyncio.ensure_future(
            self._write(Address(self._alias, CALLBACK_DATA, keyboard), record)
        )
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _write(self, address: Address, record: Record) -> None:
        (outcome,) = await write_all([(self.fragment.storage, address, record)])
        if isinstance(outcome, Exception):
            raise outcome


def fragment_of(storage: Storage, codec: ValueCodec) -> Fragment[Any]:
    return Fragment(CALLBACK_DATA, nothing, keyboard_key, Kept(storage), codec, lazy=False)


def nothing() -> None:
    """Return what is known of a keyboard that is not stored."""


def keyboard_key(update: Update) -> str | None:
    """Return the id of the keyboard of which a button was pressed."""
    query = update.callback_query
    data = None if query is None else query.data
    return data[:ID_LENGTH] if isinstance(data, str) and len(data) == 2 * ID_LENGTH else None
