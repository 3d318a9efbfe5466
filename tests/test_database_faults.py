"""Databases that lock, fall silent, lose answers and change their minds: nothing is lost."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any
from unittest import IsolatedAsyncioTestCase, mock

import pytest
from django.db import connection, connections, transaction
from django.db.models import F
from django.test import override_settings

from botsessions.database import leases_table, pipeline
from botsessions.database.connections import close_databases
from botsessions.database.lease import Lease
from botsessions.database.sessions_table import Table
from botsessions.database.statements import Statement, one
from botsessions.database.storage import DatabaseStorage
from botsessions.database.transaction import DatabaseTransaction
from botsessions.exceptions import SessionConflict, SessionStorageError
from botsessions.models import BotSession, BotSessionLease
from botsessions.storages import ANY, Address, Record

from .commands import ROOT
from .locked import eventually
from .proxy import between
from .servers import wait_until
from .test_database_connections import BACKENDS, connected, idle_after, kill, work

PEOPLE = [Address("pizza", "", str(number)) for number in range(20)]
MARIA, *OTHERS = PEOPLE
SOON = 2.0
"""In seconds; whoever waits for a lock here waits for much longer."""


def in_own_thread(function: Callable[[], Any]) -> Any:
    try:
        return function()
    finally:
        connections.close_all()


@contextmanager
def locked(model: Any = BotSession, **which: Any) -> Iterator[None]:
    """Have another process keep rows locked in an open transaction."""
    is_locked, end = threading.Event(), threading.Event()
    column = "revision" if model is BotSession else "holder"

    def lock() -> None:
        with transaction.atomic():
            assert model.objects.filter(**which).update(**{column: F(column)})
            is_locked.set()
            end.wait(60)

    thread = threading.Thread(target=in_own_thread, args=[lock])
    thread.start()
    assert is_locked.wait(10)
    try:
        yield
    finally:
        end.set()
        thread.join()


def retrying_for(seconds: float) -> Any:
    return override_settings(BOTSESSIONS={"RETRY_SECONDS": seconds})


@pytest.mark.django_db(transaction=True)
class Base(IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        self.addCleanup(close_databases)
        self.storage = DatabaseStorage()

    async def stored(self, addresses: Any = PEOPLE, value: Any = 0) -> dict[Address, int]:
        """Store sessions and return their revisions."""
        written = await asyncio.gather(*(self.storage.write(a, Record(value)) for a in addresses))
        return dict(zip(addresses, written, strict=True))

    async def write(self, address: Address, revision: Any, value: Any = 1) -> int:
        return await self.storage.write(address, Record(value, revision=revision))

    async def value(self, address: Address = MARIA) -> Any:
        record = await self.storage.read(address)
        return record and record.value


class Locks(Base):
    """E10: one chat's row lock, however long, delays no other chat."""

    async def test_e10_others_are_written_while_one_row_is_locked(self) -> None:
        if connection.vendor == "sqlite":
            self.skipTest("Only one can write there.")
        revisions = await self.stored()
        with locked(key=MARIA.key):
            begun = time.monotonic()
            maria = asyncio.ensure_future(self.write(MARIA, revisions[MARIA]))
            for value in range(1, 6):
                written = await asyncio.gather(
                    *(self.write(a, revisions[a], value) for a in OTHERS)
                )
                revisions |= zip(OTHERS, written, strict=True)
                await asyncio.sleep(0.1)
            assert time.monotonic() - begun < SOON
            assert await self.value() == 0
            assert not maria.done()
        await maria
        assert [await self.value(a) for a in PEOPLE] == [1, *[5] * len(OTHERS)]

    async def test_e10_nor_do_fragments_under_leases_wait_for_others(self) -> None:
        if connection.vendor == "sqlite":
            self.skipTest("Only one can write there.")
        revisions = await self.stored()
        units = {a: self.unit(a) for a in PEOPLE}
        await asyncio.gather(*(unit.read([a]) for a, unit in units.items()))
        with locked(key=MARIA.key):
            begun = time.monotonic()
            saves = {
                a: asyncio.ensure_future(
                    unit.write([(a, Record(1, revision=revisions[a]))], last=True)
                )
                for a, unit in units.items()
            }
            await asyncio.gather(*(saves[a] for a in OTHERS))
            assert time.monotonic() - begun < SOON
            assert not saves[MARIA].done()
        await saves[MARIA]

    async def test_e10_others_are_read_while_nobody_can_write(self) -> None:
        await self.stored()
        with locked(key=MARIA.key):
            begun = time.monotonic()
            new = asyncio.ensure_future(self.write(Address("pizza", "", "new"), None))
            await asyncio.sleep(0.2)
            await asyncio.gather(*(self.value(a) for a in PEOPLE))
            assert time.monotonic() - begun < SOON
        await new

    async def test_e10_a_row_that_is_being_made_holds_nobody_up(self) -> None:
        if connection.vendor == "sqlite":
            self.skipTest("Only one can write there.")
        made, end = threading.Event(), threading.Event()
        # To make a row again that was deleted just now, InnoDB locks the next one, too, also with
        # READ COMMITTED, until it is purged: then others are held up, for a second at most.
        before, new, *after = [Address("pizza", "", f"{time.time()} {n:02}") for n in range(20)]

        def make() -> None:
            with transaction.atomic():
                BotSession.objects.create(bot="pizza", key=new.key, data=5)
                made.set()
                end.wait(60)

        thread = threading.Thread(target=in_own_thread, args=[make])
        thread.start()
        assert made.wait(10)
        try:
            begun = time.monotonic()
            begun_too = asyncio.ensure_future(self.write(new, None))
            await asyncio.gather(*(self.write(a, None) for a in (before, *after)))
            assert time.monotonic() - begun < SOON
        finally:
            end.set()
            thread.join()
        with pytest.raises(SessionConflict):
            await begun_too

    async def test_e10_a_lease_that_somebody_has_locked_holds_nobody_up(self) -> None:
        if connection.vendor == "sqlite":
            self.skipTest("Only one can write there.")
        unit = self.unit(MARIA)
        await unit.read([])
        await unit.write([], last=True)
        with locked(BotSessionLease):
            begun = time.monotonic()
            maria = asyncio.ensure_future(self.unit(MARIA).read([MARIA]))
            await asyncio.gather(*(self.unit(a).read([a]) for a in OTHERS))
            assert time.monotonic() - begun < SOON
            assert not maria.done()
        await maria

    async def test_what_stays_locked_is_an_error_that_names_the_session(self) -> None:
        revisions = await self.stored()
        told = pytest.raises(SessionStorageError, match=r"'0' of bot 'pizza'.*RETRY_SECONDS")
        with retrying_for(0.5), locked(key=MARIA.key), told:
            await self.write(MARIA, revisions[MARIA])
        assert await self.value() == 0
        await self.write(MARIA, revisions[MARIA])

    async def test_writes_of_one_address_keep_their_order_behind_a_lock(self) -> None:
        await self.stored()
        with locked(key=MARIA.key):
            writes = [asyncio.ensure_future(self.write(MARIA, ANY, n)) for n in range(4)]
            await asyncio.sleep(0.3)
        await asyncio.gather(*writes)
        assert await self.value() == 3

    async def test_a7_leases_are_renewed_while_saves_wait_for_a_lock(self) -> None:
        if connection.vendor == "sqlite":
            self.skipTest("Only one can write there.")
        revisions = await self.stored()
        with mock.patch.object(leases_table, "LEASE_SECONDS", 1.0):
            unit = self.unit(OTHERS[0])
            await unit.read([])
            with locked(key=MARIA.key):
                maria = asyncio.ensure_future(self.write(MARIA, revisions[MARIA]))
                await asyncio.sleep(0.1)
                time.sleep(2)  # Nor does the event loop go on.  # noqa: ASYNC251
                await unit.write([(OTHERS[0], Record(2, revision=revisions[OTHERS[0]]))], last=True)
            await maria

    def unit(self, address: Address) -> DatabaseTransaction:
        lease = Lease("default", [address])
        return DatabaseTransaction("default", {address: self.storage.table}, lease=lease)


