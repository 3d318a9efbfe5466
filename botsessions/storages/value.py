"""Stores that know only "key to JSON"."""

from __future__ import annotations

import hashlib
from copy import deepcopy
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from ..records import Address, Json, Record, Revision, awaited

UNKNOWN_REVISION = 0


class ValueStorage:
    """Base for a storage in three lines: override the three ``…_value`` methods.

    They may be ``async`` or not, and keep and return the very objects that they get.

    Records are packed as grammY packs them: ``{"__d": data, "v": version, "e": expiry in
    milliseconds}``, or the bare data where there is neither version nor expiry
    (``enhanceStorage`` in grammY's ``src/convenience/session.ts``).

    Such a store cannot compare, so the last write wins.
    """

    detects_conflicts = False

    def get_value(self, key: str) -> Any:
        """Return the JSON value stored under ``key``, or ``None``."""
        raise self._missing("get_value")

    def set_value(self, key: str, value: Any) -> Any:
        """Store a JSON value."""
        raise self._missing("set_value")

    def delete_value(self, key: str) -> Any:
        """Delete the value; do nothing if there is none."""
        raise self._missing("delete_value")

    def flat_key(self, address: Address) -> str:
        """Return the store's key for an address: ``bot:name:key``, percent-encoded.

        Override it to read what another bot has written. Different addresses must stay different.
        """
        return ":".join(quote(part, safe="/-") for part in address)

    async def read(self, address: Address) -> Record | None:
        packed = await awaited(self.get_value, self.flat_key(address))
        return None if packed is None else unpack(deepcopy(packed)).live()

    async def write(self, address: Address, record: Record) -> int:
        await awaited(self.set_value, self.flat_key(address), deepcopy(pack(record)))
        return UNKNOWN_REVISION

    async def delete(self, address: Address, revision: Revision) -> None:
        await awaited(self.delete_value, self.flat_key(address))

    def _missing(self, method: str) -> NotImplementedError:
        return NotImplementedError(f"{type(self).__name__} needs a method {method}.")


def shortened(flat_key: str, length: int) -> str:
    """Return a flat key, or a digest in place of one that is longer than that."""
    if len(flat_key) <= length:
        return flat_key
    return hashlib.sha256(flat_key.encode()).hexdigest()[:length]


def pack(record: Record) -> Json:
    # Data that looks packed itself is packed, or it would be unpacked on reading.
    if record.version is None and record.expires_at is None and not looks_packed(record.value):
        return record.value
    packed: dict[str, Json] = {"__d": record.value}
    if record.version is not None:
        packed["v"] = json_number(record.version)
    if record.expires_at is not None:
        packed["e"] = round(record.expires_at.timestamp() * 1000)
    return packed


def unpack(packed: Any) -> Record:
    if not looks_packed(packed):
        return Record(packed, revision=UNKNOWN_REVISION)
    version, expires = packed.get("v"), packed.get("e")
    return Record(
        packed["__d"],
        None if version is None else Decimal(str(version)),
        None if expires is None else datetime.fromtimestamp(expires / 1000, timezone.utc),
        UNKNOWN_REVISION,
    )


def looks_packed(value: Any) -> bool:
    return isinstance(value, dict) and "__d" in value


def json_number(number: Decimal) -> int | float:
    return int(number) if number == int(number) else float(number)
