"""One fragment's data while a unit of work is open: see it, assign it, compare it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar, cast

from .absent import ABSENT, Absent
from .declaration import Fragment
from .exceptions import (
    SessionClosed,
    SessionError,
    SessionKeyError,
    SessionStorageError,
    SessionVersionError,
)
from .promises import Promise
from .records import About, Address, Record
from .snapshots import Exchanged, Shared, Snapshot, copy_of, restored
from .storages.layers import read_one, read_places
from .stored import Stored, nobody

T = TypeVar("T")

OVER = (
    "The update that this session belonged to is over. Keep data, not the context. "
    "In a task that outlives it, use application.create_task(…, update=update)."
)


class Tracked(Shared, Generic[T]):
    """A fragment's data: what it was read as, what it is now, and so what is to be written.

    Args:
        address: ``None`` where the fragment has no key.
        about: whom the session belongs to.
    """

    def __init__(
        self,
        fragment: Fragment[T],
        address: Address | None,
        about: Callable[[], About | None] = nobody,
    ) -> None:
        self.fragment = fragment
        self.stored = None if address is None else Stored(fragment, address, about)
        """What is known of what is stored; ``None`` where the fragment has no key."""
        self.error: Exception | None = None
        """Why it cannot be shown."""
        self.blocks, self.touched = [], []
        self.expecting: Callable[[Tracked[Any], Record], Awaitable[None]] | None = None
        """Is told of what is read that will expire."""
        self._data: T | Absent | None = ABSENT
        self._seen = False
        self._assigned = False
        self._exchanged: Exchanged | None = None

    @property
    def address(self) -> Address | None:
        return None if self.stored is None else self.stored.address

    @property
    def is_known(self) -> bool:
        """Whether it is known what is stored; never where the fragment has no key."""
        return self.stored is not None and self.stored.is_known

    async def accept(self, record: Record | None) -> None:
        """Take what was read, unless something was assigned meanwhile.

        What cannot be shown is an error for whoever asks for it, until something is assigned.
        """
        assert self.stored is not None
        try:
            data = await self.stored.accept(record)
        except SessionError as exc:
            self._take_in(exc)
        else:
            self._take_in()
            if not self._assigned and data is not None:
                self._data = data
        if record is not None and record.value is not None:
            await self.expect(record)

    def take(self, record: Record | None) -> None:
        """Go on with what other code has read or written, in the same object if possible.

        Raises:
            SessionDataError: it cannot be shown.
        """
        assert self.stored is not None
        found = self.stored.take(record)
        self._data = ABSENT if found is None else restored(self._data, found)
        self._assigned, self.error = False, None

    async def reread(self) -> None:
        """Go on with what is stored now, in the same object if possible; changes are lost."""
        assert self.stored is not None
        before, self._data, self._assigned = self._data, ABSENT, False
        await self.accept(await read_one(self.fragment.place(self.stored.address)))
        self._data = restored(before, self._data)

    def _take_in(self, error: Exception | None = None) -> None:
        """Take note that what is stored was read, or could not be."""
        self._exchanged = Exchanged(error=error)
        if not self._assigned:
            self.error = error

    async def expect(self, record: Record) -> None:
        """Tell of what is stored, if it will expire."""
        if self.expecting is not None and record.expires_at is not None:
            await self.expecting(self, record)

    @property
    def was_written(self) -> bool:
        """Whether what is stored is what it was last written as, for all that is known here."""
        return self._exchanged is not None and self._exchanged.written

    def change(self) -> Record | None:
        """Return the record to be written, one without a value to delete, or ``None``."""
        if self.stored is None or not self._seen or self.error is not None:
            return None
        if isinstance(self._data, Absent):
            return None
        return self.stored.deletion() if self._data is None else self.stored.change(self._data)

    def written(self, record: Record, revision: int | None) -> None:
        """Take note that ``record`` is stored now, under ``revision``."""
        assert self.stored is not None
        self._assigned = False
        self._exchanged = Exchanged(written=True)
        self.stored.written(record, revision)

    async def merge(self, refused: Record) -> Record:
        """Take others' changes into the data; return the record of both, the same if they clash."""
        assert self.stored is not None
        record, data = await self.stored.merged(refused)
        if data is not None:
            self._data = restored(self._data, data)
        return record

    def snapshot(self) -> Snapshot:
        """Return what the data is now, for :meth:`restore`."""
        copy = copy_of(self._data)
        return Snapshot(self._data, copy, self._exchanged, self._seen, self._assigned, self.error)

    def restore(self, before: Snapshot) -> None:
        """Let the data be what it was, in the same object where that is possible.

        What was written since stays. What was read since is as it is stored.
        """
        if self.stored is None:
            return
        now, written = self._exchanged, self._was_written_since(before)
        if now is None or now is before.exchanged or (before.assigned and not written):
            self._data = restored(before.data, before.copy)
            self._seen, self._assigned = before.seen, before.assigned
            self.error = before.error
        else:
            nothing = None if written else ABSENT
            stored = self.stored.data() if now.error is None else None
            self._data = restored(self._data, nothing if stored is None else stored)
            self._seen, self._assigned = written or before.seen, False
            self.error = now.error

    def _was_written_since(self, before: Snapshot) -> bool:
        return self.was_written and self._exchanged is not before.exchanged