class Networks(Base):
    async def test_a5_a_write_whose_answer_was_lost_is_not_made_twice(self) -> None:
        with between() as proxy:
            revisions = await self.stored()
            proxy.swallow_an_answer()
            written = await asyncio.gather(
                *(self.write(a, revisions[a]) for a in OTHERS[:10]),
                self.storage.delete(MARIA, revisions[MARIA]),
                self.write(Address("pizza", "", "new"), None),
                self.storage.write_many(
                    [(a, Record(1, revision=revisions[a])) for a in OTHERS[10:]]
                ),
            )
            assert proxy.swallowed.is_set()
            found = await self.storage.read_many(PEOPLE)
            assert MARIA not in found
            assert [found[a].revision for a in OTHERS] == [*written[:10], *written[-1]]

    async def test_a5_nor_one_that_gave_its_lease_back(self) -> None:
        for lose in range(2):
            with between() as proxy:
                address = OTHERS[lose]
                revision = (await self.stored([address]))[address]
                lease = Lease("default", [address])
                unit = DatabaseTransaction("default", {address: self.storage.table}, lease=lease)
                await unit.read([address])
                proxy.swallow_an_answer()
                await unit.write([(address, Record(1, revision=revision))], last=True)
                assert proxy.swallowed.is_set()
                assert await self.value(address) == 1
                unit.give_up()
                other = DatabaseTransaction(
                    "default", {address: self.storage.table}, lease=Lease("default", [address])
                )
                await asyncio.wait_for(other.read([]), 5)
            await asyncio.to_thread(close_databases)

    async def test_a_lease_whose_answer_was_lost_is_taken(self) -> None:
        with between() as proxy:
            await self.stored()
            lease = Lease("default", [MARIA])
            unit = DatabaseTransaction("default", {MARIA: self.storage.table}, lease=lease)
            proxy.swallow_an_answer()
            assert (await unit.read([MARIA]))[MARIA].value == 0
            assert proxy.swallowed.is_set()
            assert lease.held

    async def test_a17_a_network_that_falls_silent_is_given_up(self) -> None:
        with between() as proxy, retrying_for(1):
            revisions = await self.stored()
            proxy.fall_silent()
            save = asyncio.ensure_future(self.write(MARIA, revisions[MARIA]))
            await asyncio.sleep(0.5)
            assert not save.done()
            await asyncio.sleep(1)
            proxy.go_on()
            revision = await asyncio.wait_for(save, 10)
            found = await self.storage.read(MARIA)
            assert found == Record(1, revision=revision)

    async def test_a17_a_thread_gives_up_a_network_that_falls_silent(self) -> None:
        works: list[Callable[[], Any]] = [
            lambda: self.storage.of_chat("pizza", 1),
            lambda: self.storage.read_many(PEOPLE),
        ]
        for options in ({}, {"prepare_threshold": None}):
            if options and connection.vendor != "postgresql":
                continue
            with (
                between() as proxy,
                mock.patch.dict(connections.settings["default"], OPTIONS=options, CONN_MAX_AGE=60),
                retrying_for(1),
            ):
                for work in works:
                    await work()
                    proxy.given_up.clear()
                    proxy.fall_silent()
                    under_way = asyncio.ensure_future(work())
                    assert await asyncio.to_thread(proxy.given_up.wait, 10)
                    proxy.go_on()
                    await asyncio.wait_for(under_way, 15)
                await asyncio.to_thread(close_databases)

    async def test_a17_so_it_does_if_that_fell_silent_in_an_idle_spell(self) -> None:
        lasting = mock.patch.dict(connections.settings["default"], CONN_MAX_AGE=60)
        with between() as proxy, lasting, retrying_for(1), idle_after(0.01):
            await work()
            used = await work(connected)
            await eventually(lambda: used.errors_occurred)
            proxy.fall_silent()
            under_way = asyncio.ensure_future(work())
            assert await asyncio.to_thread(proxy.given_up.wait, 10)
            proxy.go_on()
            assert await asyncio.wait_for(under_way, 15) == 1

    async def test_a17_keys_are_given_back_once_a_network_has_been_silent(self) -> None:
        def unit() -> DatabaseTransaction:
            lease = Lease("default", [MARIA])
            return DatabaseTransaction("default", {MARIA: self.storage.table}, lease=lease)

        lasting = mock.patch.dict(connections.settings["default"], CONN_MAX_AGE=60)
        with between() as proxy, lasting, retrying_for(1):
            await self.stored([MARIA])
            holder = unit()
            await holder.read([MARIA])
            await asyncio.to_thread(wait_for_renewal)
            proxy.fall_silent()
            assert await asyncio.to_thread(proxy.given_up.wait, 10)
            proxy.go_on()
            holder.give_up()
            await asyncio.wait_for(unit().read([]), 10)

    async def test_a_connection_that_was_cut_is_noticed_and_nothing_is_lost(self) -> None:
        if connection.vendor not in BACKENDS:
            self.skipTest(f"{connection.vendor} has no connections that could be cut.")
        revision = (await self.stored([MARIA]))[MARIA]
        for count in range(3):
            await asyncio.to_thread(kill_all_others)
            revision = await self.write(MARIA, revision, count)
            assert await self.value() == count


