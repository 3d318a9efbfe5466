"""What an event loop's own connection does for a whole bot, and what it leaves to the thread."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import IsolatedAsyncioTestCase, mock

import pytest
from django.db import DataError, connection, connections

from botsessions import session
from botsessions.database import options
from botsessions.database.connections import close_databases
from botsessions.database.sessions_table import Table
from botsessions.database.statements import Statement, one
from botsessions.exceptions import SessionConflict
from botsessions.storages import Address, DatabaseStorage, Record

from .harness import left_to_collect
from .locked import LOCKS, bot_with, count, counting
from .test_database_connections import noted_jobs, own_connections, set_to

ADDRESS = Address("pizza", "", "42")


def alter(to: str) -> None:
    """Give a column another type, on another connection, as a migration would."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE botsessions_botsession ALTER COLUMN version TYPE {to}")
    finally:
        connections.close_all()


@contextmanager
def one_that_fails(requests: int) -> Iterator[None]:
    """Have the server refuse what is read with the so-many-th request."""
    read, seen = Table.reading, []

    def reading(table: Table, addresses: Any) -> Any:
        seen.append(addresses)
        if len(seen) == requests:
            yield from one(Statement("SELECT CAST(%s AS numeric)", ["no number"], recurs=False))
        return (yield from read(table, addresses))

    with mock.patch.object(Table, "reading", reading):
        yield


@pytest.mark.django_db(transaction=True)
class OwnConnections(IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        if connection.vendor != "postgresql":
            self.skipTest(f"The event loop does not wait for {connection.vendor}.")
        self.addCleanup(close_databases)
        self.storage = DatabaseStorage()

    async def test_a_bot_with_either_lock_does_without_the_thread(self) -> None:
        for lock in LOCKS:
            with self.subTest(lock=lock):
                maria = bot_with(lock, session(initial=counting), count).user(id=7)
                await maria.send("x")
                with noted_jobs() as jobs, left_to_collect() as left:
                    for _ in range(3):
                        await maria.send("x")
                assert jobs == left == []

    async def test_an_error_is_told_and_the_connection_goes_on(self) -> None:
        revision = await self.write({"count": 0}, None)
        with own_connections() as opened:
            with one_that_fails(1), pytest.raises(DataError):
                await self.read()
            with pytest.raises(SessionConflict):
                await self.write({"count": 1}, 1)
            await self.write({"count": 1}, revision)
            assert (await self.read()).value == {"count": 1}
        assert opened == []

    async def test_where_a_pooler_answers_for_the_server_there_is_none(self) -> None:
        with mock.patch.object(options, "is_shared", return_value=True):
            await self.none_is_opened()

    async def test_nor_where_the_settings_say_that_there_is_a_pooler(self) -> None:
        with set_to(DISABLE_SERVER_SIDE_CURSORS=True):
            await self.none_is_opened()

    async def test_nor_where_they_say_how_to_prepare(self) -> None:
        with set_to(OPTIONS={"prepare_threshold": None}):
            await self.none_is_opened()

    async def test_a_column_that_changes_its_type_fails_nothing(self) -> None:
        revision = await self.write({"count": 0}, None)
        for to in "text", "numeric(15, 6) USING version::numeric":
            revision = await self.write({"count": 1}, revision)
            await self.read()
            await asyncio.to_thread(alter, to)
            revision = await self.write({"count": 2}, revision)
            assert (await self.read()).value == {"count": 2}

    async def none_is_opened(self) -> None:
        with own_connections() as opened, noted_jobs() as jobs:
            revision = await self.write({"count": 0}, None)
            await self.write({"count": 1}, revision)
            assert (await self.read()).value == {"count": 1}
        assert opened == []
        assert len(jobs) == 3

    async def write(self, value: Any, revision: Any) -> int:
        return await self.storage.write(ADDRESS, Record(value, revision=revision))

    async def read(self) -> Any:
        return await self.storage.read(ADDRESS)
