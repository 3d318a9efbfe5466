"""Faults that are provoked in a storage from outside, whatever it is made of."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, NoReturn

from ..records import Address, Record, awaited
from ..storages.value import ValueStorage

PATIENCE_SECONDS = 1.0
"""So long a change may be kept waiting by somebody who compares and changes in one step."""
NEEDED = {
    *("__class__", "__new__", "__init__", "__init_subclass__", "__subclasshook__"),
    *("__getattribute__", "__setattr__", "__delattr__", "__dir__", "__doc__", "__sizeof__"),
    *("__reduce__", "__reduce_ex__", "__getnewargs__"),
}


class StoreUnreachable(ConnectionError, TimeoutError):
    """What a storage's store would raise that does not answer."""


class UnusableText(str):
    """Text that raises whatever is done with it, as if the store did."""

    __slots__ = ()


def raise_unreachable(*args: object, **kwargs: object) -> NoReturn:
    raise StoreUnreachable


for name in set(dir(str)) - NEEDED:
    setattr(UnusableText, name, raise_unreachable)


def unusable(storage: Any, address: Address) -> Iterator[Address]:
    """Yield the address with a key that cannot be used, in each place where a storage uses one."""
    yield address._replace(key=UnusableText(address.key))
    if isinstance(storage, ValueStorage):
        with flat_key_of(storage, UnusableText(storage.flat_key(address))):
            yield address


@contextmanager
def flat_key_of(storage: ValueStorage, key: str) -> Iterator[None]:
    storage.flat_key = lambda address: key  # type: ignore[method-assign]
    try:
        yield
    finally:
        del storage.flat_key


@asynccontextmanager
async def sneaking_in(storage: Any, address: Address, record: Record) -> AsyncIterator[list[Any]]:
    """Write a record as soon as the storage has read one by its own ``read()``.

    Yields a list that the write's outcome is put into, if there was one.
    """
    outcomes: list[Any] = []
    read, begun = storage.read, False

    async def write() -> None:
        with suppress(Exception):
            outcomes.append(await awaited(storage.write, address, record))

    def write_in_thread() -> None:
        with suppress(Exception):
            outcomes.append(storage.write(address, record))

    async def read_later(*args: Any) -> Any:
        nonlocal begun
        found = await read(*args)
        if not begun:
            begun = True
            await asyncio.wait([asyncio.ensure_future(write())], timeout=PATIENCE_SECONDS)
        return found

    def read_now(*args: Any) -> Any:
        nonlocal begun
        found = read(*args)
        if not begun:
            begun = True
            thread = threading.Thread(target=write_in_thread, daemon=True)
            thread.start()
            thread.join(PATIENCE_SECONDS)
        return found

    try:
        storage.read = read_later if inspect.iscoroutinefunction(read) else read_now
    except AttributeError:  # It has __slots__.
        yield outcomes
        return
    try:
        yield outcomes
    finally:
        del storage.read
