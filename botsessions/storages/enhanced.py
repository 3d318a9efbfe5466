"""Timeouts and migrations around any storage."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from msgspec.structs import replace

from ..arguments import check_duration, check_function, check_storage, telling_usage
from ..database.storage import DatabaseStorage
from ..records import Address, Record, Storage, utcnow
from .hearing import OnExpire, takes_context
from .layers import WrappedStorage
from .migrations import Migration, Migrations


@telling_usage
def enhance_storage(
    storage: Storage | None = None,
    *,
    time_to_live: timedelta | None = None,
    renew: Literal["change", "access"] = "change",
    on_expire: OnExpire | None = None,
    migrations: Mapping[Any, Migration] | None = None,
) -> EnhancedStorage:
    """Return ``storage`` with timeouts and versioned migrations.

    Args:
        storage: any storage; ``None`` is :class:`DatabaseStorage`.
        time_to_live: how long data lives that is not changed.
        renew: ``"access"`` lets a read renew the data's life, too (at most once per tenth of it).
        on_expire: called, at least once, with the key and the stored data (plain JSON, not
            migrated) of a session that has timed out and, if it takes three arguments, an
            :class:`ExpiryContext`; may be ``async``. If it raises, the session stays stored and it
            is called again.
        migrations: by version (any number), functions from the data of an older version to that
            version's. They get and return plain JSON values and may be ``async``.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: an empty or ambiguous setting.
    """
    return EnhancedStorage(
        DatabaseStorage() if storage is None else storage,
        time_to_live=time_to_live,
        renew=renew,
        on_expire=on_expire,
        migrations=migrations,
    )


class EnhancedStorage(WrappedStorage):
    def __init__(
        self,
        inner: Storage,
        *,
        time_to_live: timedelta | None,
        renew: Literal["change", "access"],
        on_expire: OnExpire | None,
        migrations: Mapping[Any, Migration] | None,
    ) -> None:
        check_storage(inner)
        super().__init__(inner)
        if time_to_live is not None:
            check_duration("time_to_live", time_to_live)
        if renew not in ("change", "access"):
            raise ValueError(f"renew must be 'change' or 'access', not {renew!r}.")
        if renew == "access" and time_to_live is None:
            raise ValueError("renew='access' needs a time_to_live.")
        if on_expire is not None:
            given = ["key", "data", "context"][: 3 if takes_context(on_expire) else 2]
            check_function("on_expire", on_expire, "a function of key and data", *given)
        self.on_expire = on_expire
        self._time_to_live = time_to_live
        self._renew = renew
        self._migrations = None if migrations is None else Migrations(migrations)
        if migrations is not None and getattr(inner, "newest_version", None) is not None:
            raise ValueError("The storage has migrations already: give all of them to one.")

    async def incoming(self, address: Address, record: Record) -> Record:
        if record.value is None or self._migrations is None:
            return record
        return await self._migrations.applied(address, record)

    def renewal(self, record: Record) -> datetime | None:
        if self._time_to_live is None:
            return None
        until = utcnow() + self._time_to_live
        if record.expires_at is None:
            return until
        spent = until - record.expires_at
        due = self._renew == "access" and spent >= self._time_to_live / 10
        return until if due else None

    def outgoing(self, record: Record) -> Record:
        if record.value is None:
            return record
        if self._time_to_live is not None:
            record = replace(record, expires_at=utcnow() + self._time_to_live)
        if self._migrations is not None:
            record = replace(record, version=self.newest_version)
        return record

    @property
    def newest_version(self) -> Decimal | None:
        """The version that migrations lead to."""
        if self._migrations is not None:
            return self._migrations.newest_version
        return getattr(self.inner, "newest_version", None)
