"""From older shapes of stored data to the newest."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

from msgspec.structs import replace

from ..arguments import check_function, wrong
from ..exceptions import SessionMigrationError, SessionVersionError
from ..records import Address, Record, plain

Number: TypeAlias = "int | float | Decimal"
Migration: TypeAlias = "Callable[[Any], Any]"

MIGRATION = "a function from older data to newer data"
VERSION_DIGITS = 15
VERSION_DECIMALS = 6


class Migrations:
    """Functions by version, each from the data of an older version to its own.

    Raises:
        TypeError: they are no dict of functions.
        ValueError: there are none, or two are of the same version.
    """

    def __init__(self, migrations: Mapping[Any, Migration]) -> None:
        self._by_version = ordered(migrations)
        self.newest_version = next(reversed(self._by_version))

    async def applied(self, address: Address, record: Record) -> Record:
        """Return ``record`` with its data brought to the newest version.

        Raises:
            SessionVersionError: it has a newer one.
            SessionMigrationError: a function failed.
        """
        if record.version == self.newest_version:
            return record
        refuse_newer(address, record.version, self.newest_version)
        value = record.value
        for version, migration in self._by_version.items():
            if record.version is None or version > record.version:
                value = await run(migration, value, address, version)
        return replace(record, value=value, version=self.newest_version, stale=True)


def refuse_newer(address: Address, version: Decimal | None, newest: Decimal | None) -> None:
    """Raise SessionVersionError for data of a version that this code does not know."""
    if version is not None and (newest is None or version > newest):
        raise SessionVersionError(
            f"Session {address} has version {version}, but this code knows "
            f"{'no versions' if newest is None else f'none after {newest}'}. "
            "It was left as it is. Run the code that wrote it, or declare a migration to it."
        )


async def run(migration: Migration, value: Any, address: Address, version: Decimal) -> Any:
    try:
        result = migration(value)
        value = await result if inspect.isawaitable(result) else result
    except Exception as exc:
        raise failure(address, version, f"raised {type(exc).__name__}") from exc
    if value is None:
        raise failure(address, version, "returned None instead of the data")
    return value


def failure(address: Address, version: Decimal, problem: str) -> SessionMigrationError:
    return SessionMigrationError(
        f"The migration of session {address} to version {version} {problem}. "
        "The stored data stays as it was.",
        version=version,
        problem=problem,
    )


def ordered(migrations: Mapping[Any, Migration]) -> dict[Decimal, Migration]:
    """Return ``migrations`` by exact version, ascending."""
    if not isinstance(migrations, Mapping):
        wrong("migrations", migrations, "a dict of functions by version, like {1: add_pets}")
    if not migrations:
        raise ValueError("migrations is empty: leave it out, or give a function per version.")
    exact = [(exact_version(version), migration) for version, migration in migrations.items()]
    for version, migration in exact:
        check_function(f"The migration to version {version}", migration, MIGRATION, "data")
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
