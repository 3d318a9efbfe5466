"""Connections of event loops and threads: opened, cut, idle, closed, forked, never left behind."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import IsolatedAsyncioTestCase, mock

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connection, connections, transaction
from django.db.backends.signals import connection_created
from django.test import TestCase, TransactionTestCase, override_settings
from django.utils.connection import ConnectionDoesNotExist

from botsessions.database import postgresql, thread
from botsessions.database.callers import sync_code_waits
from botsessions.database.connections import close_databases, run, thread_of
from botsessions.database.storage import DatabaseStorage
from botsessions.exceptions import SessionConflict
from botsessions.models import BotSession
from botsessions.storages import Address, Record

from .bots.elsewhere import counter
from .harness import left_to_collect
from .locked import eventually

ADDRESS = Address("pizza", "", "42")
OTHERS = [Address("pizza", "", str(number)) for number in range(40)]

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


def set_to(**options: Any) -> Any:
    return mock.patch.dict(connections.settings[DEFAULT_DB_ALIAS], options)


def idle_after(seconds: float) -> Any:
    return mock.patch.object(thread, "IDLE_SECONDS", seconds)


async def work(function: Callable[[], Any] = query) -> Any:
    return await run(DEFAULT_DB_ALIAS, function)


@pytest.mark.django_db(transaction=True)
class Threads(IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        close_databases()  # Which others have left.
        self.addCleanup(close_databases)

    async def test_work_is_done_off_the_event_loop(self) -> None:
        started, finish = threading.Event(), threading.Event()

        def slow() -> str:
            started.set()
            assert finish.wait(5)
            return threading.current_thread().name

        slow_work = asyncio.create_task(work(slow))
        await asyncio.to_thread(started.wait)
        finish.set()
        assert await slow_work == "botsessions-default"

    async def test_all_work_for_a_database_has_one_thread_and_one_connection(self) -> None:
        idents = {await work(threading.get_ident) for _ in range(3)}
        opened = {(await work(connected)).connection for _ in range(3)}
        assert (len(idents), len(opened)) == (1, 1)
        assert idents != {threading.get_ident()}

    async def test_work_is_done_in_the_order_in_which_it_came(self) -> None:
        done: list[int] = []
        await asyncio.gather(*(work(lambda n=n: done.append(n)) for n in range(50)))
        assert done == list(range(50))

    async def test_each_database_has_a_thread_of_its_own(self) -> None:
        ident = threading.get_ident
        assert await work(ident) != await run("another", ident)

    async def test_an_unknown_database_is_an_error_for_who_asks(self) -> None:
        with pytest.raises(ConnectionDoesNotExist):
            await asyncio.wait_for(run("unknown", lambda: connections["unknown"].cursor()), 5)

    async def test_results_and_errors_come_back(self) -> None:
        class Unexpected(BaseException):
            pass

        def fail(error: BaseException) -> None:
            raise error

        assert await work(lambda: 42) == 42
        for error in (ValueError("no"), Unexpected("no"), SystemExit(1)):
            with pytest.raises(type(error)) as caught:
                await work(lambda error=error: fail(error))
            assert caught.value is error
            assert await work(lambda: 42) == 42

    async def test_work_is_done_to_its_end_when_its_caller_is_cancelled(self) -> None:
        started, finish, done = threading.Event(), threading.Event(), []

        def slow() -> None:
            started.set()
            done.append(finish.wait(5))

        slow_work = asyncio.create_task(work(slow))
        await asyncio.to_thread(started.wait)
        slow_work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow_work
        finish.set()
        await work()
        assert done == [True]

    def test_several_event_loops_share_a_thread(self) -> None:
        assert len({asyncio.run(work(threading.get_ident)) for _ in range(3)}) == 1

    def test_a_loop_that_was_closed_meanwhile_does_not_end_the_thread(self) -> None:
        started, finish = threading.Event(), threading.Event()

        def slow() -> None:
            started.set()
            assert finish.wait(5)

        async def leave() -> None:
            slow_work = asyncio.ensure_future(work(slow))
            await asyncio.to_thread(started.wait)
            slow_work.cancel()

        ident = asyncio.run(work(threading.get_ident))
        asyncio.run(leave())
        finish.set()
        assert asyncio.run(work(threading.get_ident)) == ident

    async def test_closing_ends_the_connection_and_the_next_work_begins_anew(self) -> None:
        if connection.vendor == "sqlite" and connection.is_in_memory_db():
            self.skipTest("Django never closes a SQLite database in memory.")
        storage = DatabaseStorage()
        await storage.read(ADDRESS)
        used = await work(connected)
        await storage.close()
        assert used.connection is None
        assert "botsessions-default" not in [thread.name for thread in threading.enumerate()]
        assert (await work(connected)).connection is not None

    async def test_closing_waits_for_the_work_that_was_given_before(self) -> None:
        """And not for what is given meanwhile: that is for the next thread."""
        started, finish = threading.Event(), threading.Event()

        def wait() -> None:
            started.set()
            assert finish.wait(5)

        before = [asyncio.create_task(work(wait)), asyncio.create_task(work(threading.get_ident))]
        await asyncio.to_thread(started.wait)
        closing = asyncio.create_task(asyncio.to_thread(close_databases))
        await asyncio.sleep(0.05)
        after = await asyncio.wait_for(work(threading.get_ident), 5)
        assert not closing.done()
        finish.set()
        await asyncio.wait_for(closing, 5)
        assert await before[1] != after

    async def test_closing_what_was_never_used_is_no_error(self) -> None:
        thread_of(DEFAULT_DB_ALIAS).close()
        close_databases()

    async def test_work_whose_connection_was_cut_is_done_again_with_a_new_one(self) -> None:
        await self.drop_connection()
        assert await work() == 1

    async def test_what_dropped_a_connection_in_an_idle_spell_goes_unnoticed(self) -> None:
        with set_to(CONN_MAX_AGE=None), idle_after(0.01):
            await self.drop_connection()
            await asyncio.sleep(0.1)
            assert await work() == 1

    async def test_without_an_idle_spell_nobody_asks_whether_the_connection_works(self) -> None:
        used = await work(connected)
        with mock.patch.object(used, "is_usable", side_effect=AssertionError):
            await work()

    async def test_a_connection_that_may_not_be_kept_is_closed_when_idle(self) -> None:
        if connection.vendor == "sqlite" and connection.is_in_memory_db():
            self.skipTest("Django never closes a SQLite database in memory.")
        with idle_after(0.01):
            used = await work(connected)
            await eventually(lambda: used.connection is None)
            assert await work(connected) is used

    async def test_a_connection_that_may_be_kept_is_kept_when_idle(self) -> None:
        with set_to(CONN_MAX_AGE=None), idle_after(0.01):
            before = (await work(connected)).connection
            await asyncio.sleep(0.1)
            assert (await work(connected)).connection is before

    async def test_g4_debug_keeps_no_queries(self) -> None:
        with override_settings(DEBUG=True):
            for _ in range(3):
                await work()
                await DatabaseStorage().read(ADDRESS)
            assert await work(lambda: connections[DEFAULT_DB_ALIAS].queries) == []

    async def drop_connection(self) -> None:
        """Have the database end the thread's connection, which does not know of it yet."""
        if connection.vendor not in BACKENDS:
            self.skipTest(f"{connection.vendor} has no connections that could be dropped.")
        backend = await work(lambda: query(BACKENDS[connection.vendor][0]))
        await asyncio.to_thread(kill, backend)


