"""Taking a group's sessions along by hand, where the bot has missed that it is a supergroup now."""

from __future__ import annotations

from asgiref.sync import async_to_sync

from ..bots import get_bot
from ..editing import refuse_event_loop
from ..sources import FromKnownIds
from ..supergroups import MovingUnit
from ..unit import open_unit


def move_chat(bot: str, old: int, new: int) -> int:
    """Move a bot's sessions of the group ``old`` to the supergroup that it became, ``new``.

    A session that has another one under its new key already stays as it is. With a running bot in
    another process, handlers of the two chats that run at this moment may get a SessionConflict.

    Args:
        bot: the alias of a bot of the settings.
        old: the id of the group.
        new: the id of the supergroup.

    Returns:
        How many sessions were moved.

    Raises:
        ImproperlyConfigured: there is no such bot.
        SessionError: an event loop is running in this thread: use :func:`amove_chat`.
        Exception: a key function or a storage failed.
    """
    refuse_event_loop("move_chat", "amove_chat")
    return async_to_sync(amove_chat)(bot, old, new)


async def amove_chat(bot: str, old: int, new: int) -> int:
    """Do what :func:`move_chat` does, in asynchronous code."""
    declared, source = get_bot(bot), FromKnownIds({"chat": new})
    fragments = declared.fragments
    unit = MovingUnit(fragments, bot, source, old, new, lock=declared.lock, outer=open_unit())
    try:
        await unit.enter()
        if unit.error is not None:
            raise unit.error
        return unit.moved
    finally:
        unit.close()
