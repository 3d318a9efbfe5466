"""Doing what has come due, where no bot that runs has done it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import timedelta
from typing import Any, NamedTuple

from asgiref.sync import async_to_sync, sync_to_async
from django.utils import timezone

from ..bots import Bot, all_bots
from ..callbacks import callback_of, storage_of_jobs
from ..database.storage import DatabaseStorage
from ..due import CONVERSATION, coming_due, is_job
from ..exceptions import SessionError
from ..ptb import SessionApplication
from ..ptb.builder import build_application
from ..ptb.lifecycle import end, initialize
from ..ptb.registry import application_here
from ..records import Address
from ..storages.layers import peel

LATE = timedelta(seconds=10)
"""A bot that runs has done by then what is due."""


class WasDue(NamedTuple):
    """What became of what was due of a bot."""

    bot: str
    done: int
    """So many jobs and conversations."""
    error: Exception | None
    """Why something is left, if it is."""


def do_what_is_due(bot: str | None = None, using: str | None = None) -> Iterator[WasDue]:
    """Run stored jobs that are due, and end conversations whose timeout is over.

    Args:
        bot: only of the bot of this alias.
        using: only in this database.

    Yields:
        What became of it, for each bot that had something.
    """
    for alias, declared in all_bots().items():
        if bot in (None, alias) and any(names_due(declared, using)):
            done, error = 0, None
            try:
                done, known = async_to_sync(do_for)(declared)
                for name in names_due(declared, using):
                    refuse_unknown(Address(alias, name, ""), known)
            except Exception as exc:
                error = exc
            yield WasDue(alias, done, error)


def names_due(bot: Bot, using: str | None) -> list[str]:
    """Return the fragments of a bot in which something is due that no running bot has done."""
    names: set[str] = set()
    for storage in storages_of(bot):
        if using in (None, storage.using):
            rows = storage.model._default_manager.using(storage.using)
            due = rows.filter(coming_due(), bot=bot.alias, expires_at__lte=timezone.now() - LATE)
            names.update(due.values_list("name", flat=True).distinct())
    return sorted(names)


def refuse_unknown(left: Address, known: Collection[str]) -> None:
    """Raise SessionError if the code has nothing (any more) that does what is left of a fragment.

    Args:
        known: the fragments of conversations with timeouts.
    """
    if is_job(left.name):
        callback_of(left)
    elif left.name not in known:
        raise SessionError(
            f"The timeout of conversations {left.name.removeprefix(CONVERSATION)!r} of bot "
            f"{left.bot!r} is over, but the code has no ConversationHandler of that name with a "
            "conversation_timeout (any more). They stay stored. Give it back to the code, or "
            "delete the conversations in the admin."
        )


def storages_of(bot: Bot) -> set[DatabaseStorage]:
    """Return where something of a bot may come due."""
    if bot.is_elsewhere:
        return set()
    kept: Any = getattr(bot.persistence, "storage", None)
    found = {storage_of_jobs(bot.fragments), peel(kept)[1]}
    return {storage for storage in found if isinstance(storage, DatabaseStorage)}


async def do_for(bot: Bot) -> tuple[int, set[str]]:
    """Do it by the bot's application that runs in this event loop, or by one that is run for it.

    Returns how much was done, and the names of what it has looked for.
    """
    application = application_here(bot.alias)
    if application is not None:
        await application.initialize()
        return await application.lookout().look_to_the_end(), names_of(application)
    # In a thread, because the author's function may use the database.
    application = await sync_to_async(build_application)(bot)
    application.looks_by_itself = False
    application.runs_here = lambda job: False  # Its job queue's are for those that run it for long.
    try:
        await initialize(application)
        await application.start()
        return await application.do_what_is_due(), names_of(application)
    finally:
        await end(application)


def names_of(application: SessionApplication) -> set[str]:
    return {one.name for one in application.watched()}