@contextmanager
def noted_jobs() -> Iterator[list[object]]:
    """Collect what database threads are asked to do for requests."""
    jobs: list[object] = []
    carry_out = thread.DatabaseThread.carry_out

    def note(self: Any, *args: Any) -> Any:
        jobs.append(args)
        return carry_out(self, *args)

    with mock.patch.object(thread.DatabaseThread, "carry_out", note):
        yield jobs


@contextmanager
def own_connections() -> Iterator[list[postgresql.LoopConnection]]:
    """Collect the connections of event loops that are opened."""
    opened: list[postgresql.LoopConnection] = []
    begin = postgresql.LoopConnection.__init__

    def note(self: postgresql.LoopConnection, *args: Any) -> None:
        opened.append(self)
        begin(self, *args)

    with mock.patch.object(postgresql.LoopConnection, "__init__", note):
        yield opened


def descriptors() -> int:
    """Return how many descriptors this process has open."""
    return len(list(Path("/dev/fd").iterdir()))


@pytest.mark.django_db(transaction=True)
class EventLoops(IsolatedAsyncioTestCase):
    """On PostgreSQL, an event loop has a connection of its own."""

    def setUp(self) -> None:
        if connection.vendor != "postgresql":
            self.skipTest(f"The event loop does not wait for {connection.vendor}.")
        self.addCleanup(close_databases)
        self.storage = DatabaseStorage()

    async def test_a_thread_has_nothing_to_do_with_requests(self) -> None:
        with noted_jobs() as jobs:
            revision = await self.write({"count": 0}, None)
            for count in range(3):
                revision = await self.write({"count": count}, revision)
                assert (await self.read()).value == {"count": count}
            with pytest.raises(SessionConflict):
                await self.write({}, 1)
            await self.storage.write_many([(a, Record(1)) for a in OTHERS])
        assert jobs == []

    async def test_much_data_goes_both_ways(self) -> None:
        text = "pizza 🍕" * 100_000
        revisions = await asyncio.gather(*(self.storage.write(a, Record({})) for a in OTHERS[:8]))
        await asyncio.gather(
            *(
                self.storage.write(a, Record({"text": text}, revision=r))
                for a, r in zip(OTHERS[:8], revisions, strict=True)
            ),
        )
        found = await asyncio.gather(*(self.storage.read(a) for a in OTHERS[:8]))
        assert all(record and record.value == {"text": text} for record in found)

    async def test_requests_leave_nothing_to_the_garbage_collector(self) -> None:
        revision = await self.write({"count": 0}, None)
        with left_to_collect() as left:
            for count in range(3):
                revision = await self.write({"count": count}, revision)
                await self.read()
        assert left == []

    async def test_a_connection_that_is_cut_in_an_idle_spell_is_closed(self) -> None:
        with own_connections() as opened:
            await self.write({}, None)
            await asyncio.to_thread(kill, opened[0].connection.connection.info.backend_pid)
            await eventually(lambda: not opened[0].is_open)
            assert (await self.read()).value == {}
        assert len(opened) == 2

    async def test_a_connection_that_may_not_be_kept_is_closed_when_idle(self) -> None:
        with own_connections() as opened, mock.patch.object(postgresql, "TICK_SECONDS", 0.02):
            await self.write({}, None)
            await eventually(lambda: not opened[0].is_open)
        soon = mock.patch.object(postgresql, "TICK_SECONDS", 0.02)
        with own_connections() as opened, soon, set_to(CONN_MAX_AGE=None):
            await self.read()
            await asyncio.sleep(0.2)
            assert opened[0].is_open

    async def test_who_is_cancelled_waits_for_the_write(self) -> None:
        await self.read_nothing()
        for turns in range(1, 6):
            write = asyncio.create_task(self.write(turns, None))
            for _ in range(turns):
                await asyncio.sleep(0)
            if write.cancel():  # It is not done yet.
                with pytest.raises(asyncio.CancelledError):
                    await write
            found = await self.read()
            assert found.value == turns
            await self.storage.delete(ADDRESS, found.revision)

    async def test_closing_in_the_midst_of_a_write_loses_nothing(self) -> None:
        await self.read_nothing()
        write = asyncio.create_task(self.write({"count": 1}, None))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        close_databases()
        revision = await write
        assert await self.read() == Record({"count": 1}, revision=revision)

    async def test_closing_from_another_thread_too(self) -> None:
        await self.read_nothing()
        write = asyncio.create_task(self.write({"count": 1}, None))
        await asyncio.to_thread(close_databases)
        revision = await write
        assert await self.read() == Record({"count": 1}, revision=revision)

    async def test_a_loop_that_ends_in_the_midst_leaves_nothing_behind(self) -> None:
        async def leave() -> None:
            await self.read_nothing()
            write = asyncio.ensure_future(self.storage.write(OTHERS[0], Record({})))
            await asyncio.sleep(0)
            asyncio.get_running_loop().stop()
            await write

        def run_and_leave() -> None:
            loop = asyncio.new_event_loop()
            with pytest.raises(RuntimeError, match="stopped before"):
                loop.run_until_complete(leave())
            for task in asyncio.all_tasks(loop):
                task._log_destroy_pending = False  # type: ignore[attr-defined]
            loop.close()

        await self.read_nothing()
        await asyncio.to_thread(run_and_leave)
        before = descriptors()
        for _ in range(3):
            await asyncio.to_thread(run_and_leave)
        assert descriptors() <= before + 3
        assert await work() == 1

    async def test_event_loops_leave_no_descriptors_behind(self) -> None:
        await self.write({}, None)
        await asyncio.to_thread(asyncio.run, self.read())
        before = descriptors()
        for _ in range(5):
            await asyncio.to_thread(asyncio.run, self.read())
        assert descriptors() <= before

    async def test_g4_statements_that_are_watched_go_by_the_thread(self) -> None:
        await self.write({}, None)
        with noted_jobs() as jobs, override_settings(DEBUG=True):
            await self.read()
        assert len(jobs) == 1

    async def test_who_watches_each_new_connection_sees_all_statements(self) -> None:
        seen: list[str] = []

        def watch(execute: Any, sql: str, *args: Any) -> Any:
            seen.append(sql)
            return execute(sql, *args)

        def watch_all(connection: Any, **kwargs: Any) -> None:
            connection.execute_wrappers.append(watch)

        connection_created.connect(watch_all)
        try:
            await self.read_nothing()
        finally:
            connection_created.disconnect(watch_all)
        assert "SELECT" in [sql.split()[0] for sql in seen]

    async def test_a_pool_is_asked_by_the_thread(self) -> None:
        revision: Any = None
        for others in ({}, {"server_side_binding": True}):
            options = {"pool": True, **others}
            with self.subTest(options), noted_jobs() as jobs:
                with set_to(OPTIONS=options, CONN_MAX_AGE=0):
                    revision = await self.write({}, revision)
                    revision = await self.write({"count": 1}, revision)
                    lock_timeout = await work(lambda: query("SHOW lock_timeout"))
                    await asyncio.to_thread(close_pool)
                assert jobs
                assert lock_timeout == "0"  # For whoever has the connection next.

    async def write(self, value: Any, revision: Any) -> int:
        return await self.storage.write(ADDRESS, Record(value, revision=revision))

    async def read(self) -> Record:
        found = await self.storage.read(ADDRESS)
        assert found is not None
        return found

    async def read_nothing(self) -> None:
        await self.storage.read(OTHERS[-1])


