"""PTB's application with a session: where an update's way begins and ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import cached_property, partial
from typing import Any

from telegram import Update
from telegram.ext import ApplicationHandlerStop, BaseHandler, ExtBot, Job

from ..database.claims import AlreadyHandled, ClaimedElsewhere
from ..database.model import check_django
from ..declaration import Declaration, Fragment
from ..locks import process_lock
from ..lookout import NotNow, Watched
from ..persistence.application import PersistentApplication
from ..records import ANY, awaited
from ..sources import FromUpdate
from ..steps import taking
from ..unit import Unit, current, enclosing, open_unit
from .building import BuiltApplication
from .connections import look_after_connections
from .delivery import Delivery
from .registry import register, unregister
from .scopes import CurrentUnit, failing, in_its_own_task, is_of_its_own, unit_for
from .stored_jobs import StoredJobs
from .tasks import InSession, start_task


class SessionApplication(BuiltApplication, PersistentApplication):
    """An application whose handlers have ``context.session``."""

    def __init__(
        self, *, session: Declaration, session_bot: str | None, session_lock: str, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if type(self.bot) is ExtBot:
            self.bot.__class__ = QuietBot
        self.session = session
        self.session_bot = session_bot or self.bot.token.partition(":")[0]
        """What the bot's sessions are stored under."""
        self.handling: Callable[[object], AbstractContextManager[bool]] = lambda update: (
            nullcontext(False)
        )
        """Entered with an update while it is being handled; gives whether Telegram may have given
        it before."""
        self.deliveries: dict[int, Delivery] = {}
        """By ``id()``, the updates that came by webhook and are to be claimed."""
        self.on_stop_running: Callable[[], object] | None = None
        """Who runs the application, if not PTB, and is to stop it."""
        self.runs_here: Callable[[Job[Any]], bool] | None = None
        """Asked whether a job that is due is to run in this process."""
        self.session_lock = session_lock
        self.keep(self.session_bot, session_lock)
        session.installed(self.session_bot, session_lock)

    @cached_property
    def fragments(self) -> Mapping[str, Fragment[Any]]:
        """Of the session and of what the persistence keeps."""
        return {**self.session.fragments, **(self.kept.fragments if self.kept else {})}

    def __repr__(self) -> str:
        return f"{type(self).__name__}[bot={self.session_bot!r}]"  # PTB's own shows the token.

    async def initialize(self) -> None:
        """Get ready to handle updates; see PTB.

        Raises:
            ImproperlyConfigured: a storage cannot be used: Django is not set up, for one.
        """
        if self.session_lock == "database":
            check_django()
        for fragment in self.fragments.values():
            if check := getattr(fragment.innermost, "check", None):
                check()
        await super().initialize()
        register(self, asyncio.get_running_loop())

    async def process_update(self, update: object) -> None:
        """Handle an update with its session; errors go to the error handlers."""
        delivery = self.deliveries.pop(id(update), None)
        needed = self.needed(update) if self.kept is not None else {}
        claim = None if delivery is None else delivery.claim
        unit = unit_for(self, update, claim=claim, more=needed)
        with self.handling(update) as may_be_known, CurrentUnit(unit):
            # A conversation's state must not be looked at while another update may change it.
            # If nobody holds a key it is enough to wait until a handler takes the update.
            # Whose an update of another kind is, its context says.
            if unit.comes_first or (
                isinstance(update, Update) and (process_lock().busy or self.session.has_async_keys)
            ):
                await unit.enter()
            if unit.comes_first and unit.error is not None:
                await self.process_error(update, unit.error)
            elif not needed or await self._open(unit, update, may_be_known):
                await super().process_update(update)
            await self.save_unit(unit, update)
            for lost in self.lost_states(unit) if needed else ():
                await self.process_error(update, lost)
            if delivery is not None:
                delivery.note(unit)
        await look_after_connections()

    async def _open(self, unit: Unit, update: object, may_be_known: bool) -> bool:
        """Load what handlers are chosen by; return whether any may handle the update."""
        try:
            await unit.open()
            self.prepare(update, unit, may_be_known)
        except (AlreadyHandled, ClaimedElsewhere):
            unit.failed = True
        except Exception as exc:
            await self.process_error(update, exc)
        return not unit.failed

    async def save_unit(
        self, unit: Unit, update: object = None, job: Job[Any] | None = None
    ) -> None:
        """Save the session for the last time, if handlers have seen it and none failed."""
        if unit.opened and not unit.failed:
            try:
                if self.kept is not None:
                    await self.buttons_saved(unit)
                await unit.save(last=True)
            except Exception as exc:
                await self.process_error(update, exc, job)

    async def process_error(
        self,
        update: object | None,
        error: Exception,
        job: Job[Any] | None = None,
        coroutine: Any = None,
    ) -> bool:
        """Let the error handlers see the session; it is not saved.

        Returns whether the update is not to be handled any further: an error handler said so, or
        its session could not be loaded or shown.
        """
        if isinstance(coroutine, InSession):
            coroutine = coroutine.coroutine
        unit = next((u for u in enclosing(current.get()) if u.is_for(update, job)), None)
        if unit is None:
            return await super().process_error(update, error, job, coroutine)
        unit.failed = True
        unit.cut_off = unit.cut_off or getattr(error, "cut_off", False)
        if self.error_handlers and not unit.opened:  # A filter raised.
            with suppress(Exception):  # Error handlers that ask for the session get the error.
                await unit.open()
        stop = await super().process_error(update, error, job, coroutine)
        return stop or unit.refused

    def create_task(
        self,
        coroutine: Any,
        update: object | None = None,
        *,
        name: str | None = None,
    ) -> asyncio.Task[Any]:
        """Run ``coroutine`` beside the running handler, with a session of its own.

        The session is that of ``update``; it is loaded at the start and saved at the end. Without
        ``update`` there is none.
        """
        create = partial(super().create_task, update=update, name=name)
        return start_task(self, create, coroutine, update)

    def watched(self) -> Iterator[Watched]:
        """Yield what comes due at a time: conversations, and stored jobs."""
        yield from super().watched()
        yield from StoredJobs(self).watched()

    async def load_overdue(self, fragment: Fragment[Any], update: Update | None) -> None:
        """Load a conversation whose time is over, among all processes, so that it is ended.

        Raises:
            NotNow: it cannot be loaded, or its session cannot.
        """
        fragments = {**(self.fragments if update else {}), fragment.name: fragment}
        unit = Unit(fragments, self.session_bot, FromUpdate(update), lock="database")
        with CurrentUnit(unit):
            try:
                await unit.load()
            except Exception as exc:
                await self.process_error(update, exc)
                raise NotNow from None
            except BaseException as exc:
                if unit.failed and is_of_its_own(exc):  # A handler's, which would do so again.
                    address = unit.data(fragment.name).address
                    await awaited(fragment.innermost.delete, address, ANY)
                raise

    async def run_timeout(
        self, handlers: Sequence[BaseHandler[Any, Any, Any]], update: Update
    ) -> None:
        """Run the handlers for a conversation whose time is over, with its last update."""
        outer, unit = open_unit(), unit_for(self, update)
        with CurrentUnit(unit):
            context = self.context_types.context.from_update(update, self)
            try:
                await context.refresh_data()
                with failing(outer):
                    for handler, check in taking(handlers, update):
                        with suppress(ApplicationHandlerStop):
                            handled = handler.handle_update(update, self, check, context)
                            await in_its_own_task(handled)
            except Exception as exc:
                if unit.unloaded:
                    raise
                await self.process_error(update, exc)
            await self.save_unit(unit, update)

    def stop_running(self) -> None:
        """Let the application end what it has begun, and stop; see PTB."""
        if self.on_stop_running is None:
            super().stop_running()
        else:
            self.on_stop_running()

    async def shutdown(self) -> None:
        """Shut down, with the storages' threads and connections."""
        unregister(self)
        await super().shutdown()
        for fragment in self.fragments.values():
            if close := getattr(fragment.storage, "close", None):
                await awaited(close)


class QuietBot(ExtBot[Any]):
    """PTB's bot, which shows no token where error trackers and DEBUG pages show variables."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"ExtBot[id={self.token.partition(':')[0]}]"
