"""What goes wrong with sessions, noted beside the bot: which, when, what, and never what they hold.

The bot itself only adds to a note in memory. A thread writes notes, some seconds' at a time, on a
connection of its own. What it cannot write is counted, and told once it can.
"""

from __future__ import annotations

import atexit

from ..failures import Failure, listeners
from ..forking import at_fork
from .notebook import Notebook

__all__ = ["current", "listen", "note"]

_notebook = Notebook()


def current() -> Notebook:
    """Return what this process has noted and not written yet."""
    return _notebook


def note(failure: Failure) -> None:
    """Note a failure, unless it is no incident."""
    _notebook.note(failure)


def listen() -> None:
    """Have failures noted from now on."""
    if note not in listeners:
        listeners.append(note)


def start_anew() -> None:
    """In a forked child: what its parent has noted, that writes itself."""
    global _notebook
    _notebook = Notebook()


def end() -> None:
    _notebook.end()


at_fork(after_in_child=start_anew)
atexit.register(end)
