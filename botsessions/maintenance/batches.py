"""What work in batches has in common: what it tells about each, and how it does one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

from django.db import connections, transaction
from django.db.models import BooleanField, F, Func, Q, QuerySet, Value

from ..arguments import check_text, wrong
from ..database.care import looked_after
from ..deleting import delete_rows
from ..models import AbstractBotSession
from ..storages import Address

T = TypeVar("T")

BATCH_SIZE = 1000


@dataclass(frozen=True)
class Failure:
    """A session that was left as it was, and why; the reason shows no data.

    One that has no address yet, since it is to be imported, is named by where it is.
    """

    address: Address | str
    reason: str
    told: str = ""
    """What the author's code raised, and where. It may show data."""
    nameless: str = ""
    """The reason for those who may not know how fields of the data are called."""


@dataclass(frozen=True)
class Batch:
    """What has become of the sessions of one batch."""

    done: int
    failures: tuple[Failure, ...] = ()
    besides: Mapping[str, int] = field(default_factory=dict)
    """How many others there were, by what has become of them."""


class Row(NamedTuple):
    """A stored session among others."""

    expires_at: Any
    pk: Any
    address: Address


class Work(Protocol):
    """Something that is done to many sessions of a table."""

    def count(self, model: type[AbstractBotSession], using: str, /) -> int:
        """Return how many sessions it would be done to now."""

    def run(
        self, model: type[AbstractBotSession], using: str, /, *, limit: int | None = None
    ) -> Iterator[Batch]:
        """Do it, to at most ``limit`` sessions; yield what each batch has done."""


def check_choice(bot: object, name: object, batch_size: object) -> None:
    """Raise TypeError or ValueError for what chooses no sessions, and no size of a batch."""
    if bot is not None:
        check_text("bot", bot, "a bot's alias or id")
    if name is not None and not isinstance(name, str):
        wrong("name", name, "a fragment's name, empty in a single session, as text")
    if not isinstance(batch_size, int):
        wrong("batch_size", batch_size, "a number of sessions")
    if batch_size < 1:
        raise ValueError(f"batch_size must be 1 or more, not {batch_size}.")


def unit_of_work(using: str, work: Callable[..., T], *args: Any) -> T:
    """Do a batch, again if the database fails for a moment: a lock, a deadlock, a restart.

    In a caller's transaction it is done once.
    """
    if connections[using].in_atomic_block:
        return work(*args)
    return looked_after(lambda again: work(*args))


def unlocked(sessions: QuerySet[Any]) -> list[Any]:
    """Lock sessions in a transaction; return the primary keys of those that nobody else has locked.

    To wait for somebody with others locked would hold up the bot in all of their chats, and could
    be a deadlock.
    """
    features = connections[sessions.db].features
    if features.has_select_for_update_skip_locked:
        sessions = sessions.select_for_update(skip_locked=True)
    return list(sessions.order_by("pk").values_list("pk", flat=True))


def delete_unlocked(rows: QuerySet[Any], keys: Sequence[Any]) -> int:
    """Delete those of ``rows`` with these primary keys that nobody else has locked."""
    if not keys:
        return 0
    with transaction.atomic(using=rows.db, savepoint=False):
        free = unlocked(with_keys(rows, keys))
        return delete_rows(with_keys(rows, free)) if free else 0


def next_rows(
    sessions: QuerySet[Any], size: int, after: Row | None, by_expiry: bool = True
) -> list[Row]:
    """Return the next of ``sessions`` after one, by expiry (for which there is an index), or by
    primary key."""
    if after is not None and by_expiry:
        moment = after.expires_at
        later = Q(expires_at__gt=moment) | Q(expires_at=moment, pk__gt=after.pk)
        sessions = sessions.filter(later, expires_at__gte=moment)
    elif after is not None:
        sessions = sessions.filter(pk__gt=after.pk)
    found = sessions.order_by(*(("expires_at", "pk") if by_expiry else ("pk",)))
    columns = found.values_list("expires_at", "pk", "bot", "name", "key")
    return [Row(moment, pk, Address(*parts)) for moment, pk, *parts in columns[:size]]


def with_keys(sessions: QuerySet[Any], keys: Sequence[Any], *, column: str = "pk") -> QuerySet[Any]:
    """Return those of ``sessions`` that have one of these primary keys, or values of a column."""
    if connections[sessions.db].vendor != "postgresql":
        return sessions.filter(**{f"{column}__in": keys})
    # One parameter: to put a thousand into the statement takes longer than to find them.
    return sessions.filter(IsAny(F(column), Value(list(keys))))


def at(sessions: QuerySet[Any], addresses: Iterable[Address]) -> Iterator[QuerySet[Any]]:
    """Yield query sets of those of ``sessions`` that have one of these addresses."""
    keys: dict[tuple[str, str], list[str]] = {}
    for bot, name, key in addresses:
        keys.setdefault((bot, name), []).append(key)
    for (bot, name), some in keys.items():
        yield with_keys(sessions.filter(bot=bot, name=name), some, column="key")


class IsAny(Func):
    """Whether a value is in an array, on PostgreSQL."""

    template = "%(expressions)s)"
    arg_joiner = " = ANY("
    output_field = BooleanField()