def close_pool() -> None:
    close_databases()
    connections[DEFAULT_DB_ALIAS].close_pool()


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
from botsessions.database.connections import run
from botsessions.database.storage import DatabaseStorage
from botsessions.storages import Address

def ask():
    with connections["default"].cursor() as cursor:
        cursor.execute({sql!r})
        return os.getpid(), cursor.fetchone()[0]

async def answer():
    await DatabaseStorage().read(Address("pizza", "", "42"))
    return await run("default", ask)

def work():
    print(*asyncio.run(answer()), flush=True)

work()
if child := os.fork():
    os.waitpid(child, 0)
work()
"""

FORKING_IN_A_LOOP = """
import asyncio, os
import django
from django.conf import settings
settings.configure(DATABASES={databases!r}, INSTALLED_APPS=["botsessions"])
django.setup()
from botsessions.database.storage import DatabaseStorage
from botsessions.storages import Address

async def read():
    await DatabaseStorage().read(Address("pizza", "", "42"))

async def fork():
    await read()
    if child := os.fork():
        os.waitpid(child, 0)
        await read()
        print("parent", flush=True)
    else:
        os._exit(0)

asyncio.run(fork())
"""

FORKING_IN_A_BLOCK = """
import os
import django
from django.conf import settings
bots = {{"shop": {{"SESSION": "__main__.counted", "TOKEN": "1:OFFLINE", "LOCK": "database"}}}}
settings.configure(
    DATABASES={databases!r}, INSTALLED_APPS=["botsessions"], BOTSESSIONS={{"BOTS": bots}}
)
django.setup()
from botsessions import session
from botsessions.database.connections import close_databases
from botsessions.exceptions import SessionClosed
from botsessions.models import BotSessionLease

