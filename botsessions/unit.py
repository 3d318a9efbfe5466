"""One update's life with its session: hold its keys, load, let the handlers run, save, release.

Jobs and edits from outside are units of work, too, and have the same life.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

from .contents import Contents
from .data import OVER, Data
from .database.claims import Claim
from .declaration import Fragment
from .exceptions import SessionClosed, SessionError, SessionLockTimeout, SessionStorageError
from .exchange import Exchange
from .failures import Failure, tell
from .holding import Hold
from .locks import Ticket
from .moments import Moment, this_moment
from .records import Address
from .sources import Source
from .storages.expiry import being_told

current: ContextVar[Unit | None] = ContextVar("botsessions_unit", default=None)
"""The unit of work that the running code belongs to. It leaks into tasks, jobs and threads that the
code starts, so one that is found here may be over."""


class KeyHolder:
    """What a unit of work is for, and its keys.

    One that ``holds`` has its keys for itself once it is entered. Keys that the code around holds
    are joined: it works on the same data. One that does not hold belongs to code that runs beside
    others; see :mod:`.beside`.

    Args:
        outer: the unit whose code this one runs in, if that is not over.
        origin: the unit of the update, for code that runs beside its handlers.
        kept: keys that the running transaction keeps.
        patience: how long to wait for the keys, in seconds; ``None``: as long as a handler takes.
        claim: on the update, if that came by webhook.
    """

    comes_first = False
    """Whether its keys are to be held before anything else is done."""

    def __init__(
        self,
        fragments: Mapping[str, Fragment[Any]],
        bot: str,
        source: Source,
        *,
        lock: str = "process",
        holds: bool = True,
        outer: Unit | None = None,
        origin: Unit | None = None,
        kept: Sequence[Ticket] = (),
        patience: float | None = None,
        claim: Claim | None = None,
    ) -> None:
        self.fragments, self.bot, self.source, self.lock = fragments, bot, source, lock
        self.holds, self.outer, self._origin = holds, outer, origin
        self.subjects: list[object] = [source.subject]
        """The update or job that the unit is for."""
        self.error: Exception | None = None
        """Why there is no session: the error of the key function, the lock or the storage."""
        self.opened = False
        """Whether handlers may have seen the session, or why there is none."""
        self.contents = Contents(fragments)
        around = () if outer is None else [unit._hold for unit in enclosing(outer)]
        self._hold: Hold = Hold(around, kept, patience)
        self.exchange = Exchange(self.contents, self._hold, lock, claim, source.by)
        self.loop: asyncio.AbstractEventLoop | None = None
        """Where its keys were asked for."""
        self._entered = False

    def is_for(self, *subjects: object) -> bool:
        """Whether the unit belongs to one of these updates or jobs."""
        return any(s is not None and s is t for s in subjects for t in self.subjects)

    async def enter(self) -> None:
        """Find the keys and, if the unit holds, wait for them. An error is kept for later."""
        if self._entered:
            return
        self._entered, self.loop = True, asyncio.get_running_loop()
        if self.error is None:
            try:
                await self.find_keys()
                if self.holds:
                    if self.outer is not None:
                        self.contents.join(enclosing(self.outer))
                    if wanted := self._hold.missing(self.addresses):
                        await self._hold.acquire(wanted, self.wanted_besides, self.exchange.using)
            except Exception as exc:
                self.error, self.opened = exc, True

    async def find_keys(self) -> None:
        """Ask the key functions.

        Raises:
            Exception: one failed, or its key cannot be used.
        """
        await self.contents.find(self.bot, self.source)
        if self.holds and self.lock == "process":
            for data in self.contents.own:
                data.expecting = self.exchange.outlive

    def wanted_besides(self, wanted: Collection[Any]) -> Iterable[Address]:
        """Return what else to wait for, of the keys that somebody holds or waits for.

        While somebody gives a chat's sessions other keys, that is the whole chat.
        """
        whole = whole_chat(self.bot, self.source.chat_id)
        # Code that holds a key already does not: it may be what that waits for.
        return [whole] if whole in wanted and self._hold.held_around is None else []

    @property
    def addresses(self) -> list[Address]:
        """The keys that it is to hold."""
        return self.contents.addresses

    @property
    def held(self) -> Collection[Any]:
        """The keys that this unit holds itself, and those that its transaction keeps."""
        return self._hold.keys

    def shared(self, address: Address | None) -> Data[Any] | None:
        """Return the data of an address that is held, for code that joins.

        There is none for code that is being told, while it is read, that a session has expired.
        """
        if self.exchange.is_reading or address in being_told():
            return None
        return self.contents.at(address)

    @property
    def is_telling(self) -> bool:
        """Whether the running code is being told that a session of the unit has expired."""
        return any(self.contents.at(address) is not None for address in being_told())

    async def reach(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Await something of this unit in code that has joined it, maybe in another thread."""
        loop = self.loop
        if loop is None or loop is asyncio.get_running_loop() or not loop.is_running():
            return await coroutine
        there = asyncio.run_coroutine_threadsafe(coroutine, loop)
        return await asyncio.wrap_future(there)

    def _release(self, let_go: Callable[[Ticket], object] | None = None) -> None:
        """Release the keys, or leave that to the write that is under way."""
        if not self.exchange.is_writing:
            self._hold.release(let_go)


