"""Database work off the event loop."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any
from unittest import IsolatedAsyncioTestCase, mock

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.test import TestCase, TransactionTestCase, override_settings
from django.utils.connection import ConnectionDoesNotExist

from botsessions.database.connections import (
    DatabaseThread,
    close_databases,
    sync_code_waits,
    thread_of,
)
from botsessions.models import BotSession
from botsessions.storages import Address, DatabaseStorage, Record, threads

BACKENDS = {
    "postgresql": ("SELECT pg_backend_pid()", "SELECT pg_terminate_backend(%s)"),
    "mysql": ("SELECT CONNECTION_ID()", "KILL %s"),
}
"""How to ask which of the database's processes serves a connection, and how to end that."""


def query(sql: str = "SELECT 1") -> Any:
    """Ask the database something and return the answer."""
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def get_ident(again: bool) -> int:
    return threading.get_ident()


async def run(using: str, function: Callable[[], Any]) -> Any:
    return await thread_of(using).run(lambda again: function())


def connected() -> Any:
    """Return this thread's connection, which is open."""
    query()
    return connections[DEFAULT_DB_ALIAS]


def kill(backend: int) -> None:
    try:
        with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
            cursor.execute(BACKENDS[connection.vendor][1], [backend])
    finally:
        connections.close_all()


def keeping_connections() -> Any:
    return mock.patch.dict(connections.settings[DEFAULT_DB_ALIAS], CONN_MAX_AGE=None)


def idle_after(seconds: float) -> Any:
    return mock.patch.object(threads, "IDLE_SECONDS", seconds)


