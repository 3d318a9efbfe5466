"""PTB's application with a session: where an update's way begins and ends."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast

from telegram.ext import Application, ApplicationHandlerStop, ExtBot, Job, JobQueue

from ..keys import migration
from ..locks import process_lock
from ..moving import MovingScope
from ..scope import Scope, current, open_scope
from ..sources import FromJob, FromMigration, FromUpdate
from ..storages.base import awaited
from ..storages.layers import peel
from ..storages.model import check_django
from .connections import look_after_connections
from .context import BaseSessionContext
from .registry import register, unregister

if TYPE_CHECKING:
    from ..sessions import Declaration

T = TypeVar("T")


class SessionApplication(
    Application[ExtBot[None], Any, dict[Any, Any], dict[Any, Any], dict[Any, Any], JobQueue[Any]]
):
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
        self.on_stop_running: Callable[[], object] | None = None
        """Who runs the application, if not PTB, and is to stop it."""
        self.on_unloaded: Callable[[object], object] | None = None
        """Told of an update that no handler was given because its session's storage failed."""
        self.runs_here: Callable[[Job[Any]], bool] | None = None
        """Asked whether a job that is due is to run in this process."""
        self.session_lock = session_lock
        session.installed(self.session_bot, session_lock)

    def __repr__(self) -> str:
        return f"{type(self).__name__}[bot={self.session_bot!r}]"  # PTB's own shows the token.

    async def initialize(self) -> None:
        """Get ready to handle updates; see PTB.

        Raises:
            ImproperlyConfigured: a storage cannot be used: Django is not set up, for one.
        """
        if self.session_lock == "database":
            check_django()
        for fragment in self.session.fragments.values():
            if check := getattr(peel(fragment.storage)[1], "check", None):
                check()
        await super().initialize()
        register(self, asyncio.get_running_loop())

    async def process_update(self, update: object) -> None:
        """Handle an update with its session; errors go to the error handlers."""
        moved = migration(update)
        if moved is not None:
            await self._process_migration(update, *moved)
            return
        scope = self._scope(update)
        outer = open_scope()
        if outer is not None:
            await scope.find_keys()
            if outer.holds(scope.addresses):
                outer.subjects.append(update)
                await super().process_update(update)
                return
        with self.handling(update), CurrentScope(scope):
            # A conversation's state must not be looked at while another update may change it.
            # If nobody holds a key it is enough to wait until a handler takes the update.
            if process_lock().busy or self.session.has_async_keys:
                await scope.enter()
            await super().process_update(update)
            if scope.unloaded and self.on_unloaded is not None:
                self.on_unloaded(update)
            await self._save(scope, update)
        await look_after_connections()

    async def _process_migration(self, update: object, old: int, new: int) -> None:
        """Handle the news that a group is a supergroup now, with its sessions moved before."""
        fragments, source = self.session.fragments, FromMigration(update, new)
        scope = MovingScope(fragments, self.session_bot, source, old, new, lock=self.session_lock)
        with self.handling(update), CurrentScope(scope):
            await scope.enter()
            if scope.error is None:
                await super().process_update(update)
            else:
                await self.process_error(update, scope.error)
            await self._save(scope, update)
        await look_after_connections()

    async def _save(self, scope: Scope, update: object = None, job: Job[Any] | None = None) -> None:
        """Save the session for the last time, if handlers have seen it and none failed."""
        if scope.opened and not scope.failed:
            try:
                await scope.save(last=True)
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
        it has no session because loading it failed.
        """
        scope = open_scope()
        if scope is None or not scope.is_for(update, job):
            return await super().process_error(update, error, job, coroutine)
        scope.failed = True
        if self.error_handlers and not scope.opened:  # A filter raised.
            with suppress(Exception):  # Error handlers that ask for the session get the error.
                await scope.open()
        stop = await super().process_error(update, error, job, coroutine)
        return stop or scope.error is not None

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
        scope = open_scope()
        if scope is None or update is None:
            return super().create_task(coroutine, update, name=name)
        beside = scope.beside() if scope.is_for(update) else self._scope(update, holds=False)
        current.set(beside)
        try:
            task = super().create_task(run_beside(beside, coroutine), update, name=name)
        finally:
            current.set(scope)
        task.add_done_callback(lambda _: beside.close())
        return task

    async def run_job(self, job: Job[Any]) -> None:
        """Run a job with the session of its chat or user, or of the conversation it ends."""
        if self.runs_here is not None and not self.runs_here(job):
            return
        current.set(None)  # The job inherited the scope of the handler that scheduled it.
        conversation: Any = job.data
        ended = getattr(conversation, "callback_context", None)
        if isinstance(ended, BaseSessionContext):
            scope = self._scope(conversation.update, origin=ended.origin)
            scope.subjects.append(job)
        else:
            scope = self._scope(FromJob(job))
        with CurrentScope(scope):
            await job.run(self)
            await self._save(scope, job=job)
        await look_after_connections()

    def _mark_for_persistence_update(self, **kwargs: Any) -> None:
        # PTB would note the ids of all chats and users for ever, also where nobody asks for them.
        if self.persistence is not None:
            super()._mark_for_persistence_update(**kwargs)

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
        for fragment in self.session.fragments.values():
            if close := getattr(fragment.storage, "close", None):
                await awaited(close)

    def _scope(self, source: object, **kwargs: Any) -> Scope:
        if not isinstance(source, FromJob):
            source = FromUpdate(source)
        fragments, lock = self.session.fragments, self.session_lock
        return Scope(fragments, self.session_bot, source, lock=lock, **kwargs)


class CurrentScope:
    """Makes a scope the current one, and closes it in the end."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._outer = current.get()

    def __enter__(self) -> None:
        current.set(self._scope)

    def __exit__(self, *raised: object) -> None:
        self._scope.close()
        current.set(self._outer)


async def run_beside(scope: Scope, coroutine: Awaitable[T]) -> T:
    try:
        return await in_its_session(scope, coroutine)
    finally:
        await look_after_connections()


async def in_its_session(scope: Scope, coroutine: Awaitable[T]) -> T:
    try:
        await scope.open()
    except BaseException:
        if inspect.iscoroutine(coroutine):
            coroutine.close()
        raise
    try:
        result = await coroutine
    except ApplicationHandlerStop:
        await scope.save()
        raise
    await scope.save()
    return result


class SessionJobQueue(JobQueue[Any]):
    """A job queue whose jobs have ``context.session``."""

    @staticmethod
    async def job_callback(job_queue: JobQueue[Any], job: Job[Any]) -> None:
        """Run a job in its session."""
        application = cast(SessionApplication, job_queue.application)
        # Like PTB's own Job.run: a job that has begun is not cancelled.
        await asyncio.shield(application.run_job(job))
