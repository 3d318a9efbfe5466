"""Timeouts and migrations around any storage."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, TypeAlias

from ..exceptions import SessionMigrationError, SessionVersionError
from .base import Address, Record, Storage, plain, utcnow
from .database import DatabaseStorage
from .layers import OnExpire, WrappedStorage

Number: TypeAlias = "int | float | Decimal"
Migration: TypeAlias = "Callable[[Any], Any]"

VERSION_DIGITS = 15
VERSION_DECIMALS = 6


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
            migrated) of a session that has timed out; may be ``async``. If it raises, the session
            stays stored and it is called again.
        migrations: by version (any number), functions from the data of an older version to that
            version's. They get and return plain JSON values and may be ``async``.

    Raises:
        TypeError: ``on_expire`` cannot be called.
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
        super().__init__(inner)
        if time_to_live is not None and time_to_live <= timedelta(0):
            raise ValueError(f"time_to_live must be longer than nothing, not {time_to_live}.")
        if renew not in ("change", "access"):
            raise ValueError(f"renew must be 'change' or 'access', not {renew!r}.")
        if renew == "access" and time_to_live is None:
            raise ValueError("renew='access' needs a time_to_live.")
        if on_expire is not None and not callable(on_expire):
            raise TypeError(
                f"on_expire must be a function of key and data, not {type(on_expire).__name__}."
            )
        self.on_expire = on_expire
        self._time_to_live = time_to_live
        self._renew = renew
        self._migrations = None if migrations is None else ordered(migrations)

    async def incoming(self, address: Address, record: Record) -> Record:
        if record.value is None:
            return record
        return await self._migrated(address, record)

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
        if self._migrations:
            record = replace(record, version=self.newest_version)
        return record

    @property
    def newest_version(self) -> Decimal | None:
        """The version that migrations lead to."""
        if self._migrations:
            return next(reversed(self._migrations))
        return getattr(self.inner, "newest_version", None)

    async def _migrated(self, address: Address, record: Record) -> Record:
        if self._migrations is None or record.version == self.newest_version:
            return record
        refuse_newer(address, record.version, self.newest_version)
        value = record.value
        for version, migration in self._migrations.items():
            if record.version is None or version > record.version:
                value = await run_migration(address, version, migration, value)
        return replace(record, value=value, version=self.newest_version, stale=True)


def refuse_newer(address: Address, version: Decimal | None, newest: Decimal | None) -> None:
    """Raise SessionVersionError for data of a version that this code does not know."""
    if version is not None and (newest is None or version > newest):
        raise SessionVersionError(
            f"Session {address} has version {version}, but this code knows "
            f"{'no versions' if newest is None else f'none after {newest}'}. "
            "It was left as it is. Run the code that wrote it, or declare a migration to it."
        )


async def run_migration(
    address: Address, version: Decimal, migration: Migration, value: Any
) -> Any:
    try:
        result = migration(value)
        value = await result if inspect.isawaitable(result) else result
    except Exception as exc:
        raise SessionMigrationError(
            f"The migration of session {address} to version {version} raised "
            f"{type(exc).__name__}. The stored data stays as it was."
        ) from exc
    if value is None:
        raise SessionMigrationError(
            f"The migration of session {address} to version {version} returned None. "
            "The stored data stays as it was. Return the migrated data."
        )
    return value


def ordered(migrations: Mapping[Any, Migration]) -> dict[Decimal, Migration]:
    """Return ``migrations`` by exact version, ascending."""
    if not migrations:
        raise ValueError("migrations is empty: leave it out, or give a function per version.")
    exact = [(exact_version(version), migration) for version, migration in migrations.items()]
    versions = [version for version, _ in exact]
    if len(set(versions)) < len(versions):
        raise ValueError(f"Two versions in migrations are equal: {sorted(versions)}.")
    return dict(sorted(exact, key=lambda item: item[0]))


def exact_version(version: Number) -> Decimal:
    """Return the number as it is written: ``10.1`` is exactly 10.1.

    Raises:
        ValueError: not a number, or one with more digits than every database keeps.
    """
    try:
        exact = Decimal(str(version))
        if exact.is_finite() and not isinstance(version, bool):
            whole = exact.quantize(Decimal(1).scaleb(-VERSION_DECIMALS))
            if whole == exact and len(whole.as_tuple().digits) <= VERSION_DIGITS:
                return plain(exact)
    except InvalidOperation:
        pass
    raise ValueError(
        f"A version must be a number with at most {VERSION_DECIMALS} decimals and "
        f"{VERSION_DIGITS - VERSION_DECIMALS} digits before them, not {version!r}."
    )
