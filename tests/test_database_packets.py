"""Sessions that are too large for MariaDB's and MySQL's ``max_allowed_packet``."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from unittest import mock

import pytest
from django.core.checks import run_checks
from django.db import OperationalError, connection

from botsessions import session
from botsessions.database.connections import close_databases
from botsessions.database.packets import longest_packet, needed_packet
from botsessions.database.storage import DatabaseStorage
from botsessions.exceptions import SessionStorageError
from botsessions.records import Address, Record
from project.settings import DATABASE

from .test_database_faults import kill_all_others

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(DATABASE != "mariadb", reason="MariaDB and MySQL only"),
]

MARIA = Address("default", "", "5")
TOM = Address("default", "", "6")
MIB = 1024 * 1024
notes = session(initial=dict, storage=DatabaseStorage())


@pytest.fixture(autouse=True)
def large(settings: Any) -> Any:
    settings.BOTSESSIONS = {
        **settings.BOTSESSIONS,
        "MAX_BYTES": 1024 * MIB,
        "BOTS": {"default": {"SESSION": notes, "APPLICATION": print}},
    }
    yield
    close_databases()


@pytest.fixture
def most(large: Any) -> int:
    """What the server takes."""
    found = longest_packet(connection)
    if found > 64 * MIB:
        pytest.skip("The server takes more than a test should send.")
    return found


def test_a_session_that_the_server_does_not_take_is_an_error_at_once(most: int) -> None:
    async def write() -> list[Any]:
        storage = DatabaseStorage()
        large = Record('"' * ((most + MIB) // 4))  # Each is four bytes there.
        return await asyncio.gather(
            storage.write(MARIA, large), storage.write(TOM, Record(1)), return_exceptions=True
        )

    began = time.monotonic()
    error, revision = asyncio.run(write())
    assert isinstance(error, SessionStorageError)
    assert f"session {MARIA}" in str(error)
    assert f"the database takes {most}. Nothing was written. Set the server" in str(error)
    assert isinstance(revision, int)
    assert time.monotonic() - began < 20


def test_so_it_is_from_outside(most: int) -> None:
    with (
        pytest.raises(SessionStorageError, match=f"the database takes {most}"),
        notes.edit(chat=5, bot="default") as data,
    ):
        data["text"] = "x" * (most + MIB)
    with notes.edit(chat=5, bot="default") as data:
        assert data == {}


def test_a_large_one_whose_connection_was_cut_is_written(most: int) -> None:
    async def write() -> None:
        storage = DatabaseStorage()
        await storage.read(MARIA)  # Connects.
        await asyncio.to_thread(kill_all_others)
        await storage.write(MARIA, Record("x" * (most // 2)))

    asyncio.run(write())
    connection.close()  # It was cut, too.
    assert asyncio.run(DatabaseStorage().read(MARIA)) is not None


def test_a_server_that_cannot_be_asked_is_waited_for(most: int, settings: Any) -> None:
    settings.BOTSESSIONS = {**settings.BOTSESSIONS, "RETRY_SECONDS": 1}
    away = mock.patch(
        "botsessions.database.packets.longest_packet", side_effect=OperationalError(2002, "Away")
    )
    began = time.monotonic()
    with away as asked, pytest.raises(OperationalError):
        asyncio.run(DatabaseStorage().write(MARIA, Record("x" * (most + MIB))))
    assert asked.call_count > 1
    assert time.monotonic() - began > 1


def test_the_check_says_what_to_set(settings: Any) -> None:
    (found,) = told("default")
    assert found.id == "botsessions.W008"
    assert "MAX_BYTES" in found.msg
    assert str(needed_packet()) in str(found.hint)
    assert told() == []
    settings.BOTSESSIONS = {**settings.BOTSESSIONS, "MAX_BYTES": "3 MB"}  # Another check tells.
    assert told("default") == []
    settings.BOTSESSIONS = {**settings.BOTSESSIONS, "MAX_BYTES": MIB}
    assert told("default") == []
    settings.BOTSESSIONS = {**settings.BOTSESSIONS, "MAX_BYTES": 1024 * MIB, "BOTS": {}}
    assert told("default") == []


def told(*databases: str) -> list[Any]:
    return [m for m in run_checks(databases=databases) if m.id == "botsessions.W008"]
