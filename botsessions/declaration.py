"""What an author declares of a session, as the core needs it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any, Final, Generic, TypeVar

from .arguments import check_function, check_storage, kind_of, wrong
from .codec import Codec, is_data_type
from .exceptions import SessionNotInitialized
from .keys import KeyFunction
from .records import Address, Json, Record, Storage
from .storages import DatabaseStorage
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
    meanwhile; ``None`` if that cannot be. Without it, a change of others is a conflict. What is not
    stored, or was deleted, is ``None`` for it."""
    noted: Callable[[Record | None], object] | None = None
    """Is told of each record that was read or written."""
    yields: bool = False
    """Whether a change is dropped if somebody else has changed what it would replace or delete."""
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

    def initial_data(self, address: Address) -> T | None:
        """Return the data of a session of which nothing is stored.

        Raises:
            SessionNotInitialized: none was declared.
        """
        if self.initial is None:
            raise SessionNotInitialized(
                f"Nothing is stored for session {address}, and it declares no initial data. "
                "Give session() an initial=…, or assign data before reading it."
            )
        return self.initial()


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


def declared(
    initial: Callable[[], T | None] | None,
    get_session_key: KeyFunction,
    storage: Storage | None,
    data_type: Any,
    *,
    lazy: bool,
) -> Fragment[T]:
    """Return the fragment of a single session.

    Raises:
        TypeError: an argument is of the wrong kind.
    """
    if initial is not None:
        check_function("initial", initial, INITIAL)
        if is_async(initial):
            wrong("initial", initial, f"{INITIAL}, and is not async")
    check_function(
        "get_session_key", get_session_key, "a function from an update to a key", "update"
    )
    storage = DatabaseStorage() if storage is None else storage
    check_storage(storage)
    if data_type is None and is_data_type(initial):
        data_type = initial
    elif data_type is None:
        refuse_subclass(initial)
    own = None if initial is None else Own(initial)
    return Fragment(SINGLE, own, get_session_key, storage, codec(data_type), lazy)


def refuse_subclass(initial: object) -> None:
    """Raise TypeError for a class whose objects would come back as plain dicts or lists."""
    for plain in (dict, list):
        if isinstance(initial, type) and issubclass(initial, plain) and initial is not plain:
            raise TypeError(
                f"initial must not be {kind_of(initial)}: what is stored comes back as a plain "
                f"{plain.__name__}. Give initial={plain.__name__}, or a dataclass."
            )


INITIAL = "a class or a function without arguments that returns the data of a new chat"
DATA_TYPE = "a type whose data can be stored, like a dataclass"


def codec(data_type: Any) -> Codec[Any]:
    try:
        found: Codec[Any] = Codec(data_type)
    except TypeError as exc:
        raise TypeError(f"data_type must be {DATA_TYPE}: {exc}.") from None
    if not found.is_known:
        wrong("data_type", data_type, DATA_TYPE)
    return found


class Own(Generic[T]):
    """Gives each chat initial data of its own, also where a function returns the same every time.

    Raises:
        TypeError: when it is called: the function gave something that cannot be stored.
    """

    def __init__(self, initial: Callable[[], T | None]) -> None:
        self.initial = initial

    def __call__(self) -> T | None:
        data = self.initial()
        if inspect.isawaitable(data):
            if inspect.iscoroutine(data):
                data.close()
            wrong("initial", data, INITIAL)
        try:
            return deepcopy(data)
        except Exception as exc:
            raise TypeError(
                f"initial must return data that can be stored, not {type(data).__name__}."
            ) from exc
