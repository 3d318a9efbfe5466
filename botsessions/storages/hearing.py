"""What ``on_expire`` is given."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from ..records import About, Address, Record, Storage, awaited

if TYPE_CHECKING:
    from telegram.ext import ExtBot

OnExpire: TypeAlias = "Callable[..., object]"
"""A function of key and data and, if it takes three, an :class:`ExpiryContext`."""


@dataclass(frozen=True)
class ExpiryContext:
    """Whose session has expired, and the bot to tell them."""

    bot: ExtBot[Any]
    """python-telegram-bot's, ready to send messages."""
    alias: str
    """The bot's, or its id if it is not in the settings."""
    name: str
    """The fragment's, empty in a single session."""
    chat_id: int | None
    """That of the session's chat, if the storage knows it."""
    user_id: int | None
    """That of the session's user, if the storage knows it."""


Reach: TypeAlias = "Callable[[str], AbstractAsyncContextManager[ExtBot[Any]]]"
"""From an alias to its bot, which can be used while that is entered."""

_reach: Reach | None = None


def reach_bots_by(function: Reach) -> None:
    """Let bots be reached by those who know python-telegram-bot."""
    global _reach
    _reach = function


async def tell_author(
    on_expire: OnExpire, storage: Storage, address: Address, record: Record
) -> None:
    if not takes_context(on_expire):
        await awaited(on_expire, address.key, record.expired)
        return
    about = record.about or await about_of(storage, address) or About()
    assert _reach is not None
    async with _reach(address.bot) as bot:
        context = ExpiryContext(bot, address.bot, address.name, about.chat_id, about.user_id)
        await awaited(on_expire, address.key, record.expired, context)


async def about_of(storage: Storage, address: Address) -> About | None:
    about = getattr(storage, "about", None)
    return None if about is None else await awaited(about, address)


def takes_context(on_expire: OnExpire) -> bool:
    """Whether a function takes a third argument; what takes anything gets key and data."""
    try:
        parameters = inspect.signature(on_expire).parameters.values()
    except (TypeError, ValueError):
        return False
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in kinds and p.default is p.empty for p in parameters) == 3
