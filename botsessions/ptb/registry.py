"""The applications of this process that can be used to talk to Telegram, and where."""

from __future__ import annotations

import asyncio
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary, ref

if TYPE_CHECKING:
    from .application import SessionApplication

ANY_LOOP = None


class Entry(NamedTuple):
    application: ref[SessionApplication]
    loop: asyncio.AbstractEventLoop | None


_entries: WeakKeyDictionary[object, Entry] = WeakKeyDictionary()
"""By what they live as long as."""
_mutex = Lock()


def register(
    application: SessionApplication,
    loop: asyncio.AbstractEventLoop | None,
    owner: object | None = None,
) -> None:
    """Take note of an application that can be used in ``loop`` as long as its owner lives."""
    with _mutex:
        _entries[application if owner is None else owner] = Entry(ref(application), loop)


def unregister(application: SessionApplication) -> None:
    with _mutex:
        _entries.pop(application, None)


def application_here(alias: str) -> SessionApplication | None:
    """Return the newest application of a bot that can be used in the running event loop."""
    return application_in(asyncio.get_running_loop(), alias)


def application_in(loop: asyncio.AbstractEventLoop, alias: str) -> SessionApplication | None:
    """Return the newest application of a bot that can be used in an event loop."""
    here = (ANY_LOOP, loop)
    with _mutex:
        applications = [e.application() for e in _entries.values() if e.loop in here]
    found = [a for a in applications if a is not None and a.session_bot == alias]
    return found[-1] if found else None
