"""Changing stored sessions by hand: in the admin, over the API, from a shell.

Every change gives a session a new revision, so a handler that is running cannot write over it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from django.core.exceptions import ImproperlyConfigured
from django.db import router, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from msgspec.structs import replace

from ..codec import Codec
from ..conf import max_bytes
from ..database.changes import Change
from ..database.sessions_table import Table
from ..declaration import Fragment
from ..deleting import delete_rows
from ..editing import Edit
from ..exceptions import SessionDataError, SessionError, SessionNotInitialized
from ..finding import State, state_of
from ..history import all_that_is_kept, kept
from ..models import AbstractBotSession, HistoryEntry
from ..reading import UNREADABLE, value_of
from ..records import Address, Json, Record, conflict, new_revision
from ..sources import FromKey
from ..storages.layers import outgoing
from ..storages.migrations import refuse_newer
from .batches import BATCH_SIZE, Batch, Failure, unlocked
from .declared import declared
from .holding import lock_of

PATIENCE_SECONDS = 15.0
"""So long a key is waited for: behind a change there is a person, or a request that waits."""
CHANGED = "It was changed meanwhile."

if TYPE_CHECKING:
    Sessions: TypeAlias = QuerySet[AbstractBotSession]


class HasExpired(SessionError):
    """A session's data cannot be replaced: it has expired."""


class SettingsAreWrong(SessionError):
    """Nobody can tell what a session's bot declares, so nothing is changed that has to know it."""


def write_data(
    session: AbstractBotSession,
    value: Json,
    revision: int,
    *,
    by: str = "",
) -> int:
    """Replace a session's data, with its key held, and return its new revision.

    Args:
        value: of the same version as what is stored.
        revision: the one that whoever changed the data has seen.
        by: who changes it, like ``admin:1``.

    Raises:
        SessionConflict: what is stored has another revision; nothing was written.
        HasExpired: there is no data that could be replaced; nothing was written.
        SessionDataError: the value is no strict JSON, too large, or does not fit the declared type.
        SessionVersionError: the stored data is of a version that this code does not know.
        SessionLockTimeout: a handler has kept the key for long; nothing was written.
        SettingsAreWrong: the bot cannot be imported; nothing was written.
    """
    address = address_of(session)
    fragment = declared_at(address)
    record = Record(checked(fragment, session, value), session.version, session.expires_at)
    if fragment is not None:
        record = replace(record, expires_at=outgoing(fragment.layers, record).expires_at)
    change = Change(address, replace(record, revision=revision), new_revision())
    with held(fragment, address):
        if state_of(session) == State.EXPIRED:
            raise HasExpired(
                f"Session {address} has expired: for its bot there is no data that could be "
                "replaced. Extend it first, or let the bot begin anew."
            )
        with kept(all_of_it(session), by):
            if not table_of(session).write([change]):
                raise conflict(address)
    return change.revision


def restore(session: AbstractBotSession, entry: HistoryEntry, *, by: str = "") -> int:
    """Let a session be what it was once, with its key held, and return its new revision.

    One that was ended by hand lives again. Otherwise see :func:`write_data`.
    """
    value = value_of(entry.data)
    if value is UNREADABLE:
        raise SessionDataError("The data of that version is no JSON that Python can read.")
    as_it_was = copy(session)
    as_it_was.version = entry.version
    if entry.expires_at is None or entry.expires_at > timezone.now():
        as_it_was.expires_at = entry.expires_at
    return write_data(as_it_was, value, session.revision, by=by)


def change_one(
    session: AbstractBotSession, revision: int, change: Callable[[Sessions], Iterator[Batch]]
) -> list[Batch]:
    """Make one of the changes below to one session, with its key held; return what it has done.

    Args:
        revision: the one that whoever makes the change has seen.

    Raises:
        SessionConflict: what is stored has another revision; nothing was changed.
        SessionLockTimeout: a handler has kept the key for long; nothing was changed.
        SettingsAreWrong: the bot cannot be imported; nothing was changed.
    """
    address, seen = address_of(session), all_of_it(session).filter(revision=revision)
    with held(declared_at(address), address):
        batches = list(change(seen))
        if not any(batch.done for batch in batches) and not seen.exists():
            raise conflict(address)
    return batches


def expire(sessions: Sessions, *, by: str = "", batch_size: int = BATCH_SIZE) -> Iterator[Batch]:
    """Let sessions expire now. Their rows stay until they are swept."""
    sessions = lasting(sessions)
    change = by_setting(by, expires_at=timezone.now())
    return in_batches(sessions, change, batches_of_keys(sessions, batch_size))


def lasting(sessions: Sessions) -> Sessions:
    """Return those that do not expire before now."""
    return sessions.filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()))


def extend(
    sessions: Sessions, length: timedelta, *, by: str = "", batch_size: int = BATCH_SIZE
) -> Iterator[Batch]:
    """Let sessions that expire live for at least so long from now; expired ones live again."""
    until = timezone.now() + length
    ending = sessions.filter(expires_at__lt=until)
    change = by_setting(by, expires_at=until)
    return in_batches(ending, change, batches_of_keys(ending, batch_size))


def by_setting(by: str, **columns: Any) -> Callable[[Sessions], Batch]:
    """Return what sets columns of sessions, and keeps what they were."""

    def change(sessions: Sessions) -> Batch:
        with kept(sessions, by):
            return Batch(sessions.update(**columns, revision=new_revision()))

    return change


def delete(sessions: Sessions, *, batch_size: int = BATCH_SIZE) -> Iterator[Batch]:
    """Delete sessions."""
    return in_batches(sessions, delete_batch, batches_of_keys(sessions, batch_size))


