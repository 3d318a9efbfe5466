"""Leases on a database: one holder per key among all processes, in order (rules E2, E6, E7)."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any
from unittest import IsolatedAsyncioTestCase, mock

import pytest
from django.db import connections
from django.db.models import F

from botsessions.database import leases_table, leases_texts
from botsessions.database.connections import batching_of, close_databases, run
from botsessions.database.execution import execute
from botsessions.database.lease import Lease
from botsessions.database.leases_table import lease_table_of
from botsessions.database.requests import NotHeldYet, Read, Write
from botsessions.database.storage import DatabaseStorage
from botsessions.database.transaction import DatabaseTransaction
from botsessions.exceptions import SessionConflict, SessionLockTimeout
from botsessions.models import BotSessionLease
from botsessions.storages import Address, Record

from .statements import noted_statements

DEFAULT = "default"
STORAGE = DatabaseStorage()


def address_of(key: str, name: str = "") -> Address:
    return Address("pizza", name, key)


def lease_on(*keys: str) -> Lease:
    """Return a lease as another process would ask for."""
    return Lease(DEFAULT, list(map(address_of, keys)))


def unit_on(*keys: str, lease: Lease | None = None) -> DatabaseTransaction:
    """Return what a unit of work does that holds keys."""
    lease = lease or lease_on(*keys)
    return DatabaseTransaction(DEFAULT, dict.fromkeys(lease.addresses, STORAGE.table), lease=lease)


async def ask(lease: Lease) -> bool:
    try:
        await batching_of(DEFAULT, apart=True).request(Read({}, lease))
    except NotHeldYet:
        return False
    return True


async def ask_again_and_again(lease: Lease) -> bool:
    for _ in range(400):
        if await ask(lease):
            return True
        await asyncio.sleep(0.01)
    return False


async def give_back(lease: Lease) -> None:
    await run(DEFAULT, lambda: release(lease))


def release(lease: Lease) -> None:
    mine = connections[DEFAULT]
    execute(mine, lease_table_of(mine).release([lease]))


async def write_under(lease: Lease) -> None:
    await batching_of(DEFAULT).request(Write({}, lease))


def statements() -> AbstractContextManager[list[str]]:
    """Note what all statements do to which table."""
    return noted_statements(work_of)


def work_of(sql: str) -> str:
    table = "lease" if "botsessionlease" in sql else "session" if "botsession" in sql else ""
    return f"{sql.split()[0]} {table}".strip()


def lasting(seconds: float) -> Any:
    return mock.patch.object(leases_table, "LEASE_SECONDS", seconds)


who_waits_comes_again = mock.patch.object(leases_table, "GRACE_SECONDS", 600.0)
"""However slow the machine is."""


@pytest.mark.django_db(transaction=True)
class Base(IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        self.addCleanup(close_databases)

    async def stored(self, key: str = "42") -> Any:
        record = await STORAGE.read(address_of(key))
        return record and record.value

    async def revision(self, key: str = "42") -> Any:
        record = await STORAGE.read(address_of(key))
        return record and record.revision

    async def store(self, value: Any, key: str = "42") -> int:
        return await STORAGE.write(address_of(key), Record(value))


class Costs(Base):
    async def test_a_read_and_a_write_take_the_lease_along(self) -> None:
        revision = await self.store(0)
        unit = unit_on("42")
        with statements() as made:
            found = await unit.read([address_of("42")])
        assert found[address_of("42")].revision == revision
        assert made == ["INSERT lease", "SELECT session"]
        with statements() as made:
            await unit.write([(address_of("42"), Record(1, revision=revision))], last=True)
        assert made == ["UPDATE lease", "UPDATE session"]
        assert await ask(lease_on("42"))

    async def test_many_units_share_statements(self) -> None:
        keys = [str(number) for number in range(20)]
        revisions = await asyncio.gather(*(self.store(0, key) for key in keys))
        units = [unit_on(key) for key in keys]
        with statements() as made:
            await asyncio.gather(
                *(u.read([address_of(k)]) for u, k in zip(units, keys, strict=True))
            )
            changes = [
                (address_of(k), Record(1, revision=r)) for k, r in zip(keys, revisions, strict=True)
            ]
            await asyncio.gather(
                *(u.write([c], last=True) for u, c in zip(units, changes, strict=True))
            )
        assert len(made) <= 5
        assert await ask(lease_on("7"))

    async def test_fragments_in_two_tables_and_storages_are_written_all_or_none(self) -> None:
        storages = {
            address_of("42", "a"): DatabaseStorage().table,
            address_of("42", "b"): DatabaseStorage(using=DEFAULT).table,
        }
        lease = Lease(DEFAULT, list(storages))
        unit = DatabaseTransaction(DEFAULT, storages, lease=lease)
        assert await unit.read(list(storages)) == {}
        revisions = await unit.write([(address, Record(1)) for address in storages])
        changes = [
            (address, Record(2, revision=revision))
            for address, revision in zip(storages, [revisions[0], 1], strict=True)
        ]
        with pytest.raises(SessionConflict, match="fragment 'b'"):
            await unit.write(changes, last=True)
        assert {record.value for record in (await unit.read(list(storages))).values()} == {1}
        await unit.write([], last=True)
        assert await ask(Lease(DEFAULT, list(storages)))


class AmongProcesses(Base):
    async def test_e6_a_unit_waits_while_another_process_has_its_key(self) -> None:
        await self.store({"count": 1})
        theirs, unit = lease_on("42"), unit_on("42")
        assert await ask(theirs)
        read = asyncio.ensure_future(unit.read([address_of("42")]))
        await asyncio.sleep(0.1)
        assert not read.done()
        changed = await STORAGE.write(
            address_of("42"), Record({"count": 50}, revision=await self.revision())
        )
        await give_back(theirs)
        assert (await read)[address_of("42")] == Record({"count": 50}, revision=changed)

    async def test_e2_other_keys_do_not_wait(self) -> None:
        assert await ask(lease_on("42"))
        await asyncio.wait_for(unit_on("43").read([]), 20)

    async def test_e6_a_holder_that_was_killed_is_succeeded_when_its_lease_ends(self) -> None:
        with lasting(0.3):
            assert await ask(lease_on("42"))
        await asyncio.wait_for(unit_on("42").read([]), 20)

    async def test_e6_a_unit_that_outlives_its_lease_keeps_the_key(self) -> None:
        with lasting(1.0):
            unit = unit_on("42")
            await unit.read([])
            time.sleep(2)  # Not even the event loop goes on.  # noqa: ASYNC251
            assert not await ask(lease_on("42"))
            await unit.write([(address_of("42"), Record(1))], last=True)
        assert await self.stored() == 1

    async def test_e6_a_holder_that_was_cut_off_cannot_write(self) -> None:
        for number, successor_is_done in enumerate((False, True)):
            key = str(number)
            unit = unit_on(key)
            await unit.read([])
            await asyncio.to_thread(end_all_leases)
            theirs = lease_on(key)
            assert await ask(theirs)
            if successor_is_done:
                await give_back(theirs)
            for last in (False, True):
                with pytest.raises(SessionConflict, match="has gone to somebody else"):
                    await unit.write([(address_of(key), Record(1))], last=last)
            assert await self.stored(key) is None

    async def test_an_end_of_the_lease_that_nobody_has_noticed_is_no_conflict(self) -> None:
        unit = unit_on("42")
        await unit.read([])
        await asyncio.to_thread(end_all_leases)
        await unit.write([(address_of("42"), Record(1))], last=True)
        assert await self.stored() == 1

    async def test_whoever_waits_too_long_is_told(self) -> None:
        assert await ask(lease_on("42"))
        with pytest.raises(SessionLockTimeout, match="'42'"):
            await unit_on("42").read([], patience=0.05)

    async def test_e3_whoever_gives_up_leaves_nothing_behind(self) -> None:
        theirs, unit = lease_on("42"), unit_on("42")
        assert await ask(theirs)
        for seconds in (0, 0.05):
            read = asyncio.ensure_future(unit.read([]))
            await asyncio.sleep(seconds)
            read.cancel()
            with pytest.raises(asyncio.CancelledError):
                await read
            unit.give_up()
            unit = unit_on("42")
        await give_back(theirs)
        await asyncio.wait_for(unit.read([]), 20)

    async def test_e3_who_is_cancelled_while_the_lease_is_taken_gives_it_back(self) -> None:
        for turns in range(12):
            unit = unit_on("42")
            read = asyncio.ensure_future(unit.read([address_of("42")]))
            for _ in range(turns):
                await asyncio.sleep(0)
            read.cancel()
            await asyncio.wait([read])
            unit.give_up()
            other = lease_on("42")
            assert await ask_again_and_again(other)
            await give_back(other)

    async def test_what_is_given_up_is_free_soon(self) -> None:
        unit = unit_on("42")
        await unit.read([])
        unit.give_up()
        unit.give_up()
        assert await ask_again_and_again(lease_on("42"))

    async def test_a_key_that_is_handed_on_is_not_taken_again(self) -> None:
        lease = lease_on("42")
        first = unit_on("42", lease=lease)
        await first.read([])
        revisions = await first.write([(address_of("42"), Record(1))], last=True, hand_on=True)
        assert lease.handed_on
        second = unit_on("42", lease=lease)
        with statements() as made:
            assert (await second.read([address_of("42")]))[address_of("42")].value == 1
        assert made == ["SELECT session"]
        assert not await ask(lease_on("42"))
        await second.write([(address_of("42"), Record(2, revision=revisions[0]))], last=True)
        assert not lease.handed_on
        assert await ask_again_and_again(lease_on("42"))

    async def test_it_is_noted_since_when_a_holder_has_its_key(self) -> None:
        async def row() -> BotSessionLease:
            return await run(DEFAULT, BotSessionLease.objects.get)

        async def since() -> int:
            return (await row()).held_since

        async def set_back() -> None:
            await run(DEFAULT, lambda: BotSessionLease.objects.update(held_since=1))

        first = lease_on("42")
        assert await ask(first)
        taken, ends_at = await since(), (await row()).ends_at
        assert ends_at - taken == round(leases_table.LEASE_SECONDS * 1000)
        await set_back()
        waiting = lease_on("42")
        assert not await ask(waiting)
        await write_under(first)
        assert await since() == 1
        await give_back(first)
        assert await ask_again_and_again(waiting)
        assert await since() >= taken
        await set_back()
        unit = unit_on("42", lease=waiting)
        await unit.write([(address_of("42"), Record(1))], last=True, hand_on=True)
        assert await since() >= taken
        await give_back(waiting)

    async def test_what_was_handed_on_to_nobody_can_be_given_up(self) -> None:
        unit = unit_on("42")
        await unit.read([])
        await unit.write([(address_of("42"), Record(1))], last=True, hand_on=True)
        unit.give_up()
        assert await ask_again_and_again(lease_on("42"))


class Queues(Base):
    @who_waits_comes_again
    async def test_those_who_wait_are_served_in_order(self) -> None:
        first, *waiting = [lease_on("42") for _ in range(5)]
        assert await ask(first)
        for lease in waiting:
            assert not await ask(lease)
        await give_back(first)
        for lease in waiting:
            assert [await ask(other) for other in reversed(waiting)].count(True) <= 1
            assert lease.held
            await give_back(lease)
            waiting = [other for other in waiting if other is not lease]

    @who_waits_comes_again
    async def test_nobody_is_passed_by_more_than_fifty_others(self) -> None:
        for waiters in (1, 3):
            key = f"4{waiters}"
            first = lease_on(key)
            assert await ask(first)
            waiting = [lease_on(key) for _ in range(waiters)]
            for lease in waiting:
                assert not await ask(lease)
            await give_back(first)
            passed = 0
            for lease in waiting:
                while await ask(newcomer := lease_on(key)):
                    passed += 1
                    await give_back(newcomer)
                assert await ask_again_and_again(lease)
                await give_back(lease)
                assert 0 < passed <= leases_texts.MOST_PASSED

    @who_waits_comes_again
    async def test_nor_by_those_that_a_process_hands_its_key_on_to(self) -> None:
        theirs, lease, passed = lease_on("42"), lease_on("42"), 0
        while not lease.is_over:
            unit = unit_on("42", lease=lease)
            await unit.read([])
            if not passed:
                assert not await ask(theirs)
            await unit.write([], last=True, hand_on=True)
            passed += 1
        assert 1 < passed <= 1 + leases_texts.MOST_PASSED
        assert await ask_again_and_again(theirs)

    async def test_whoever_does_not_come_any_more_is_passed_over(self) -> None:
        first = lease_on("42")
        assert await ask(first)
        dead = [lease_on("42") for _ in range(3)]
        for lease in dead:
            assert not await ask(lease)
        alive = lease_on("42")
        assert not await ask(alive)
        await give_back(first)
        assert not await ask(alive)
        assert await ask_again_and_again(alive)

    async def test_several_keys_are_taken_together_or_not_at_all(self) -> None:
        theirs, both, other = lease_on("1"), lease_on("1", "2"), lease_on("2")
        assert await ask(theirs)
        assert not await ask(both)
        assert await ask(other)  # Nobody holds it while waiting for the other key.
        await give_back(other)
        assert not await ask(both)
        await give_back(theirs)
        assert await ask(both)

    async def test_e4_units_with_keys_in_common_do_not_wait_in_a_circle(self) -> None:
        async def hold(*keys: str) -> None:
            unit = unit_on(*keys)
            await unit.read(list(map(address_of, keys)))
            await unit.write([], last=True)

        keys = [("1", "2"), ("2", "3"), ("3", "1")] * 5
        await asyncio.wait_for(asyncio.gather(*(hold(*some) for some in keys)), 60)

    async def test_rows_that_were_deleted_meanwhile_do_no_harm(self) -> None:
        first, second = lease_on("42"), lease_on("42")
        assert await ask(first)
        assert not await ask(second)
        await asyncio.to_thread(delete_all_leases)
        assert await ask_again_and_again(second)
        with pytest.raises(SessionConflict):
            await write_under(first)

    async def test_a_clock_that_is_set_back_does_not_block_keys_that_nobody_holds(self) -> None:
        for waiting in (0, 2):
            lease = lease_on("42")
            assert await ask(lease)
            others = [lease_on("42") for _ in range(waiting)]
            for other in others:
                assert not await ask(other)
            unit = unit_on("42", lease=lease)
            await unit.write([], last=True)
            await asyncio.to_thread(set_clock_back)
            for other in others or [lease_on("42")]:
                assert await ask(other)
                await give_back(other)
                await asyncio.to_thread(set_clock_back)


def in_thread(function: Any) -> Any:
    """Close the thread's connections in the end."""

    def call(*args: Any) -> Any:
        try:
            return function(*args)
        finally:
            connections.close_all()

    return call


def in_thread_of_its_own(function: Any, *args: Any) -> Any:
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(in_thread(function), *args).result()


def ask_alone(lease: Lease) -> bool:
    mine = connections[DEFAULT]
    execute(mine, lease_table_of(mine).draw([lease]))
    return lease.held


@in_thread
def end_all_leases() -> None:
    BotSessionLease.objects.update(ends_at=F("ends_at") - 1000 * leases_table.LEASE_SECONDS)


@in_thread
def set_clock_back() -> None:
    """Have all rows say what they would if the clock had been set back by an hour."""
    BotSessionLease.objects.update(ends_at=F("ends_at") + 3_600_000)


@in_thread
def delete_all_leases() -> None:
    BotSessionLease.objects.all().delete()
