"""Looking for what has come due among a bot's stored records, and having it done."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from datetime import timedelta
from functools import partial, reduce
from operator import or_
from typing import Any, NamedTuple

from django.db.models import Q, TextField, Value
from django.db.models.functions import Cast, Coalesce
from django.utils import timezone

from .busy import busy
from .database.connections import run
from .database.storage import DatabaseStorage
from .records import Address, all_of, stored_value

logger = logging.getLogger(__name__)

FEWEST_SECONDS, MOST_SECONDS = 0.2, 5.0
"""So often a running bot looks for what has come due."""
AT_ONCE = 50
"""So much is done at the same time, in one process."""
RECENT = timedelta(minutes=2)
"""What has come due before is looked for once a minute: it may stand behind many sessions that
have expired and are not swept yet."""
ALL_SECONDS = 60.0
BUSY_SECONDS = 2.0
"""So long what somebody else is doing is left alone."""
FAILED_SECONDS = 60.0
"""So long what could not be done is left alone."""


class Due(NamedTuple):
    """A record whose time has come."""

    pk: Any
    name: str
    """Its fragment's."""
    key: str
    stored: Any


class NotNow(Exception):
    """It cannot be done now.

    Args:
        seconds: for how long it is to be left alone.
        whole_fragment: whether that goes for all of its fragment.
    """

    def __init__(self, seconds: float = FAILED_SECONDS, *, whole_fragment: bool = False) -> None:
        super().__init__(seconds)
        self.seconds = seconds
        self.whole_fragment = whole_fragment


class Watched(NamedTuple):
    """What is looked for."""

    storage: DatabaseStorage
    name: str
    """The fragment's, or what the names of several begin with."""
    do: Callable[[Due], Awaitable[None]]
    """Does what is to be done, unless another process has; it may raise :class:`NotNow`."""
    seconds: float
    """So late it may be done, if nothing else keeps it."""
    begins: bool = False
    """Whether the name is what others begin with."""

    @property
    def condition(self) -> Q:
        return Q(name__startswith=self.name) if self.begins else Q(name=self.name)

    def includes(self, due: Due) -> bool:
        return due.name.startswith(self.name) if self.begins else due.name == self.name


class Lookout:
    """Has done what comes due, as long as a bot runs.

    Of several processes that look for the same, the one that gets the key does it.
    """

    def __init__(self, bot: str, watched: Iterable[Watched]) -> None:
        self._bot = bot
        self._shelves: dict[DatabaseStorage, Shelf] = {}
        self._pause = MOST_SECONDS
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._started = False
        for one in watched:
            self.watch(one)

    def watch(self, one: Watched) -> None:
        """Look for this, too, in place of what had its name."""
        if one.storage not in self._shelves:
            self._shelves[one.storage] = Shelf(self._bot, one.storage)
            if self._started:
                self._begin(self._shelves[one.storage])
        shelf = self._shelves[one.storage]
        shelf.watched = [*(other for other in shelf.watched if other.name != one.name), one]
        self._pause = min(self._pause, max(FEWEST_SECONDS, one.seconds))

    def unwatch(self, name: str) -> None:
        """Look no longer for what has this name."""
        for shelf in self._shelves.values():
            shelf.watched = [one for one in shelf.watched if one.name != name]

    def start(self) -> None:
        self._started = True
        for shelf in self._shelves.values():
            self._begin(shelf)

    def _begin(self, shelf: Shelf) -> None:
        # One table's database may be slow or down while others are not.
        self._tasks.append(asyncio.create_task(self._run(shelf)))

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    async def stop(self) -> None:
        """Return when what has begun has ended."""
        self._stopping.set()
        await asyncio.gather(*self._tasks)
        await self._end()

    async def look_to_the_end(self) -> int:
        """Do all that is due now; return how much that was."""
        before = self._done
        while await self.look():
            pass
        return self._done - before

    @property
    def _done(self) -> int:
        return sum(shelf.done for shelf in self._shelves.values())

    async def look(self) -> bool:
        """Do some of what is due now, to the end; return whether there may be more."""
        try:
            return any(await all_of(shelf.begin(is_all=True) for shelf in self._shelves.values()))
        finally:
            await self._end()

    async def _run(self, shelf: Shelf) -> None:
        while not self._stopping.is_set():
            more = False
            try:
                more = await shelf.begin()
            except Exception:
                logger.exception("Bot %r cannot look for what is due.", self._bot)
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(
                    self._stopping.wait(), FEWEST_SECONDS if more else self._pause
                )

    async def _end(self) -> None:
        tasks = [task for shelf in self._shelves.values() for task in shelf.tasks]
        await asyncio.gather(*tasks)


