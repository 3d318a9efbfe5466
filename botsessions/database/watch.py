"""Cutting connections of our own threads that PostgreSQL does not answer on.

Its drivers wait for an answer for ever. What the operating system can find out by itself, such as a
network that loses everything, is left to it; see :func:`.options.options_of`. MySQL's driver has
bounds of its own.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from ..conf import retry_seconds
from ..forking import at_fork

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""So often it is looked whether somebody has waited for too long."""


class Watch:
    """The connections of this process that work is done over, each by its own thread."""

    def __init__(self) -> None:
        self._since: dict[BaseDatabaseWrapper, float] = {}
        """When the last statement began, by connection."""
        self._is_needed = threading.Event()
        self._mutex = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextmanager
    def over(self, connection: BaseDatabaseWrapper) -> Iterator[None]:
        """Cut a connection if one of the statements that follow has no answer in time."""
        self._since[connection] = time.monotonic()
        if not self._is_needed.is_set():
            self._begin()
        connection.execute_wrappers.append(self._note)
        try:
            yield
        finally:
            connection.execute_wrappers.remove(self._note)
            self._since.pop(connection, None)

    def _note(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        self._since[context["connection"]] = time.monotonic()
        return execute(sql, params, many, context)

    def _begin(self) -> None:
        with self._mutex:
            self._is_needed.set()
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._look, name="botsessions-watch", daemon=True
                )
                self._thread.start()

    def _look(self) -> None:
        while True:
            self._is_needed.wait()
            time.sleep(LOOK_SECONDS)
            too_old = time.monotonic() - retry_seconds()
            for connection, since in list(self._since.items()):
                if since < too_old and self._since.get(connection) == since:
                    self._since[connection] = time.monotonic()
                    cut(connection)
            if not self._since:
                self._is_needed.clear()
                if self._since:  # It has begun meanwhile.
                    self._is_needed.set()


def cut(connection: BaseDatabaseWrapper) -> None:
    """End a connection that another thread waits on, which gets an error then."""
    driver: Any = connection.connection
    with suppress(Exception):  # It has been closed just now, or not been opened yet.
        with closing(socket.socket(fileno=os.dup(driver.fileno()))) as shared:
            shared.shutdown(socket.SHUT_RDWR)
        logger.warning(
            "Database %r has not answered for %g s: its connection is closed.",
            connection.alias,
            retry_seconds(),
        )


_watch = Watch()


@contextmanager
def watched(*some: BaseDatabaseWrapper) -> Iterator[None]:
    """Cut connections if a statement that follows has no answer within ``RETRY_SECONDS``."""
    with ExitStack() as stack:
        for connection in some:
            if connection.vendor == "postgresql":
                stack.enter_context(_watch.over(connection))
        yield


def _renew() -> None:
    global _watch
    _watch = Watch()


at_fork(after_in_child=_renew)
