"""Sessions in files."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from msgspec.structs import asdict, replace

from ..arguments import check_text, telling_usage
from ..exceptions import SessionStorageError
from ..locks import process_lock
from ..records import (
    ANY,
    About,
    Address,
    Record,
    Revision,
    conflict,
    dumps,
    loads,
    new_revision,
)
from .loops import unblocked
from .shards import clear, held, lockable, make_directory, remove_file, replace_file

logger = logging.getLogger(__name__)

NOT_IN_NAMES = re.compile("[^A-Za-z0-9-]+")
READABLE_LENGTH, DIGEST_LENGTH = 60, 40


class FileStorage:
    """Keeps a file per session, below a directory that is made when it is needed.

    A file is replaced as a whole and has reached the disk when a write returns. Changes are
    compared and made under a lock that all threads and processes of one machine respect; do not
    share the directory between machines. Only their owner can read the files.

    Raises:
        SessionStorageError: this system has no such locks (Windows).
    """

    detects_conflicts = True

    @telling_usage
    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not isinstance(path, os.PathLike):
            check_text("path", path, "the name of a directory")
        if not lockable:
            raise SessionStorageError(
                "FileStorage needs flock(), which this system does not have. Use DatabaseStorage "
                "with SQLite."
            )
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"FileStorage({str(self.path)!r})"

    async def read(self, address: Address) -> Record | None:
        stored = await unblocked(read, self.file(address), address)
        return stored and stored.live()

    async def write(self, address: Address, record: Record) -> int:
        return await unblocked(self._write, address, record)

    async def delete(self, address: Address, revision: Revision) -> None:
        await unblocked(self._delete, address, revision)

    async def sweep(self) -> int:
        """Delete the files of expired sessions, and return how many those were.

        Sessions whose keys somebody holds in this process are left.
        """
        return await unblocked(self._sweep)

    def file(self, address: Address) -> Path:
        """Return where a session is stored.

        The name is one on every file system: short, in lower-case ASCII. It shows the address as
        far as that goes; the digest tells addresses apart.
        """
        digest = hashlib.sha256(json.dumps(address).encode()).hexdigest()[:DIGEST_LENGTH]
        readable = NOT_IN_NAMES.sub("_", "_".join(filter(None, address))).lower().lstrip("-")
        return self.path / digest[:2] / f"{readable[:READABLE_LENGTH]}_{digest}.json"

    def _write(self, address: Address, record: Record) -> int:
        file, revision = self.file(address), new_revision()
        make_directory(file.parent)
        with held(file.parent) as shard:
            stored = read(file, address)
            compare(address, stored, record.revision)
            if record.about is None and stored is not None:
                record = replace(record, about=stored.about)
            replace_file(file, encoded(address, replace(record, revision=revision)), shard)
        return revision

    def _delete(self, address: Address, revision: Revision) -> None:
        file = self.file(address)
        with suppress(FileNotFoundError), held(file.parent) as shard:
            stored = read(file, address)
            if stored is not None:
                compare(address, stored, revision)
                remove_file(file, shard)

    def _sweep(self) -> int:
        return sum(sweep_shard(shard) for shard in self.path.glob("??") if shard.is_dir())


def read(file: Path, address: Address) -> Record | None:
    """Return the record in ``file``, expired or not.

    Raises:
        SessionStorageError: it holds something else than a record of that address.
    """
    found = content_of(file)
    if found is None:
        return None
    if found[0] != address:
        raise unreadable(file)
    return found[1]


def content_of(file: Path) -> tuple[Address, Record] | None:
    """Return the address and the record in ``file``, expired or not.

    Raises:
        SessionStorageError: it holds something else.
    """
    try:
        return decoded(loads(file.read_text("utf-8")))
    except FileNotFoundError:
        return None
    except (ArithmeticError, KeyError, TypeError, ValueError) as exc:
        raise unreadable(file) from exc


def encoded(address: Address, record: Record) -> bytes:
    content = {
        **address._asdict(),
        "revision": record.revision,
        "version": record.version if record.version is None else str(record.version),
        "expires_at": record.expires_at and record.expires_at.isoformat(),
        "about": record.about and asdict(record.about),
        "value": record.value,
    }
    return (dumps(content) + "\n").encode()


def decoded(content: Any) -> tuple[Address, Record]:
    version, expires_at, about = content["version"], content["expires_at"], content["about"]
    return Address(content["bot"], content["name"], content["key"]), Record(
        content["value"],
        None if version is None else Decimal(version),
        None if expires_at is None else datetime.fromisoformat(expires_at),
        content["revision"],
        None if about is None else About(**about),
    )


def unreadable(file: Path) -> SessionStorageError:
    return SessionStorageError(
        f"The file {file} does not hold the session that it is named after. Restore or delete it."
    )


def compare(address: Address, stored: Record | None, revision: Revision) -> None:
    found = stored.revision if stored else None
    if revision is not ANY and revision != found:
        raise conflict(address)


def sweep_shard(shard: Path) -> int:
    count = 0
    for file in shard.glob("*.json"):
        if is_to_go(file):
            with held(shard) as descriptor:
                if is_to_go(file):  # Nobody has renewed it meanwhile.
                    remove_file(file, descriptor)
                    count += 1
    clear(shard)
    return count


def is_to_go(file: Path) -> bool:
    """Whether a session has expired, and nobody in this process holds it.

    One that cannot be understood stays, and keeps nobody from sweeping the others.
    """
    try:
        found = content_of(file)
    except SessionStorageError as exc:
        logger.error("%s", exc)
        return False
    if found is None:
        return False
    address, record = found
    return record.live() is not record and address not in process_lock().wanted
