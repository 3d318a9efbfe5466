"""Giving stored sessions other addresses, in batches, with their keys held."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from asgiref.sync import async_to_sync, sync_to_async
from django.db import IntegrityError
from django.db.models import Q
from django.utils import timezone

from ..deleting import delete_rows
from ..due import coming_due
from ..exceptions import SessionLockTimeout
from ..incidents.writing import follow
from ..models import AbstractBotSession
from ..records import new_revision
from ..storages import Address
from .batches import Batch, Failure, at, unit_of_work, with_keys
from .changing import address_of
from .holding import PATIENCE_SECONDS, held, lock_of
from .versions import live
from .waiting import AMONG_OTHERS_SECONDS, waiting

BATCH_SIZE = 100
"""So many sessions are moved together, and held meanwhile."""
ATTEMPTS = 3

Columns: TypeAlias = "Mapping[str, Any]"


class Move(NamedTuple):
    """A session's way to another address."""

    source: Address
    target: Address
    also: Columns = MappingProxyType({})
    """What else is new in its row."""


MoveOf: TypeAlias = "Callable[[AbstractBotSession], Move | Failure | None]"


class Readdressing:
    """Gives the sessions of a table other addresses.

    One whose new address has a session already stays as it is, and is among the failures; so does
    one that a handler holds for long, or that somebody has locked. When a session was changed and
    when it expires stay as they are. Its revision is new, so a handler that was not held off cannot
    write to the old address.

    Args:
        concerned: which rows to look at.
        move: returns a row's way, or why it has none; ``None`` if it has its address already.
    """

    def __init__(
        self, model: type[AbstractBotSession], using: str, concerned: Q, move: MoveOf
    ) -> None:
        self._using = using
        self._rows = model._base_manager.using(using)
        self._concerned = self._rows.filter(concerned).order_by("pk")
        self._move = move

    def count(self) -> int:
        return int(self._concerned.count())

    def run(self, *, limit: int | None, batch_size: int, dry_run: bool) -> Iterator[Batch]:
        rows = self._concerned
        while limit is None or limit > 0:
            size = batch_size if limit is None else min(limit, batch_size)
            batch: list[Any] = unit_of_work(self._using, list, rows.defer("data")[:size])
            if not batch:
                return
            rows = self._concerned.filter(pk__gt=batch[-1].pk)
            moves, failures = self._ways(batch)
            if dry_run:
                free, others = self._parted(moves)
                done = len(free)
            else:
                done, others = self._held(moves)
            failures += others
            limit = None if limit is None else limit - done
            same = len(batch) - done - len(failures)
            yield Batch(done, tuple(failures), {"same": same} if same else {})

    def _ways(self, batch: Sequence[AbstractBotSession]) -> tuple[dict[Any, Move], list[Failure]]:
        """Return the ways by primary key, and who has none."""
        moves: dict[Any, Move] = {}
        failures: list[Failure] = []
        targets: set[Address] = set()
        for row in batch:
            move = self._move(row)
            if isinstance(move, Failure):
                failures.append(move)
            elif move is not None and move.target in targets:
                failures.append(taken(move))
            elif move is not None:
                targets.add(move.target)
                moves[row.pk] = move
        return moves, failures

    def _held(self, moves: Mapping[Any, Move]) -> tuple[int, list[Failure]]:
        """Move with the keys held, all together or, if one is busy or locked, each on its own."""
        try:
            return async_to_sync(self._hold_and_move)(moves) if moves else (0, [])
        except SessionLockTimeout:
            if len(moves) == 1:
                (move,) = moves.values()
                return 0, [Failure(move.source, f"It was busy for {PATIENCE_SECONDS:g} seconds.")]
        each = [self._held({pk: move}) for pk, move in moves.items()]
        return sum(done for done, _ in each), [f for _, failures in each for f in failures]

    async def _hold_and_move(self, moves: Mapping[Any, Move]) -> tuple[int, list[Failure]]:
        addresses = {a for move in moves.values() for a in (move.source, move.target)}
        async with held(addresses, self._using, lock_of(addresses)):
            return await sync_to_async(unit_of_work)(self._using, self._moved, moves)

    def _moved(self, moves: Mapping[Any, Move]) -> tuple[int, list[Failure]]:
        for _ in range(ATTEMPTS - 1):
            with suppress(IntegrityError):  # A session was made at a new address meanwhile.
                return self._moved_together(moves)
        return self._moved_together(moves)

    def _moved_together(self, moves: Mapping[Any, Move]) -> tuple[int, list[Failure]]:
        seconds = AMONG_OTHERS_SECONDS if len(moves) > 1 else PATIENCE_SECONDS
        with waiting(self._using, seconds):
            rows = with_keys(self._rows, list(moves)).order_by("pk").select_for_update()
            now = {row.pk: address_of(row) for row in rows.defer("data")}
            moves = {pk: move for pk, move in moves.items() if now.get(pk) == move.source}
            for there in at(self._rows, targets_of(moves)):
                delete_rows(there.filter(~coming_due(), expires_at__lte=timezone.now()))
            free, failures = self._parted(moves, locked=True)
            for columns, keys in by_columns(free).items():
                with_keys(self._rows, keys).update(**dict(columns), revision=new_revision())
            follow({move.source: move.target for move in free.values()})
        return len(free), failures

    def _parted(
        self, moves: Mapping[Any, Move], *, locked: bool = False
    ) -> tuple[dict[Any, Move], list[Failure]]:
        """Return the moves that can be made, and those whose targets are taken."""
        rows = self._rows.select_for_update() if locked else live(self._rows)
        there = {
            Address(*address)
            for some in at(rows, targets_of(moves))
            for address in some.order_by("pk").values_list("bot", "name", "key")
        }
        free = {pk: move for pk, move in moves.items() if move.target not in there}
        return free, [taken(move) for move in moves.values() if move.target in there]


def targets_of(moves: Mapping[Any, Move]) -> list[Address]:
    return [move.target for move in moves.values() if move.target != move.source]


def by_columns(moves: Mapping[Any, Move]) -> dict[frozenset[tuple[str, Any]], list[Any]]:
    """Return primary keys by what is new in their rows."""
    groups: dict[frozenset[tuple[str, Any]], list[Any]] = {}
    for pk, (source, target, also) in moves.items():
        new = {**target._asdict(), **also}
        old = source._asdict()
        columns = frozenset((n, value) for n, value in new.items() if old.get(n, ...) != value)
        groups.setdefault(columns, []).append(pk)
    return groups


def taken(move: Move) -> Failure:
    return Failure(move.source, f"There is another session {move.target}. Both stay as they are.")
