"""Running stored jobs that are due: each on one worker, with its session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from telegram.ext import Job

from ..callbacks import (
    Callback,
    Whose,
    callback_of,
    fragment_of,
    fragments_of_jobs,
    storage_of_jobs,
)
from ..due import JOB
from ..exceptions import SessionConflict, SessionDataError, StoredJobError
from ..lookout import Due, NotNow, Watched
from ..records import Address, Record, utcnow
from ..sources import FromJob
from ..unit import Unit
from .connections import look_after_connections
from .scopes import CurrentUnit, in_its_own_task, is_of_its_own

if TYPE_CHECKING:
    from .application import SessionApplication

SECONDS = 1.0
"""So late a job may be run."""
UNKNOWN_SECONDS = 600.0
"""So seldom it is told that a callback is missing."""


class DueJob(Job[Any]):
    """``context.job`` of a job that was stored. No scheduler knows it, nor is one needed."""

    __slots__ = ("id", "ids")

    def __init__(self, callback: Callback, whose: Whose) -> None:
        self.callback = callback.function
        self.data = None
        self.name, self.chat_id, self.user_id = whose.name, whose.chat, whose.user
        self.ids = whose.ids
        self.id = uuid4().hex
        self._enabled, self._removed = True, False
        self._job: Any = None

    def __repr__(self) -> str:
        return f"DueJob[name={self.name!r}]"


class StoredJobs:
    """The stored jobs of an application's bot."""

    def __init__(self, application: SessionApplication) -> None:
        self._application = application
        self._storage = storage_of_jobs(application.fragments)
        self._told: set[str] = set()
        """The fragments of which it was told that their callbacks are missing."""

    def watched(self) -> Iterator[Watched]:
        """Yield what comes due, if the code has stored jobs at all."""
        if fragments_of_jobs():
            yield Watched(self._storage, JOB, self._run, SECONDS, begins=True)

    async def _run(self, due: Due) -> None:
        application = self._application
        address = Address(application.session_bot, due.name, due.key)
        try:
            callback = callback_of(address)
        except StoredJobError as exc:
            if due.name not in self._told:
                self._told.add(due.name)
                await application.process_error(None, exc)
            raise NotNow(UNKNOWN_SECONDS, whole_fragment=True) from None
        job = DueJob(callback, Whose.of_key(due.key))
        fragment = replace(fragment_of(due.name, self._storage), key=due.key)
        fragments = {**application.fragments, due.name: fragment}
        # Its keys are held among all processes, whatever the bot's lock is.
        unit = Unit(fragments, address.bot, FromJob(job), lock="database")
        with CurrentUnit(unit):
            record = await self._opened(unit, job, callback, address)
            if record is not None:
                try:
                    await in_its_own_task(Job._run(job, application))
                except BaseException as exc:
                    if is_of_its_own(exc):  # It would do so again, and again.
                        await self._end_failed(unit, address, record)
                    raise
                await application.save_unit(unit, job=job)
                if unit.failed:
                    await self._end_failed(unit, address, record)
        await look_after_connections()

    async def _opened(
        self, unit: Unit, job: DueJob, callback: Callback, address: Address
    ) -> Record | None:
        """Load a job and its session, to be deleted with the next save.

        Returns ``None`` if another process has run it, or it was moved, put off or deleted.

        Raises:
            NotNow: it cannot be run, or the bot stops.
        """
        try:
            await unit.open()
            data = unit.data(address.name)
            record = None if data.stored is None else data.stored.record
            if record is None or not is_due(record):
                return None
            job.data = callback.decode(address, record.value)
        except Exception as exc:
            await self._application.process_error(None, exc, job=job)
            raise NotNow from None
        if self._application.is_stopping:  # It has waited for others of its chat.
            raise NotNow
        data.assign(None)
        return record

    async def _end_failed(self, unit: Unit, address: Address, record: Record) -> None:
        """Delete a job whose callback has raised, or led to data that cannot be stored.

        Raises:
            NotNow: its session could not be saved now.
        """
        if unit.save_error is not None and not isinstance(unit.save_error, SessionDataError):
            raise NotNow
        with suppress(SessionConflict):  # The callback has saved that it is to be run again.
            await self._storage.delete(address, record.revision)


def is_due(record: Record) -> bool:
    return record.expires_at is None or record.expires_at <= utcnow()
