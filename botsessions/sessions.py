"""What an author of a bot declares: its session."""

from __future__ import annotations

import keyword
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Generic, TypeVar, cast, overload

from django.core.exceptions import ImproperlyConfigured

from .arguments import check_text, telling_usage
from .bots import all_bots, get_bot
from .database.callers import wait_for
from .declaration import Declaration, Fragment, declared
from .editing import AsyncEdit, Edit, refuse_event_loop
from .keys import KeyFunction, ignores_update, per_chat
from .ptb import AnyBuilder, SessionBuilder, install
from .records import MAX_NAME_LENGTH
from .sources import Source, source
from .storages import Storage
from .unit import Unit

T = TypeVar("T")
Plain = TypeVar("Plain", dict[str, Any], list[Any])
"""Classes of data that need no type, as ``initial=dict``: checkers do not know what is in them."""


@overload
def session(
    *,
    initial: type[Plain],
    get_session_key: KeyFunction = ...,
    storage: Storage | None = ...,
    data_type: None = ...,
) -> Session[Plain]: ...
@overload
def session(
    *,
    initial: Callable[[], T | None],
    get_session_key: KeyFunction = ...,
    storage: Storage | None = ...,
    data_type: type[T] | None = ...,
) -> Session[T]: ...
@overload
def session(
    *,
    initial: None = ...,
    get_session_key: KeyFunction = ...,
    storage: Storage | None = ...,
    data_type: Any = ...,
) -> Session[Any]: ...
@telling_usage
def session(
    *,
    initial: Callable[[], Any] | None = None,
    get_session_key: KeyFunction = per_chat,
    storage: Storage | None = None,
    data_type: Any = None,
) -> Session[Any]:
    """Declare a session that is loaded before the handlers run.

    Args:
        initial: called for a chat without data. A class (dataclass, attrs, ``msgspec.Struct``,
            ``TypedDict``, ``NamedTuple``) also names the type that stored JSON is decoded into.
        get_session_key: from an update to the key that its data is stored under, ``None`` for no
            session; may be ``async``. See :mod:`botsessions.keys`.
        storage: where the data is stored; ``None`` is :class:`DatabaseStorage`.
        data_type: the type that stored JSON is decoded into, where ``initial`` is a function.

    Raises:
        TypeError: an argument is of the wrong kind.
    """
    return Session(declared(initial, get_session_key, storage, data_type, lazy=False))


@overload
def lazy_session(
    *,
    initial: type[Plain],
    get_session_key: KeyFunction = ...,
    storage: Storage | None = ...,
    data_type: None = ...,
) -> Session[Plain]: ...
@overload
def lazy_session(
    *,
    initial: Callable[[], T | None],
    get_session_key: KeyFunction = ...,
    storage: Storage | None = ...,
    data_type: type[T] | None = ...,
) -> Session[T]: ...
@overload
def lazy_session(
    *,
    initial: None = ...,
    get_session_key: KeyFunction = ...,
    storage: Storage | None = ...,
    data_type: Any = ...,
) -> Session[Any]: ...
@telling_usage
def lazy_session(
    *,
    initial: Callable[[], Any] | None = None,
    get_session_key: KeyFunction = per_chat,
    storage: Storage | None = None,
    data_type: Any = None,
) -> Session[Any]:
    """Declare a session that is loaded at the first ``await context.session``, or never.

    The arguments are those of :func:`session`.
    """
    return Session(declared(initial, get_session_key, storage, data_type, lazy=True))


@telling_usage
def multi_session(**fragments: Session[Any]) -> MultiSession:
    """Declare a session of several fragments, each with a storage and a key of its own.

    An update holds the keys of all fragments. One that has the same key for every update lets the
    whole bot handle one update at a time, unless it is lazy: then nobody holds it, and who has
    changed it gets a ``SessionConflict`` if somebody else has changed it meanwhile.

    Args:
        fragments: each a :func:`session` or a :func:`lazy_session`; its data is at
            ``context.session.<name>``.

    Raises:
        TypeError: a fragment is something else.
        ValueError: a fragment's name cannot be used.
    """
    return MultiSession(**fragments)


