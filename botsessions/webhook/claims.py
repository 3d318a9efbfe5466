"""Who handles an update: one process, once, however often Telegram delivers it.

A claim costs one statement, and so does the note that the update was handled. What waits at the
same moment shares both.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from functools import partial
from typing import Any

from django.db import IntegrityError, router
from django.db.models import QuerySet
from django.db.models.functions import Now

from ..database.connections import run
from ..deleting import delete_rows
from ..models import HandledUpdate
from ..records import new_revision

CLAIM_SECONDS = 10.0
"""After so long the claim of a process that died may be taken over."""
RENEWAL_SECONDS = 3.0
"""So often the claims of what is being handled for longer are renewed."""
PATIENCE_SECONDS = 20.0
"""So long a delivery waits for another process that handles the same update."""
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0


@dataclass(frozen=True, slots=True)
class Claim:
    """A process's claim on an update."""

    bot: str
    update_id: int
    number: int = field(default_factory=new_revision)


class State(Enum):
    """What has become of a wish to claim."""

    CLAIMED = 1
    CLAIMED_BY_ANOTHER = 2
    HANDLED = 3


class Claims:
    """The claims of this process, all on one event loop."""

    def __init__(self) -> None:
        self._using = using = router.db_for_write(HandledUpdate)
        self._claiming = Gathering(using, partial(claim_all, using))
        self._noting = Gathering(using, partial(note_handled, using))
        self._held: dict[Claim, float] = {}
        """Claims, and until when they hold by this process's clock."""

    async def claim(self, bot: str, update_id: int) -> Claim | None:
        """Claim an update; return ``None`` if it was handled before.

        Raises:
            TimeoutError: another process has been handling it for long.
            DatabaseError: it cannot be claimed.
        """
        claim = Claim(bot, update_id)
        state = await self._attempt(claim, self._claiming.request)
        end, pause = time.monotonic() + PATIENCE_SECONDS, FIRST_PAUSE
        while state is State.CLAIMED_BY_ANOTHER:
            if time.monotonic() >= end:
                raise TimeoutError(f"Another process is still handling update {update_id}.")
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            state = await self.take_over(claim)
        return claim if state is State.CLAIMED else None

    async def take_over(self, claim: Claim) -> State:
        """Claim what has probably been claimed before, if nobody has it now."""
        return await self._attempt(claim, lambda c: self._on_thread(partial(take_over, c)))

    async def note_handled(self, claim: Claim) -> None:
        """Note that what was claimed is handled."""
        del self._held[claim]
        await self._noting.request(claim)

    async def release(self, claim: Claim) -> None:
        """Let somebody else handle it."""
        self.abandon(claim)
        await self._on_thread(lambda using: delete_rows(rows_of(using, [claim])))

    def abandon(self, claim: Claim) -> None:
        """Let a claim lapse."""
        self._held.pop(claim, None)

    def holds(self, claim: Claim) -> bool:
        """Whether nobody can have taken over a claim."""
        return self._held.get(claim, 0) > time.monotonic()

    async def renew(self) -> None:
        """Renew the claims that are not new any more."""
        now = time.monotonic()
        old = [c for c, end in self._held.items() if end < now + CLAIM_SECONDS - RENEWAL_SECONDS]
        if old:
            renewed = await self._on_thread(partial(renew, old))
            for claim in renewed & self._held.keys():
                self._held[claim] = now + CLAIM_SECONDS

    async def _attempt(self, claim: Claim, request: Callable[[Claim], Awaitable[State]]) -> State:
        now = time.monotonic()
        state = await request(claim)
        if state is State.CLAIMED:
            self._held[claim] = now + CLAIM_SECONDS
        return state

    async def _on_thread(self, statements: Callable[[str], Any]) -> Any:
        return await run(self._using, lambda: statements(self._using))


class Gathering:
    """Claims that go to the database together: those that come while others are under way."""

    def __init__(self, using: str, perform: Callable[[Sequence[Claim]], Sequence[Any]]) -> None:
        self._using = using
        self._perform = perform
        self._waiting: list[tuple[Claim, asyncio.Future[Any]]] = []
        self._task: asyncio.Task[None] | None = None

    async def request(self, claim: Claim) -> Any:
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((claim, future))
        if self._task is None:
            self._task = asyncio.create_task(self._work_off())
        return await future

    async def _work_off(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            claims = [claim for claim, _ in batch]
            try:
                outcomes = await run(self._using, partial(self._perform, claims))
            except Exception as exc:
                settle([(future, exc) for _, future in batch])
            else:
                settle(zip([future for _, future in batch], outcomes, strict=True))
        self._task = None


def settle(outcomes: Iterable[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, outcome in outcomes:
        if future.done():
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


def claim_all(using: str, claims: Sequence[Claim], again: bool = False) -> list[State]:
    """Claim updates by new rows; those that have one already are looked at one by one."""
    rows = [
        HandledUpdate(bot=c.bot, update_id=c.update_id, claim=c.number, claimed_until=in_a_while())
        for c in claims
    ]
    try:
        if len(rows) == 1:  # Without the transaction that bulk_create() begins.
            rows[0].save(force_insert=True, using=using)
        else:
            HandledUpdate._default_manager.using(using).bulk_create(rows)
    except IntegrityError:
        if len(claims) == 1:
            return [look_at(claims[0], using) or State.CLAIMED_BY_ANOTHER]
        return [state for claim in claims for state in claim_all(using, [claim])]
    return [State.CLAIMED] * len(claims)


def take_over(claim: Claim, using: str) -> State:
    """Claim an update that probably has a row."""
    return look_at(claim, using) or claim_all(using, [claim])[0]


def look_at(claim: Claim, using: str) -> State | None:
    """Claim an update whose claim has lapsed; ``None`` if it has no row."""
    rows = HandledUpdate._default_manager.using(using).filter(
        bot=claim.bot, update_id=claim.update_id
    )
    lapsed = rows.filter(handled_at=None, claimed_until__lt=Now())
    if lapsed.update(claim=claim.number, claimed_until=in_a_while()):
        return State.CLAIMED
    stored = rows.values_list("claim", "handled_at").first()
    if stored is None:
        return None
    number, handled_at = stored
    if handled_at is not None:
        return State.HANDLED
    # It is ours where the answer to an earlier attempt was lost.
    return State.CLAIMED if number == claim.number else State.CLAIMED_BY_ANOTHER


def note_handled(using: str, claims: Sequence[Claim]) -> list[None]:
    rows_of(using, claims).update(handled_at=Now())
    return [None] * len(claims)


def renew(claims: Sequence[Claim], using: str) -> set[Claim]:
    """Renew claims; return those that nobody has taken over."""
    rows = rows_of(using, claims)
    if rows.update(claimed_until=in_a_while()) == len(claims):
        return set(claims)
    left = set(rows.values_list("claim", flat=True))
    return {claim for claim in claims if claim.number in left}


def rows_of(using: str, claims: Iterable[Claim]) -> QuerySet[HandledUpdate]:
    claims = list(claims)
    return HandledUpdate._default_manager.using(using).filter(
        bot__in={claim.bot for claim in claims},
        update_id__in=[claim.update_id for claim in claims],
        claim__in=[claim.number for claim in claims],
    )


def in_a_while() -> Any:
    return Now() + timedelta(seconds=CLAIM_SECONDS)
