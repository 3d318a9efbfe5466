"""Jobs that survive a restart: the bot calls a function once, at some time.

::

    @stored_job
    async def remind(context): ...

    remind.run_once(3600)  # In a handler: for its chat and user, saved with the session.
    remind.run_once(3600, chat=42)  # In a view.
"""

from __future__ import annotations

import asyncio
import inspect
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import update_wrapper
from typing import Any, Final, Generic, TypeAlias, TypeVar, overload

from django.core.exceptions import ImproperlyConfigured

from .arguments import check_function, check_text, telling_usage, wrong
from .bots import get_bot
from .callbacks import At, Callback, Whose, fragment_of, register, storage_of_jobs
from .data import Data
from .database.callers import wait_for
from .declaration import codec
from .due import JOB
from .editing import refuse_event_loop
from .keys import check_ids, per_user, per_user_chat
from .ptb import SessionApplication
from .ptb.registry import application_in
from .records import ANY, MAX_NAME_LENGTH, About, Address, Json, Record, Revision
from .sources import FromJob
from .storages import DatabaseStorage
from .unit import Unit, current, enclosing
from .when import When, moment_of, zone_of

T = TypeVar("T")
Function: TypeAlias = "Callable[[Any], Coroutine[Any, Any, object]]"

HERE: Any = object()
"""In place of an id: that of the running update or job."""
FUNCTION: Final = "an async function of a context"


@overload
def stored_job(function: Function, /) -> StoredJob[Any]: ...
@overload
def stored_job(
    *, name: str | None = ..., data_type: type[T]
) -> Callable[[Function], StoredJob[T]]: ...
@overload
def stored_job(*, name: str | None = ...) -> Callable[[Function], StoredJob[Any]]: ...
@telling_usage
def stored_job(
    function: Function | None = None, /, *, name: str | None = None, data_type: Any = None
) -> Any:
    """Declare a function that stored jobs call, as a decorator: ``@stored_job``.

    Args:
        name: what it is known by in the database, at most 60 characters; ``None``: the function's
            own name.
        data_type: the type of what the jobs are given; without it, that is JSON.

    Raises:
        ImproperlyConfigured: another function has that name.
        TypeError: it is no async function, or an argument is of the wrong kind.
        ValueError: the name is too long.
    """

    def declare(function: Function) -> StoredJob[Any]:
        if isinstance(function, str):
            raise TypeError(f"Name a stored job by name=: @stored_job(name={function!r}).")
        check_function("A stored job", function, FUNCTION, "context")
        if not inspect.iscoroutinefunction(inspect.unwrap(function)):
            wrong("A stored job", function, FUNCTION)
        known_by = name or getattr(function, "__name__", None)
        if known_by is None:
            kind = type(function).__name__
            raise TypeError(f"A {kind} has no name of its own: give one, stored_job(name=…)(…).")
        if len(known_by) > MAX_NAME_LENGTH - len(JOB):
            raise ValueError(
                f"The name of the stored job {known_by!r} is too long: it may have "
                f"{MAX_NAME_LENGTH - len(JOB)} characters."
            )
        callback = Callback(known_by, function, codec(data_type))
        register(callback)
        return StoredJob(callback)

    if name is not None:
        check_text("name", name, "what the job is known by in the database")
    return declare if function is None else declare(function)


