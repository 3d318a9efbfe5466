"""Going back to what data was, in the object that its users have in hand."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol

import msgspec

from .promises import Promise

inside: ContextVar[frozenset[object]] = ContextVar("botsessions_inside", default=frozenset())
"""The marks of the blocks that the running code is in, and maybe of some that are over."""


class Exchanged(msgspec.Struct, frozen=True):
    """What the last exchange with the storage came to; each has one of its own."""

    written: bool = False
    """Whether it was a write."""
    error: Exception | None = None
    """Why what was read cannot be shown."""


class Snapshot(NamedTuple):
    """What a fragment's data was at some moment; see :meth:`.Data.restore`."""

    data: Any
    copy: Any
    exchanged: Exchanged | None
    seen: bool
    assigned: bool
    error: Exception | None
    promise: Promise[Any] | None = None


class Shared:
    """Data that blocks of code may work on beside others, each of which may have to be undone."""

    blocks: list[object]
    """The marks of those that are open."""
    touched: list[frozenset[object] | None]
    """For each time that it may have been changed, what the code was in; ``None``: undone."""

    def touch(self) -> None:
        """Note that the running code may change the data, for blocks that it is not in."""
        marks = inside.get()
        if not marks.issuperset(self.blocks):
            self.touched.append(marks)


class Restorable(Protocol):
    """Data that can be what it was."""

    def snapshot(self) -> Any: ...
    def restore(self, before: Any) -> None: ...


def copy_of(data: Any) -> Any:
    """Return a deep copy; the data itself if it cannot be copied, which then cannot be stored."""
    try:
        return copy.deepcopy(data)
    except Exception:
        return data


def restored(data: Any, before: Any) -> Any:
    """Give ``data`` the contents of a copy made before; return it, or the copy instead."""
    if data is before or type(data) is not type(before):
        return before
    if isinstance(data, dict):
        data.clear()
        data.update(before)
    elif isinstance(data, list):
        data[:] = before
    elif isinstance(data, msgspec.Struct):
        for name in data.__struct_fields__:
            msgspec.structs.force_setattr(data, name, getattr(before, name))
    elif hasattr(data, "__dict__"):
        vars(data).clear()
        vars(data).update(vars(before))
    else:
        return before
    return data


class Undo:
    """Lets data be what it was if the block raises or is cancelled."""

    def __init__(self, some: Iterable[Restorable]) -> None:
        self._before = [(data, data.snapshot()) for data in some]

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *raised: object) -> None:
        if kind is not None:
            for data, before in self._before:
                data.restore(before)
