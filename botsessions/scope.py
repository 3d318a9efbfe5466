"""One update's life with its session: hold its keys, load, let the handlers run, save, release.

Jobs and edits from outside have the same life.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, TypeAlias, TypeVar

from msgspec.structs import replace

from .cell import Cell, Fragment
from .exceptions import SessionClosed, SessionConflict, SessionError, SessionLockTimeout
from .keys import check_key
from .locks import Leases, ProcessLock, Ticket, database_of, never_ends, process_lock, release
from .signals import session_conflict
from .sources import Source
from .storages.base import ANY, Address, Record
from .storages.expiry import is_being_told
from .storages.layers import Outcome, peel, read_all, tell_all, write_all
from .storages.leases import Ending
from .storages.uncancelled import through, to_its_end

T = TypeVar("T")
Change: TypeAlias = "tuple[Cell[Any], Address, Record]"
Changes: TypeAlias = "Sequence[Change]"

logger = logging.getLogger(__name__)

LOOK_AGAIN_SECONDS = 0.05

current: ContextVar[Scope | None] = ContextVar("botsessions_scope", default=None)
"""The scope that the running code belongs to. It leaks into tasks, jobs and threads that the code
starts, so a scope found here may be over."""


class Scope:
    """The open session of one update (or job, or edit).

    A scope that ``holds`` has its keys for itself from :meth:`enter` to :meth:`close`. One that
    does not belongs to code that runs beside others, and holds its keys for moments only.

    Args:
        patience: how long to wait for the keys, in seconds; ``None``: as long as a handler takes.
    """

    def __init__(
        self,
        fragments: Mapping[str, Fragment[Any]],
        bot: str,
        source: Source,
        *,
        lock: str = "process",
        holds: bool = True,
        origin: Scope | None = None,
        patience: float | None = None,
    ) -> None:
        self.cells: dict[str, Cell[Any]] = {}
        self.failed = False
        self.closed = False
        self.error: Exception | None = None
        """Why there is no session: the error of the key function, the lock or the storage."""
        self.subjects: list[object] = [source.subject]
        """The update or job that the scope is for, and updates that joined it."""
        self._origin = origin
        self._fragments = fragments
        self._bot = bot
        self._source = source
        self._lock = lock
        self._holds = holds
        self._patience = patience
        self._outer = open_scope()
        self._called_by_outer = self._outer is not None and self._outer.runs_here()
        self._task: asyncio.Task[Any] | None = None
        self._kept: Sequence[Ticket] = ()
        self._ticket: Ticket | None = None
        self._asked_at = 0.0
        self._entered = False
        self._loaded = False
        self._just_loaded = False
        self._saving = asyncio.Lock()

    @property
    def origin(self) -> Scope:
        """The scope of the update. Its non-blocking handlers have scopes of the same origin."""
        return self._origin or self

    # Hold.

    async def enter(self) -> None:
        """Find the keys and, if the scope holds, wait for them. An error is kept for later."""
        self._task = self._task or asyncio.current_task()
        if self._entered:
            return
        self._entered = True
        await self.find_keys()
        if self._holds and self.error is None:
            try:
                await self._hold()
            except Exception as exc:
                self.error = exc

    async def find_keys(self) -> None:
        """Ask the key functions, once. An error is kept for later."""
        if self.cells or self.error is not None:
            return
        cells = {}
        try:
            for name, fragment in self._fragments.items():
                key = self._source.key(fragment.get_session_key)
                if not isinstance(key, str) and inspect.isawaitable(key):
                    key = await key
                cells[name] = self._cell(fragment, key)
        except Exception as exc:
            self.error = exc
        else:
            self.cells = cells

    def _cell(self, fragment: Fragment[Any], key: str | None) -> Cell[Any]:
        function = fragment.get_session_key
        if key is None:
            no_key, readable = self._source.no_key(function), self._source.readable(function)
            return Cell(fragment, None, no_key=no_key, unreadable=not readable)
        address = Address(self._bot, fragment.name, check_key(key))
        return Cell(fragment, address, partial(self._source.about, function))

    async def _hold(self) -> None:
        addresses = self.addresses
        if addresses:
            lock = process_lock()
            self._asked_at = time.monotonic()
            if lock.busy:
                addresses += self._to_hold_besides(lock)
            self._ticket = lock.request(addresses, self._ticket_around)
            if self._ticket.waits:
                await self._wait(lock)
            inherited = self._ticket.leases
            if self._lock == "database":
                leases = self._new_leases(addresses)
                if inherited is not None:
                    leases.inherit(inherited)
                self._ticket.leases = leases
            elif inherited is not None:
                self._ticket.leases = None
                inherited.let_go()

    async def _wait(self, lock: ProcessLock) -> None:
        assert self._ticket is not None
        granted = self._wait_for_others(lock.wait(self._ticket))
        try:
            await (granted if self._patience is None else self._wait_patiently(granted))
        except BaseException:
            self._ticket = None
            raise

    def _new_leases(self, addresses: Iterable[Address]) -> Leases:
        by_database: dict[str, list[Address]] = {}
        for address in addresses:
            if (fragment := self._fragments.get(address.name)) is not None:
                by_database.setdefault(database_of(fragment.storage), []).append(address)
        return Leases(by_database)

    @property
    def _leases(self) -> Leases | None:
        return self._ticket.leases if self._ticket else None

    def _to_hold_besides(self, lock: ProcessLock) -> list[Address]:
        """Return what to wait for while somebody gives the chat's sessions other keys.

        Code that holds a key already does not: it may be what that waits for.
        """
        whole = whole_chat(self._bot, self._source.chat_id)
        return [whole] if whole in lock.wanted and self._ticket_around is None else []

    async def _wait_for_others(self, granted: Coroutine[Any, Any, None]) -> None:
        """Wait for the keys, but not if the handler that has started this task awaits it."""
        outer = self._outer
        if outer is None or self._called_by_outer:
            await granted
            return
        waiting = asyncio.ensure_future(granted)
        try:
            while not (await asyncio.wait([waiting], timeout=LOOK_AGAIN_SECONDS))[0]:
                if not outer.closed and awaits(outer._task, self._task):
                    raise never_ends(self.addresses)
        finally:
            waiting.cancel()
        await waiting

    async def _wait_patiently(self, granted: Coroutine[Any, Any, None]) -> None:
        try:
            await asyncio.wait_for(granted, self._patience)
        except asyncio.TimeoutError:
            raise SessionLockTimeout(
                f"The key of session {self.addresses[0]} was not free for {self._patience:g} "
                "seconds: its bot is busy with it. Try again later."
            ) from None

    def join(self, kept: Sequence[Ticket]) -> None:
        """Go without holding where all keys are held for this code already.

        One of these tickets has them, which are kept for longer; or the scope around this one, and
        its reading waits until this code has been told of a session that has expired.
        """
        self._kept = kept
        around = self._outer
        if any(set(self.addresses) <= set(ticket.keys) for ticket in kept) or (
            around is not None and is_being_told() and around.holds(self.addresses)
        ):
            self._holds = False

    @property
    def addresses(self) -> list[Address]:
        return [cell.address for cell in self.cells.values() if cell.address is not None]

    def holds(self, addresses: Collection[Address]) -> bool:
        """Whether this scope holds all of ``addresses``, and at least one."""
        tickets = [*self._kept, *([self._ticket] if self._ticket else [])]
        held = {key for ticket in tickets for key in ticket.keys}
        return bool(addresses) and held.issuperset(addresses)

    @property
    def _ticket_around(self) -> Ticket | None:
        scope = self._around
        while scope is not None:
            if scope._ticket is not None:
                return scope._ticket
            scope = scope._around
        return self._kept[-1] if self._kept else None

    @property
    def _around(self) -> Scope | None:
        """The scope whose code goes on only when this scope's code is done."""
        outer = self._outer
        if outer is None or self._called_by_outer or awaits(outer._task, self._task):
            return outer
        return None

    def runs_here(self) -> bool:
        """Whether the running code is this scope's: its task, or sync code that it has called.

        Another task that it has started may wait until it has released its keys.
        """
        try:
            return self._task is asyncio.current_task()
        except RuntimeError:
            return True

    async def take_keys(self) -> None:
        """Take the keys among all processes, too, if they are not going to be taken by loading."""
        await self._load([])

    # Load.

    async def open(self) -> None:
        """Enter, and load the strict fragments.

        Raises:
            Exception: there is no session, because a key function, the lock or a storage failed.
        """
        if self._task is None:
            await self.enter()
        if self.error is None and not self._loaded:
            self._loaded = True
            try:
                await self._load(cell for cell in self.cells.values() if not cell.fragment.lazy)
            except Exception as exc:
                self.error = exc
            else:
                self._just_loaded = True
                assert self._task is not None
                self._task.get_loop().call_soon(self._loaded_a_while_ago)
        if self.error is not None:
            raise self.error

    async def _load(self, cells: Iterable[Cell[Any]]) -> None:
        """Read cells; the first time, the keys are taken among all processes, too."""
        stored = [(cell, cell.address) for cell in cells if cell.address is not None]
        requests = [(cell.fragment.storage, address) for cell, address in stored]
        leases = self._leases
        if leases is None or leases.taken:
            records = await read_all(requests)
        else:
            records = await leases.take(
                [storage for storage, _ in requests],
                partial(read_all, requests),
                since=self._asked_at,
                within=self._ticket_around is not None,
                patience=self._patience,
            )
        for (cell, address), record in zip(stored, records, strict=True):
            logger.debug("Session %s was read: revision %s.", address, record and record.revision)
            cell.accept(record)

    def _loaded_a_while_ago(self) -> None:
        self._just_loaded = False

    # Let handlers run.

    def is_for(self, *subjects: object) -> bool:
        """Whether the scope belongs to one of these updates or jobs."""
        return any(s is not None and s is t for s in subjects for t in self.subjects)

    @property
    def opened(self) -> bool:
        """Whether handlers may have seen the session."""
        return self._loaded or self.error is not None

    @property
    def unloaded(self) -> bool:
        """Whether no handler has begun because a storage or a lock failed."""
        # Without cells it was the key function; other SessionErrors are about the data.
        of_data = isinstance(self.error, SessionError) and not isinstance(
            self.error, SessionLockTimeout
        )
        return bool(self.cells) and self.error is not None and not of_data

    def cell(self, name: str, *, over: bool = False) -> Cell[Any]:
        """Return a fragment's cell; ``over`` lets it be read when the scope is closed.

        Raises:
            SessionClosed: the scope is closed, or was never opened.
            Exception: there is no session.
        """
        if self.error is not None:
            raise self.error
        if name not in self.cells or (self.closed and not over):
            raise SessionClosed(
                "The update that this session belonged to is over. Keep data, not the context. "
                "In a task that outlives it, use application.create_task(…, update=update)."
            )
        return self.cells[name]

    @property
    def names(self) -> list[str]:
        """The fragments' names."""
        return list(self._fragments)

    @property
    def keys(self) -> dict[str, str | None]:
        """The session key of each fragment."""
        return {
            name: cell.address.key if cell.address else None for name, cell in self.cells.items()
        }

    def beside(self) -> Scope:
        """Return a scope for code that runs beside this one's handlers, for the same keys."""
        scope = Scope(
            self._fragments,
            self._bot,
            self._source,
            lock=self._lock,
            holds=False,
            origin=self.origin,
        )
        scope._called_by_outer = False
        scope.error = self.error
        scope._entered = self._entered
        for name, cell in self.cells.items():
            scope.cells[name] = cell.anew()
            if self._just_loaded and cell.read:
                scope.cells[name].accept(cell.record)
                scope._loaded = True
        return scope

    @asynccontextmanager
    async def edit(self) -> AsyncIterator[None]:
        """Hold the keys of a scope that does not, with fresh data that is saved on leaving."""
        await self.open()
        if self._ticket is not None:
            yield
            return
        await self._hold()
        try:
            await self.take_keys()
            await self.save()
            await self._start_anew()
            try:
                yield
            except Exception:
                await self._start_anew()
                raise
            await self.save(last=True)
        finally:
            self._release()

    async def _start_anew(self) -> None:
        for name, cell in self.cells.items():
            cell.close()
            self.cells[name] = cell.anew()
        await self._load(cell for cell in self.cells.values() if not cell.fragment.lazy)

    # Save.

    async def save(self, *, last: bool = False) -> None:
        """Write what has changed, if anything.

        Args:
            last: nothing more will be saved, so the keys may be given back together with it.

        Raises:
            SessionConflict: it was changed by somebody else.
            SessionDataError: it cannot be stored.
            SessionClosed: the scope is closed.
            Exception: the storage failed.
        """
        if self.closed:
            raise SessionClosed("The update is over: its session cannot be saved any more.")
        async with self._saving:
            if unread := [cell for cell in self.cells.values() if cell.assigned_unread]:
                await self._look_at(unread)
            changes = []
            for cell in self.cells.values():
                if cell.is_promised:
                    await cell.settle()
                if cell.address is not None and (record := cell.change()) is not None:
                    changes.append((cell, cell.address, record))
            if changes:
                await finished(changes)(self._write(changes, last))

    async def _look_at(self, unread: Sequence[Cell[Any]]) -> None:
        """Find out what a write would replace that was never read, as far as that matters."""
        leases = self._leases
        if self._ticket is None or (leases is not None and not leases.protects_writes):
            # Nobody holds back those who write it: compare with it.
            await self._load(unread)
        else:
            await tell_all([(c.fragment.storage, c.address) for c in unread if c.address])

    async def _write(self, changes: Changes, last: bool) -> None:
        outcomes = await self._written(changes, last)
        failed = [c for c in zip(changes, outcomes, strict=True) if isinstance(c[1], Exception)]
        if failed:
            await self._write_again(failed, last)

    async def _write_again(self, failed: Sequence[tuple[Change, Outcome]], last: bool) -> None:
        """Make changes that were refused without need; raise what stays of the errors."""
        refused = [change for change, outcome in failed if isinstance(outcome, SessionConflict)]
        again = await to_its_end(as_they_are_now(refused)) if refused else refused
        if again != refused:
            failed = [f for f in failed if not isinstance(f[1], SessionConflict)]
            failed += zip(again, await self._written(again, last), strict=True)
        for change, outcome in failed:
            if isinstance(outcome, SessionConflict):
                await to_its_end(tell_of_conflict(*change))
        for _, outcome in failed:
            if isinstance(outcome, Exception):
                raise outcome

    async def _written(self, changes: Changes, last: bool) -> list[Outcome]:
        requests = [(cell.fragment.storage, address, record) for cell, address, record in changes]
        leases = self._leases
        if leases is None:
            outcomes = await write_all(requests)
        else:
            storages, write = [storage for storage, *_ in requests], partial(write_all, requests)
            try:
                outcomes = await leases.write(storages, write, self._ending(last))
            except SessionConflict as exc:
                outcomes = [exc] * len(requests)
        for (cell, address, record), outcome in zip(changes, outcomes, strict=True):
            if not isinstance(outcome, Exception):
                logger.debug("Session %s was written: revision %s.", address, outcome)
                cell.written(record, outcome)
        return outcomes

    def _ending(self, last: bool) -> Ending:
        if not last or self._ticket is None:
            return Ending.KEPT
        has_heir = process_lock().has_heir(self._ticket)
        return Ending.HANDED_ON if has_heir else Ending.GIVEN_BACK

    # Release.

    def close(self) -> None:
        """Let go of the keys and, unless error handlers may still look at it, of the data."""
        self._release()
        self.detach()

    def detach(self) -> Ticket | None:
        """Close, but return the ticket of the keys instead of releasing it."""
        ticket, self._ticket = self._ticket, None
        self.closed = True
        for cell in self.cells.values():
            cell.close()
        if not self.failed:
            self.cells.clear()
        return ticket

    def _release(self) -> None:
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            release(ticket)


