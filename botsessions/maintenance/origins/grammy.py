"""grammY's sessions: files, a table in PostgreSQL, its free storage."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import Any

from ...exceptions import SessionStorageError
from ...records import loads
from ...storages import FreeStorage
from ...storages.value import unpack
from ..batches import Failure
from .found import NO_JSON, Found, OriginError, Place
from .sql import ForeignTable

AT_ONCE = 20
"""Requests to a server of the free storage."""


@dataclass(frozen=True)
class Keys:
    """How grammY's keys become ours.

    Args:
        prefix: what the keys begin with, as a session's ``prefix`` says; others are left out.
    """

    place: Place
    prefix: str = ""

    def found_text(
        self, where: str, key: str, text: str | None, changed_at: datetime | None = None
    ) -> Iterator[Found | Failure]:
        """Yield the session whose JSON is stored under ``key``, if it has the prefix."""
        try:
            value = None if text is None else loads(text)
        except ValueError:
            yield Failure(where, NO_JSON)
        else:
            yield from self.found(where, key, value, changed_at)

    def found(
        self, where: str, key: str, value: Any, changed_at: datetime | None = None
    ) -> Iterator[Found | Failure]:
        if not key.startswith(self.prefix):
            return
        try:
            record = unpack(value)
        except (ArithmeticError, TypeError, ValueError):
            yield Failure(where, "Its version or expiry is none that grammY writes.")
            return
        yield Found(
            where,
            self.place,
            record.value,
            key.removeprefix(self.prefix),
            version=record.version,
            expires_at=record.expires_at,
            changed_at=changed_at,
        )


class GrammyFiles:
    """The directory of ``@grammyjs/storage-file``: ``sessions/42/chat42.json``.

    A session lies below the last two characters of its key.

    Raises:
        OriginError: it is no directory.
    """

    def __init__(self, path: str, keys: Keys) -> None:
        self._path, self._keys = Path(path), keys
        if not self._path.is_dir():
            raise OriginError(f"{path} is no directory.")

    def __str__(self) -> str:
        return str(self._path)

    def count(self) -> int:
        return sum(1 for _ in self._files())

    def __iter__(self) -> Iterator[Found | Failure]:
        for file in self._files():
            shard, *parts = file.relative_to(self._path).with_suffix("").parts
            key, where = "/".join(parts), f"in {file}"
            if key[-2:] != shard:
                yield Failure(where, "It does not lie where grammY's file storage puts a session.")
                continue
            try:
                changed_at = datetime.fromtimestamp(file.stat().st_mtime, timezone.utc)
                text = file.read_text("utf-8")
            except OSError as exc:
                yield Failure(where, f"It cannot be read: {exc.strerror}.")
            except ValueError:
                yield Failure(where, "It is no text.")
            else:
                yield from self._keys.found_text(where, key, text, changed_at)

    def left_out(self) -> list[str]:
        return []

    def _files(self) -> Iterator[Path]:
        for directory, _, names in os.walk(self._path):
            for name in names:
                if name.endswith(".json"):
                    yield Path(directory, name)


class GrammyTable:
    """A table with ``key`` and ``value``, as ``@grammyjs/storage-psql`` makes it.

    Raises:
        OriginError: there is no such table.
    """

    def __init__(self, name: str, using: str, keys: Keys) -> None:
        self._name, self._keys = name, keys
        self._table = ForeignTable(using, name, ["key", "value"])

    def __str__(self) -> str:
        return self._name

    def count(self) -> int:
        return self._table.count()

    def __iter__(self) -> Iterator[Found | Failure]:
        for key, text in self._table:
            yield from self._keys.found_text(f"under the key {key!r}", key, text)

    def left_out(self) -> list[str]:
        return []


class GrammyFree:
    """What a server of the free storage keeps for a bot.

    Raises:
        OriginError: it does not say which sessions it keeps.
    """

    def __init__(self, storage: FreeStorage, keys: Keys) -> None:
        self._storage, self._keys = storage, keys
        try:
            with self._loop() as run:
                self._stored: Sequence[str] = run(storage.keys())
        except SessionStorageError as exc:
            raise OriginError(str(exc)) from exc

    def __str__(self) -> str:
        return repr(self._storage)

    def count(self) -> int:
        return len(self._stored)

    def __iter__(self) -> Iterator[Found | Failure]:
        keys = iter(self._stored)
        with self._loop() as run:
            while page := list(islice(keys, AT_ONCE)):
                for key, value in zip(page, run(self._values(page)), strict=True):
                    where = f"under the key {key!r}"
                    if isinstance(value, SessionStorageError):
                        yield Failure(where, str(value))
                    else:
                        yield from self._keys.found(where, key, value)

    def left_out(self) -> list[str]:
        return []

    @contextmanager
    def _loop(self) -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
        """Yield what runs coroutines that share their connections."""
        with closing(asyncio.new_event_loop()) as loop:
            try:
                yield loop.run_until_complete
            finally:
                loop.run_until_complete(self._storage.close())

    async def _values(self, keys: Sequence[str]) -> list[Any]:
        """Return what is stored under ``keys``, or why that cannot be read.

        Raises:
            SessionStorageError: nothing of it can be: it is the server's fault.
        """
        reading = map(self._storage.get_value, keys)
        values = await asyncio.gather(*reading, return_exceptions=True)
        for value in values:
            if isinstance(value, BaseException) and not isinstance(value, SessionStorageError):
                raise value
        if len(values) > 1 and all(isinstance(value, SessionStorageError) for value in values):
            raise values[0]
        return values
