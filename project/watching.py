"""What the chat page shows of an update: the handler that ran, and its statements."""

from __future__ import annotations

import functools
import inspect
import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from django.db.backends.signals import connection_created
from telegram.ext import ConversationHandler

from botsessions import SessionApplication
from botsessions.steps import StepHandler

AROUND = ("BEGIN", "START", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "PRAGMA", "SET")
"""Statements of a transaction, which are not counted."""
THREAD = "botsessions-"
"""What the names of the threads begin with that do the bots' work with the database."""

_made: deque[tuple[int, str]] = deque(maxlen=5000)
_numbers = itertools.count(1)


@dataclass
class Watch:
    """What has happened for an update, or several at once."""

    since: int
    handlers: list[Any] = field(default_factory=list)

    @property
    def statements(self) -> list[str]:
        """What was done on SQLite, MySQL and MariaDB: PostgreSQL's take another way."""
        return [sql for number, sql in _made if number > self.since]

    @property
    def code(self) -> str:
        """The source of the handler that ran last."""
        return inspect.getsource(self.handlers[-1]) if self.handlers else ""


_watch: ContextVar[Watch | None] = ContextVar("watch", default=None)


@contextmanager
def watched() -> Iterator[Watch]:
    """Note what handlers do that are called meanwhile."""
    watch = Watch(_made[-1][0] if _made else 0)
    token = _watch.set(watch)
    try:
        yield watch
    finally:
        _watch.reset(token)


def watch_handlers(application: SessionApplication) -> None:
    """Have an application's handlers note that they run."""
    for handlers in application.handlers.values():
        for handler in handlers:
            for one in parts_of(handler):
                one.callback = noting(one.callback)


def parts_of(handler: Any) -> list[Any]:
    """Return the handlers within one that has some, else itself."""
    if isinstance(handler, StepHandler):
        return list(handler.handlers)
    if isinstance(handler, ConversationHandler):
        lists = [handler.entry_points, handler.fallbacks, *handler.states.values()]
        return [one for some in lists for one in some]
    return [handler]


def noting(callback: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(callback)
    async def noted(update: Any, context: Any) -> Any:
        if (watch := _watch.get()) is not None:
            watch.handlers.append(callback)
        return await callback(update, context)

    return noted


def watch_statements() -> None:
    """Note the statements of the bots' threads from now on, over connections that they open."""
    connection_created.connect(watch_connection, dispatch_uid="project.watching")


def leave_statements() -> None:
    """Note none over connections that are opened from now on."""
    connection_created.disconnect(dispatch_uid="project.watching")


def watch_connection(connection: Any, **kwargs: Any) -> None:
    is_bots = threading.current_thread().name.startswith(THREAD)
    if is_bots and note_statement not in connection.execute_wrappers:
        connection.execute_wrappers.append(note_statement)


def note_statement(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    if not sql.startswith(AROUND):
        _made.append((next(_numbers), sql))
    return execute(sql, params, many, context)