def wait_for_renewal() -> None:
    """Wait until the only lease is renewed, over the connection for that."""
    ends_at = BotSessionLease.objects.values_list("ends_at", flat=True)
    with closing(connections["default"]):
        before = ends_at.get()
        wait_until(lambda: ends_at.get() != before, lambda: "It is not renewed.")


def kill_all_others() -> None:
    """End all connections to the tests' database but the own one."""
    texts = {
        "postgresql": "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid()",
        "mysql": "SELECT id FROM information_schema.processlist WHERE db = DATABASE() "
        "AND id <> CONNECTION_ID()",
    }

    def others() -> list[int]:
        with connection.cursor() as cursor:
            cursor.execute(texts[connection.vendor])
            return [pid for (pid,) in cursor.fetchall()]

    for pid in in_own_thread(others):
        kill(pid)


class Sizes(Base):
    async def test_a6_many_large_saves_at_once(self) -> None:
        text = '"' * 100 * 1024
        many = [Address("pizza", "", str(number)) for number in range(200)]
        revisions = await self.stored(many, text)
        await asyncio.gather(*(self.write(a, r, [text]) for a, r in revisions.items()))
        found = await asyncio.gather(*(self.value(a) for a in many))
        assert found == [[text]] * 200

    async def test_a6_they_take_little_more_memory_than_they_are_large(self) -> None:
        count, size = 60, 2_900_000
        database = {k: v for k, v in connection.settings_dict.items() if k != "TEST"}
        config = {"database": database, "count": count, "size": size}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.bots.large"),
            cwd=ROOT,
            env=os.environ | {"LARGE": json.dumps(config, default=str)},
            stdout=asyncio.subprocess.PIPE,
        )
        said, _ = await process.communicate()
        assert process.returncode == 0
        assert int(said) < 2 * count * size / 2**20

    async def test_a18_there_are_few_prepared_statements(self) -> None:
        if connection.vendor != "postgresql":
            self.skipTest(f"Nothing is prepared on {connection.vendor}.")
        bots = [f"bot{number}" for number in range(12)]
        for count in range(1, 40):
            addresses = [Address(bots[n * count % 12], str(n % 3), str(n)) for n in range(count)]
            revisions = await asyncio.gather(*(self.write(a, ANY) for a in addresses))
            await asyncio.gather(
                *(self.write(a, r) for a, r in zip(addresses, revisions, strict=True))
            )
            await self.storage.read_many(addresses)
        assert len(await self.prepared()) < 16

    async def test_a18_the_oldest_prepared_statements_go(self) -> None:
        if connection.vendor != "postgresql":
            self.skipTest(f"Nothing is prepared on {connection.vendor}.")
        with mock.patch.object(pipeline, "MOST_PREPARED", 2):
            for address in PEOPLE[:3]:
                revision = await self.write(address, None)
                revision = await self.write(address, revision)
                await self.value(address)
                await self.storage.delete(address, revision)
            assert len(await self.prepared()) <= 2

    async def prepared(self) -> list[Any]:
        """Return what the server knows of the event loop's statements."""
        texts: list[Any] = []
        select = Table.reading

        def look(table: Table, addresses: Any) -> Any:
            listed = yield from one(
                Statement("SELECT statement FROM pg_prepared_statements", recurs=False)
            )
            texts.extend(listed.rows)
            return (yield from select(table, addresses))

        with mock.patch.object(Table, "reading", look):
            await self.value()
        return texts


class Programs(Base):
    async def test_a2d_no_more_threads_for_a_moment(self) -> None:
        """Whoever is there just then is told, and those who come later are served."""
        none = mock.patch.object(threading.Thread, "start", side_effect=RuntimeError("can't start"))
        with none, pytest.raises(RuntimeError, match="can't start"):
            await self.value()
        assert await self.value() is None
        await self.write(MARIA, None)

    async def test_a2j_a_mistake_in_the_program_is_told(self) -> None:
        await self.value()
        mistake = mock.patch.object(Table, "reading", side_effect=TypeError("mistake"))
        with mistake, pytest.raises(TypeError, match="mistake"):
            await self.value()
        assert await self.value() is None
