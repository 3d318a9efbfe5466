"""Directories whose files are replaced as a whole, by one thread of one process at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # On Windows.
    fcntl = None  # type: ignore[assignment]

TEMPORARY = "new.tmp"
"""What is being written. There is no more than one in a shard: only who holds it writes."""

lockable = fcntl is not None


@contextmanager
def held(shard: Path) -> Iterator[int]:
    """Have a directory for oneself, among all threads and processes of this machine."""
    with opened(shard) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            yield descriptor
        finally:
            # To close it is not enough: a process that was forked meanwhile has it open, too.
            fcntl.flock(descriptor, fcntl.LOCK_UN)


def replace_file(file: Path, content: bytes, shard: int) -> None:
    """Write a file of a held shard so that after a crash it is the old one or the new one."""
    temporary = file.with_name(TEMPORARY)
    temporary.unlink(missing_ok=True)  # Of who died while writing it.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as opened_file:
        opened_file.write(content)
        opened_file.flush()
        os.fsync(descriptor)
    temporary.replace(file)
    os.fsync(shard)


def remove_file(file: Path, shard: int) -> None:
    """Delete a file of a held shard."""
    file.unlink()
    os.fsync(shard)


def clear(shard: Path) -> None:
    """Remove what somebody left who died while writing."""
    with held(shard):
        (shard / TEMPORARY).unlink(missing_ok=True)


def make_directory(directory: Path) -> None:
    """Make a directory that only its owner can look into, and those above it."""
    if directory.is_dir():
        return
    make_directory(directory.parent)
    directory.mkdir(0o700, exist_ok=True)
    with opened(directory.parent) as descriptor:
        os.fsync(descriptor)


@contextmanager
def opened(directory: Path) -> Iterator[int]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