class StoredJob(Generic[T]):
    """A function that stored jobs call; made by :func:`stored_job`."""

    def __init__(self, callback: Callback) -> None:
        self.callback = callback
        update_wrapper(self, callback.function)

    def __repr__(self) -> str:
        return f"<stored job {self.callback.name!r}>"

    def __call__(self, context: Any) -> Coroutine[Any, Any, object]:
        """Call the function itself."""
        return self.callback.function(context)

    @telling_usage
    def run_once(
        self,
        when: When,
        data: T | None = None,
        *,
        name: str | None = None,
        chat: int | None = HERE,
        user: int | None = HERE,
        bot: str | None = None,
    ) -> str:
        """Have the function called once; return the job's name, by which it can be cancelled.

        In a handler the job is saved with the session: in the same transaction, and not at all if
        the handler raises. Elsewhere it is stored at once, in the caller's transaction.

        Args:
            when: as python-telegram-bot takes it: seconds or a ``timedelta`` from now on, a
                ``datetime``, or a ``time``, which is today or tomorrow. Times without a zone are of
                that of the bot's ``Defaults``, UTC by default; where no bot runs they need one.
            data: ``context.job.data``; JSON, or of the declared type.
            name: ``context.job.name``. A job of the same function, chat, user and name that is not
                run yet is replaced. ``None``: a name that no other job has.
            chat: the chat's id; ``context.job.chat_id``.
            user: the user's id. In a handler, without either, those of its update.
            bot: the bot's alias; in a handler its own, elsewhere needed if there are several.

        Raises:
            ImproperlyConfigured: there is no such bot, or it does not run here.
            SessionDataError: the data cannot be stored; its ``path`` says where.
            SessionError: an event loop is running outside of a handler: use :meth:`arun_once`.
            SessionKeyError: an id or the name cannot be used.
            TypeError: outside of a handler, neither chat nor user is named.
            ValueError: a time has no zone where it needs one, or is too far away.
        """
        planned = self._planned(when, data, name, chat, user, bot)
        if not planned.join():
            refuse_event_loop("run_once", "arun_once")
            wait_for(planned.write())
        return planned.name

    @telling_usage
    async def arun_once(
        self,
        when: When,
        data: T | None = None,
        *,
        name: str | None = None,
        chat: int | None = HERE,
        user: int | None = HERE,
        bot: str | None = None,
    ) -> str:
        """Do what :meth:`run_once` does, in asynchronous code."""
        planned = self._planned(when, data, name, chat, user, bot)
        if not planned.join():
            await planned.write()
        return planned.name

    @telling_usage
    def cancel(
        self,
        name: str,
        *,
        chat: int | None = HERE,
        user: int | None = HERE,
        bot: str | None = None,
    ) -> None:
        """Delete a job that is not run yet. What is not there (any more) is no error.

        In a handler that is saved with the session, too. See :meth:`run_once`.
        """
        planned = self._cancelled(name, chat, user, bot)
        if not planned.join():
            refuse_event_loop("cancel", "acancel")
            wait_for(planned.write())

    @telling_usage
    async def acancel(
        self,
        name: str,
        *,
        chat: int | None = HERE,
        user: int | None = HERE,
        bot: str | None = None,
    ) -> None:
        """Do what :meth:`cancel` does, in asynchronous code."""
        planned = self._cancelled(name, chat, user, bot)
        if not planned.join():
            await planned.write()

    def _planned(
        self, when: When, data: Any, name: str | None, chat: Any, user: Any, bot: str | None
    ) -> Planned:
        place = Place.of(bot)
        moment = moment_of(when, place.zone)
        name = f"job-{secrets.token_hex(8)}" if name is None else name
        return self._at(place, name, chat, user, self.callback.encode(data), moment)

    def _cancelled(self, name: str, chat: Any, user: Any, bot: str | None) -> Planned:
        return self._at(Place.of(bot), name, chat, user, None, None)

    def _at(
        self,
        place: Place,
        name: str,
        chat: Any,
        user: Any,
        value: Json,
        moment: datetime | None,
    ) -> Planned:
        check_text("name", name, "the job's name")
        whose, about = place.whose(chat, user, name)
        address = Address(place.alias, self.callback.fragment, whose.key)
        return Planned(address, place.storage, value, moment, about, place.unit)


