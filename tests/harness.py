"""Bots for the tests: offline, with a storage that records its calls."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from telegram import Update
from telegram.ext import BaseHandler, TypeHandler

from botsessions import MemoryStorage
from botsessions.storages import Address, Record
from botsessions.testing import AsyncBotClient


async def turns(number: int = 50) -> None:
    """Let other tasks go on, as far as they get without waiting for a thread or a clock."""
    for _ in range(number):
        await asyncio.sleep(0)


@contextmanager
def left_to_collect() -> Iterator[list[type]]:
    """Note the types of our own objects that only the garbage collector can free."""
    left: list[type] = []
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield left
        gc.collect()
    finally:
        gc.set_debug(0)
        left += [type(o) for o in gc.garbage if type(o).__module__.startswith("botsessions")]
        gc.garbage.clear()


class Store(MemoryStorage):
    """Memory that records its calls and can be told to fail."""

    def __init__(
        self, stored: dict[str, Any] | None = None, *, bot: str = "1", name: str = ""
    ) -> None:
        super().__init__()
        self.calls: list[tuple[str, str]] = []
        self.fails: dict[str, BaseException] = {}
        for key, value in (stored or {}).items():
            address = Address(bot, name, key)
            self._put(address, Record(value), json.dumps(value))

    @property
    def operations(self) -> list[str]:
        return [operation for operation, _ in self.calls]

    @property
    def values(self) -> dict[str, Any]:
        """The stored data by session key."""
        return {address.key: json.loads(text) for address, (_, text) in self._stored.items()}

    @property
    def records(self) -> dict[Address, Record]:
        """What is stored, but for the data."""
        return {address: record for address, (record, _) in self._stored.items()}

    async def read_many(self, addresses: Any) -> dict[Address, Record]:
        self._note("read", addresses)
        return await super().read_many(addresses)

    async def write_many(self, changes: Any) -> list[int | None]:
        for address, record in changes:
            self._note("delete" if record.value is None else "write", [address])
        return await super().write_many(changes)

    async def renew(self, address: Address, record: Record) -> None:
        self._note("renew", [address])
        await super().renew(address, record)

    def _note(self, operation: str, addresses: Any) -> None:
        self.calls += [(operation, address.key) for address in addresses]
        if operation in self.fails:
            raise self.fails[operation]


def client(
    session: Any,
    *handlers: Any,
    errors: Callable[..., Any] | None = None,
    builder: Callable[[Any], Any] = lambda builder: builder,
    raise_errors: bool = False,
) -> AsyncBotClient:
    """Return a client of a bot with these handlers, each in a group of its own.

    A plain callback takes every update.
    """

    build = building(session, *handlers, errors=errors, builder=builder)
    return AsyncBotClient(build=build, raise_errors=raise_errors)


def building(
    session: Any,
    *handlers: Any,
    errors: Callable[..., Any] | None = None,
    builder: Callable[[Any], Any] = lambda builder: builder,
) -> Callable[[Any], Any]:
    """Return the function that builds such a bot, for a client of any kind."""

    def build(plain: Any) -> Any:
        application = builder(session.install(plain)).build()
        for group, handler in enumerate(handlers):
            if not isinstance(handler, BaseHandler):
                handler = TypeHandler(object, handler)
            application.add_handler(handler, group)
        if errors is not None:
            application.add_error_handler(errors)
        return application

    return build


def text(person: Any, update_id: int = 1, words: str = "x") -> Update:
    """Return a message as Telegram would send it, without handing it to the bot."""
    place, conversation = person.place, person.client.conversation
    message = conversation.updates.message(place.sender, place.chat, words)
    content = {"update_id": update_id, "message": message}
    update = Update.de_json(content, conversation.application.bot)
    assert update is not None
    return update


@asynccontextmanager
async def running(bot: AsyncBotClient) -> AsyncIterator[Any]:
    """Run a bot's application as a script would, with its update queue and its jobs."""
    async with bot.application as application:
        await application.start()
        try:
            yield application
        finally:
            await application.stop()