def delete_batch(sessions: Sessions) -> Batch:
    with transaction.atomic(using=sessions.db, savepoint=False):
        all_that_is_kept(sessions).delete()
        return Batch(delete_rows(sessions.defer("data")))


def reset(sessions: Sessions, *, by: str = "", batch_size: int = BATCH_SIZE) -> Iterator[Batch]:
    """Give sessions the initial data that their bot declares."""
    for keys in batches_of_keys(sessions, batch_size):
        changes = initial_changes(sessions.filter(pk__in=keys))
        yield from in_batches(sessions, by_beginning_anew(by, changes), [keys])


def in_batches(
    sessions: Sessions, change: Callable[[Sessions], Batch], batches: Iterable[list[Any]]
) -> Iterator[Batch]:
    """Change sessions; those that others have locked at the end, each by itself.

    Args:
        batches: their primary keys, those that are changed together.
    """
    locked: list[Any] = []
    for keys in batches:
        with transaction.atomic(using=sessions.select_for_update().db, savepoint=False):
            free = unlocked(sessions.filter(pk__in=keys))
            batch = change(sessions.filter(pk__in=free))
        locked += {*keys}.difference(free)
        yield batch
    for key in locked:
        yield change(sessions.filter(pk=key))


def batches_of_keys(sessions: Sessions, batch_size: int) -> Iterator[list[Any]]:
    """Yield primary keys, going through ``sessions`` once."""
    keys = later = sessions.order_by("pk").values_list("pk", flat=True)
    while batch := list(later[:batch_size]):
        yield batch
        if len(batch) < batch_size:
            return
        later = keys.filter(pk__gt=batch[-1])


def initial_changes(sessions: Sessions) -> dict[Any, Change | Failure]:
    """Return what is to become of sessions, by primary key, or why it cannot."""
    changes: dict[Any, Change | Failure] = {}
    for session in sessions.only("bot", "name", "key", "revision"):
        address = address_of(session)
        try:
            record = initial_record(address)
        except Exception as exc:
            nameless = reason(exc, in_detail=False)
            changes[session.pk] = Failure(address, reason(exc), nameless=nameless)
        else:
            record = replace(record, revision=session.revision)
            changes[session.pk] = Change(address, record, new_revision())
    return changes


def by_beginning_anew(
    by: str, changes: Mapping[Any, Change | Failure]
) -> Callable[[Sessions], Batch]:
    """Return what makes the changes of some sessions, and keeps what they were."""

    def change(sessions: Sessions) -> Batch:
        some = [changes[pk] for pk in sessions.values_list("pk", flat=True) if pk in changes]
        failures = [one for one in some if isinstance(one, Failure)]
        wanted = [one for one in some if isinstance(one, Change)]
        with kept(sessions, by):
            landed = Table(sessions.model, sessions.select_for_update().db).write(wanted)
        failures += [Failure(one.address, CHANGED) for one in wanted if one not in landed]
        return Batch(len(landed), tuple(failures))

    return change


def initial_record(address: Address) -> Record:
    """Return what the bot would store for a new chat.

    Raises:
        SessionNotInitialized: it declares no initial data.
        SessionDataError: it declares some that cannot be stored.
        SettingsAreWrong: it cannot be imported.
        Exception: what the author's function raised.
    """
    fragment = declared_at(address)
    data = fragment.initial() if fragment is not None and fragment.initial is not None else None
    if fragment is None or data is None:
        raise SessionNotInitialized("The settings' bots declare no initial data for it: delete it.")
    return outgoing(fragment.layers, Record(fragment.codec.encode(data, {}, max_bytes())))


def checked(fragment: Fragment[Any] | None, session: AbstractBotSession, value: Json) -> Json:
    """Return ``value`` if it may stand in the place of the session's data.

    Data of an older version than the code's is of a shape that the declared type need not know.
    """
    if value is None:
        raise SessionDataError("$ is null, which is no data: delete the session instead.")
    value = Codec[Any]().encode(value, {}, max_bytes())
    if fragment is not None:
        refuse_newer(address_of(session), session.version, fragment.newest_version)
        if session.version == fragment.newest_version:
            fragment.codec.decode(value)
    return value


def declared_at(address: Address) -> Fragment[Any] | None:
    """Return what the settings declare, if they know the bot."""
    try:
        return declared(address.bot, address.name)
    except ImproperlyConfigured as exc:
        raise SettingsAreWrong(f"The bot's settings are wrong: {exc}") from exc


def held(fragment: Fragment[Any] | None, address: Address) -> AbstractContextManager[Any]:
    """Hold the key as the bot does, if the settings know the bot.

    Entering it raises SessionLockTimeout after :data:`PATIENCE_SECONDS`.
    """
    if fragment is None:
        return nullcontext()
    lock, source = lock_of([address]), FromKey(address.key)
    return Edit(fragment, address.bot, source, lock, read=False, patience=PATIENCE_SECONDS)


def reason(error: Exception, *, in_detail: bool = True) -> str:
    """Return what may be shown of an error: an author's exception may hold data.

    Args:
        in_detail: with names of fields in the data.
    """
    if isinstance(error, (SessionNotInitialized, SettingsAreWrong)) or (
        in_detail and isinstance(error, SessionDataError)
    ):
        return str(error)
    return f"Its initial data cannot be made: {type(error).__name__}."


def address_of(session: AbstractBotSession) -> Address:
    return Address(session.bot, session.name, session.key)


def all_of_it(session: AbstractBotSession) -> Sessions:
    """Return the query set of one session, where it is written."""
    using = router.db_for_write(type(session), instance=session)
    return type(session)._default_manager.using(using).filter(pk=session.pk)


def table_of(session: AbstractBotSession) -> Table:
    return Table(type(session), router.db_for_write(type(session), instance=session))