counted = session(initial=lambda: {{"count": 0}})

def leases():
    return BotSessionLease.objects.exclude(holder=0).count()

block = counted.edit("parents")
block.__enter__()["count"] += 1
child = os.fork()
if child == 0:
    with counted.edit("childs") as data:
        data["count"] += 1
    try:
        block.__exit__(None, None, None)
    except SessionClosed:
        print("closed", flush=True)
    del block
    close_databases()
    print("child", leases(), flush=True)
    os._exit(0)
os.waitpid(child, 0)
print("parent", leases())
block.__exit__(None, None, None)
print(counted.get("parents"), counted.get("childs"), leases())
"""


class Forks(TransactionTestCase):
    def test_g5_a_forked_process_has_a_thread_and_a_connection_of_its_own(self) -> None:
        """And its parent's goes on working, even when the child ends."""
        output = self.run_program(FORKING)
        before, child, after = [line.split() for line in output.splitlines()]
        assert before[0] == after[0] != child[0]
        if connection.vendor in BACKENDS:
            assert child[1] not in (before[1], after[1])

    def test_g5_a_fork_inside_a_handler_leaves_the_parent_its_connection(self) -> None:
        assert self.run_program(FORKING_IN_A_LOOP) == "parent\n"

    def test_g5_a_fork_inside_a_block_leaves_its_session_and_key_to_the_parent(self) -> None:
        assert self.run_program(FORKING_IN_A_BLOCK).splitlines() == [
            "closed",
            "child 1",
            "parent 1",
            "{'count': 1} {'count': 1} 0",
        ]

    def run_program(self, program: str) -> str:
        sql = BACKENDS.get(connection.vendor, ["SELECT 1"])[0]
        database = {**connections.settings[DEFAULT_DB_ALIAS], "TEST": {}}
        database["NAME"] = str(database["NAME"])
        done = subprocess.run(  # noqa: S603
            [
                *(sys.executable, "-W", "error", "-W", "ignore:.*fork:DeprecationWarning", "-c"),
                program.format(databases={"default": database}, sql=sql),
            ],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout


READ_ONLY = {
    "postgresql": "SET default_transaction_read_only = on",
    "mysql": "SET SESSION tx_read_only = 1",
}
"""What makes a connection one that can only read, as those are that were made in a failover."""
SHOP = {
    "shop": {
        "SESSION": "tests.bots.elsewhere.counter",
        "APPLICATION": "tests.bots.elsewhere.nothing",
    }
}


@override_settings(BOTSESSIONS={"BOTS": SHOP})
class OfViews(TransactionTestCase):
    """Connections of code that calls ``edit()``, which Django looks at between requests only."""

    def setUp(self) -> None:
        if connection.vendor not in READ_ONLY:
            self.skipTest(f"{connection.vendor} has no server.")

    def lose(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(BACKENDS[connection.vendor][0])
            (own,) = cursor.fetchone()
        killing = threading.Thread(target=kill, args=[own])
        killing.start()
        killing.join()

    def make_read_only(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(READ_ONLY[connection.vendor])

    def test_a16_an_edit_goes_on_over_a_new_one(self) -> None:
        for number, trouble in enumerate((self.lose, self.make_read_only)):
            trouble()
            with counter.edit("42") as data:
                data["count"] += 1
                trouble()
            trouble()
            found = counter.get("42")
            assert found == {"count": number + 1}
            connections["default"].close()

    def test_in_a_transaction_it_does_not(self) -> None:
        with pytest.raises(DatabaseError), transaction.atomic():
            self.lose()
            with counter.edit("42") as data:
                data["count"] += 1
        connections["default"].close()
        assert counter.get("42") is None
