"""``context.session``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Collection, Generator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

from telegram.ext import ApplicationHandlerStop, CallbackContext, ExtBot, Job, JobQueue

from ..beside import edit_session
from ..data import Data
from ..database.claims import AlreadyHandled, ClaimedElsewhere
from ..declaration import SINGLE
from ..exceptions import SessionClosed, SessionDataError
from ..keys import is_update
from ..sources import FromOther, FromUpdate
from ..standing import StandsForData
from ..unit import Unit, current

if TYPE_CHECKING:
    from typing_extensions import Self

    from .application import SessionApplication

T = TypeVar("T")


class Lazy(StandsForData, Generic[T]):
    """The data of a lazy session: ``await`` it, as often as you like; it is read once.

    As the type of a class attribute it also lets data, or an awaitable of data, be assigned.
    """

    __slots__ = ("_data",)
    _remedy = "A lazy session has to be awaited: data = await context.session."

    def __init__(self, data: Data[T]) -> None:
        self._data = data

    def __await__(self) -> Generator[Any, None, T]:
        return cast("Generator[Any, None, T]", self._data.aget().__await__())

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: None, owner: type) -> Lazy[T]: ...
        @overload
        def __get__(self, instance: object, owner: type) -> Awaitable[T]: ...
        def __get__(self, instance: object, owner: type) -> Any: ...
        def __set__(self, instance: object, value: T | Awaitable[T | None] | None) -> None: ...
        def __delete__(self, instance: object) -> None: ...


class SessionEdit(StandsForData, Generic[T]):
    """What ``async with`` takes to hold a session's key for a moment."""

    __slots__ = ("_editing",)
    _remedy = "Write `async with context.edit_session() as data`."

    def __init__(self, editing: AbstractAsyncContextManager[T]) -> None:
        self._editing = editing

    async def __aenter__(self) -> T:
        return await self._editing.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self._editing.__aexit__(kind, error, traceback)


class Fragments(StandsForData):
    """``context.session`` of a multi session."""

    __slots__ = ("_names", "_over", "_unit")

    def __init__(self, unit: Unit, names: Collection[str], over: bool) -> None:
        self._unit, self._names, self._over = unit, names, over

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # No fragment; or this is being copied, and has nothing yet.
            raise AttributeError(name)
        return read(self._data(name, over=self._over))

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            object.__setattr__(self, name, value)
        else:
            self._data(name).assign(value)

    def __delattr__(self, name: str) -> None:
        self._data(name).assign(None)

    def __bool__(self) -> bool:
        return True

    @property
    def _remedy(self) -> str:
        fragments = ", ".join(f"context.session.{name}" for name in self._names)
        return f"The data of a multi session is in its fragments: {fragments}."

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._names]

    def _data(self, name: str, *, over: bool = False) -> Data[Any]:
        unit: Unit = self._unit
        if name not in self._names:
            known = ", ".join(self._names) or "none"
            raise AttributeError(f"The session has no fragment {name!r}; it has {known}.")
        return unit.data(name, over=over)


