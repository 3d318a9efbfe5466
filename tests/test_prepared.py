"""Statements that PostgreSQL prepares for the threads of storages."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest import IsolatedAsyncioTestCase, mock

import pytest
from django.db import DEFAULT_DB_ALIAS, connection, connections

from botsessions.database.connections import close_databases, thread_of
from botsessions.storages import DatabaseStorage, Record, prepared

from .test_storages import ADDRESS

PREPARED = "SELECT statement FROM pg_prepared_statements"
TIMES = prepared.AFTER + 2


def execute(sql: str) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
    finally:
        connection.close()


@pytest.mark.django_db(transaction=True)
class PreparedStatements(IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        if connection.vendor != "postgresql":
            self.skipTest(f"Nothing is prepared on {connection.vendor}.")
        self.addCleanup(close_databases)
        self.storage = DatabaseStorage()

    async def test_what_is_done_again_and_again_is_prepared(self) -> None:
        await self.write_and_read()
        verbs = {statement.split()[0] for statement in await self.prepared()}
        assert verbs == {"INSERT", "SELECT", "UPDATE"}

    async def test_nothing_is_where_a_pooler_answers_for_the_server(self) -> None:
        with mock.patch.object(prepared, "is_direct", return_value=False):
            await self.write_and_read()
            assert await self.prepared() == []

    async def test_nothing_is_where_the_settings_say_that_there_is_a_pooler(self) -> None:
        says_so = {"DISABLE_SERVER_SIDE_CURSORS": True}
        with mock.patch.dict(connections.settings[DEFAULT_DB_ALIAS], says_so):
            await self.write_and_read()
            assert await self.prepared() == []

    async def test_a_column_that_changes_its_type_fails_nothing(self) -> None:
        await self.write_and_read()
        await self.alter("text")
        try:
            await self.write_and_read()
        finally:
            await self.alter("numeric(15, 6) USING version::numeric")

    async def write_and_read(self) -> None:
        await self.storage.delete(ADDRESS, (await self.revision()))
        revision = await self.storage.write(ADDRESS, Record({"count": 0}))
        for count in range(TIMES):
            changed = Record({"count": count}, revision=revision)
            revision = await self.storage.write(ADDRESS, changed)
            assert (await self.storage.read(ADDRESS)) is not None

    async def revision(self) -> Any:
        record = await self.storage.read(ADDRESS)
        return record.revision if record else None

    async def prepared(self) -> list[str]:
        return [statement for (statement,) in await self.query(PREPARED)]

    async def alter(self, to: str) -> None:
        """Do as a migration would, on another connection."""
        sql = f"ALTER TABLE botsessions_botsession ALTER COLUMN version TYPE {to}"
        await asyncio.to_thread(execute, sql)

    async def query(self, sql: str) -> Any:
        """Ask on the storage's own connection."""

        def ask(again: bool) -> Any:
            with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall() if cursor.description else None

        return await thread_of(DEFAULT_DB_ALIAS).run(ask)
