"""Jobs that have ``context.session``, wherever they are run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telegram.ext import Job, JobQueue

from ..persistence.conversations import is_kept
from ..sources import FromJob
from ..unit import Unit, current
from .connections import look_after_connections
from .context import BaseSessionContext
from .scopes import CurrentUnit, unit_for

if TYPE_CHECKING:
    from .application import SessionApplication


class SessionJob(Job[Any]):
    """A job that runs in a session of its own, by its queue or by ``await job.run(…)``."""

    __slots__ = ()

    # Not run(): whoever awaits a job that raises SystemExit may be told of it by one task only.
    async def _run(self, application: Any) -> None:
        if application.runs_here is not None and not application.runs_here(self):
            return
        unit = unit_of(self, application)
        with CurrentUnit(unit):
            await super()._run(application)
            await application.save_unit(unit, job=self)
        await look_after_connections()


class SessionJobQueue(JobQueue[Any]):
    """A job queue whose jobs have ``context.session``."""

    @staticmethod
    async def job_callback(job_queue: JobQueue[Any], job: Job[Any]) -> None:
        """Run a job that is due."""
        current.set(None)  # It inherited the unit of work of the handler that scheduled it.
        await JobQueue.job_callback(job_queue, job)

    def run_once(self, *args: Any, **kwargs: Any) -> Job[Any]:
        if is_kept(args[0] if args else kwargs["callback"], kwargs.get("data")):
            return Job(args[0])
        return with_session(super().run_once(*args, **kwargs))

    def run_repeating(self, *args: Any, **kwargs: Any) -> Job[Any]:
        return with_session(super().run_repeating(*args, **kwargs))

    def run_monthly(self, *args: Any, **kwargs: Any) -> Job[Any]:
        return with_session(super().run_monthly(*args, **kwargs))

    def run_daily(self, *args: Any, **kwargs: Any) -> Job[Any]:
        return with_session(super().run_daily(*args, **kwargs))

    def run_custom(self, *args: Any, **kwargs: Any) -> Job[Any]:
        return with_session(super().run_custom(*args, **kwargs))


def with_session(job: Job[Any]) -> Job[Any]:
    """Return the same job, which PTB has made of its own class."""
    if type(job) is Job:
        job.__class__ = SessionJob
    return job


def unit_of(job: Job[Any], application: SessionApplication) -> Unit:
    """Return a unit of work for a job's chat or user, or for the conversation that it ends."""
    conversation: Any = job.data
    ended = getattr(conversation, "callback_context", None)
    if not isinstance(ended, BaseSessionContext):
        return unit_for(application, FromJob(job))
    unit = unit_for(application, conversation.update, origin=ended.origin)
    unit.subjects.append(job)
    return unit
