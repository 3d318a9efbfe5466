"""Statements that the event loop waits for without a thread, on PostgreSQL."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import IsolatedAsyncioTestCase, mock

import pytest
from django.db import connection, connections, transaction

from botsessions import session
from botsessions.database.connections import DatabaseThread, close_databases, thread_of
from botsessions.exceptions import SessionConflict
from botsessions.models import BotSession
from botsessions.storages import Address, DatabaseStorage, Record, nonblocking

from .harness import client, left_to_collect
from .test_threads import kill, query

ADDRESS = Address("pizza", "", "42")
OTHERS = [Address("pizza", "", str(number)) for number in range(40)]
BACKEND = "SELECT pg_backend_pid()"


@contextmanager
def counted_jobs() -> Iterator[list[object]]:
    """Collect what database threads are asked to do."""
    jobs: list[object] = []
    run = DatabaseThread.run

    def note(thread: DatabaseThread, unit: Any) -> Any:
        jobs.append(unit)
        return run(thread, unit)

    with mock.patch.object(DatabaseThread, "run", note):
        yield jobs


@contextmanager
def noted_watches() -> Iterator[list[nonblocking.Watch]]:
    """Collect the watches over connections that are begun."""
    watches: list[nonblocking.Watch] = []
    begin = nonblocking.Watch.__init__

    def note(watch: nonblocking.Watch, *args: Any) -> None:
        watches.append(watch)
        begin(watch, *args)

    with mock.patch.object(nonblocking.Watch, "__init__", note):
        yield watches


def descriptors() -> int:
    """Return how many descriptors this process has open."""
    return len(list(Path("/dev/fd").iterdir()))


@contextmanager
def locked_rows() -> Iterator[None]:
    """Keep others from changing rows, from a thread of its own."""
    locked, end = threading.Event(), threading.Event()

    def lock() -> None:
        try:
            with transaction.atomic():
                list(BotSession.objects.select_for_update())
                locked.set()
                end.wait(20)
        finally:
            connection.close()

    thread = threading.Thread(target=lock)
    thread.start()
    locked.wait(5)
    try:
        yield
    finally:
        end.set()
        thread.join()


def until_somebody_waits() -> int:
    """Return the server process that waits for a lock, once there is one."""
    waiting = (
        "SELECT pid FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    try:
        for _ in range(200):
            with connection.cursor() as cursor:
                cursor.execute(waiting)
                if row := cursor.fetchone():
                    return int(row[0])
            time.sleep(0.02)
    finally:
        connection.close()
    raise AssertionError("Nobody waits.")


@pytest.mark.django_db(transaction=True)
class NonBlocking(IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        if connection.vendor != "postgresql":
            self.skipTest(f"The event loop does not wait for {connection.vendor}.")
        self.addCleanup(close_databases)
        self.storage = DatabaseStorage()

    async def test_a_thread_has_nothing_to_do_with_what_is_read_and_written_again(self) -> None:
        revision = await self.stored({"count": 0})
        with counted_jobs() as jobs:
            for count in range(3):
                revision = await self.write({"count": count}, revision)
                assert (await self.read()).value == {"count": count}
            await self.storage.write(Address("pizza", "", "new"), Record({}))
        assert jobs == []

    async def test_a_bot_with_either_lock_does_without_the_thread(self) -> None:
        for lock in ("process", "database"):
            with self.subTest(lock=lock):
                declared = session(initial=lambda: {"count": 0})
                maria = client(declared, count, builder=partial(with_lock, lock=lock)).user(id=7)
                await maria.send("x")
                with counted_jobs() as jobs, left_to_collect() as left:
                    for _ in range(3):
                        await maria.send("x")
                assert jobs == left == []

    async def test_what_has_a_revision_of_long_ago_conflicts(self) -> None:
        await self.stored({"count": 0})
        for revision in (1, None):
            with pytest.raises(SessionConflict):
                await self.write({"count": 1}, revision)
        assert (await self.read()).value == {"count": 0}

    async def test_much_data_goes_both_ways(self) -> None:
        text = "pizza 🍕" * 100_000
        revision = await self.stored({})
        revisions = await asyncio.gather(*(self.storage.write(a, Record({})) for a in OTHERS[:8]))
        await asyncio.gather(
            self.write({"text": text}, revision),
            *(
                self.storage.write(a, Record({"text": text}, revision=r))
                for a, r in zip(OTHERS[:8], revisions, strict=True)
            ),
        )
        found = await asyncio.gather(self.read(), *(self.storage.read(a) for a in OTHERS[:8]))
        assert all(record.value == {"text": text} for record in found)

    async def test_a_connection_that_was_cut_is_noticed_and_nothing_is_lost(self) -> None:
        revision = await self.stored({"count": 0})
        await asyncio.to_thread(kill, await self.backend())
        revision = await self.write({"count": 1}, revision)
        await asyncio.to_thread(kill, await self.backend())
        assert (await self.read()).value == {"count": 1}

    async def test_a_connection_that_is_cut_in_the_midst_of_a_write_is_replaced(self) -> None:
        revision = await self.stored({"count": 0})
        with locked_rows():
            write = asyncio.create_task(self.write({"count": 1}, revision))
            waiting = await asyncio.to_thread(until_somebody_waits)
            await asyncio.to_thread(kill, waiting)
            await asyncio.to_thread(until_somebody_waits)
        revision = await write
        assert (await self.read()) == Record({"count": 1}, revision=revision)

    async def test_what_postgresql_refuses_is_refused_by_the_thread(self) -> None:
        revision = await self.stored({"count": 0})
        with mock.patch.object(nonblocking, "numbered", return_value=b"SELECT nonsense"):
            with counted_jobs() as jobs:
                revision = await self.write({"count": 1}, revision)
            assert len(jobs) == 1
        assert (await self.read()).value == {"count": 1}

    async def test_who_is_cancelled_waits_for_the_write(self) -> None:
        async with self.waiting_write() as write:
            write.cancel()
            await asyncio.sleep(0.05)
            assert not write.done()
        with pytest.raises(asyncio.CancelledError):
            await write
        assert (await self.read()).value == {"count": 1}

    async def test_a_thread_that_is_asked_waits_for_the_statement_under_way(self) -> None:
        async with self.waiting_write() as write:
            asked = asyncio.ensure_future(thread_of("default").run(lambda again: query()))
            await asyncio.sleep(0.3)
            assert not asked.done()
        assert await asked == 1
        await write

    async def test_a_loop_that_answers_just_when_it_is_asked_is_not_stuck(self) -> None:
        lent = thread_of("default").lend
        await self.stored({"count": 0})
        loan = lent()
        assert loan is not None
        assert not await asyncio.to_thread(loan.recall)
        await asyncio.sleep(0)  # It answers.
        assert not await asyncio.to_thread(loan.recall)
        loan.end()
        assert (await self.read()).value == {"count": 0}

    async def test_a_handler_that_blocks_the_loop_blocks_no_thread(self) -> None:
        """One that keeps leases, for example."""
        revision = await self.stored({"count": 0})
        done = threading.Event()
        with mock.patch.object(nonblocking, "STUCK_SECONDS", 0.2):
            with locked_rows():
                write = asyncio.create_task(self.write({"count": 1}, revision))
                await asyncio.to_thread(until_somebody_waits)
                thread_of("default").do(lambda again: done.set())
                assert done.wait(5)  # It is the loop that waits here.
            revision = await write
        assert (await self.read()) == Record({"count": 1}, revision=revision)

    async def test_closing_on_the_loop_that_has_the_connection_does_not_hang(self) -> None:
        async with self.waiting_write() as write:
            close_databases()
        revision = await write
        assert (await self.read()) == Record({"count": 1}, revision=revision)

    async def test_a_loop_that_ends_in_the_midst_leaves_a_thread_that_works(self) -> None:
        revision = await self.stored({"count": 0})

        async def write_and_leave() -> None:
            await self.read()
            asyncio.get_running_loop().call_soon(asyncio.get_running_loop().stop)
            await self.write({"count": 1}, revision)

        def leave() -> None:
            loop = asyncio.new_event_loop()
            with pytest.raises(RuntimeError, match="stopped before"):
                loop.run_until_complete(write_and_leave())
            tasks = asyncio.all_tasks(loop)
            loop.close()
            for task in tasks:
                task._log_destroy_pending = False  # type: ignore[attr-defined]

        with locked_rows():
            await asyncio.to_thread(leave)
        assert await thread_of("default").run(lambda again: query()) == 1
        assert (await self.read()) is not None

    async def test_a_watch_ends_with_its_connection(self) -> None:
        with noted_watches() as watches:
            await self.stored({"count": 0})
            await asyncio.to_thread(kill, await self.in_thread(lambda: query(BACKEND)))
            await asyncio.sleep(0.2)
            assert watches[0].is_over(watches[0].driver, watches[0].loop)
            for _ in range(3):
                assert (await self.read()).value == {"count": 0}
        first, *_, last = watches
        assert first.is_over(first.driver, first.loop)
        assert not last.is_over(last.driver, last.loop)

    async def test_event_loops_leave_no_descriptors_behind(self) -> None:
        await self.stored({"count": 0})
        await asyncio.to_thread(asyncio.run, self.read())
        before = descriptors()
        for _ in range(5):
            await asyncio.to_thread(asyncio.run, self.read())
        assert descriptors() <= before

    async def test_statements_that_are_watched_go_the_usual_way(self) -> None:
        await self.stored({"count": 0})
        seen: list[str] = []

        def watch(execute: Any, sql: str, *args: Any) -> Any:
            seen.append(sql)
            return execute(sql, *args)

        wrappers = await self.in_thread(lambda: connections["default"].execute_wrappers)
        wrappers.append(watch)
        await self.read()
        wrappers.clear()
        assert [sql.split()[0] for sql in seen] == ["SELECT"]

    @asynccontextmanager
    async def waiting_write(self) -> AsyncIterator[asyncio.Task[int]]:
        """Give a write that waits for a lock, which is given back in the end."""
        revision = await self.stored({"count": 0})
        with locked_rows():
            write = asyncio.create_task(self.write({"count": 1}, revision))
            await asyncio.to_thread(until_somebody_waits)
            yield write

    async def stored(self, value: Any) -> Any:
        """Store a value, by the thread, which has a connection then."""
        await self.in_thread(query)
        return await self.storage.write(ADDRESS, Record(value))

    async def write(self, value: Any, revision: Any) -> int:
        return await self.storage.write(ADDRESS, Record(value, revision=revision))

    async def read(self) -> Any:
        return await self.storage.read(ADDRESS)

    async def backend(self) -> int:
        return int(await self.in_thread(lambda: query(BACKEND)))

    async def in_thread(self, function: Any) -> Any:
        return await thread_of("default").run(lambda again: function())


async def count(update: Any, context: Any) -> None:
    context.session["count"] += 1


def with_lock(builder: Any, lock: str) -> Any:
    builder._application_kwargs["session_lock"] = lock
    return builder