class Installable(Declaration):
    """A session that bots can have."""

    @telling_usage
    def install(
        self,
        builder: AnyBuilder,
        *,
        bot: str | None = None,
        lock: str = "process",
    ) -> SessionBuilder:
        """Put the session into a builder of PTB applications and return the same builder.

        The builder's own context, application and job queue classes are kept if they derive from
        this package's.

        Args:
            builder: from ``Application.builder()``.
            bot: what the bot's sessions are stored under; ``None`` is its numeric id.
            lock: ``"process"``: updates of one key wait for each other inside this process;
                ``"database"``: in all processes.

        Raises:
            ImproperlyConfigured: the builder cannot take the session.
        """
        return install(builder, self, bot, lock)

    def alias(self, bot: str | None) -> str:
        """Return what the sessions of ``bot``, an alias or a bot's id, are stored under.

        Raises:
            ImproperlyConfigured: several bots have this session and none was named, or it is none.
        """
        if bot is not None:
            check_text("bot", bot, "a bot's alias or id")
            return bot if bot in self._installed or bot.isdecimal() else get_bot(bot).alias
        of_settings = {b.alias for b in all_bots().values() if b.session is self}
        aliases = of_settings or set(self._installed)
        if len(aliases) == 1:
            return next(iter(aliases))
        if aliases:
            raise ImproperlyConfigured(
                "Several bots have this session; name one with bot=…: "
                f"{', '.join(sorted(aliases))}."
            )
        raise ImproperlyConfigured(
            "No bot has this session: name it in a SESSION of BOTSESSIONS['BOTS'], or install() it."
        )

    def lock(self, alias: str) -> str:
        """Return the lock of the bot whose sessions are stored under ``alias``."""
        bot = all_bots().get(alias)
        if bot is not None and alias not in self._installed:
            return bot.lock
        return self._installed.get(alias, "process")


class Session(Installable, Generic[T]):
    """A single session, or a fragment of a multi session."""

    def __init__(
        self,
        fragment: Fragment[T] | None = None,
        owner: Installable | None = None,
        /,
        **arguments: object,
    ) -> None:
        if not isinstance(fragment, Fragment) or arguments:
            raise TypeError(
                "A Session is what session(…) and lazy_session(…) return: write one of these."
            )
        super().__init__({fragment.name: fragment})
        self.is_lazy = fragment.lazy
        self.fragment = fragment
        self._owner = owner or self

    @telling_usage
    def edit(self, key: str | None = None, /, *, bot: str | None = None, **ids: Any) -> Edit[T]:
        """Return a context manager that holds the session's key and saves on leaving.

        ``with pizza.edit(chat=42) as data:`` works in the caller's transaction, if there is one.
        If the block raises, nothing is saved. To replace the data as a whole, keep the context
        manager and assign its ``data``.

        Args:
            key: the session key.
            bot: the bot's alias, if several have this session.
            ids: instead of ``key``, the ids that it is made of, like ``chat=42``.

        Raises:
            SessionError: an event loop is running in this thread: use :meth:`aedit`.
            SessionKeyError: key or ids cannot be used.
            SessionLockError: the key is held by the code that asks for it.
            SessionConflict: on leaving, somebody else has changed the session.
            SessionDataError: on leaving, the data cannot be stored.
        """
        refuse_event_loop("edit", "aedit")
        return Edit(*self._target(bot, key, ids))

    @telling_usage
    def aedit(
        self, key: str | None = None, /, *, bot: str | None = None, **ids: Any
    ) -> AsyncEdit[T]:
        """Return an asynchronous context manager like that of :meth:`edit`."""
        return AsyncEdit(*self._target(bot, key, ids))

    @telling_usage
    def get(self, key: str | None = None, /, *, bot: str | None = None, **ids: Any) -> T | None:
        """Return the data that is stored now, ``None`` if there is none.

        It does not wait for handlers that are about to change it. See :meth:`edit`.
        """
        refuse_event_loop("get", "aget")
        return wait_for(self.aget(key, bot=bot, **ids))

    @telling_usage
    async def aget(
        self, key: str | None = None, /, *, bot: str | None = None, **ids: Any
    ) -> T | None:
        """Return the data that is stored now, ``None`` if there is none."""
        unit = Unit(self.fragments, self._owner.alias(bot), source(key, ids), holds=False)
        await unit.enter()
        return cast("T | None", await unit.data(self.fragment.name).get_stored())

    @telling_usage
    def delete(self, key: str | None = None, /, *, bot: str | None = None, **ids: Any) -> None:
        """Delete the session, whatever it holds. See :meth:`edit`."""
        refuse_event_loop("delete", "adelete")
        edit = Edit(*self._target(bot, key, ids), read=False)
        with edit:
            edit.data = None

    @telling_usage
    async def adelete(
        self, key: str | None = None, /, *, bot: str | None = None, **ids: Any
    ) -> None:
        """Delete the session, whatever it holds. See :meth:`edit`."""
        edit = AsyncEdit(*self._target(bot, key, ids), read=False)
        async with edit:
            edit.data = None

    def _target(
        self, bot: str | None, key: str | None, ids: Mapping[str, Any]
    ) -> tuple[Fragment[T], str, Source, str]:
        """Return what an edit needs to know."""
        alias = self._owner.alias(bot)
        return self.fragment, alias, source(key, ids), self._owner.lock(alias)