class Shelf:
    """What is looked for in one table."""

    def __init__(self, bot: str, storage: DatabaseStorage) -> None:
        self.watched: list[Watched] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.done = 0
        self._bot, self._storage = bot, storage
        self._left: dict[Any, float] = {}
        """By primary key, until when a record is left alone, by the monotonic clock."""
        self._left_fragments: dict[str, float] = {}
        """By name."""
        self._all_at = -math.inf

    async def begin(self, *, is_all: bool = False) -> bool:
        """Begin with what is due now; return whether there may be more.

        Args:
            is_all: also with what has come due long ago.
        """
        room = AT_ONCE - len(self.tasks)
        if not self.watched:
            return False
        if room <= 0:
            return True
        now = time.monotonic()
        over = [pk for pk, until in self._left.items() if until <= now]
        for pk in over:
            del self._left[pk]
        names = [name for name, until in self._left_fragments.items() if until > now]
        is_all = is_all or bool(over) or now - self._all_at >= ALL_SECONDS
        wanted = self._wanted(is_all) & ~Q(name__in=names) & ~Q(pk__in=list(self._left))
        found = await run(self._storage.using, partial(self._found, wanted, room))
        if is_all and len(found) < room:
            self._all_at = now
        for due, is_busy in found:
            if due.pk in self._left:  # Somebody else has looked meanwhile.
                continue
            self._left[due.pk] = now + BUSY_SECONDS if is_busy else math.inf
            if not is_busy:
                task = asyncio.create_task(self._do(due))
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)
        return len(found) == room

    def _wanted(self, is_all: bool) -> Q:
        """Return the condition for what is due now."""
        now = timezone.now()  # As USE_TZ wants it.
        wanted = Q(of_bot=self._bot, expires_at__lte=now)
        if not is_all:
            wanted &= Q(expires_at__gt=now - RECENT)
        return wanted & reduce(or_, (one.condition for one in self.watched))

    def _found(self, wanted: Q, most: int) -> list[tuple[Due, bool]]:
        """Return what is due, and whether somebody is busy with it."""
        rows = self._storage.model._default_manager.using(self._storage.using)
        # The index of bots, which would lead to all of its sessions, knows nothing of this.
        rows = rows.alias(of_bot=Coalesce("bot", Value(""))).filter(wanted)
        some = rows.order_by("expires_at").annotate(text=Cast("data", TextField()))
        found = [
            Due(pk, name, key, stored_value(text))
            for pk, name, key, text in some.values_list("pk", "name", "key", "text")[:most]
        ]
        addresses = [Address(self._bot, due.name, due.key) for due in found]
        held = busy(addresses, self._storage.using) if found else ()
        return [(due, address in held) for due, address in zip(found, addresses, strict=True)]

    async def _do(self, due: Due) -> None:
        try:
            for one in self.watched:
                if one.includes(due):
                    await one.do(due)
                    break
        except NotNow as exc:
            self._left[due.pk] = time.monotonic() + exc.seconds
            if exc.whole_fragment:
                self._left_fragments[due.name] = self._left[due.pk]
        except (Exception, asyncio.CancelledError):  # Of its own: nobody cancels these tasks.
            self._left[due.pk] = time.monotonic() + FAILED_SECONDS
            what = Address(self._bot, due.name, due.key)
            logger.exception("What was due was not done: session %s.", what)
        else:
            self.done += 1
            del self._left[due.pk]
