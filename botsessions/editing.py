"""Sessions from outside a handler: views, tasks, the shell, and handlers of other chats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial
from types import TracebackType
from typing import Any, Generic, TypeVar, cast

from .contents import abandoned
from .data import Data
from .database.callers import caller_here, on_caller, running_loop, wait_for
from .database.commit import at_rollback, keep, keeps, kept_until_commit
from .declaration import Fragment
from .exceptions import SessionError
from .forking import at_fork
from .locks import Ticket, release
from .snapshots import inside
from .sources import Source
from .standing import StandsForData
from .unit import Unit, current, enclosing, open_unit

T = TypeVar("T")


class Editing(StandsForData, Generic[T]):
    """A session whose key is held, with fresh data that is saved if the block does not raise."""

    _unit: Unit | None = None

    def __init__(
        self,
        fragment: Fragment[T],
        bot: str,
        source: Source,
        lock: str,
        *,
        read: bool = True,
        patience: float | None = None,
    ) -> None:
        self._fragment = held(fragment, lazy=not read)
        self._read = read
        self._arguments: dict[str, Any] = {"lock": lock, "patience": patience}
        self._bot, self._source = bot, source
        self._outer: Unit | None = None

    @property
    def data(self) -> T:
        """The session's data; assign it to replace them, ``None`` to delete the session."""
        return cast(T, self._opened.get())

    @data.setter
    def data(self, data: T | None) -> None:
        self._opened.assign(data)

    @property
    def _opened(self) -> Data[T]:
        if self._unit is None:
            raise SessionError("The session is not open: use its data inside the with block.")
        return self._unit.data(self._fragment.name)

    def _look_around(self) -> None:
        """Note what unit the code around belongs to; refuse to be entered twice."""
        if self._unit is not None and not self._unit.closed:
            raise SessionError(
                f"This {type(self).__name__} is open already: each block needs one of its own. "
                f"{self._remedy}"
            )
        self._unit, self._outer = None, current.get()

    def _begin(self, kept: Sequence[Ticket] = ()) -> Unit | None:
        """Make the unit the current one; return the one that this code belongs to."""
        fragments, outer = {self._fragment.name: self._fragment}, open_unit()
        self._unit = Unit(
            fragments, self._bot, self._source, outer=outer, kept=kept, **self._arguments
        )
        current.set(self._unit)
        if outer is None:
            inside.set(frozenset())  # There may be marks of generators that were left.
        else:
            self._unit.contents.step_in()
        return outer

    @property
    def _using(self) -> str | None:
        """The alias of the database that the session is stored in, if it is one."""
        return getattr(self._fragment.innermost, "using", None)

    async def _open(self) -> T:
        assert self._unit is not None
        await self._unit.open()
        return cast(T, await self._unit.value(self._fragment.name) if self._read else None)

    def _give_up(self) -> None:
        """Leave a block that could not be entered."""
        self._step_out()
        if self._unit is not None:
            self._unit.failed = True
            self._unit.close()

    def _leave(self, kind: type[BaseException] | None) -> tuple[Unit, bool]:
        """Return the unit, which has failed as long as it is not saved, and whether to save it."""
        unit, saves = self._unit, kind is None
        assert unit is not None
        self._step_out()
        unit.failed = True
        if kind is GeneratorExit:
            unit.contents.is_abandoned = True
            if unit.contents.was_joined:  # Saving it raises this.
                unit.spoiled = unit.save_error = abandoned(unit.addresses[0])
                saves = True
        return unit, saves

    def _step_out(self) -> None:
        """Go back to the unit of the code around, unless a later block is still open."""
        if self._unit is not None:
            self._unit.contents.step_out()
            if current.get() is self._unit:
                current.set(next(enclosing(self._outer), None))


class AsyncEdit(Editing[T]):
    """For ``async with``."""

    _remedy = "Write `async with session.aedit(…) as data`; where no event loop runs, edit()."

    async def __aenter__(self) -> T:
        self._look_around()
        try:
            self._begin(await self._kept())
            return await self._open()
        except BaseException:
            self._give_up()
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        unit, saves = self._leave(kind)
        await end(unit, saves=saves, releases=True)

    async def _kept(self) -> Sequence[Ticket]:
        """Return the keys that the transaction of sync code keeps which waits for this."""
        caller, using = caller_here(), self._using
        if caller is None or using is None:
            return []
        return await on_caller(caller, partial(kept_until_commit, using))


class Edit(Editing[T]):
    """For ``with``, in sync code. In a transaction the key is held until its end."""

    _remedy = "Write `with session.edit(…) as data`; on an event loop, aedit()."
    _is_left = False

    def __enter__(self) -> T:
        self._is_left = False
        self._look_around()
        try:
            outer = self._begin(kept_until_commit(self._using))
            return wait_for(self._open(), outer.loop if outer else None)
        except BaseException:
            self._give_up()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        (unit, saves), using = self._leave(kind), self._using
        releases = not keeps(using)
        try:
            if error is None or running_loop() is None:  # The garbage collector may be anywhere.
                wait_for(end(unit, saves=saves, releases=releases), unit.loop)
            if using is not None and saves and unit.contents.joined:
                at_rollback(using, unit.contents.undo)
        finally:
            unit.close(partial(keep, using, release=release))
            self._is_left = True

    def __del__(self) -> None:
        """Release the keys of a block that a signal has kept from being left."""
        if self._unit is not None and not self._is_left:
            self._unit.failed = True
            self._unit.close()


@lru_cache
def held(fragment: Fragment[T], *, lazy: bool) -> Fragment[T]:
    """Return a fragment whose key is held while it is edited."""
    return replace(fragment, lazy=lazy, is_held=True)


async def end(unit: Unit, *, saves: bool, releases: bool) -> None:
    """Save, and release the keys: on the event loop, because no signal interrupts that."""
    try:
        if saves:
            await unit.save(last=True)
            unit.failed = False
    finally:
        if releases:
            unit.close()


def refuse_event_loop(name: str, instead: str) -> None:
    """Raise SessionError where sync code would block an event loop."""
    if running_loop() is not None:
        raise SessionError(f"{name}() would block the running event loop: use {instead}() there.")


def leave_to_parent() -> None:
    """In a forked child: what the code around has open is its parent's, which saves it."""
    for unit in enclosing(current.get()):
        unit.closed, unit.loop = True, None
    current.set(None)


at_fork(after_in_child=leave_to_parent)
