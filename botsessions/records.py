"""What every storage speaks: addresses, records, and three operations over them."""

from __future__ import annotations

import asyncio
import enum
import inspect
import json
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, TypeVar, cast

import msgspec
from asgiref.sync import sync_to_async
from msgspec.structs import asdict, replace

from .exceptions import SessionConflict, SessionDataError
from .forking import at_fork

T = TypeVar("T")
Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

ENCODER = msgspec.json.Encoder()
DECODER = msgspec.json.Decoder()

MAX_NAME_LENGTH = 64
MAX_KEY_LENGTH = 255
MAX_ID = 2**63 - 1
"""Of chats and users: what databases store."""
MAX_TITLE_LENGTH = 255
MAX_BY_LENGTH = 100


class Revisions(enum.Enum):
    """Type of :data:`ANY`."""

    ANY = "any"


ANY: Literal[Revisions.ANY] = Revisions.ANY
"""In place of a revision: whatever is stored now, if anything."""

Revision: TypeAlias = "int | Literal[Revisions.ANY] | None"


class Address(NamedTuple):
    """Where a session is stored."""

    bot: str
    """The bot's alias."""
    name: str
    """The fragment's name, empty in a single session."""
    key: str
    """The session key."""

    def __str__(self) -> str:
        fragment = f" of fragment '{self.name}'" if self.name else ""
        return f"'{self.key}'{fragment} of bot '{self.bot}'"


class About(msgspec.Struct, frozen=True):
    """Whom a session belongs to, for storages that show it to people.

    What is not known, or has no part in the session's key, is ``None``.
    """

    chat_id: int | None = None
    user_id: int | None = None
    chat_type: str | None = None
    title: str | None = None

    def over(self, before: About | None) -> About:
        """Return what is known now, and where that is nothing, what was before."""
        if before is None:
            return self
        return replace(before, **self.known())

    def known(self) -> dict[str, Any]:
        """Return what is known, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


UNREADABLE: Any = object()
"""In place of stored data that is no JSON, or none that Python can read."""


class Record(msgspec.Struct, frozen=True):
    """A stored session. ``msgspec.structs.replace`` makes one that differs in some fields."""

    value: Json
    """Strict JSON; ``None`` where there is no data (any more)."""
    version: Decimal | None = None
    """Of the data's shape."""
    expires_at: datetime | None = None
    """Aware; from then on the value is gone."""
    revision: Revision = None
    """The one that was read; ``None`` for "must not exist"; :data:`ANY`."""
    about: About | None = None
    """Whose it is; written as ``None``, what was known of that stays."""
    stale: bool = False
    """Whether the value differs from what is stored, because it was migrated on reading."""
    expired: Json = None
    """The value that is gone because it has expired, for those who are told of that."""

    def live(self, now: datetime | None = None) -> Record:
        """Return the record as it may be shown: without its value if that has expired."""
        if self.expires_at is None or self.expires_at > (now or utcnow()):
            return self
        return Record(None, revision=self.revision, about=self.about, expired=self.value)


Changes: TypeAlias = "Sequence[tuple[Address, Record]]"


class Move(NamedTuple):
    """A session's way to another key."""

    address: Address
    key: str
    """The new one."""
    about: About
    """What is new of whom it belongs to."""

    @property
    def target(self) -> Address:
        return self.address._replace(key=self.key)


class Storage(Protocol):
    """Three operations over records. A plain class with these methods will do.

    They may also be ordinary functions; these are called the way Django calls sync code, by
    :func:`asgiref.sync.sync_to_async`.

    A storage whose writes and deletes compare revisions says so with a class attribute
    ``detects_conflicts = True``.
    """

    def read(self, address: Address, /) -> Awaitable[Record | None]:
        """Return what is stored, or ``None``. What has expired has no value."""

    def write(self, address: Address, record: Record, /) -> Awaitable[int]:
        """Store ``record`` and return its new revision.

        Raises:
            SessionConflict: what is stored is not what ``record.revision`` names.
        """

    def delete(self, address: Address, revision: Revision, /) -> Awaitable[None]:
        """Delete what is stored. What is not there (any more) is no error.

        Raises:
            SessionConflict: something else is stored than what ``revision`` names.
        """


class RenewingStorage(Storage, Protocol):
    """A storage that renews a record without writing its value again."""

    def renew(self, address: Address, record: Record, /) -> Awaitable[None]:
        """Let what is stored expire at ``record.expires_at``, and keep all else as it is.

        The revision stays, too: whoever has read the record may still write it. If what is stored
        has another one than ``record.revision``, nothing is done, and that is no error.
        """