class Data(Tracked[T]):
    """A fragment's data in a unit of work: shown and assigned, and awaited where need be.

    Args:
        no_key: why there is no key.
        unreadable: whether reading raises where there is no key; else it gives ``None``.
    """

    def __init__(
        self,
        fragment: Fragment[T],
        address: Address | None,
        about: Callable[[], About | None] = nobody,
        no_key: str = "",
        unreadable: bool = False,
    ) -> None:
        super().__init__(fragment, address, about)
        self._no_key, self._unreadable = no_key, unreadable
        self._closed = False
        self._promise: Promise[T] | None = None
        self._replaced: tuple[Promise[T], ...] = ()
        """Those that were assigned and are not any more, unless that is taken back."""
        self._reading: asyncio.Task[None] | None = None

    def get(self) -> T | None:
        """Return the data of a fragment that was read or assigned."""
        if self.stored is None:
            if self._unreadable:
                raise SessionKeyError(self._no_key)
            return None
        if self.error is not None:
            raise self.error
        self._seen = True
        if self.blocks:
            self.touch()
        if isinstance(self._data, Absent):
            self._data = self.fragment.initial_data(self.stored.address)
            if not self.fragment.stores_initial:
                self.stored.take_for_stored(self._data)
        return self._data

    async def aget(self) -> T | None:
        """Return the data, reading it if need be, once."""
        if self._promise is not None and not self._promise.waits_for_this_code():
            await self.settle()
        else:
            await self.look()
        return self.get()

    async def look(self) -> None:
        """Read what is stored, once, if that is to be known."""
        if self.stored is not None and not self.stored.is_known and not self._assigned:
            await self._read_once(telling=True)

    async def get_stored(self) -> T | None:
        """Return the data if there is any stored; no initial data. It will not be written."""
        if self.stored is None:
            return self.get()
        await self._read_once(telling=False)
        if self.error is not None:
            raise self.error
        return None if isinstance(self._data, Absent) else self._data

    def assign(self, data: T | Awaitable[T | None] | None) -> None:
        """Replace the data; ``None`` deletes it. An awaitable is awaited before the write.

        Raises:
            SessionKeyError: there is no session here.
            SessionVersionError: newer code has stored data that this one would destroy.
        """
        if self.stored is None:
            raise SessionKeyError(self._no_key)
        if isinstance(self.error, SessionVersionError):
            raise self.error
        promised = inspect.isawaitable(data)
        if promised and not self.fragment.lazy:
            raise TypeError(
                f"A strict session holds data, not {type(data).__name__}: await it first, or "
                "declare a lazy_session()."
            )
        if self.blocks:
            self.touch()
        self.error = None
        self._seen = True
        if self._promise is not None:
            self._replaced += (self._promise,)
            self._promise = None
        if promised:
            self._promise = Promise(cast("Awaitable[T | None]", data))
        else:
            self._data, self._assigned = cast("T | None", data), True

    async def settle(self) -> None:
        """Await the data that was promised."""
        promise = self._promise
        if promise is None:
            return
        data = await promise.kept()
        if self._promise is promise:
            self._promise = None
            if promise.given is None:
                promise.given = copy_of(data)
            else:  # What has been made of it was taken back.
                data = restored(data, copy_of(promise.given))
            self._data, self._assigned = data, True

    @property
    def is_promised(self) -> bool:
        """Whether the data has to be awaited before the write."""
        return self._promise is not None

    @property
    def is_changed(self) -> bool:
        """Whether it is to be written, or would be if it could be stored."""
        try:
            return self.is_promised or self.change() is not None
        except SessionError:
            return True

    def differs(self, before: Snapshot) -> bool:
        """Whether the data may be another than it was."""
        if isinstance(before.data, Absent) or self._promise is not before.promise:
            return self.is_changed
        return bool(self._data != before.copy)

    @property
    def replaces_unread(self) -> bool:
        """Whether a write would replace something that was never read."""
        replaces = self._assigned or self._promise is not None
        return replaces and self.stored is not None and not self.stored.is_known

    def snapshot(self) -> Snapshot:
        return super().snapshot()._replace(promise=self._promise)

    def restore(self, before: Snapshot) -> None:
        super().restore(before)
        promise = None if self._was_written_since(before) else before.promise
        if self._promise is not promise:
            self._drop_promise()
        self._promise = promise

    def close(self) -> None:
        """End what is still under way."""
        self._closed = True
        self._drop_promise()
        self.drop_replaced()
        if self._reading is not None:
            self._reading.cancel()

    def drop_replaced(self) -> None:
        """Give up awaitables whose replacement will not be taken back any more."""
        for promise in self._replaced:
            promise.drop()

    def _drop_promise(self) -> None:
        if self._promise is not None:
            self._promise.drop()
            self._promise = None

    async def _read_once(self, *, telling: bool) -> None:
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._read(telling))
        await asyncio.wait([self._reading])  # Which a reader that is cancelled does not cancel.
        if self._closed and not self.is_known:
            raise SessionClosed(OVER)

    async def _read(self, telling: bool) -> None:
        assert self.stored is not None
        try:
            place = self.fragment.place(self.stored.address)
            (record,) = await read_places([place], telling=telling)
            await self.accept(record)
        except Exception as exc:
            self._take_in(exc)
        except BaseException as exc:
            what = f"the read was ended by {type(exc).__name__}"
            self._take_in(SessionStorageError(f"Session {self.address} is not known: {what}."))
            raise