@dataclass(frozen=True)
class Place:
    """The bot that a job is for, and the code that asks for it."""

    alias: str
    storage: DatabaseStorage
    application: SessionApplication | None
    """The bot's, if it runs here."""
    unit: Unit | None
    """Of the handler that asks."""

    @classmethod
    def of(cls, bot: str | None) -> Place:
        unit = next((u for u in enclosing(current.get()) if u.source.subject is not None), None)
        alias = unit.bot if bot is None and unit is not None else bot
        application = None if alias is None else running(alias, unit)
        if application is not None:  # It looks for jobs there.
            fragments = application.fragments
        elif unit is not None and unit.bot == alias:
            fragments = unit.fragments
        else:
            declared = get_bot(alias)
            if declared.is_elsewhere:
                raise ImproperlyConfigured(
                    f"Bot {declared.alias!r} only keeps its sessions here: nobody would run its "
                    "jobs. Name a bot that has an APPLICATION."
                )
            alias, fragments = declared.alias, declared.fragments
            application = running(alias, unit)
        assert alias is not None
        return cls(alias, storage_of_jobs(fragments), application, unit)

    @property
    def zone(self) -> tzinfo | None:
        """That of times without a zone; ``None`` where the bot does not run."""
        return None if self.application is None else zone_of(self.application.bot)

    def whose(self, chat: Any, user: Any, name: str) -> tuple[Whose, About]:
        """Return whose job it is to be, and what is known of them."""
        if chat is not HERE or user is not HERE:
            chat, user = (None if one is HERE else one for one in (chat, user))
            check_ids(chat=chat, user=user)
            whose = Whose.of(name, chat=chat, user=user)
            return whose, whose.about
        source = None if self.unit is None else self.unit.source
        if source is None or not (source.ids or isinstance(source, FromJob)):
            raise TypeError(
                "Whose job is it? Outside of handlers, and where an update is from no chat and "
                "nobody, name the chat or the user, like chat=42; chat=None is a job of the bot "
                "itself."
            )
        whose = Whose.of(name, **source.ids)
        # Where the chat is hidden, nothing of it is known of the person's private chat.
        known = source.about(per_user_chat if "chat" in source.ids else per_user)
        return whose, whose.about.over(known)


@dataclass(frozen=True)
class Planned:
    """A job to be stored, or to be deleted."""

    address: Address
    storage: DatabaseStorage
    value: Json
    """``None``: it is to be deleted."""
    moment: datetime | None
    about: About
    unit: Unit | None

    @property
    def name(self) -> str:
        """The job's name."""
        return Whose.of_key(self.address.key).name

    def join(self) -> bool:
        """Leave it to the running handler's save; return whether there will be one."""
        # Of a session that has expired nobody is told again, even if the handler raises then.
        if self.unit is None or self.unit.failed or self.unit.is_telling:
            return False
        fragment = fragment_of(self.address.name, self.storage, self.moment)
        data = Data(fragment, self.address, lambda: self.about)
        assert data.stored is not None
        data.stored.overwrite(self._replaced_by(self.unit))
        data.assign(self.value)
        self.unit.contents.add(data)
        return True

    def _replaced_by(self, unit: Unit) -> Revision:
        """Return the revision of what it is to replace.

        A job that schedules itself replaces itself only: others may have cancelled it meanwhile.
        """
        fragment = unit.fragments.get(self.address.name)
        if fragment is None or fragment.key != self.address.key:
            return ANY
        own = unit.contents.at(self.address)
        return ANY if own is None or own.stored is None else own.stored.revision

    async def write(self) -> None:
        """Do it now."""
        record = Record(self.value, revision=ANY, about=self.about)
        await At(self.storage, self.moment).write_many([(self.address, record)])


def running(alias: str, unit: Unit | None) -> SessionApplication | None:
    """Return the application of a bot that runs in this event loop, or in that of the handler."""
    loop: asyncio.AbstractEventLoop | None
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:  # This is a thread, maybe one that the handler waits for.
        loop = None if unit is None else unit.loop
    return None if loop is None else application_in(loop, alias)
