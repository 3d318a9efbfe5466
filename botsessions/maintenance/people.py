"""What bots remember of a Telegram user: to give it out, and to erase it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from asgiref.sync import async_to_sync
from django.db.models import QuerySet

from ..bots import get_bot
from ..database.sessions_rows import from_column
from ..deleting import delete_rows
from ..editing import Edit, refuse_event_loop
from ..history import all_that_is_kept
from ..incidents.people import exported, of_user
from ..models import AbstractBotSession
from ..reading import UNREADABLE, strictly, value_of
from ..records import awaited
from ..sources import FromKey
from ..storages import Address, Record, Storage
from .batches import BATCH_SIZE
from .changing import delete_batch, in_batches
from .exporting import in_parts, iso, of_record, of_session
from .taking_part import Place, elsewhere, in_tables
from .unused import forget_history

audit = logging.getLogger("botsessions.audit")


def export_user(
    user_id: int, *, bot: str | None = None, using: str | None = None
) -> Iterator[dict[str, Any]]:
    """Yield every stored session in which a user takes part, ready to be dumped as JSON.

    That is what is still stored, so it may have expired. Nothing is masked. Storages that cannot
    list their sessions are looked at under the keys that the user's id gives.

    Args:
        user_id: Telegram's id of the user, which also is that of the private chat.
        bot: only of this alias.
        using: only in this database.

    Raises:
        SessionError: an event loop is running in this thread.
        ValueError: that is no user's id.
    """
    refuse_event_loop("export_user", "sync_to_async")
    for sessions in in_tables(user_id, bot, using):
        for part in in_parts(sessions):
            known = history_of(part)
            for session in part:
                yield of_session(session) | known.get(session.pk, {})
    for _, address, record in stored_elsewhere(user_id, bot, using):
        yield of_record(address, record)


def history_of(sessions: Sequence[AbstractBotSession]) -> dict[Any, dict[str, Any]]:
    """Return what is kept of sessions of one table, by primary key, for export."""
    found: dict[Any, dict[str, Any]] = {}
    if sessions:
        rows = type(sessions[0])._default_manager.using(sessions[0]._state.db)
        kept = all_that_is_kept(rows.filter(pk__in=[session.pk for session in sessions]))
        for entry in kept.order_by("-pk"):
            history = found.setdefault(entry.session_id, {"history": []})["history"]
            data = strictly(value_of(entry.data))
            known = {"unreadable": entry.data} if data is UNREADABLE else {"data": data}
            history.append({"changed": iso(from_column(entry.at)), **known})
    return found


def export_incidents(
    user_id: int, *, bot: str | None = None, using: str | None = None
) -> Iterator[dict[str, Any]]:
    """Yield what went wrong with a user's sessions lately, ready to be dumped as JSON.

    See :func:`export_user`.
    """
    refuse_event_loop("export_incidents", "sync_to_async")
    return exported(of_user(user_id, bot, using))


def count_user(user_id: int, *, bot: str | None = None, using: str | None = None) -> int:
    """Return how many sessions :func:`forget_user` would erase."""
    refuse_event_loop("count_user", "sync_to_async")
    in_database = sum(sessions.count() for sessions in in_tables(user_id, bot, using))
    return in_database + len(list(stored_elsewhere(user_id, bot, using)))


def forget_user(
    user_id: int,
    *,
    bot: str | None = None,
    using: str | None = None,
    batch_size: int = BATCH_SIZE,
) -> int:
    """Erase every session in which a user takes part; return how many there were.

    Incidents of this user go with them.

    A handler that runs meanwhile cannot write back what it has read: it gets a SessionConflict.
    The logger ``botsessions.audit`` is told how many sessions of which bots were erased, not whose.

    Args:
        batch_size: how many sessions a transaction erases.

    See :func:`export_user` for the others.
    """
    refuse_event_loop("forget_user", "sync_to_async")
    count = erase(user_id, bot=bot, using=using, batch_size=batch_size)
    forget_those_gone(using)
    return count


def erase(
    user_id: int,
    *,
    bot: str | None = None,
    using: str | None = None,
    batch_size: int = BATCH_SIZE,
) -> int:
    """Do what :func:`forget_user` does; :func:`forget_those_gone` is left, for several users."""
    erased: Counter[tuple[str, str]] = Counter()
    try:
        of_table = groupby(in_tables(user_id, bot, using), lambda found: (found.model, found.db))
        for (model, alias), found in of_table:
            rows = model._default_manager.using(alias).all()
            for batch in batches(list(found), batch_size):
                for _ in in_batches(rows, delete_batch, [[pk for pk, *_ in batch]]):
                    pass
                erased.update((of_bot, name) for _, of_bot, name in batch)
        for place, address, _ in stored_elsewhere(user_id, bot, using):
            lock = get_bot(place.bot).lock
            edit = Edit[Any](place.fragment, place.bot, FromKey(address.key), lock, read=False)
            with edit:
                edit.data = None
            erased[place.bot, place.fragment.name] += 1
        delete_rows(of_user(user_id, bot, using))
    finally:
        audit.info(sentence(erased))
    return erased.total()


def batches(found: list[QuerySet[Any]], size: int) -> Iterator[list[tuple[Any, str, str]]]:
    """Yield primary key, bot and fragment of what some query sets of a table find."""
    columns = ("pk", "bot", "name")
    each = later = [sessions.order_by().values_list(*columns) for sessions in found]
    while batch := list(later[0].union(*later[1:]).order_by("pk")[:size]):
        yield batch
        if len(batch) < size:
            return
        later = [sessions.filter(pk__gt=batch[-1][0]) for sessions in each]


def forget_those_gone(using: str | None = None) -> None:
    """Erase what is kept of sessions that are gone: of them nobody knows whose they were."""
    for _ in forget_history(using):
        pass


def not_searched(*, bot: str | None = None, using: str | None = None) -> list[str]:
    """Return, for people, where sessions cannot be searched for a user.

    There only those are found that the user's id alone leads to.
    """
    return [str(place) for place in elsewhere(bot, using)]


def sentence(erased: Counter[tuple[str, str]]) -> str:
    counts = [
        f"{count} of bot {bot!r}" + (f", fragment {name!r}" if name else "")
        for (bot, name), count in sorted(erased.items())
    ]
    return f"Sessions of a user were erased: {'; '.join(counts) or 'there were none'}."


def stored_elsewhere(
    user_id: int, bot: str | None, using: str | None
) -> Iterator[tuple[Place, Address, Record]]:
    """Yield what is stored outside the database under the keys that the user's id gives."""
    for place in elsewhere(bot, using):
        address = place.address(user_id)
        record = address and async_to_sync(read)(place.fragment.innermost, address)
        if address and record:
            yield place, address, record


async def read(storage: Storage, address: Address) -> Record | None:
    record: Record | None = await awaited(storage.read, address)
    return record
