"""One fragment of a session: how it is declared, and its data while a scope is open."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any, ClassVar, Final, Generic, TypeVar, cast

from msgspec.structs import replace

from .bots import max_bytes
from .codec import Codec, Decoded, Encoded
from .exceptions import SessionDataError, SessionKeyError, SessionNotInitialized
from .keys import KeyFunction
from .storages.base import ANY, About, Address, Json, Record, Revision, Storage
from .storages.layers import peel, read_all
from .storages.migrations import refuse_newer

T = TypeVar("T")


class _Absent:
    """Type of :data:`ABSENT`."""


SINGLE: Final = ""
"""The name of a single session's only fragment."""
ABSENT: Final = _Absent()
"""There is no data, and nobody has asked for any yet."""


@dataclass(frozen=True, eq=False)
class Fragment(Generic[T]):
    """What an author declares of one fragment. The only one of a single session has no name."""

    name: str
    initial: Callable[[], T | None] | None
    get_session_key: KeyFunction
    storage: Storage
    codec: Codec[T]
    lazy: bool

    @cached_property
    def newest_version(self) -> Decimal | None:
        return getattr(self.storage, "newest_version", None)

    @cached_property
    def writes_uncancelled(self) -> bool:
        """Whether the storage itself sees to it that its writes come to their ends."""
        return getattr(peel(self.storage)[1], "writes_uncancelled", False)


