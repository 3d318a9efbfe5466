"""Everything that can go wrong with a session."""

from __future__ import annotations

from decimal import Decimal


class SessionError(Exception):
    """Base of all errors of this package."""


class SessionKeyError(SessionError):
    """There is no session here, or its key cannot be used."""


class SessionNotInitialized(SessionError):
    """Nothing is stored under the key and no ``initial`` was declared."""


class SessionDataError(SessionError):
    """The data cannot be stored, or what is stored does not fit the declared type.

    ``path`` is the place inside the data, like ``$.pets[0].name``. The message never
    shows a value.
    """

    def __init__(self, message: str, *, path: str = "$") -> None:
        super().__init__(message)
        self.path = path


class ConversationStateError(SessionError):
    """A stored conversation is in a state that its ``ConversationHandler`` does not have."""


class StoredJobError(SessionError):
    """A stored job is due whose callback the code does not have."""


class SessionConflict(SessionError):
    """Somebody else changed or deleted the stored session since it was read.

    ``cut_off`` says whether this process had lost the key, or the update, to another one, because
    it could not renew its right to it in time.
    """

    def __init__(self, message: str = "", *, cut_off: bool = False) -> None:
        super().__init__(message)
        self.cut_off = cut_off


class SessionClosed(SessionError):
    """The update that this session belonged to is over."""


class SessionLockError(SessionError):
    """The key cannot be had: waiting for it could never end, or went on for too long."""


class SessionLockTimeout(SessionLockError):
    """Other processes have held the key for too long."""


class SessionExpiryError(SessionError):
    """Whoever was told that a session has expired raised; it stays stored and is told again."""


class SessionVersionError(SessionError):
    """The stored data has a newer version than the newest migration of this code."""


class SessionMigrationError(SessionError):
    """A migration raised; the stored data stays as it was.

    ``version`` is the one that it should have led to, ``problem`` what it did instead.
    """

    def __init__(self, message: str, *, version: Decimal, problem: str) -> None:
        super().__init__(message)
        self.version = version
        self.problem = problem


class SessionStorageError(SessionError):
    """The place where sessions are stored does not answer, refuses, or holds something else."""
