"""PTB's application with a session: where an update's way begins and ends."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import cached_property
from typing import Any, TypeVar

from telegram import Update
from telegram.ext import ApplicationHandlerStop, BaseHandler, Job

from ..beside import beside
from ..database.claims import AlreadyHandled, Claim, ClaimedElsewhere
from ..database.model import check_django
from ..declaration import Declaration, Fragment
from ..keys import migration
from ..locks import process_lock
from ..persistence.application import PersistentApplication
from ..records import awaited
from ..sources import FromJob, FromMigration, FromUpdate
from ..storages.layers import peel
from ..supergroups import MovingUnit
from ..unit import Unit, current, enclosing, open_unit
from .connections import look_after_connections
from .context import BaseSessionContext
from .delivery import Delivery
from .registry import register, unregister

T = TypeVar("T")


class SessionApplication(PersistentApplication):
    """An application whose handlers have ``context.session``."""

    def __init__(
        self, *, session: Declaration, session_bot: str | None, session_lock: str, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.session = session
        self.session_bot = session_bot or self.bot.token.partition(":")[0]
        """What the bot's sessions are stored under."""
        self.handling: Callable[[object], AbstractContextManager[object]] = nullcontext
        """Entered with an update while it is being handled."""
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
            if check := getattr(peel(fragment.storage)[1], "check", None):
                check()
        await super().initialize()
        register(self, asyncio.get_running_loop())

    async def process_update(self, update: object) -> None:
        """Handle an update with its session; errors go to the error handlers."""
        delivery = self.deliveries.pop(id(update), None)
        needed = self.needed(update) if self.kept is not None else {}
        claim = None if delivery is None else delivery.claim
        unit = self._unit(update, claim=claim, more=needed)
        with self.handling(update), CurrentUnit(unit):
            # A conversation's state must not be looked at while another update may change it.
            # If nobody holds a key it is enough to wait until a handler takes the update.
            if unit.comes_first or process_lock().busy or self.session.has_async_keys:
                await unit.enter()
            if unit.comes_first and unit.error is not None:
                await self.process_error(update, unit.error)
            elif not needed or await self._open(unit, update):
                await super().process_update(update)
            await self._save(unit, update)
            for lost in self.lost_states(unit) if needed else ():
                await self.process_error(update, lost)
            if delivery is not None:
                delivery.note(unit)
        await look_after_connections()

    async def _open(self, unit: Unit, update: object) -> bool:
        """Load what handlers are chosen by; return whether any may handle the update."""
        try:
            await unit.open()
            self.prepare(update, unit)
        except (AlreadyHandled, ClaimedElsewhere):
            unit.failed = True
        except Exception as exc:
            await self.process_error(update, exc)
        return not unit.failed

    async def _save(self, unit: Unit, update: object = None, job: Job[Any] | None = None) -> None:
        """Save the session for the last time, if handlers have seen it and none failed."""
        if unit.opened and not unit.failed:
            try:
                if self.kept is not None:
                    await self.buttons_saved()
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
        unit = open_unit()
        if unit is None or update is None:
            return self._create_task(coroutine, update, name)
        other = beside(unit) if unit.is_for(update) else self._unit(update, holds=False)
        token = current.set(other)
        try:
            task = self._create_task(InSession(other, coroutine), update, name)
        finally:
            current.reset(token)
        task.add_done_callback(lambda _: other.close())
        return task

    def _create_task(
        self, coroutine: Any, update: object | None, name: str | None
    ) -> asyncio.Task[Any]:
        if self.running:
            return super().create_task(coroutine, update, name=name)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            task = super().create_task(coroutine, update, name=name)
        for warning in caught:  # Which PTB would lay at our door.
            warnings.warn(warning.message, stacklevel=3)
        return task

    async def run_job(self, job: Job[Any], run: Callable[[], Awaitable[None]]) -> None:
        """Run a job with the session of its chat or user, or of the conversation it ends."""
        if self.runs_here is not None and not self.runs_here(job):
            return
        conversation: Any = job.data
        ended = getattr(conversation, "callback_context", None)
        if isinstance(ended, BaseSessionContext):
            unit = self._unit(conversation.update, origin=ended.origin)
            unit.subjects.append(job)
        else:
            unit = self._unit(FromJob(job))
        with CurrentUnit(unit):
            await run()
            await self._save(unit, job=job)
        await look_after_connections()

    async def load_overdue(self, fragment: Fragment[Any], update: Update | None) -> None:
        """Load a conversation whose time is over, among all processes, so that it is ended."""
        fragments = {**(self.fragments if update else {}), fragment.name: fragment}
        unit = Unit(fragments, self.session_bot, FromUpdate(update), lock="database")
        with CurrentUnit(unit):
            try:
                await unit.load()
            except Exception as exc:
                await self.process_error(update, exc)

    async def run_timeout(
        self, handlers: Sequence[BaseHandler[Any, Any, Any]], update: Update
    ) -> None:
        """Run the handlers for a conversation whose time is over, with its last update."""
        unit = self._unit(update)
        with CurrentUnit(unit):
            context = self.context_types.context.from_update(update, self)
            try:
                await context.refresh_data()
                for handler in handlers:
                    check = handler.check_update(update)
                    if check is not None and check is not False:
                        with suppress(ApplicationHandlerStop):
                            await handler.handle_update(update, self, check, context)
            except Exception as exc:
                if unit.unloaded:
                    raise
                await self.process_error(update, exc)
            await self._save(unit, update)

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

    def _unit(
        self,
        subject: object,
        *,
        holds: bool = True,
        origin: Unit | None = None,
        claim: Claim | None = None,
        more: Mapping[str, Fragment[Any]] | None = None,
    ) -> Unit:
        fragments, bot = self.fragments, self.session_bot
        if more:
            fragments = {**fragments, **more}
        if (moved := migration(subject)) is not None and holds:
            source = FromMigration(subject, moved[1])
            return MovingUnit(
                fragments,
                bot,
                source,
                *moved,
                lock=self.session_lock,
                outer=open_unit(),
                claim=claim,
            )
        return Unit(
            fragments,
            bot,
            subject if isinstance(subject, FromJob) else FromUpdate(subject),
            lock=self.session_lock,
            holds=holds,
            outer=open_unit() if holds else None,
            origin=origin,
            claim=claim,
        )


class CurrentUnit:
    """Makes a unit the current one, and closes it in the end."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._outer = current.get()

    def __enter__(self) -> None:
        current.set(self._unit)

    def __exit__(self, kind: type[BaseException] | None, *raised: object) -> None:
        if kind is not None:
            self._unit.failed = True
        self._unit.close()
        current.set(self._outer)


class InSession(Awaitable[T]):
    """A coroutine, or what else PTB runs as a task, in a session of its own."""

    def __init__(self, unit: Unit, coroutine: Any) -> None:
        self.coroutine = coroutine
        self._unit = unit

    def __await__(self) -> Generator[Any, Any, T]:
        return self._run().__await__()

    async def _run(self) -> T:
        try:
            await self._unit.open()
        except BaseException:
            if hasattr(self.coroutine, "close"):
                self.coroutine.close()
            raise
        try:
            old_fashioned = isinstance(self.coroutine, Generator)  # As PTB takes them.
            result: T = await (
                asyncio.ensure_future(self.coroutine) if old_fashioned else self.coroutine
            )
        except ApplicationHandlerStop:
            await self._unit.save()
            raise
        else:
            await self._unit.save()
        finally:
            await look_after_connections()
        return result