class BatchStorage(Storage, Protocol):
    """A storage that reads and writes several records at once."""

    def read_many(self, addresses: Sequence[Address], /) -> Awaitable[Mapping[Address, Record]]:
        """Return what is stored of ``addresses``, in one go."""

    def write_many(self, changes: Changes, /) -> Awaitable[list[int | None]]:
        """Make all ``changes`` or none; return the new revisions, ``None`` for a deletion.

        A record without a value deletes.

        Raises:
            SessionConflict: one of them found something else than it named.
        """


class MovingStorage(Storage, Protocol):
    """A storage that finds the sessions of a chat, and gives sessions other keys."""

    def of_chat(self, bot: str, chat_id: int, /) -> Awaitable[Mapping[Address, About]]:
        """Return whom the sessions of ``bot`` belong to that belong to this chat."""

    def move(self, moves: Sequence[Move], /) -> Awaitable[int]:
        """Give sessions their new keys, and new revisions, in one go; return how many.

        One stays as it is that has expired, or whose new key has a session that has not.
        """


def awaited(method: Callable[..., Any], *args: Any) -> Awaitable[Any]:
    """Call ``method``, be it ``async`` or not, and return what its result is awaited with."""
    if is_async(getattr(method, "__func__", method)):
        return cast("Awaitable[Any]", method(*args))
    return off_the_loop(method, *args)


async def off_the_loop(method: Callable[..., Any], *args: Any) -> Any:
    result = await sync_to_async(method)(*args)
    return await result if inspect.isawaitable(result) else result


@lru_cache
def is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function)


async def all_of(coroutines: Iterable[Awaitable[T]]) -> list[T]:
    """Await all, side by side and to the end; then raise the first error, if any."""
    awaitables = list(coroutines)
    if len(awaitables) == 1:
        return [await awaitables[0]]
    results = await asyncio.gather(*awaitables, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return cast("list[T]", results)


def utcnow() -> datetime:
    return datetime.now(timezone.utc)


def dumps(value: Any) -> str:
    """Return the JSON text that is stored, and whose length in UTF-8 is a session's size."""
    return ENCODER.encode(value).decode()


def loads(text: str | bytes) -> Json:
    """Return what JSON text says, also such as is not strict.

    Raises:
        ValueError: it is no JSON, or nested too deeply for Python.
    """
    try:
        try:
            return cast("Json", DECODER.decode(text))
        except ValueError:  # A NaN, say, which others may have stored.
            return cast("Json", json.loads(text))
    except RecursionError:
        raise ValueError("It is nested too deeply.") from None


def stored_value(text: str) -> Json:
    """Return stored data, :data:`UNREADABLE` where Python cannot read them."""
    try:
        return loads(text)
    except ValueError:
        return cast("Json", UNREADABLE)


def refuse_unreadable(address: Address, record: Record) -> None:
    """Raise SessionDataError where a record's data cannot be read."""
    if record.value is UNREADABLE:
        raise SessionDataError(
            f"Session {address} cannot be read: what is stored is no JSON that Python can read. "
            "Assign new data, or delete the session."
        )


def plain(number: Decimal) -> Decimal:
    """Return ``number`` without trailing zeros or exponent, so that equal ones read the same."""
    return Decimal(f"{number.normalize():f}")


def new_revision() -> int:
    """Return a number that no address has ever had as revision.

    Random, because a counter would start again after a delete, and then a writer that missed
    delete and creation would find "its" revision.
    """
    try:
        return _revisions.pop()
    except IndexError:
        numbers = memoryview(secrets.token_bytes(8 * REVISIONS_AT_ONCE)).cast("Q")
        _revisions.extend(number >> 1 for number in numbers)
        return new_revision()


REVISIONS_AT_ONCE = 128
"""To ask the system for a random number takes longer than to make it."""
_revisions: list[int] = []
# A child would use its parent's.
at_fork(after_in_child=_revisions.clear)


def conflict(address: Address) -> SessionConflict:
    return SessionConflict(
        f"Session {address} was changed or deleted by somebody else since it was read. "
        "Nothing was written. Use edit_session() or edit() to change it with its key held."
    )


__all__ = [
    "ANY",
    "About",
    "Address",
    "BatchStorage",
    "Changes",
    "Json",
    "Move",
    "MovingStorage",
    "Record",
    "RenewingStorage",
    "Revision",
    "Storage",
    "all_of",
    "awaited",
    "conflict",
    "dumps",
    "new_revision",
    "plain",
    "utcnow",
]
