"""Sessions from outside a handler: views, tasks, the shell, and handlers of other chats."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Generic, TypeVar, cast

from .data import Data
from .database.callers import wait_for
from .database.commit import at_rollback, keep, kept_until_commit
from .declaration import Fragment
from .exceptions import SessionError
from .locks import Ticket, release
from .sources import Source
from .standing import StandsForData
from .unit import Unit, current, open_unit

T = TypeVar("T")


class Editing(StandsForData, Generic[T]):
    """A session whose key is held, with fresh data that is saved if the block does not raise."""

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
        self._fragment = replace(fragment, lazy=not read, is_held=True)
        self._read = read
        self._arguments: dict[str, Any] = {"lock": lock, "patience": patience}
        self._bot, self._source = bot, source
        self._unit: Unit | None = None
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

    def _begin(self, kept: Sequence[Ticket] = ()) -> Unit | None:
        """Make the unit the current one; return the one that this code belongs to."""
        if self._unit is not None and not self._unit.closed:
            raise SessionError(
                f"This {type(self).__name__} is open already: each block needs one of its own. "
                f"{self._remedy}"
            )
        fragments = {self._fragment.name: self._fragment}
        outer = open_unit()
        self._unit = Unit(
            fragments, self._bot, self._source, outer=outer, kept=kept, **self._arguments
        )
        self._outer = current.get()
        current.set(self._unit)
        return outer

    async def _open(self) -> T:
        assert self._unit is not None
        await self._unit.open()
        return cast(T, await self._unit.value(self._fragment.name) if self._read else None)

    def _give_up(self) -> None:
        """Leave a block that could not be entered."""
        unit = self._leave()
        unit.failed = True
        unit.close()

    def _leave(self) -> Unit:
        assert self._unit is not None
        current.set(self._outer)
        return self._unit


class AsyncEdit(Editing[T]):
    """For ``async with``."""

    _remedy = "Write `async with session.aedit(…) as data`; where no event loop runs, edit()."

    async def __aenter__(self) -> T:
        self._begin()
        try:
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
        unit = self._leave()
        unit.failed = True
        try:
            if error is None:
                await unit.save(last=True)
                unit.failed = False
        finally:
            unit.close()


class Edit(Editing[T]):
    """For ``with``, in sync code. In a transaction the key is held until its end."""

    _remedy = "Write `with session.edit(…) as data`; on an event loop, aedit()."

    def __enter__(self) -> T:
        outer = self._begin(kept_until_commit(self._using) if self._using else [])
        try:
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
        unit = self._leave()
        unit.failed = True
        try:
            if error is None:
                wait_for(unit.save(last=True), unit.loop)
                unit.failed = False
                if self._using is not None and unit.contents.joined:
                    at_rollback(self._using, unit.contents.undoing())
        finally:
            ticket = unit.detach()
            if ticket is not None:
                self._release(ticket)

    def _release(self, ticket: Ticket) -> None:
        if self._using is None:
            release(ticket)
        else:
            keep(self._using, ticket, release)

    @property
    def _using(self) -> str | None:
        """The alias of the database that the session is stored in, if it is one."""
        return getattr(self._fragment.innermost, "using", None)


def refuse_event_loop(name: str, instead: str) -> None:
    """Raise SessionError where sync code would block an event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise SessionError(f"{name}() would block the running event loop: use {instead}() there.")