def whole_chat(bot: str, chat_id: object) -> Address:
    """Return what stands for all sessions of a chat. No fragment has such a name."""
    return Address(bot, "*", str(chat_id))


def open_scope() -> Scope | None:
    """Return the scope that the running code belongs to, unless it is over."""
    scope = current.get()
    return None if scope is None or scope.closed else scope


def awaits(task: asyncio.Task[Any] | None, other: asyncio.Task[Any] | None) -> bool:
    """Whether ``task`` is suspended until ``other`` is done, itself or through :func:`gather`."""
    waited_for = [getattr(task, "_fut_waiter", None)]
    while waited_for:
        future = waited_for.pop()
        if future is None:
            continue
        if future is other:
            return True
        waited_for += getattr(future, "_children", ())
        waited_for.append(getattr(future, "_fut_waiter", None))
    return False


def finished(changes: Changes) -> Callable[[Coroutine[Any, Any, T]], Awaitable[T]]:
    """Return what awaits the write of changes to its end, even if the caller is cancelled."""
    (cell, *_), *others = changes
    return through if not others and cell.fragment.writes_uncancelled else to_its_end


async def as_they_are_now(changes: Changes) -> Changes:
    """Return refused changes, of the revisions that they should name."""
    return [
        (cell, address, replace(record, revision=await cell.revision_now()))
        for cell, address, record in changes
    ]


async def tell_of_conflict(cell: Cell[Any], address: Address, record: Record) -> None:
    revision = None if record.revision is ANY else record.revision
    logger.debug("Session %s was not written: it is no longer at revision %s.", address, revision)
    await session_conflict.asend_robust(
        sender=type(peel(cell.fragment.storage)[1]), **address._asdict(), revision=revision
    )
