"""Which fragments ``user_data``, ``chat_data`` and ``bot_data`` are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from telegram import Bot, Update
from telegram.ext import ContextTypes, PersistenceInput

from ..codec import is_data_type
from ..declaration import Fragment
from ..due import KEPT
from ..keys import KeyFunction
from ..records import Record, Storage
from .merging import merged
from .values import TypedCodec, ValueCodec

USER_DATA: Final = f"{KEPT}user_data"
CHAT_DATA: Final = f"{KEPT}chat_data"
BOT_DATA: Final = f"{KEPT}bot_data"
THE_BOT: Final = "bot"
"""The key of ``bot_data``."""


def fragments_of(
    kept: PersistenceInput,
    types: ContextTypes[Any, Any, Any, Any],
    storage: Storage,
    bot: Callable[[], Bot | None],
    noted: Callable[[Record | None], object],
) -> Mapping[str, Fragment[Any]]:
    """Return the fragments of an update's data, by name.

    Args:
        kept: which of them there are.
        types: python-telegram-bot's, which name the classes of the data.
        bot: returns what Telegram's objects among the data get.
        noted: is told of each record of ``bot_data`` that was read or written.
    """
    declared: list[tuple[bool, str, KeyFunction, type[Any]]] = [
        (kept.user_data, USER_DATA, user_key, types.user_data),
        (kept.chat_data, CHAT_DATA, chat_key, types.chat_data),
        (kept.bot_data, BOT_DATA, bot_key, types.bot_data),
    ]
    return {
        name: Fragment(
            name,
            kind,
            function,
            storage,
            TypedCodec(kind) if is_data_type(kind) else ValueCodec(kind, bot=bot),
            lazy=False,
            is_held=name != BOT_DATA,
            key=THE_BOT if name == BOT_DATA else None,
            merge=merged,
            noted=noted if name == BOT_DATA else None,
            stores_initial=False,
        )
        for is_kept, name, function, kind in declared
        if is_kept
    }


def user_key(update: Update | None = None, *, user: int | None = None) -> str | None:
    """Return the key of ``user_data``, which python-telegram-bot keeps per ``effective_user``."""
    if update is not None:
        user = update.effective_user.id if update.effective_user else None
    return None if user is None else str(user)


def chat_key(update: Update | None = None, *, chat: int | None = None) -> str | None:
    """Return the key of ``chat_data``, which python-telegram-bot keeps per ``effective_chat``."""
    if update is not None:
        chat = update.effective_chat.id if update.effective_chat else None
    return None if chat is None else str(chat)


def bot_key(update: object = None) -> str:
    """Return the key of ``bot_data``, of which a bot has one."""
    return THE_BOT


def nothing() -> None:
    """Return what there is where nothing is stored."""
