"""What an author declares of a session, as the core needs it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any, Final, Generic, TypeVar

from .codec import Codec
from .keys import KeyFunction
from .records import Address, Json, Storage
from .storages.layers import Place, WrappedStorage, peel

T = TypeVar("T")

SINGLE: Final = ""
"""The name of a single session's only fragment."""


@dataclass(frozen=True, eq=False)
class Fragment(Generic[T]):
    """What an author declares of one fragment. The only one of a single session has no name."""

    name: str
    initial: Callable[[], T | None] | None
    get_session_key: KeyFunction
    storage: Storage
    codec: Codec[T]
    lazy: bool
    is_held: bool = True
    """Whether an update has it for itself. What is not held, others may change meanwhile."""
    key: str | None = None
    """Its only key, whatever an update or job is about; ``None``: it is made by the function."""
    merge: Callable[[Json, Json, Json], Json] | None = None
    """Makes one value of what was read, what it has become here, and what others have made of it
    meanwhile; ``None`` if that cannot be. Without it, a change of others is a conflict."""
    stores_initial: bool = True
    """Whether initial data that somebody has seen is stored, even if it was not changed."""

    @cached_property
    def layers(self) -> Sequence[WrappedStorage]:
        """What is around the storage, outermost first."""
        return peel(self.storage)[0]

    @cached_property
    def innermost(self) -> Storage:
        """The storage inside all layers."""
        return peel(self.storage)[1]

    def place(self, address: Address) -> Place:
        """Return where the fragment's record of that address is."""
        return Place(self.layers, self.innermost, address)

    @cached_property
    def newest_version(self) -> Decimal | None:
        return getattr(self.storage, "newest_version", None)


class Declaration:
    """What single and multi sessions have in common."""

    is_multi = False
    is_lazy = False

    def __init__(self, fragments: Mapping[str, Fragment[Any]]) -> None:
        self.fragments = fragments
        self.has_async_keys = any(is_async(f.get_session_key) for f in fragments.values())
        self._installed: dict[str, str] = {}

    def installed(self, alias: str, lock: str = "process") -> None:
        """Take note of an application of this process that has the session."""
        self._installed[alias] = lock


def is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004
    )