class Unit(KeyHolder):
    """The open session of one update (or job, or edit), from :meth:`enter` to :meth:`close`."""

    failed = False
    """Whether a handler raised: nothing is saved any more, unless that is asked for."""
    refused = False
    """Whether handlers were not run because the session could not be shown."""
    save_error: Exception | None = None
    """Why the last save failed."""
    cut_off = False
    """Whether a write was refused because other processes had the keys, or the update."""
    closed = False
    spoiled: Exception | None = None
    """Why nothing can be saved any more."""
    _ended = False
    _loaded_at: Moment | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more of it is saved: it is closed, or its last save is under way."""
        return self.closed or self._ended

    @property
    def origin(self) -> Unit:
        """The unit of the update. Its non-blocking handlers have units of the same origin."""
        return self._origin or self

    # Load.

    async def open(self) -> None:
        """Load, and make sure that handlers can be shown the strict fragments.

        Raises:
            Exception: there is no session, or one that cannot be read.
        """
        try:
            await self.load()
            for name, data in self.contents.all.items():
                fragment = self.fragments.get(name, data.fragment)  # Of what was added, its own.
                if data.error is not None and not fragment.lazy:
                    raise data.error
        except Exception:
            self.refused = True
            raise

    async def load(self) -> None:
        """Enter, and load the strict fragments.

        Raises:
            Exception: there is no session, because a key function, the lock or a storage failed.
        """
        if not self._entered:
            await self.enter()
        if self.error is None and not self.opened:
            self.opened = True
            try:
                strict = [data for data in self.contents.own if not data.fragment.lazy]
                await self.exchange.read(strict)
                for joined in self.contents.joined.values():
                    if not joined.data.fragment.lazy:
                        await joined.holder.reach(joined.data.look())
            except Exception as exc:
                self.error = exc
            else:
                self._loaded_at = this_moment()
        if self.error is not None:
            raise self.error

    # Let handlers run.

    @property
    def unloaded(self) -> bool:
        """Whether no handler has begun because a storage or a lock failed."""
        # Without data it was the key function; other SessionErrors are about the data.
        of_data = isinstance(self.error, SessionError) and not isinstance(
            self.error, (SessionLockTimeout, SessionStorageError)
        )
        return bool(self.contents.all) and self.error is not None and not of_data

    @property
    def fresh(self) -> Mapping[str, Data[Any]]:
        """What was read so lately that others may take it for what is stored."""
        moment = self._loaded_at
        return {} if moment is None or moment.over else self.contents.all

    def data(self, name: str, *, over: bool = False) -> Data[Any]:
        """Return a fragment's data; ``over`` lets it be read when the unit is closed.

        Raises:
            SessionClosed: the unit is closed, or was never opened.
            Exception: there is no session.
        """
        if self.error is not None:
            raise self.error
        if name not in self.contents.all or (self.closed and not over):
            raise SessionClosed(OVER)
        return self.contents.all[name]

    async def value(self, name: str) -> Any:
        """Return a fragment's data, read if need be."""
        data = self.data(name)
        joined = self.contents.joined.get(name)
        return await (data.aget() if joined is None else joined.holder.reach(data.aget()))

    # Save.

    async def save(self, *, last: bool = False) -> None:
        """Write what has changed, if anything.

        Args:
            last: nothing more will be saved, so the keys may be given back together with it.

        Raises:
            SessionConflict: it was changed by somebody else.
            SessionDataError: it cannot be stored.
            SessionClosed: the unit is closed, or the one that it has joined.
            Exception: the storage failed.
        """
        async with self.exchange.saving:
            if self.spoiled is not None:
                self.save_error = self.spoiled
                raise self.spoiled
            if self.over or self.contents.has_lost_holders:
                raise SessionClosed("The update is over: its session cannot be saved any more.")
            if not last:
                for joined in self.contents.joined.values():
                    await joined.holder.save()
            self._ended = last
            try:
                await self.exchange.write(last=last)
            except BaseException as exc:
                self._ended = False
                self.save_error = exc if isinstance(exc, Exception) else None
                raise
            finally:
                if self.closed:
                    self._release()

    # Release.

    def close(self, let_go: Callable[[Ticket], object] | None = None) -> None:
        """Release the keys and, unless error handlers may still look at it, the data.

        Args:
            let_go: releases the keys instead, maybe later.
        """
        self._end()
        self._release(let_go)

    def _end(self) -> None:
        if self.closed:
            return
        for failure in self._failures():
            tell(failure)
        self.closed = True
        self.contents.close(failed=self.failed)

    def _failures(self) -> Iterator[Failure]:
        """Yield what has failed for the sessions that this unit itself loads and saves."""
        if self.error is not None:
            if self._origin is None or self._origin.error is not self.error:
                for address in self._own_addresses() or [Address(self.bot, "", "")]:
                    yield Failure(address, "load", self.error, self.source)
            return
        for data in self.contents.own:
            if data.error is not None and data.address is not None:
                yield Failure(data.address, "load", data.error, self.source)
        if self.save_error is not None:
            for address in self._own_addresses():
                yield Failure(address, "save", self.save_error, self.source)

    def _own_addresses(self) -> list[Address]:
        return [data.address for data in self.contents.own if data.address is not None]


def whole_chat(bot: str, chat_id: object) -> Address:
    """Return what stands for all sessions of a chat. No fragment has such a name."""
    return Address(bot, "*", str(chat_id))


def enclosing(unit: Unit | None) -> Iterator[Unit]:
    """Yield those of a unit and the units around it that are not over."""
    while unit is not None:
        if not unit.over:
            yield unit
        unit = unit.outer


def open_unit() -> Unit | None:
    """Return the unit that the running code belongs to, unless it is over."""
    unit = current.get()
    return None if unit is None else next(enclosing(unit), None)
