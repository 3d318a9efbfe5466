"""Sessions from outside a handler: views, tasks, the shell, and handlers of other chats."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import TracebackType
from typing import Generic, TypeVar, cast

from asgiref.sync import async_to_sync

from .cell import Cell, Fragment
from .exceptions import SessionError
from .locks import Ticket, release
from .locks.transaction import keep, kept_tickets
from .scope import Scope, current
from .sources import Source
from .standing import StandsForData
from .storages.layers import peel

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
        self._fragment = replace(fragment, lazy=not read)
        self._read = read
        fragments = {fragment.name: self._fragment}
        self._scope = Scope(fragments, bot, source, lock=lock, patience=patience)
        self._outer: Scope | None = None

    @property
    def data(self) -> T:
        """The session's data; assign it to replace them, ``None`` to delete the session."""
        return cast(T, self._cell.get())

    @data.setter
    def data(self, data: T | None) -> None:
        self._cell.assign(data)

    @property
    def _cell(self) -> Cell[T]:
        return self._scope.cell(self._fragment.name)

    async def _open(self, kept: list[Ticket]) -> T:
        scope = self._scope
        await scope.find_keys()
        scope.join(kept)
        self._enter()
        try:
            await scope.open()
            return cast(T, self._cell.get() if self._read else None)
        except BaseException:
            self._leave()
            scope.close()
            raise

    def _enter(self) -> None:
        self._outer = current.get()
        current.set(self._scope)

    def _leave(self) -> None:
        current.set(self._outer)


class AsyncEdit(Editing[T]):
    """For ``async with``."""

    _remedy = "Write `async with session.aedit(…) as data`; where no event loop runs, edit()."

    async def __aenter__(self) -> T:
        return await self._open([])

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave()
        try:
            if error is None:
                await self._scope.save(last=True)
        finally:
            self._scope.close()


class Edit(Editing[T]):
    """For ``with``, in sync code. In a transaction the key is held until its end."""

    _remedy = "Write `with session.edit(…) as data`; on an event loop, aedit()."

    def __enter__(self) -> T:
        return async_to_sync(self._open)(kept_tickets(self._using) if self._using else [])

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave()
        try:
            if error is None:
                async_to_sync(self._scope.save)(last=True)
        finally:
            ticket = self._scope.detach()
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
        return getattr(peel(self._fragment.storage)[1], "using", None)


def refuse_event_loop(name: str, instead: str) -> None:
    """Raise SessionError where sync code would block an event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise SessionError(f"{name}() would block the running event loop: use {instead}() there.")
