"""A bot's sessions as the free storage shows them: JSON by key, in the bot's table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone
from msgspec.structs import replace

from ...bots import Bot
from ...codec import strict
from ...conf import free_storage_limits
from ...database.callers import wait_for
from ...exceptions import SessionConflict, SessionDataError
from ...maintenance import BATCH_SIZE, Sweep
from ...models import AbstractBotSession
from ...records import Json
from ...storages import ANY, Address, DatabaseStorage, Record
from ...storages.migrations import exact_version
from ...storages.value import looks_packed, pack, unpack
from .answers import Refusal
from .quota import alone

ATTEMPTS = 20
"""So often a session is looked at again that somebody else changes at the same moment."""


class FreeSessions:
    """What a bot has stored. Keys are session keys, so its Python side finds the same sessions."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self._storage = table_of(bot)

    def read(self, key: str) -> Json:
        """Return the JSON stored under ``key``, ``None`` if there is none or it has expired."""
        record = wait_for(self._storage.read(self._address(key)))
        if record is None or record.value is None:
            return None
        is_plain = record.version is None and record.expires_at is None
        return record.value if is_plain else pack(record)

    def write(self, key: str, value: Json) -> None:
        """Store JSON; ``None`` deletes.

        Raises:
            Refusal: it is not strict JSON, or the bot has too many sessions to begin another one.
        """
        record = unpacked(value)
        try:
            strict(record.value)
        except SessionDataError as exc:
            raise Refusal(400, f"The data cannot be stored: {exc}") from None
        if record.value is None:
            self.delete(key)
            return None
        for _ in range(ATTEMPTS):
            known = self._live().filter(key=key).values_list("revision", flat=True).first()
            if known is None:
                return self._begin(key, record)
            with suppress(SessionConflict):
                return self._store(key, replace(record, revision=known))
        raise Refusal(503, "The session is changed all the time.")

    def delete(self, key: str) -> None:
        wait_for(self._storage.delete(self._address(key), ANY))

    def _begin(self, key: str, record: Record) -> None:
        """Store a new session, if the bot may have another one.

        Raises:
            Refusal: it may not.
        """
        limit = free_storage_limits()["MAX_SESSIONS"]
        if self._begin_if_fewer(limit, self._rows(), key, record):
            return
        self._sweep()
        if not self._begin_if_fewer(limit, self._live(), key, record):
            raise Refusal(409, f"The bot has {limit} sessions, as many as it may.")

    def _begin_if_fewer(self, limit: int, others: QuerySet[Any], key: str, record: Record) -> bool:
        with alone(self._bot.alias, self._rows()):
            is_room = others.count() < limit
            if is_room:
                self._store(key, record)
        return is_room

    def _sweep(self) -> None:
        """Make room where rows have expired. They do not count, but take a place in the table."""
        sweep = Sweep(bot=self._bot.alias, name="")
        for _batch in sweep.run(self._storage.model, self._storage.using, limit=BATCH_SIZE):
            pass

    def _store(self, key: str, record: Record) -> None:
        wait_for(self._storage.write(self._address(key), record))

    def keys(self) -> Iterator[str]:
        return self._live().order_by("key").values_list("key", flat=True).iterator()

    def _live(self) -> QuerySet[AbstractBotSession]:
        return self._rows().filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()))

    def _rows(self) -> QuerySet[AbstractBotSession]:
        rows = self._storage.model._default_manager.using(self._storage.using)
        return rows.filter(bot=self._bot.alias, name="")

    def _address(self, key: str) -> Address:
        return Address(self._bot.alias, "", key)


def table_of(bot: Bot) -> DatabaseStorage:
    """Return where the bot keeps its one session in Python, if that is a table; or the default."""
    fragment = bot.session.fragments.get("")
    storage = fragment and fragment.innermost
    return storage if isinstance(storage, DatabaseStorage) else DatabaseStorage()


def unpacked(value: Any) -> Record:
    """Return a record with version and expiry, if packing it gives back just this value."""
    plain = Record(value, revision=ANY)
    if not looks_packed(value) or value["__d"] is None or value.keys() == {"__d"}:
        return plain
    try:
        record = unpack(value)
        if record.version is not None:
            exact_version(record.version)
    except (ArithmeticError, TypeError, ValueError, OSError):
        return plain
    if pack(record) != value:
        return plain
    return Record(record.value, record.version, record.expires_at, ANY)