@pytest.mark.django_db(transaction=True)
class DatabaseThreads(IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        self.addCleanup(close_databases)

    async def work(self, function: Any = query) -> Any:
        return await run(DEFAULT_DB_ALIAS, function)

    async def test_work_is_done_off_the_event_loop(self) -> None:
        started, finish = threading.Event(), threading.Event()

        def slow() -> str:
            started.set()
            assert finish.wait(5)
            return threading.current_thread().name

        work = asyncio.create_task(self.work(slow))
        await asyncio.to_thread(started.wait)
        finish.set()
        assert await work == "botsessions-default"

    async def test_all_work_for_a_database_has_one_thread_and_one_connection(self) -> None:
        idents = {await self.work(threading.get_ident) for _ in range(3)}
        opened = {(await self.work(connected)).connection for _ in range(3)}
        assert (len(idents), len(opened)) == (1, 1)
        assert idents != {threading.get_ident()}

    async def test_work_is_done_in_the_order_in_which_it_came(self) -> None:
        done: list[int] = []
        await asyncio.gather(*(self.work(lambda n=n: done.append(n)) for n in range(50)))
        assert done == list(range(50))

    async def test_each_database_has_a_thread_of_its_own(self) -> None:
        ident = threading.get_ident
        assert await run(DEFAULT_DB_ALIAS, ident) != await run("another", ident)

    async def test_an_unknown_database_is_an_error_for_who_asks(self) -> None:
        with pytest.raises(ConnectionDoesNotExist):
            await asyncio.wait_for(run("unknown", lambda: connections["unknown"].cursor()), 5)

    async def test_results_and_errors_come_back(self) -> None:
        class Unexpected(BaseException):
            pass

        def fail(error: BaseException) -> None:
            raise error

        assert await self.work(lambda: 42) == 42
        for error in (ValueError("no"), Unexpected("no"), SystemExit(1)):
            with pytest.raises(type(error)) as caught:
                await self.work(lambda error=error: fail(error))
            assert caught.value is error
            assert await self.work(lambda: 42) == 42

    async def test_work_is_done_to_its_end_when_its_caller_is_cancelled(self) -> None:
        started, done = threading.Event(), []

        def slow() -> None:
            started.set()
            time.sleep(0.05)
            done.append(True)

        work = asyncio.create_task(self.work(slow))
        await asyncio.to_thread(started.wait)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        await self.work()
        assert done == [True]

    def test_several_event_loops_share_a_thread(self) -> None:
        assert len({asyncio.run(self.work(threading.get_ident)) for _ in range(3)}) == 1

    def test_a_loop_that_was_closed_meanwhile_does_not_end_the_thread(self) -> None:
        started, finish = threading.Event(), threading.Event()

        def slow() -> None:
            started.set()
            assert finish.wait(5)

        async def leave() -> None:
            work = asyncio.ensure_future(self.work(slow))
            await asyncio.to_thread(started.wait)
            work.cancel()

        ident = asyncio.run(self.work(threading.get_ident))
        asyncio.run(leave())
        finish.set()
        assert asyncio.run(self.work(threading.get_ident)) == ident

    async def test_closing_ends_the_connection_and_the_next_work_begins_anew(self) -> None:
        self.needs_a_database_that_can_be_closed()
        used = await self.work(connected)
        await DatabaseStorage().close()
        assert used.connection is None
        assert "botsessions-default" not in [thread.name for thread in threading.enumerate()]
        assert (await self.work(connected)).connection is not None

    async def test_closing_waits_for_the_work_that_was_given_before(self) -> None:
        """And not for what is given meanwhile: that is for the next thread."""
        finish = threading.Event()
        thread = DatabaseThread(DEFAULT_DB_ALIAS)
        before = [thread.run(lambda again: finish.wait(5)), thread.run(get_ident)]
        closing = asyncio.create_task(asyncio.to_thread(thread.close))
        await asyncio.sleep(0.05)
        after = await asyncio.wait_for(thread.run(get_ident), 5)
        assert not closing.done()
        finish.set()
        await asyncio.wait_for(closing, 5)
        assert await before[1] != after
        thread.close()

    async def test_closing_what_was_never_used_is_no_error(self) -> None:
        thread_of(DEFAULT_DB_ALIAS).close()
        close_databases()

    async def test_work_whose_connection_was_cut_is_done_again_with_a_new_one(self) -> None:
        await self.drop_connection()
        assert await self.work() == 1

    async def test_what_dropped_a_connection_in_an_idle_spell_goes_unnoticed(self) -> None:
        with idle_after(0.01), keeping_connections():
            await self.drop_connection()
            await asyncio.sleep(0.1)
            assert await self.work() == 1

    async def test_without_an_idle_spell_nobody_asks_whether_the_connection_works(self) -> None:
        used = await self.work(connected)
        with mock.patch.object(used, "is_usable", side_effect=AssertionError):
            await self.work()

    async def test_a_connection_that_may_not_be_kept_is_closed_when_idle(self) -> None:
        self.needs_a_database_that_can_be_closed()
        with idle_after(0.01):
            used = await self.work(connected)
            await asyncio.sleep(0.1)
            assert used.connection is None
            assert await self.work(connected) is used

    async def test_a_connection_that_may_be_kept_is_kept_when_idle(self) -> None:
        with idle_after(0.01), keeping_connections():
            before = (await self.work(connected)).connection
            await asyncio.sleep(0.1)
            assert (await self.work(connected)).connection is before

    async def test_g4_debug_keeps_no_queries(self) -> None:
        with override_settings(DEBUG=True):
            for _ in range(3):
                await self.work()
            assert await self.work(lambda: connections[DEFAULT_DB_ALIAS].queries) == []

    async def drop_connection(self) -> None:
        """Have the database end the thread's connection, which does not know of it yet."""
        if connection.vendor not in BACKENDS:
            self.skipTest(f"{connection.vendor} has no connections that could be dropped.")
        backend = await self.work(lambda: query(BACKENDS[connection.vendor][0]))
        await asyncio.to_thread(kill, backend)

    def needs_a_database_that_can_be_closed(self) -> None:
        if connection.vendor == "sqlite" and connection.is_in_memory_db():
            self.skipTest("Django never closes a SQLite database in memory.")


class UnderDjangosTestCase(TestCase):
    async def test_g3_work_belongs_on_djangos_thread_in_the_transaction_of_the_test(self) -> None:
        assert sync_code_waits()
        await DatabaseStorage().write(Address("bot", "", "1"), Record(1))
        assert await sync_to_async(lambda: connection.in_atomic_block)()
        assert await sync_to_async(BotSession.objects.count)() == 1

    def test_g3_so_it_does_below_async_to_sync(self) -> None:
        async def ask() -> bool:
            return sync_code_waits()

        assert async_to_sync(ask)()
        assert not asyncio.run(ask())


FORKING = """
import asyncio, os
import django
from django.conf import settings
settings.configure(DATABASES={databases!r}, INSTALLED_APPS=["botsessions"])
django.setup()
from django.db import connections
from botsessions.database.connections import thread_of

def ask(again):
    with connections["default"].cursor() as cursor:
        cursor.execute({sql!r})
        return os.getpid(), cursor.fetchone()[0]

async def answer():
    return await thread_of("default").run(ask)

def work():
    print(*asyncio.run(answer()), flush=True)

work()
if child := os.fork():
    os.waitpid(child, 0)
work()
"""


class Forks(TransactionTestCase):
    def test_g5_a_forked_process_has_a_thread_and_a_connection_of_its_own(self) -> None:
        """And its parent's goes on working, even when the child ends."""
        sql = BACKENDS.get(connection.vendor, ["SELECT 1"])[0]
        database = connections.settings[DEFAULT_DB_ALIAS]
        program = FORKING.format(databases={"default": database}, sql=sql)
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-W", "error", "-c", program],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        before, child, after = [line.split() for line in done.stdout.splitlines()]
        assert before[0] == after[0] != child[0]
        if connection.vendor in BACKENDS:
            assert child[1] not in (before[1], after[1])
