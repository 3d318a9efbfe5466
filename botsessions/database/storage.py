"""Sessions in the Django database."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, cast

from django.db import router

from ..arguments import check_text, telling_usage, wrong
from ..records import About, Address, Changes, Move, Record, Revision, new_revision
from . import moving
from .changes import Change
from .connections import batching_of, close_database, run
from .history import history_table_of
from .model import EXPECTED_MODEL, check_database, sessions_model
from .requests import Extension, Read, Write
from .sessions_table import Table, table_of

if TYPE_CHECKING:
    from ..models import AbstractBotSession


class DatabaseStorage:
    """Keeps a row per session. The default storage.

    Args:
        model: a subclass of :class:`~botsessions.models.AbstractBotSession`, or its label.
        using: the alias of the database; ``None`` asks the routers where the model is written.
        history: how many versions of each session are kept, the present one included; 0: none.
    """

    detects_conflicts = True

    @telling_usage
    def __init__(
        self,
        *,
        model: type[AbstractBotSession] | str = "botsessions.BotSession",
        using: str | None = None,
        history: int = 0,
    ) -> None:
        if not isinstance(model, str) and not hasattr(model, "_meta"):
            wrong("model", model, EXPECTED_MODEL)
        if using is not None:
            check_text("using", using, "a name in settings.DATABASES")
        if type(history) is not int:
            wrong("history", history, "a number of versions, like 20")
        if history < 0:
            raise ValueError("history must be a number of versions, like 20, or 0 for none.")
        self._model = model
        self._using = using
        self.history = history
        """How many versions of each session are kept."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DatabaseStorage) and self._parts() == other._parts()

    def __hash__(self) -> int:
        return hash(self._parts())

    def __repr__(self) -> str:
        history = f", history={self.history}" if self.history else ""
        return f"DatabaseStorage(model={self._parts()[0]!r}, using={self._using!r}{history})"

    def _parts(self) -> tuple[str, str | None, int]:
        label = self._model if isinstance(self._model, str) else self._model._meta.label
        return label.lower(), self._using, self.history

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

    @property
    def table(self) -> Table:
        if self.history:
            return history_table_of(self.model, self.using, self.history)
        return table_of(self.model, self.using)

    async def read(self, address: Address) -> Record | None:
        return (await self.read_many([address])).get(address)

    async def read_many(self, addresses: Sequence[Address]) -> dict[Address, Record]:
        table = self.table
        read = Read({table: addresses})
        found: dict[Address, Record] = await batching_of(table.using).request(read)
        return found

    async def write(self, address: Address, record: Record) -> int:
        (revision,) = await self.write_many([(address, record)])
        return cast("int", revision)

    async def delete(self, address: Address, revision: Revision) -> None:
        await self.write_many([(address, Record(None, revision=revision))])

    async def write_many(self, changes: Changes) -> list[int | None]:
        table = self.table
        new = [Change(address, record, new_revision()) for address, record in changes]
        await batching_of(table.using).request(Write({table: new}))
        return [change.outcome for change in new]

    async def renew(self, address: Address, record: Record) -> None:
        table = self.table
        await batching_of(table.using).request(Extension(table, address, record))

    async def of_chat(self, bot: str, chat_id: int) -> dict[Address, About]:
        return await run(self.using, partial(moving.of_chat, self.table, bot, chat_id))

    async def about(self, address: Address) -> About | None:
        """Return whose session is stored there."""
        return await run(self.using, partial(moving.about, self.table, address))

    async def move(self, moves: Sequence[Move]) -> int:
        return await run(self.using, partial(moving.move, self.table, moves))

    async def close(self) -> None:
        """End this process's threads and connections for the database; the next use starts anew."""
        if "model" in vars(self):  # It has been used.
            await asyncio.to_thread(close_database, self.using)