class Cell(Generic[T]):
    """A fragment's data while a scope is open.

    ``about`` is called for a write only: an update that changes nothing need not find it out.
    ``address`` is ``None`` where the fragment has no key; ``no_key`` then says why, and reading
    gives ``None``, or raises where it is ``unreadable``.
    """

    def __init__(
        self,
        fragment: Fragment[T],
        address: Address | None,
        about: Callable[[], About | None] = lambda: None,
        no_key: str = "",
        unreadable: bool = False,
    ) -> None:
        self.fragment = fragment
        self.address = address
        self.no_key = no_key
        self.read = False
        """Whether it is known what is stored."""
        self.record: Record | None = None
        """What was read or written last."""
        self.error: Exception | None = None
        """Why it could not be read."""
        self._about = about
        self._unreadable = unreadable
        self._data: T | _Absent | None = ABSENT
        self._unknown: dict[str, Json] = {}
        self._seen = False
        self._assigned = False
        self._promise: Promise[T] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._stored: bytes | None = None  # Fingerprints of what is stored,
        self._writing: bytes | None = None  # and of what is about to be.

    # What handlers do.

    def get(self) -> T | None:
        """Return the data of a cell that was read or assigned."""
        if self.address is None:
            if self._unreadable:
                raise SessionKeyError(self.no_key)
            return None
        if self.error is not None:
            raise self.error
        self._seen = True
        if isinstance(self._data, _Absent):
            self._data = self._initial(self.address)
        return self._data

    async def aget(self) -> T | None:
        """Return the data, reading it if need be, once."""
        if self._promise is not None and not self._promise.waits_for_this_code():
            await self._settle(self._promise)
        elif self.address is not None and not self.read and not self._assigned:
            await self._read_once(telling=True)
        return self.get()

    async def stored(self) -> T | None:
        """Return the data if there is any stored; no initial data. It will not be written."""
        if self.address is None:
            return self.get()
        await self._read_once(telling=False)
        if self.error is not None:
            raise self.error
        return None if isinstance(self._data, _Absent) else self._data

    def assign(self, data: T | Awaitable[T | None] | None) -> None:
        """Replace the data; ``None`` deletes it. An awaitable is awaited before the write."""
        if self.address is None:
            raise SessionKeyError(self.no_key)
        promised = inspect.isawaitable(data)
        if promised and not self.fragment.lazy:
            raise TypeError(
                f"A strict session holds data, not {type(data).__name__}: await it first, or "
                "declare a lazy_session()."
            )
        self.error = None
        self._seen = True
        self._drop_promise()
        if promised:
            self._promise = Promise(cast("Awaitable[T | None]", data))
        else:
            self._replace(cast("T | None", data))

    # What a scope does.

    def anew(self) -> Cell[T]:
        """Return a cell for the same address that knows nothing yet."""
        return Cell(self.fragment, self.address, self._about, self.no_key, self._unreadable)

    def accept(self, record: Record | None) -> None:
        """Take what was read, unless something was assigned meanwhile."""
        self.read = True
        self.record = record
        if self.address is None or record is None or record.value is None:
            return
        refuse_newer(self.address, record.version, self.fragment.newest_version)
        data, self._unknown = self._decoded(record.value, self.address)
        if not record.stale:
            self._stored = self.fragment.codec.fingerprint(data)
        if not self._assigned:
            self._data = data

    @property
    def is_promised(self) -> bool:
        """Whether its data has to be awaited before the write."""
        return self._promise is not None

    async def settle(self) -> None:
        """Await the data that was promised."""
        if self._promise is not None:
            await self._settle(self._promise)

    def change(self) -> Record | None:
        """Return the record to be written, one without a value to delete, or ``None``."""
        if self.address is None or not self._seen:
            return None
        if self.error is not None or isinstance(self._data, _Absent):
            return None
        if self._data is None:
            return self._deletion()
        encoded = self._encoded(self._data, self.address)
        if encoded is None:
            return None
        self._writing = encoded.fingerprint
        return Record(encoded.value, revision=self._revision, about=self._about())

    def written(self, record: Record, revision: int | None) -> None:
        """Take note that ``record`` is stored now, under ``revision``."""
        self.read, self._assigned = True, False
        if revision is None:
            self.record, self._stored, self._unknown = None, None, {}
        else:
            self.record = replace(record, revision=revision)
            self._stored = self._writing

    def close(self) -> None:
        """End what is still under way."""
        self._drop_promise()
        if self._reading is not None:
            self._reading.cancel()

    async def revision_now(self) -> Revision:
        """Return the revision that a refused write should name, the same if it is a conflict.

        It is none if nobody has changed what was read: if that had expired, it may have been swept
        meanwhile; if it was migrated on being read, it may have been migrated where it is stored.
        """
        if self.record is None or self.address is None:
            return self._revision
        if self.record.value is None:
            return None
        if self.record.stale:
            (found,) = await read_all([(self.fragment.storage, self.address)], telling=False)
            if found is not None and found.value == self.record.value:
                return found.revision
        return self._revision

    @property
    def assigned_unread(self) -> bool:
        """Whether a write would replace something that was never read."""
        return not self.read and (self._assigned or self._promise is not None)

    @property
    def _revision(self) -> Revision:
        if not self.read:
            return ANY
        return self.record.revision if self.record else None

    def _deletion(self) -> Record | None:
        if self.read and (self.record is None or self.record.value is None):
            return None
        return Record(None, revision=self._revision)

    def _initial(self, address: Address) -> T | None:
        if self.fragment.initial is None:
            raise SessionNotInitialized(
                f"Nothing is stored for session {address}, and it declares no initial data. "
                "Give session() an initial=…, or assign data before reading it."
            )
        return self.fragment.initial()

    def _replace(self, data: T | None) -> None:
        self._data = data
        self._assigned = True

    async def _settle(self, promise: Promise[T]) -> None:
        data = await promise.kept()
        if self._promise is promise:
            self._promise = None
            self._replace(data)

    def _drop_promise(self) -> None:
        if self._promise is not None:
            self._promise.drop()
            self._promise = None

    async def _read_once(self, *, telling: bool) -> None:
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._read(telling))
        await asyncio.shield(self._reading)

    async def _read(self, telling: bool) -> None:
        assert self.address is not None
        request = (self.fragment.storage, self.address)
        try:
            (record,) = await read_all([request], telling=telling)
            self.accept(record)
        except Exception as exc:
            if not self._assigned:
                self.error = exc

    def _encoded(self, data: T, address: Address) -> Encoded | None:
        try:
            codec = self.fragment.codec
            return codec.encode_changed(data, self._stored, self._unknown, max_bytes())
        except SessionDataError as exc:
            problem = f"Session {address} cannot be stored: {exc}"
            raise SessionDataError(problem, path=exc.path) from None

    def _decoded(self, value: Json, address: Address) -> Decoded:
        try:
            return self.fragment.codec.decode(value)
        except SessionDataError as exc:
            problem = f"Session {address} cannot be read: {exc}"
            raise SessionDataError(problem, path=exc.path) from None


class Promise(Generic[T]):
    """An awaitable that was assigned to a lazy session.

    What it awaits may itself await the session, and then gets the data from before the assignment.
    """

    _running: ClassVar[ContextVar[tuple[Promise[Any], ...]]] = ContextVar("promises", default=())

    def __init__(self, awaitable: Awaitable[T | None]) -> None:
        self._awaitable = awaitable
        self._assigner = asyncio.current_task()
        self._task: asyncio.Future[T | None] | None = None

    async def kept(self) -> T | None:
        """Return what the awaitable gives; it is awaited once."""
        if self._task is None:
            token = self._running.set((*self._running.get(), self))
            self._task = asyncio.ensure_future(self._wait())
            self._running.reset(token)
        return await asyncio.shield(self._task)

    async def _wait(self) -> T | None:
        return await self._awaitable

    def waits_for_this_code(self) -> bool:
        """Whether the running code is what the promise waits for."""
        if self in self._running.get():
            return True
        # A task or future runs by itself, and nobody can tell which tasks it waits for.
        return (
            isinstance(self._awaitable, asyncio.Future)
            and not self._awaitable.done()
            and asyncio.current_task() is not self._assigner
        )

    def drop(self) -> None:
        """Give up an awaitable that nobody has awaited."""
        if self._task is None and inspect.iscoroutine(self._awaitable):
            self._awaitable.close()
