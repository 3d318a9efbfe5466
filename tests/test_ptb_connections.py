"""A bot's connections: what handlers open, and what a cut or a crowd of updates leaves behind."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest import IsolatedAsyncioTestCase, mock

import pytest
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.db import connection, connections
from django.test import override_settings

from botsessions import session
from botsessions.database import postgresql, thread
from botsessions.database.connections import close_databases
from botsessions.models import BotSession
from botsessions.ptb import connections as djangos

from .harness import client
from .test_database_connections import BACKENDS, kill, query, set_to


@pytest.mark.django_db(transaction=True)
class OfHandlers(IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        self.addCleanup(close_databases)

    async def asyncTearDown(self) -> None:
        await sync_to_async(connections.close_all)()

    async def test_a_bot_whose_handlers_do_not_use_the_orm_pays_nothing(self) -> None:
        await sync_to_async(connections.close_all)()
        await sync_to_async(djangos.tidy)()  # Which finds none that is open.
        with mock.patch.object(djangos, "tidy", side_effect=AssertionError):
            maria = client(session(initial=dict), count).user()
            assert (await maria.send("x")).errors == []

    async def test_what_others_open_elsewhere_costs_one_look(self) -> None:
        maria = client(session(initial=dict), count).user()
        await sync_to_async(connections.close_all)()
        async with ThreadSensitiveContext():  # As each request to a site has one.
            await ask_orm(None, None)
            await sync_to_async(connections.close_all)()
        with mock.patch.object(djangos, "tidy", side_effect=djangos.tidy) as tidy:
            for _ in range(3):
                assert (await maria.send("x")).errors == []
        assert tidy.call_count == 1

    async def test_a_connection_that_was_cut_fails_one_update_at_most(self) -> None:
        if connection.vendor not in BACKENDS:
            self.skipTest(f"{connection.vendor} has no connections that could be cut.")
        maria = client(session(initial=dict), ask_orm).user()
        await maria.send("x")
        backend = await sync_to_async(query)(BACKENDS[connection.vendor][0])
        await asyncio.to_thread(kill, backend)
        await maria.send("x")
        for _ in range(3):
            assert (await maria.send("x")).errors == []

    async def test_with_health_checks_a_cut_connection_fails_no_update(self) -> None:
        if connection.vendor not in BACKENDS:
            self.skipTest(f"{connection.vendor} has no connections that could be cut.")
        with set_to(CONN_MAX_AGE=None, CONN_HEALTH_CHECKS=True):
            await sync_to_async(connections.close_all)()
            maria = client(session(initial=dict), ask_orm).user()
            await maria.send("x")
            backend = await sync_to_async(query)(BACKENDS[connection.vendor][0])
            await asyncio.to_thread(kill, backend)
            await maria.send("x")
            for _ in range(3):
                assert (await maria.send("x")).errors == []

    async def test_g4_debug_keeps_no_queries(self) -> None:
        with override_settings(DEBUG=True):
            maria = client(session(initial=dict), ask_orm).user()
            for _ in range(3):
                await maria.send("x")
            assert await sync_to_async(lambda: connections["default"].queries)() == []


@pytest.mark.django_db(transaction=True)
class OfSessions(IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        self.addCleanup(close_databases)

    # A busy machine may leave a connection without work for long.
    @mock.patch.object(thread, "IDLE_SECONDS", 60)
    @mock.patch.object(postgresql, "TICK_SECONDS", 60)
    async def test_many_updates_side_by_side_need_one_connection(self) -> None:
        opened = []
        bot = client(session(initial=lambda: {"count": 0}), count)
        await bot.user().send("x")

        def note(**kwargs: Any) -> None:
            opened.append(kwargs["connection"])

        from django.db.backends.signals import connection_created  # noqa: PLC0415

        connection_created.connect(note)
        try:
            people = [bot.user() for _ in range(50)]
            answers = await asyncio.gather(*(person.send("x") for person in people * 4))
        finally:
            connection_created.disconnect(note)
        assert [error for answer in answers for error in answer.errors] == []
        assert opened == []
        counts = await asyncio.to_thread(all_counts)
        assert sum(counts) == 201

    async def test_sessions_survive_a_connection_that_is_cut_again_and_again(self) -> None:
        if connection.vendor not in BACKENDS:
            self.skipTest(f"{connection.vendor} has no connections that could be cut.")
        bot = client(session(initial=lambda: {"count": 0}), count)
        people = [bot.user() for _ in range(5)]
        self.addCleanup(connections.close_all)  # Those of the test itself are cut, too.
        await people[0].send("x")
        stop = asyncio.Event()

        async def cut() -> None:
            while not stop.is_set():
                await asyncio.to_thread(kill_others)
                await asyncio.sleep(0.1)  # On a busy machine it takes long to connect.

        cutter = asyncio.ensure_future(cut())
        errors = []
        for _ in range(20):
            answers = await asyncio.gather(*(person.send("x") for person in people))
            errors += [error for answer in answers for error in answer.errors]
        stop.set()
        await cutter
        assert errors == []
        assert sum(await asyncio.to_thread(all_counts)) == 101


async def count(update: Any, context: Any) -> None:
    context.session["count"] = context.session.get("count", 0) + 1


async def ask_orm(update: Any, context: Any) -> None:
    await BotSession.objects.acount()


def all_counts() -> list[int]:
    try:
        return [data["count"] for data in BotSession.objects.values_list("data", flat=True)]
    finally:
        connections.close_all()


def kill_others() -> None:
    """Have the database cut all connections to it but the one that tells it so."""
    try:
        with connections["default"].cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            else:
                cursor.execute(
                    "SELECT id FROM information_schema.processlist "
                    "WHERE db = DATABASE() AND id <> CONNECTION_ID()"
                )
                for (process,) in cursor.fetchall():
                    cursor.execute("KILL %s", [process])
    finally:
        connections.close_all()
