"""What a session from elsewhere becomes here, or why it cannot come."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from msgspec.structs import replace

from ..codec import Codec
from ..conf import max_bytes
from ..declaration import Fragment
from ..due import CONVERSATION, comes_due
from ..exceptions import (
    SessionError,
    SessionKeyError,
    SessionStorageError,
    SessionVersionError,
)
from ..keys import check_key
from ..records import ENCODER, Json, utcnow
from ..sources import updates_only
from ..storages import About, Address, MemoryStorage, Record
from ..storages.layers import outgoing
from ..storages.migrations import exact_version
from .batches import Failure
from .declared import DeclaredInCode, declared
from .ids import Keying
from .origins import Found, Place


class Outcome(enum.Enum):
    """What has become of a session that was found."""

    IMPORTED = "imported"
    REPLACED = "replaced"
    """It was imported in the place of an older one."""
    SAME = "same"
    """It was here already."""
    KEPT = "kept"
    """What is stored here instead may be newer."""
    BUSY = "busy"
    """Somebody holds it, who may be about to change it."""
    EXPIRED = "expired"
    EMPTY = "empty"


@dataclass(frozen=True)
class Arrival:
    """A session that can be stored."""

    address: Address
    fragment: Fragment[Any]
    record: Record
    created_at: datetime | None
    changed_at: datetime | None

    @cached_property
    def size(self) -> int:
        return len(ENCODER.encode(self.record.value))


class Arrivals:
    """Makes arrivals of what is found.

    Args:
        versions: whether the versions of data are those of this code's migrations; otherwise they
            are dropped.
    """

    def __init__(self, *, versions: bool = True) -> None:
        self._versions = versions
        self._destinations: dict[tuple[Place, bool], Destination] = {}
        self._in_code = DeclaredInCode()

    def arrival(self, found: Found) -> Arrival | Outcome | Failure:
        if found.data is None:
            return Outcome.EMPTY
        is_over = found.expires_at is not None and found.expires_at <= utcnow()
        if is_over and not comes_due(found.place.name):
            return Outcome.EXPIRED
        try:
            destination = self._destination(found.place, found.is_stored)
            return destination.arrival(found, found.version if self._versions else None)
        except SessionError as exc:
            return Failure(found.where, str(exc))
        except ImproperlyConfigured:
            raise
        except Exception as exc:  # Of an author's key function, whose text may show data.
            return Failure(found.where, f"Its key function raised {type(exc).__name__}.")

    def _destination(self, place: Place, is_stored: bool) -> Destination:
        # What is not JSON as this app stores it is of the types that the bot's code names.
        if (place, is_stored) not in self._destinations:
            declared_by = declared if is_stored else self._in_code.fragment
            self._destinations[place, is_stored] = Destination(place, declared_by(*place))
        return self._destinations[place, is_stored]


class Destination:
    """The fragment that a session moves into.

    Args:
        fragment: what is declared of it.

    Raises:
        SessionKeyError: the settings know none.
        SessionStorageError: it would be lost there.
    """

    def __init__(self, place: Place, fragment: Fragment[Any] | None) -> None:
        if fragment is None:
            name = f"fragment {place.name!r}" if place.name else "single session"
            raise SessionKeyError(f"The settings declare no {name} of a bot {place.bot!r}.")
        if isinstance(fragment.innermost, MemoryStorage):
            raise SessionStorageError("It would be kept in a MemoryStorage, until the import ends.")
        self._place = place
        self._fragment = fragment
        self._keying = Keying(fragment.get_session_key)
        # What is to be migrated is of a shape that the declared type need not know.
        self._older = Codec[Any](None if fragment.codec.data_type is None else Any)

    def arrival(self, found: Found, version: Decimal | None) -> Arrival:
        """Return what can be stored of it.

        Raises:
            SessionError: it has no key here, is of another version, or cannot be stored.
        """
        key, about = self._key(found)
        return Arrival(
            Address(*self._place, check_key(key)),
            self._fragment,
            self._record(found, self._known(version), about),
            found.created_at,
            found.changed_at,
        )

    def _key(self, found: Found) -> tuple[str, About]:
        """Return the session's key, and whom it belongs to as far as that is known."""
        keying = self._keying
        if found.key is None:
            if keying.known is None:
                raise SessionKeyError(updates_only(self._fragment.get_session_key))
            if (key := keying.key(found.ids)) is None:
                raise SessionKeyError(
                    f"The key function {keying} gives no key for the id of a "
                    f"{' and a '.join(found.ids)}."
                )
            return key, keying.about(found.ids)
        if found.about is not None:
            return found.key, found.about
        if keying.known is None and self._place.name.startswith(CONVERSATION):
            raise SessionKeyError("The code keeps no ConversationHandler of this name.")
        ids = keying.ids(found.key)
        if ids is None and keying.known is not None:
            raise SessionKeyError(f"Its key is none that the key function {keying} gives.")
        return found.key, keying.about(ids or {})

    def _known(self, version: Decimal | None) -> Decimal | None:
        newest = self._fragment.newest_version
        if version is None:
            return None
        try:
            version = exact_version(version)
        except ValueError as exc:
            raise SessionVersionError(str(exc)) from None
        if newest is None or version > newest:
            known = "none" if newest is None else f"none after {newest}"
            raise SessionVersionError(
                f"It has version {version}, and this code knows {known}: declare migrations up to "
                "it, or drop versions."
            )
        return version

    def _record(self, found: Found, version: Decimal | None, about: About) -> Record:
        fragment = self._fragment
        codec = fragment.codec if version == fragment.newest_version else self._older
        value: Json = (
            codec.encode_stored(found.data, max_bytes())
            if found.is_stored
            else codec.encode(found.data, {}, max_bytes())
        )
        stored = outgoing(fragment.layers, Record(value, about=about))
        # It is as old as it was.
        expires_at = found.expires_at or stored.expires_at
        return replace(stored, version=version, expires_at=expires_at)
