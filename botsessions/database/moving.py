"""Giving rows other keys: what :class:`MovingStorage` asks for, in a table."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, transaction
from django.db.models import Case, Q, Value, When
from django.utils import timezone

from ..due import comes_due
from ..records import About, Address, Move, new_revision
from .sessions_table import Table

if TYPE_CHECKING:
    from ..models import AbstractBotSession

BATCH_SIZE = 500
ATTEMPTS = 3
CONCERNS = ("bot", "name", "key", "expires_at")


def of_chat(table: Table, bot: str, chat_id: int) -> dict[Address, About]:
    rows = table.model._default_manager.using(table.using).filter(bot=bot, chat_id=chat_id)
    return {
        Address(bot, name, key): About(chat_id, user_id)
        for name, key, user_id in rows.values_list("name", "key", "user_id")
    }


def about(table: Table, address: Address) -> About | None:
    rows = table.model._default_manager.using(table.using).filter(**address._asdict())
    found = rows.values_list("chat_id", "user_id").first()
    return found and About(*found)


def move(table: Table, moves: Sequence[Move]) -> int:
    """Make all moves in one transaction; return how many there were to be made."""
    for _ in range(ATTEMPTS - 1):
        with suppress(IntegrityError):  # A session was made under a new key meanwhile: it counts.
            return move_together(table, moves)
    return move_together(table, moves)


def move_together(table: Table, moves: Sequence[Move]) -> int:
    with transaction.atomic(using=table.using):
        batches = (moves[start : start + BATCH_SIZE] for start in range(0, len(moves), BATCH_SIZE))
        return sum(move_batch(table, batch) for batch in batches)


def move_batch(table: Table, moves: Sequence[Move]) -> int:
    rows = table.model._default_manager.using(table.using)
    concerned = rows.select_for_update().filter(at(moves)).order_by("pk").only(*CONCERNS)
    stored = {Address(s.bot, s.name, s.key): s for s in concerned}
    moving: dict[About, dict[Any, str]] = {}
    replaced = []
    for move in moves:
        session, there = stored.get(move.address), stored.get(move.target)
        if session is None or not is_live(session) or (there is not None and is_live(there)):
            continue
        if there is not None:
            replaced.append(there.pk)
        moving.setdefault(move.about, {})[session.pk] = move.key
    if replaced:
        rows.filter(pk__in=replaced).delete()
    for about, keys in moving.items():
        rows.filter(pk__in=keys).update(
            key=Case(*(When(pk=pk, then=Value(key)) for pk, key in keys.items())),
            revision=new_revision(),
            **about.known(),
        )
    return sum(map(len, moving.values()))


def at(moves: Sequence[Move]) -> Q:
    """Return the condition for a session at an old or a new address."""
    keys: dict[tuple[str, str], list[str]] = {}
    for move in moves:
        keys.setdefault(move.address[:2], []).extend([move.address.key, move.key])
    return reduce(or_, (Q(bot=bot, name=name, key__in=k) for (bot, name), k in keys.items()))


def is_live(session: AbstractBotSession) -> bool:
    if comes_due(session.name):
        return True
    return session.expires_at is None or session.expires_at > timezone.now()