class MultiSession(Installable):
    """A session of several fragments, which are its attributes, too.

    Type checkers know them if a subclass has them as class attributes.
    """

    is_multi = True

    @telling_usage
    def __init__(self, /, **fragments: Session[Any]) -> None:
        fragments = fragments_of(type(self)) | fragments
        for name, session in fragments.items():
            check_fragment(name, session)
        sessions = {}
        for name, session in fragments.items():
            fragment = session.fragment
            is_shared = fragment.lazy and ignores_update(fragment.get_session_key)
            fragment = replace(fragment, name=name, is_held=not is_shared)
            sessions[name] = Session(fragment, self)
        super().__init__({name: session.fragment for name, session in sessions.items()})
        vars(self).update(sessions)

    def __getattr__(self, name: str) -> Session[Any]:
        known = ", ".join(self.__dict__.get("fragments", ())) or "none"
        raise AttributeError(f"There is no fragment {name!r}; there is {known}.")


def fragments_of(multi: type[MultiSession]) -> dict[str, Session[Any]]:
    """Return the fragments that a class and those it derives from have as attributes."""
    attributes = {name: value for c in reversed(multi.__mro__) for name, value in vars(c).items()}
    return {name: value for name, value in attributes.items() if isinstance(value, Session)}


def check_fragment(name: str, fragment: object) -> None:
    if not isinstance(fragment, Session):
        raise TypeError(
            f"Fragment {name!r} is {type(fragment).__name__}, not session(…) or lazy_session(…)."
        )
    if not is_attribute(name):
        problem = "it is no name of an attribute: use letters, digits and _, like 'user_data'"
    elif name.startswith("_") or name in RESERVED:
        problem = "a session has that name for itself"
    elif len(name) > MAX_NAME_LENGTH:
        problem = f"it is longer than {MAX_NAME_LENGTH} characters"
    else:
        return
    raise ValueError(f"A fragment cannot be named {name!r}: {problem}.")


def is_attribute(name: str) -> bool:
    """Whether ``context.session.<name>`` can be written, and means this very name."""
    return (
        name.isidentifier()
        and not keyword.iskeyword(name)
        and unicodedata.normalize("NFKC", name) == name
    )


RESERVED = {"fragments", "has_async_keys", *dir(Installable)}


no_session = multi_session()
"""What bots have that keep python-telegram-bot's data only."""
plain: Session[Any] = session()
"""What bots elsewhere have, which only keep JSON in this project."""
