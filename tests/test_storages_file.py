"""Sessions in files: names, kills, several processes. The contract is in ``test_storages.py``."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botsessions.exceptions import SessionConflict, SessionStorageError
from botsessions.locks import process_lock
from botsessions.storages import ANY, About, Address, FileStorage, Record
from botsessions.storages import file as module

from .bots.filing import ADDRESS, FILLING
from .commands import ROOT
from .strategies import TEXT

pytestmark = pytest.mark.once

OTHER = Address("pizza", "user", "7")
PROCESSES, INCREMENTS = 4, 25


@pytest.fixture
def storage(tmp_path: Path) -> FileStorage:
    return FileStorage(tmp_path / "bots" / "sessions")


# Names.


@given(*[st.tuples(TEXT, TEXT, TEXT)] * 2)
def test_names_differ_on_every_file_system(
    one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    storage = FileStorage("sessions")
    names = [storage.file(Address(*address)).name for address in (one, other)]
    assert (names[0] == names[1]) == (one == other)
    for name in names:
        assert name.isascii()
        assert name == name.lower()
        assert len(name) < 128
        assert name[0] not in ".-"
        assert not set(name) & set('\\/:*?"<>|\n ')


def test_a_name_shows_the_address() -> None:
    storage = FileStorage("sessions")
    assert storage.file(ADDRESS).name.startswith("pizza_42_")
    assert storage.file(Address("Pizza", "", "-100/пицца")).name.startswith("pizza_-100__")


@pytest.mark.parametrize("key", ["../../etc/passwd", "/etc/passwd", "..", "CON", "a\0b", "k" * 999])
def test_no_key_leads_elsewhere(storage: FileStorage, key: str) -> None:
    address = Address("", "", key)
    asyncio.run(storage.write(address, Record(1)))
    (file,) = storage.path.glob("??/*.json")
    assert file == storage.file(address)
    assert not file.name.startswith("con.")


# Files.


def test_a_file_tells_what_it_is(storage: FileStorage) -> None:
    expires_at = datetime(2100, 1, 2, 3, 4, 5, 678_901, timezone.utc)
    about = About(chat_id=42, title="Pizza 🍕")
    record = Record({"pizza": "🍕"}, Decimal("1.5"), expires_at, about=about)
    revision = asyncio.run(storage.write(OTHER, record))
    assert json.loads(storage.file(OTHER).read_text()) == {
        **OTHER._asdict(),
        "revision": revision,
        "version": "1.5",
        "expires_at": expires_at.isoformat(),
        "about": {"chat_id": 42, "user_id": None, "chat_type": None, "title": "Pizza 🍕"},
        "value": {"pizza": "🍕"},
    }


def test_what_a_write_does_not_know_about_whom_it_is_stays(storage: FileStorage) -> None:
    about = About(chat_id=42)
    asyncio.run(storage.write(ADDRESS, Record(1, about=about)))
    asyncio.run(storage.write(ADDRESS, Record(2, revision=ANY)))
    record = asyncio.run(storage.read(ADDRESS))
    assert record is not None
    assert (record.value, record.about) == (2, about)


def test_only_the_owner_can_look_into_it(storage: FileStorage) -> None:
    asyncio.run(storage.write(ADDRESS, Record(1)))
    file = storage.file(ADDRESS)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (file, file.parent, storage.path)]
    assert modes == [0o600, 0o700, 0o700]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"{}", b'{"bot": 1}', b"\xff", b"[" * 5000 + b"]" * 5000],
)
def test_a12_a_broken_file_is_an_error_and_stays(storage: FileStorage, content: bytes) -> None:
    asyncio.run(storage.write(ADDRESS, Record("secret")))
    file = storage.file(ADDRESS)
    file.write_bytes(content)
    for change in (
        lambda: storage.read(ADDRESS),
        lambda: storage.write(ADDRESS, Record(2, revision=ANY)),
        lambda: storage.delete(ADDRESS, ANY),
    ):
        with pytest.raises(SessionStorageError, match=str(file)):
            asyncio.run(change())
    assert file.read_bytes() == content


def test_a12_the_file_of_another_session_is_an_error(storage: FileStorage) -> None:
    for address in (ADDRESS, OTHER):
        asyncio.run(storage.write(address, Record(1)))
    storage.file(OTHER).replace(storage.file(ADDRESS))
    with pytest.raises(SessionStorageError):
        asyncio.run(storage.read(ADDRESS))


def test_a12_a_path_that_is_no_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    storage = FileStorage(tmp_path / "file")
    with pytest.raises(NotADirectoryError):
        asyncio.run(storage.read(ADDRESS))


def test_a_system_without_locks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "lockable", False)
    with pytest.raises(SessionStorageError, match="flock"):
        FileStorage("sessions")


def test_sweeping_deletes_what_has_expired(storage: FileStorage) -> None:
    now = datetime.now(timezone.utc)
    records = {
        "expired": Record(1, expires_at=now - timedelta(seconds=1)),
        "live": Record(1, expires_at=now + timedelta(days=1)),
        "lasting": Record(1),
    }
    for key, record in records.items():
        asyncio.run(storage.write(Address("pizza", "", key), record))
    assert asyncio.run(storage.sweep()) == 1
    assert asyncio.run(storage.sweep()) == 0
    left = {json.loads(file.read_text())["key"] for file in storage.path.glob("??/*.json")}
    assert left == {"live", "lasting"}


def test_waiting_for_the_disk_holds_up_no_event_loop(storage: FileStorage) -> None:
    async def wait_and_write() -> None:
        await storage.write(ADDRESS, Record(1))
        with module.held(storage.file(ADDRESS).parent):
            write = asyncio.create_task(storage.write(ADDRESS, Record(2, revision=ANY)))
            for _ in range(5):  # Others go on.
                await asyncio.sleep(0.01)
            assert not write.done()
            assert await storage.read(ADDRESS)
        await write

    asyncio.run(wait_and_write())


# Processes.


@pytest.mark.parametrize(
    ("dying", "new"),
    [("open", False), ("fdopen", False), ("fsync", False), ("replace", False), ("close", True)],
)
def test_who_dies_while_writing_leaves_the_old_file_or_the_new(
    storage: FileStorage, dying: str, new: bool
) -> None:
    with filing(storage, dying) as process:
        assert process.stdout is not None
        assert process.stdout.read() == "1\n"
    assert process.returncode == -signal.SIGKILL
    assert stored(storage) in ((2,) if new else (1, 2))
    assert_clean_after_a_write(storage)


def test_a_kill_at_any_moment_loses_nothing_that_was_written(storage: FileStorage) -> None:
    moments = random.Random(42)  # noqa: S311
    for _ in range(5):
        with filing(storage, "never") as process:
            assert process.stdout is not None
            process.stdout.readline()
            deadline = time.monotonic() + moments.uniform(0, 0.15)
            while time.monotonic() < deadline:
                stored(storage)  # Whole also while it is being written.
            process.kill()
            told = process.stdout.read().split()
        assert stored(storage) >= max(map(int, told), default=1)
    assert_clean_after_a_write(storage)


def test_sweeping_goes_on_behind_a_file_that_cannot_be_understood(
    storage: FileStorage, caplog: pytest.LogCaptureFixture
) -> None:
    now = datetime.now(timezone.utc)
    for key in "0123456789":
        asyncio.run(storage.write(Address("pizza", "", key), Record(1, expires_at=now)))
    broken = storage.file(Address("pizza", "", "5"))
    broken.write_text("{")
    assert asyncio.run(storage.sweep()) == 9
    assert list(storage.path.glob("??/*.json")) == [broken]
    assert str(broken) in caplog.text


def test_e12_sweeping_leaves_what_somebody_holds(storage: FileStorage) -> None:
    address = Address("pizza", "", "42")
    asyncio.run(storage.write(address, Record(1, expires_at=datetime.now(timezone.utc))))
    ticket = process_lock().request([address])
    assert asyncio.run(storage.sweep()) == 0
    process_lock().release(ticket)
    assert asyncio.run(storage.sweep()) == 1


def test_sweeping_removes_what_the_dead_have_left(storage: FileStorage) -> None:
    with filing(storage, "fsync") as process:
        process.wait()
    assert leftovers(storage)
    asyncio.run(storage.sweep())
    assert not leftovers(storage)
    assert stored(storage) == 1


def test_no_increment_of_several_processes_is_lost(storage: FileStorage) -> None:
    asyncio.run(storage.write(ADDRESS, Record(0)))
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        list(pool.map(increment, [str(storage.path)] * PROCESSES))
    record = asyncio.run(storage.read(ADDRESS))
    assert record is not None
    assert record.value == PROCESSES * INCREMENTS


def test_a_process_forked_while_a_lock_was_held_does_not_keep_it(storage: FileStorage) -> None:
    asyncio.run(storage.write(ADDRESS, Record(1)))
    receiving, sending = os.pipe()
    with module.held(storage.file(ADDRESS).parent):
        child = os.fork()
        if child == 0:
            os.close(sending)
            os.read(receiving, 1)
            os._exit(0)
    try:
        asyncio.run(storage.write(ADDRESS, Record(2, revision=ANY)))
    finally:
        os.close(sending)
        os.waitpid(child, 0)
        os.close(receiving)


def increment(path: str) -> None:
    asyncio.run(increments(FileStorage(path)))


async def increments(storage: FileStorage) -> None:
    for _ in range(INCREMENTS):
        while True:
            record: Any = await storage.read(ADDRESS)
            try:
                await storage.write(ADDRESS, Record(record.value + 1, revision=record.revision))
            except SessionConflict:
                continue
            break


@contextmanager
def filing(storage: FileStorage, dying: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "tests.bots.filing", str(storage.path), dying],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        with process:
            yield process
    finally:
        process.kill()


def stored(storage: FileStorage) -> int:
    """Return the number in the session, which is there as a whole."""
    record = asyncio.run(storage.read(ADDRESS))
    assert record is not None
    value: Any = record.value
    assert value["filling"] == str(value["n"]) * FILLING
    return int(value["n"])


def leftovers(storage: FileStorage) -> list[Path]:
    return [file for file in storage.path.glob("??/*") if file.suffix != ".json"]


def assert_clean_after_a_write(storage: FileStorage) -> None:
    asyncio.run(storage.write(ADDRESS, Record("new", revision=ANY)))
    assert not leftovers(storage)
