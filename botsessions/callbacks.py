"""The callbacks of stored jobs, by name, and what a job is as a record: whose, what with, when."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from django.core.exceptions import ImproperlyConfigured
from msgspec.structs import replace

from .codec import Codec
from .conf import max_bytes
from .declaration import Fragment
from .due import JOB
from .exceptions import SessionDataError, SessionKeyError, StoredJobError
from .keys import check_key, joined, no_key
from .records import About, Address, Json, Record, Storage
from .storages import DatabaseStorage
from .storages.layers import WrappedStorage
from .updates import Place

DATA: Final = "data"
"""In what is stored of a job: what the author has given it."""
KEY = re.compile(
    r"(?:(?:(?P<business>(?![-0-9])[^/]+)/)?(?P<chat>-?[0-9]+)/(?:t(?P<direct_topic>-?[0-9]+)/)?"
    r"(?:(?P<user>-?[0-9]+)/)?)?(?P<name>[^/]+)"
)
"""The session key of a job, as :attr:`Whose.key` makes it: ``business/chat/t7/user/name``, of which
only the name is always there."""


@dataclass(frozen=True, eq=False)
class Callback:
    """A function that jobs call, known by its name."""

    name: str
    function: Callable[[Any], Coroutine[Any, Any, object]]
    codec: Codec[Any]
    """Of what the jobs are given."""

    @property
    def fragment(self) -> str:
        """The name of the fragment that its jobs are stored in."""
        return f"{JOB}{self.name}"

    def encode(self, data: Any) -> Json:
        """Return what is stored of a job.

        Raises:
            SessionDataError: its data cannot be stored.
        """
        try:
            return {DATA: self.codec.encode(data, {}, max_bytes())}
        except SessionDataError as exc:
            problem = f"The data of a job of {self.name!r} cannot be stored: {exc}"
            raise SessionDataError(problem, path=exc.path) from None

    def decode(self, address: Address, stored: Json) -> Any:
        """Return the data of a stored job.

        Raises:
            SessionDataError: it does not fit, since somebody has changed the type or the data.
        """
        try:
            if not isinstance(stored, dict) or DATA not in stored:
                raise SessionDataError(f"there is no {DATA!r}.")
            return self.codec.decode(stored[DATA]).data
        except SessionDataError as exc:
            problem = f"Job {address} cannot be run: its data cannot be read: {exc}"
            raise SessionDataError(problem, path=exc.path) from None


_callbacks: dict[str, Callback] = {}


def register(callback: Callback) -> None:
    """Take note of a callback.

    Raises:
        ImproperlyConfigured: another function has its name.
    """
    before = _callbacks.get(callback.fragment)
    if before is not None and origin_of(before) != origin_of(callback):
        raise ImproperlyConfigured(
            f"Two stored jobs are named {callback.name!r}: {'.'.join(origin_of(before))} and "
            f"{'.'.join(origin_of(callback))}. Name one of them: @stored_job(name=…)."
        )
    _callbacks[callback.fragment] = callback


def origin_of(callback: Callback) -> tuple[str, str]:
    """Return where a callback is defined, which is the same if its module is imported anew."""
    function = callback.function
    kind = type(function)
    return (
        getattr(function, "__module__", kind.__module__),
        getattr(function, "__qualname__", kind.__qualname__),
    )


def fragments_of_jobs() -> list[str]:
    """Return the fragments of this project's stored jobs, as far as its modules are imported."""
    return [*_callbacks]


def callback_of(address: Address) -> Callback:
    """Return the callback of a stored job.

    Raises:
        StoredJobError: the code has none of that name (any more).
    """
    found = _callbacks.get(address.name)
    if found is not None:
        return found
    known = ", ".join(repr(callback.name) for callback in _callbacks.values()) or "none"
    raise StoredJobError(
        f"Bot {address.bot!r} has jobs that are due for the callback "
        f"{address.name.removeprefix(JOB)!r}, which the code does not have (any more); it has "
        f"{known}. They stay stored. Import its module where the bot is built, give the callback "
        f"back to the code, give its jobs to another one by `manage.py rename_fragment`, or delete "
        f"them in the admin."
    )


class Whose(NamedTuple):
    """Which job it is: whose, and its name among those of its callback and these ids."""

    chat: int | None
    user: int | None
    name: str
    business: str | None = None
    """The id of the business connection, where the chat's id is the customer's own."""
    direct_topic: int | None = None
    """That of a customer's topic in a channel's direct messages."""

    @classmethod
    def of(
        cls,
        name: str,
        *,
        chat: int | None = None,
        user: int | None = None,
        business: str | None = None,
        direct_topic: int | None = None,
        **others: object,
    ) -> Whose:
        """Return the same for a person and for the private chat, which has the person's id.

        Args:
            others: ids that key functions know by further names; they tell no jobs apart.
        """
        if chat is None:
            chat = user
        if chat is not None and user in (None, chat):
            user = chat if chat > 0 else None
        return cls(chat, user, name, business, direct_topic)

    @classmethod
    def of_key(cls, key: str) -> Whose:
        """Return whose job has this session key.

        Raises:
            SessionKeyError: it is no job's.
        """
        match = KEY.fullmatch(key)
        if match is None:
            raise SessionKeyError(f"{key!r} is no key of a stored job.")
        found: dict[str, Any] = {
            name: unquote(part) if name in ("name", "business") else int(part)
            for name, part in match.groupdict().items()
            if part is not None
        }
        return cls.of(**found)

    @property
    def key(self) -> str:
        """The session key: whoever gives a chat another id finds it there.

        Raises:
            SessionKeyError: the name is too long, or cannot be stored.
        """
        topic = None if self.direct_topic is None else f"t{self.direct_topic}"
        user = None if self.user == self.chat else self.user
        try:
            return check_key(joined(self.business, self.chat, topic, user, self.name))
        except (SessionKeyError, UnicodeEncodeError):
            raise SessionKeyError(
                "The name of a stored job is too long, or holds a lone surrogate."
            ) from None

    @property
    def ids(self) -> Mapping[str, Any]:
        """Those that are known, by the names that key functions have for them."""
        if self.chat is None:
            return {}
        ids = Place(self.chat, self.business, self.direct_topic).ids
        return ids if self.user is None else {**ids, "user": self.user}

    @property
    def about(self) -> About:
        return About(chat_id=self.chat, user_id=self.user)


class At(WrappedStorage):
    """Where a job is stored.

    Args:
        moment: when it is to be run; ``None``: it is not to be written.
    """

    shows_expired = True

    def __init__(self, inner: Storage, moment: datetime | None = None) -> None:
        super().__init__(inner)
        self._moment = moment

    def outgoing(self, record: Record) -> Record:
        return replace(record, expires_at=self._moment or record.expires_at)


def fragment_of(name: str, storage: Storage, moment: datetime | None = None) -> Fragment[Any]:
    """Return the fragment of that name for one job, or for its rows."""
    return Fragment(name, None, no_key, At(storage, moment), Codec(), lazy=False, yields=True)


def storage_of_jobs(fragments: Mapping[str, Fragment[Any]]) -> DatabaseStorage:
    """Return where the jobs of a bot are stored that has these fragments.

    That is where the first of them is stored that is in a database.
    """
    storages: Iterable[Storage] = (fragment.innermost for fragment in fragments.values())
    return next((s for s in storages if isinstance(s, DatabaseStorage)), DatabaseStorage())
