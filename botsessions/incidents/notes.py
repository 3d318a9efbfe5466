"""What is noted of a failure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.utils import timezone

from ..database.claims import AlreadyHandled, ClaimedElsewhere
from ..exceptions import (
    SessionClosed,
    SessionConflict,
    SessionDataError,
    SessionError,
    SessionLockError,
    SessionMigrationError,
    SessionVersionError,
)
from ..failures import Failure
from ..logs import hide
from ..models import MAX_ERROR_LENGTH, MAX_MESSAGE_LENGTH, Incident
from ..records import MAX_KEY_LENGTH, Address

Kind = Incident.Kind

KINDS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
    (SessionConflict, Kind.CONFLICT),
    (SessionLockError, Kind.LOCK),
    ((SessionDataError, SessionVersionError, SessionMigrationError), Kind.DATA),
)


class Identity(NamedTuple):
    """Failures that are told as one, with their number."""

    address: Address
    kind: str
    error: str


@dataclass
class Note:
    """Failures of one kind of one session, or of sessions that are not told apart."""

    identity: Identity
    message: str
    by: str
    chat_id: int | None
    user_id: int | None
    first_at: datetime
    last_at: datetime
    count: int = 1

    def add(self, later: Note) -> None:
        """Count what has failed since."""
        self.count += later.count
        self.message, self.by, self.last_at = later.message, later.by, later.last_at

    def of_others(self) -> Note:
        """Return it as one of the sessions that are not told apart."""
        nobody = Address(self.identity.address.bot, "", "")
        identity = Identity(nobody, self.identity.kind, "")
        return Note(identity, "", "", None, None, self.first_at, self.last_at, self.count)


def note_of(failure: Failure) -> Note | None:
    """Return what is noted; ``None`` if the project's code is to blame, or nobody."""
    kind, error = kind_of(failure), failure.error
    if kind is None:
        return None
    message = hide(str(error)) if isinstance(error, SessionError) else ""
    ids, now = ids_of(failure), timezone.now()
    address = failure.address._replace(key=failure.address.key[:MAX_KEY_LENGTH])
    return Note(
        Identity(address, kind, name_of(error)[:MAX_ERROR_LENGTH]),
        message[:MAX_MESSAGE_LENGTH],
        failure.source.by,
        ids.get("chat"),
        ids.get("user"),
        now,
        now,
    )


def kind_of(failure: Failure) -> str | None:
    error = failure.error
    if isinstance(error, UNREMARKABLE):
        return None
    return next((kind for types, kind in KINDS if isinstance(error, types)), failure.operation)


UNREMARKABLE = (SessionClosed, AlreadyHandled, ClaimedElsewhere)
"""Code that came too late; and with several workers an update may well come to more than one."""


def name_of(error: Exception) -> str:
    """Return an exception's class, like ``sqlite3.OperationalError``."""
    kind = type(error)
    module = "" if kind.__module__ in ("builtins", SessionError.__module__) else kind.__module__
    return f"{module}.{kind.__qualname__}" if module else kind.__qualname__


def ids_of(failure: Failure) -> Mapping[str, Any]:
    ids = failure.source.ids
    return {name: ids[name] for name in ("chat", "user") if type(ids.get(name)) is int}
