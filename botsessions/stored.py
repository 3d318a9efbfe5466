"""What is known of what is stored of one fragment, and the way from there to data and back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from msgspec.structs import replace

from .conf import max_bytes
from .declaration import Fragment
from .exceptions import SessionDataError
from .records import ANY, About, Address, Json, Record, Revision, refuse_unreadable
from .storages.layers import incoming, read_one
from .storages.migrations import refuse_newer

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Stored(Generic[T]):
    """The record of a fragment, as it was read or written last.

    Args:
        about: whom it belongs to. It is called for a write only: an update that changes nothing
            need not find it out.
    """

    def __init__(
        self, fragment: Fragment[T], address: Address, about: Callable[[], About | None]
    ) -> None:
        self.fragment = fragment
        self.address = address
        self.is_known = False
        """Whether it is known what is stored."""
        self.record: Record | None = None
        """What was read or written last."""
        self.raw: Record | None = None
        """What was read last, as no layer has seen it."""
        self._about = about
        self._unknown: dict[str, Json] = {}
        self._fingerprint: bytes | None = None  # Of the data that is stored,
        self._writing: bytes | None = None  # and of what is about to be.

    async def accept(self, record: Record | None) -> T | None:
        """Take note of what was read, and return its data, ``None`` if there is none.

        Raises:
            SessionError: it cannot be shown.
        """
        self.is_known = True
        self.record = self.raw = record
        logger.debug("Session %s was read: revision %s.", self.address, record and record.revision)
        data = self.take(await self._shown(record))
        self._note()
        return data

    async def _shown(self, record: Record | None) -> Record | None:
        """Return what was read as the layers show it, of a version that the code knows.

        Raises:
            SessionError: it cannot be shown.
        """
        if record is None or record.value is None:
            return record
        fragment = self.fragment
        refuse_unreadable(self.address, record)
        if fragment.layers:
            record = await incoming(fragment.layers, self.address, record)
        if record.version is not None or fragment.newest_version is not None:
            refuse_newer(self.address, record.version, fragment.newest_version)
        return record

    def take(self, record: Record | None) -> T | None:
        """Take note of what was read or written, as the layers show it, and return its data.

        Raises:
            SessionDataError: it cannot be shown.
        """
        self.is_known = True
        self.record = record
        self._unknown, self._fingerprint = {}, None
        if record is None or record.value is None:
            return None
        fragment = self.fragment
        try:
            found = fragment.codec.decode(record.value)
        except SessionDataError as exc:
            raise self._told(exc, "read") from None
        self._unknown = found.unknown
        if not record.stale:
            self._fingerprint = found.fingerprint
        data: T = found.data
        return data

    def data(self) -> T | None:
        """Return anew the data of what was read or written last, ``None`` if there is none."""
        if self.record is None or self.record.value is None:
            return None
        data: T = self.fragment.codec.decode(self.record.value).data
        return data

    def take_for_stored(self, data: T | None) -> None:
        """Let ``data`` be written only once it differs from what it is now."""
        if data is not None:
            encoded = self.fragment.codec.encode_changed(data, None, {}, max_bytes())
            self._fingerprint = encoded.fingerprint if encoded is not None else None

    def overwrite(self, revision: Revision = ANY) -> None:
        """Let a write replace, or a deletion delete, what is stored, without a look at it.

        Args:
            revision: that of what may be replaced; ``None``: there is nothing.
        """
        self.is_known = True
        self.record = None if revision is None else Record({}, revision=revision)

    def change(self, data: T) -> Record | None:
        """Return the record to be written of data, ``None`` if it is stored already.

        Raises:
            SessionDataError: it cannot be stored.
        """
        codec = self.fragment.codec
        try:
            encoded = codec.encode_changed(data, self._fingerprint, self._unknown, max_bytes())
        except SessionDataError as exc:
            raise self._told(exc, "stored") from None
        if encoded is None:
            return None
        self._writing = encoded.fingerprint
        return Record(encoded.value, revision=self.revision, about=self._about())

    def deletion(self) -> Record | None:
        """Return the record that deletes what is stored, ``None`` if nothing is."""
        if self.is_known and (self.record is None or self.record.value is None):
            return None
        return Record(None, revision=self.revision)

    def written(self, record: Record, revision: int | None) -> None:
        """Take note that ``record`` is stored now, under ``revision``."""
        self.is_known = True
        if revision is None:
            self.record, self._fingerprint, self._unknown = None, None, {}
        else:
            self.record = replace(record, revision=revision)
            self._fingerprint = self._writing
        self._note()

    def _note(self) -> None:
        if self.fragment.noted is not None:
            self.fragment.noted(self.record)

    @property
    def revision(self) -> Revision:
        """The one that a write has to name."""
        if not self.is_known:
            return ANY
        return self.record.revision if self.record else None

    async def revision_now(self) -> Revision:
        """Return the revision that a refused write should name, the same if it is a conflict.

        It is none if nobody has changed what was read: if that had expired, it may have been swept
        meanwhile; if it was migrated on being read, it may have been migrated where it is stored.
        """
        if self.record is None:
            return self.revision
        if self.record.value is None:
            return None
        if self.record.stale:
            found = await self._shown(await read_one(self.fragment.place(self.address)))
            if found is not None and found.value == self.record.value:
                return found.revision
        return self.revision

    async def merged(self, refused: Record) -> tuple[Record, T | None]:
        """Return record and data of a refused change and of others'.

        If they clash it is the refused record, without data.
        """
        fragment = self.fragment
        if fragment.merge is None:
            return refused, None
        found = await read_one(fragment.place(self.address))
        if (found and found.revision) == refused.revision:
            return refused, None
        found = await self._shown(found)
        before = None if self.record is None else self.record.value
        value = fragment.merge(before, refused.value, None if found is None else found.value)
        if value is None:
            return refused, None
        both = fragment.codec.decode(value)
        self.record, self._unknown, self._writing = found, both.unknown, both.fingerprint
        return replace(refused, value=value, revision=found and found.revision), both.data

    async def follow(self, target: Address) -> None:
        """Go on under the new key that what is stored was given by whoever holds the key."""
        self.address = target
        if self.record is not None and self.record.value is not None:
            found = await read_one(self.fragment.place(target))
            if found is not None and found.value is not None:
                self.record = replace(self.record, revision=found.revision)

    def _told(self, error: SessionDataError, what: str) -> SessionDataError:
        problem = f"Session {self.address} cannot be {what}: {error}"
        return SessionDataError(problem, path=error.path)


def nobody() -> Any:
    """Return whom a session belongs to of which nothing is known."""
    return None
