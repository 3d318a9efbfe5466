"""Notes that wait to be written, and the thread that writes them."""

from __future__ import annotations

import logging
import sys
import threading

from django.conf import settings
from django.core import mail
from django.db import connections

from ..failures import Failure
from .notes import Identity, Note, note_of
from .writing import write

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS, PAUSE_SECONDS = 0.5, 5.0
"""So long notes gather before they are written; in a storm longer."""
MOST_WAITING = 100
"""So many are told apart meanwhile; of the others it is counted how many of each kind there are."""
LAST_SECONDS = 2.0
"""So long a process that ends waits for its last notes to be written."""


class Notebook:
    """The notes of a process."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._waiting: dict[Identity, Note] = {}
        self._writer: threading.Thread | None = None
        self._ending = threading.Event()

    def note(self, failure: Failure) -> None:
        """Note a failure, unless it is no incident."""
        note = note_of(failure)
        if note is None:
            return
        with self._mutex:
            self._add(note)
            if self._writer is None and not is_in_test():
                self._start()

    def _add(self, note: Note) -> None:
        is_known = note.identity in self._waiting
        if not is_known and note.identity.address.key and len(self._waiting) >= MOST_WAITING:
            note = note.of_others()
        known = self._waiting.setdefault(note.identity, note)
        if known is not note:
            known.add(note)

    def write(self) -> bool:
        """Write what was noted; return whether there was anything.

        What cannot be written is counted.
        """
        with self._mutex:
            notes, self._waiting = list(self._waiting.values()), {}
        if not notes:
            return False
        try:
            write(notes)
        except Exception as exc:
            logger.debug("Incidents were not written: %s.", type(exc).__name__)
            with self._mutex:
                for note in notes:
                    self._add(note.of_others())
        return True

    def _start(self) -> None:
        if sys.is_finalizing():  # Before Python 3.12, a thread's start() would not return.
            return
        writer = threading.Thread(target=self._run, name="botsessions-incidents", daemon=True)
        try:
            writer.start()
        except RuntimeError:  # There are no more threads to be had, or Python ends.
            return
        self._writer = writer

    def _run(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            self._ending.wait(pause)
            pause = PAUSE_SECONDS
            try:
                wrote = self.write()
            finally:
                connections.close_all()  # Of this thread.
            with self._mutex:
                if not wrote or self._ending.is_set():
                    self._writer = None
                    return

    def end(self) -> None:
        """Write the last notes, if the database answers soon."""
        self._ending.set()
        if (writer := self._writer) is not None:
            writer.join(LAST_SECONDS)


def is_in_test() -> bool:
    """Whether Django's test environment is set up: what a thread wrote there would stay."""
    return hasattr(mail, "outbox") and "testserver" in settings.ALLOWED_HOSTS
