"""Sessions in the Django database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from asgiref.sync import sync_to_async
from django.db import router

from ..arguments import check_text, telling_usage
from . import moving, threads
from .base import About, Address, Changes, Move, Record, Revision, new_revision
from .carrying import carry_out
from .errands import Errand
from .gathering import Read, Renewal, Request, Write
from .leases import lease_riding
from .model import check_database, sessions_model
from .sql import Change, Table, table_of

if TYPE_CHECKING:
    from ..models import AbstractBotSession

T = TypeVar("T")


class DatabaseStorage:
    """Keeps a row per session. The default storage.

    Args:
        model: a subclass of :class:`~botsessions.models.AbstractBotSession`, or its label.
        using: the alias of the database; ``None`` asks the routers where the model is written.
    """

    detects_conflicts = True
    writes_uncancelled = True
    """Who is cancelled while it writes is told so when that is done."""

    @telling_usage
    def __init__(
        self,
        *,
        model: type[AbstractBotSession] | str = "botsessions.BotSession",
        using: str | None = None,
    ) -> None:
        if using is not None:
            check_text("using", using, "a name in settings.DATABASES")
        self._model = model
        self._using = using

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DatabaseStorage) and self._parts() == other._parts()

    def __hash__(self) -> int:
        return hash(self._parts())

    def __repr__(self) -> str:
        return f"DatabaseStorage(model={self._parts()[0]!r}, using={self._using!r})"

    def _parts(self) -> tuple[str, str | None]:
        label = self._model if isinstance(self._model, str) else self._model._meta.label
        return label.lower(), self._using

    @cached_property
    def model(self) -> type[AbstractBotSession]:
        """The model of the table."""
        model = sessions_model(self._model)
        if self._using is not None:
            check_database(self._using)
        return model

    def check(self) -> None:
        """Raise ImproperlyConfigured or TypeError if the storage cannot be used."""
        _ = self.model

    @property
    def using(self) -> str:
        """The alias of the database."""
        return self._using or str(router.db_for_write(self.model))

    async def read(self, address: Address) -> Record | None:
        record: Record | None = (await self._request(Read([address]), [address])).get(address)
        return record and record.live()

    async def read_many(self, addresses: Sequence[Address]) -> dict[Address, Record]:
        found: dict[Address, Record] = await self._request(Read(addresses), addresses)
        return {address: record.live() for address, record in found.items()}

    async def write(self, address: Address, record: Record) -> int:
        change = Change(address, record, new_revision())
        revisions: list[int] = await self._request(Write([change]), [address])
        return revisions[0]

    async def delete(self, address: Address, revision: Revision) -> None:
        await self.write_many([(address, Record(None, revision=revision))])

    async def write_many(self, changes: Changes) -> list[int | None]:
        new = [Change(address, record, new_revision()) for address, record in changes]
        revisions: list[int | None] = await self._request(Write(new), [c.address for c in new])
        return revisions

    async def renew(self, address: Address, record: Record) -> None:
        await self._request(Renewal(address, record))

    async def about(self, address: Address) -> About | None:
        """Return whose session is stored there."""
        return await self._alone(lambda table: moving.about(table, address))

    async def of_chat(self, bot: str, chat_id: int) -> dict[Address, About]:
        return await self._alone(lambda table: moving.of_chat(table, bot, chat_id))

    async def move(self, moves: Sequence[Move]) -> int:
        return await self._alone(lambda table: moving.move(table, moves))

    async def close(self) -> None:
        """End this process's thread and connection for the database; the next use starts anew."""
        if "model" in vars(self):  # It has been used.
            await asyncio.to_thread(threads.thread_of(self.using).close)

    def _request(self, request: Request, addresses: Sequence[Address] = ()) -> Awaitable[Any]:
        table = self._table()
        errand = Errand(table, request, *lease_riding(table.using, addresses))
        return carry_out(table.using, errand)

    async def _alone(self, unit: Callable[[Table], T]) -> T:
        """Do work that does not go together with that of others."""
        table = self._table()
        if threads.sync_code_waits():
            return await sync_to_async(unit)(table)
        done: T = await threads.thread_of(table.using).run(lambda again: unit(table))
        return done

    def _table(self) -> Table:
        return table_of(self.model, self.using)