class BaseSessionContext(
    CallbackContext[ExtBot[None], dict[Any, Any], dict[Any, Any], dict[Any, Any]], Generic[T]
):
    """What strict and lazy sessions have in common."""

    __slots__ = ("origin",)

    if TYPE_CHECKING:  # PTB's annotations do not say what kind of context their jobs get.

        @property
        def application(self) -> SessionApplication: ...
        @property
        def job_queue(self) -> JobQueue[Any] | None: ...

    def __init__(self, application: Any, chat_id: int | None = None, user_id: int | None = None):
        super().__init__(application, chat_id, user_id)
        unit = current.get()
        self.origin: Unit | None = unit.origin if unit is not None else None

    @classmethod
    def from_job(cls, job: Job[Any], application: Any) -> Self:
        """Return the context of a job; see PTB.

        One that no job queue has made runs in the midst of other code, whose session is not its.
        """
        context = super().from_job(job, application)
        unit = current.get()
        if unit is not None and not unit.is_for(job):
            context.origin = None
        return context

    async def refresh_data(self) -> None:
        """Open the session. PTB awaits this before the first handler that takes an update."""
        unit = self._unit
        if unit is not None:
            if type(unit.source) is FromUpdate and not is_update(unit.source.subject):
                ids = {"chat": self._chat_id, "user": self._user_id}
                if any(ids.values()):
                    unit.source = FromOther(unit.source.subject, ids)
            try:
                await unit.open()
            except (AlreadyHandled, ClaimedElsewhere):
                unit.failed = True
                raise ApplicationHandlerStop from None
        if self.application.refreshes_data:
            await super().refresh_data()

    @property
    def session_key(self) -> str | Mapping[str, str | None] | None:
        """The session key of this update, ``None`` without one; in a multi session, by fragment."""
        unit = self._unit
        found = {} if unit is None else unit.contents.all
        keys = {
            name: address and address.key
            for name in self._names
            if name in found
            for address in [found[name].address]
        }
        return keys if self._is_multi else keys.get(SINGLE)

    async def save_session(self) -> None:
        """Write now what has changed, if anything. What a handler changes later is saved later.

        Raises:
            SessionConflict: it was changed by somebody else.
            SessionDataError: it cannot be stored.
            SessionClosed: the update is over.
        """
        if self._unit is not None:
            await self._unit.save()

    def edit_session(self) -> SessionEdit[T]:
        """Hold the session's key, and save on leaving, in a handler that does not hold it.

        That is one with ``block=False``, or a task. It gets the freshest data, which also is
        ``context.session`` from then on; changes made to an earlier object are not seen any more.
        If the block raises, nothing is saved. A handler that holds its key gets its session. An
        error handler gets ``None`` where what is stored cannot be read: it may assign other data.

        Raises:
            SessionConflict: what the handler had changed before was changed by somebody else.
        """
        return SessionEdit(self._editing())

    @asynccontextmanager
    async def _editing(self) -> AsyncIterator[T]:
        unit = self._unit
        if unit is None:
            yield cast(T, None)
            return
        async with edit_session(unit):
            yield await self._readable()

    async def _readable(self) -> T:
        try:
            return await self.get_session()
        except SessionDataError:
            if self.error is None:
                raise
            return cast(T, None)

    async def get_session(self) -> T:
        """Return the data, whether the session is strict or lazy."""
        unit = self._unit
        if unit is None:
            return cast(T, None)
        if self._is_multi:
            return cast(T, Fragments(unit, self._names, self._over))
        return cast(T, await unit.data(SINGLE, over=self._over).aget())

    @property
    def _session(self) -> Any:
        unit = self._unit
        if unit is None:
            return None
        over = self.error is not None  # Then it may be read when the update is over.
        if self.application.session.is_multi:
            return Fragments(unit, self._names, over)
        data = unit.data(SINGLE, over=over)
        return Lazy(data) if data.fragment.lazy else data.get()

    def _assign_session(self, value: Any) -> None:
        unit = self._unit
        if unit is None:
            raise SessionClosed("There is no session outside updates and jobs: use aedit().")
        if not self._is_multi:
            unit.data(SINGLE).assign(value)
        elif value is None:
            for data in [unit.data(name) for name in self._names]:
                if data.address is not None:
                    data.assign(None)
        else:
            raise TypeError(
                "A multi session is not assigned as a whole: assign to its fragments, "
                f"{', '.join(f'context.session.{name}' for name in self._names)}."
            )

    @property
    def _unit(self) -> Unit | None:
        """The unit of the running handler: a non-blocking one has its own."""
        unit = current.get()
        while unit is not None and unit.origin is not self.origin:  # It is an edit's, say.
            unit = unit.outer
        return unit or self.origin

    @property
    def _over(self) -> bool:
        """Whether the session may be read when the update is over: by error handlers."""
        return self.error is not None

    @property
    def _names(self) -> Collection[str]:
        """The session's fragments; the unit may have others."""
        return self.application.session.fragments

    @property
    def _is_multi(self) -> bool:
        return self.application.session.is_multi


def read(data: Data[Any]) -> Any:
    return Lazy(data) if data.fragment.lazy else data.get()


class SessionContext(BaseSessionContext[T]):
    """A context whose ``session`` is the data, of type ``T``.

    In a multi session ``T`` is a class that has the fragments as annotated attributes; the type of
    a lazy one is ``Lazy[…]``.
    """

    __slots__ = ()

    @property
    def session(self) -> T:
        """The session's data. Assign it to replace, ``None`` or ``del`` to delete.

        It is ``None`` where the update has no session key.

        Raises:
            SessionNotInitialized: nothing is stored and there is no ``initial``.
            SessionClosed: the update is over.
        """
        return cast(T, self._session)

    @session.setter
    def session(self, value: T | None) -> None:
        self._assign_session(value)

    @session.deleter
    def session(self) -> None:
        self._assign_session(None)


class LazySessionContext(BaseSessionContext[T]):
    """A context whose ``session`` has to be awaited, for data of type ``T``."""

    __slots__ = ()

    @property
    def session(self) -> Lazy[T]:
        """The session's data, once awaited; it is read when that first happens.

        Assign data, or an awaitable of data, to replace it, ``None`` or ``del`` to delete.
        """
        return cast("Lazy[T]", self._session)

    @session.setter
    def session(self, value: T | Awaitable[T | None] | None) -> None:
        self._assign_session(value)

    @session.deleter
    def session(self) -> None:
        self._assign_session(None)
