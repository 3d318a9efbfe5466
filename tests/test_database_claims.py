"""Claims on updates: who handles one, once, whatever is killed, suspended or cut off (rule E11)."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any
from unittest import IsolatedAsyncioTestCase, mock

import pytest
from django.db import connection, connections, transaction
from django.db.models import F

from botsessions.database import claims, leases_table
from botsessions.database.claims import AlreadyHandled, Claim, ClaimedElsewhere
from botsessions.database.connections import close_databases
from botsessions.database.keeper import keeper_of
from botsessions.database.lease import Lease
from botsessions.database.storage import DatabaseStorage
from botsessions.database.transaction import DatabaseTransaction, note_handled
from botsessions.exceptions import SessionConflict
from botsessions.models import HandledUpdate
from botsessions.storages import Address, Record

from .locked import eventually
from .proxy import between
from .statements import noted_statements

MARIA = Address("pizza", "", "42")


def in_thread(function: Any) -> Any:
    async def call(*args: Any) -> Any:
        def work() -> Any:
            try:
                return function(*args)
            finally:
                connections.close_all()

        return await asyncio.to_thread(work)

    return call


@in_thread
def lapse_all() -> None:
    """Have the database's clock go on until all claims have lapsed."""
    HandledUpdate.objects.update(claimed_until=F("claimed_until") - 11_000)


@in_thread
def age_all(seconds: int) -> None:
    """Have the database's clock go on since updates were handled."""
    HandledUpdate.objects.update(handled_at=F("handled_at") - seconds * 1000)


@in_thread
def lock_all(locked: threading.Event, end: threading.Event) -> None:
    """Keep all claims locked from one moment to another."""
    with transaction.atomic():
        HandledUpdate.objects.update(claimed_until=F("claimed_until"))
        locked.set()
        end.wait(30)


@in_thread
def rows() -> int:
    return HandledUpdate.objects.count()


def work_of(sql: str) -> str:
    tables = {"botsessionlease": "lease", "handledupdate": "claim", "botsession": "session"}
    return f"{sql.split()[0]} {next((w for t, w in tables.items() if t in sql), '')}".strip()


@pytest.mark.django_db(transaction=True)
class Claims(IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        self.addCleanup(close_databases)
        self.storage = DatabaseStorage()

    def unit(self, claim: Claim | None = None, *, leased: bool = True) -> DatabaseTransaction:
        lease = Lease("default", [MARIA]) if leased else None
        claim = claim or Claim("pizza", 1001)
        return DatabaseTransaction("default", {MARIA: self.storage.table}, lease=lease, claim=claim)

    async def count(self, unit: DatabaseTransaction) -> None:
        """Do what an update does."""
        await self.save(unit, (await unit.read([MARIA])).get(MARIA))

    async def save(self, unit: DatabaseTransaction, record: Record | None) -> None:
        record = record or Record(0)
        value: Any = record.value
        await unit.write([(MARIA, Record(value + 1, revision=record.revision))], last=True)

    async def counted(self) -> Any:
        found = await self.storage.read(MARIA)
        return found and found.value

    async def test_a_claim_rides_with_the_read_and_the_note_with_the_write(self) -> None:
        await self.count(self.unit(Claim("pizza", 1)))
        for leased in (True, False):
            unit = self.unit(Claim("pizza", 2 + leased), leased=leased)
            with noted_statements(work_of) as made:
                await self.count(unit)
            lease = ["lease"] if leased else []
            reading = [*[f"INSERT {x}" for x in lease], "INSERT claim", "SELECT session"]
            writing = [*[f"UPDATE {x}" for x in lease], "UPDATE claim", "UPDATE session"]
            assert made == [*reading, *writing]
        assert await self.counted() == 3

    async def test_e11_an_update_that_is_delivered_again_changes_nothing(self) -> None:
        await self.count(self.unit())
        for leased in (True, False):
            with pytest.raises(AlreadyHandled):
                await self.unit(leased=leased).read([MARIA])
        assert await self.counted() == 1

    async def test_e11_somebody_else_handles_it(self) -> None:
        first, second = self.unit(), self.unit(leased=False)
        await first.read([MARIA])
        with pytest.raises(ClaimedElsewhere) as told:
            await second.read([MARIA])
        assert 5 < told.value.seconds <= claims.CLAIM_SECONDS
        await self.save(first, None)
        with pytest.raises(AlreadyHandled):
            await second.read([MARIA])

    async def test_e11_of_two_at_the_same_moment_one_gets_it(self) -> None:
        units = [self.unit(leased=False) for _ in range(3)]
        found = await asyncio.gather(*(u.read([MARIA]) for u in units), return_exceptions=True)
        assert sorted(type(outcome).__name__ for outcome in found) == [
            *["ClaimedElsewhere"] * 2,
            "dict",
        ]

    async def test_e11_who_was_suspended_for_long_cannot_write(self) -> None:
        """Another has taken the claim over, and handled the update or not yet."""
        for number, leased in enumerate((True, False)):
            for is_done in (False, True):
                update_id = 10 * number + is_done
                before = await self.counted()
                suspended = self.unit(Claim("pizza", update_id), leased=False)
                record = (await suspended.read([MARIA])).get(MARIA)
                await lapse_all()
                other = self.unit(Claim("pizza", update_id), leased=leased)
                if is_done:
                    await self.count(other)
                else:
                    await other.read([MARIA])
                with pytest.raises(SessionConflict, match="gone to another process"):
                    await self.save(suspended, record)
                assert await self.counted() == ((before or 0) + 1 if is_done else before)
                other.give_up()

    async def test_e11_who_was_suspended_before_its_turn_does_not_begin(self) -> None:
        theirs = Lease("default", [MARIA])
        await DatabaseTransaction("default", {}, lease=theirs).read([])
        claim = Claim("pizza", 1001)
        read = asyncio.ensure_future(self.unit(claim).read([MARIA]))
        await eventually(lambda: claim.is_had)
        keeper_of("default").let_go(claim)  # Nobody renews it: the process is suspended.
        await lapse_all()
        await self.count(self.unit(Claim("pizza", 1001), leased=False))
        claim.until = time.monotonic() - 1
        theirs.give_up()
        with pytest.raises(AlreadyHandled):
            await asyncio.wait_for(read, 30)

    async def test_e6_a_lease_that_went_with_a_claim_that_was_locked_is_taken_again(self) -> None:
        await self.unit(Claim("pizza", 1), leased=False).read([])
        await lapse_all()
        locked, end = threading.Event(), threading.Event()
        locking = asyncio.create_task(lock_all(locked, end))
        await asyncio.to_thread(locked.wait)
        unit = self.unit(Claim("pizza", 1))
        read = asyncio.ensure_future(unit.read([MARIA]))
        await asyncio.sleep(0.2)  # It is tried, and tried again.
        end.set()
        await locking
        await self.save(unit, (await asyncio.wait_for(read, 30)).get(MARIA))
        assert await self.counted() == 1

    async def test_a_conflict_notes_nothing(self) -> None:
        revision = await self.storage.write(MARIA, Record(5))
        unit = self.unit()
        await unit.read([MARIA])
        await self.storage.write(MARIA, Record(6, revision=revision))
        with pytest.raises(SessionConflict, match="was changed or deleted"):
            await unit.write([(MARIA, Record(7, revision=revision))], last=True)
        await lapse_all()
        await self.unit(leased=False).read([MARIA])  # Nobody has handled it.

    async def test_what_is_saved_early_is_not_noted(self) -> None:
        unit = self.unit()
        await unit.read([MARIA])
        (revision,) = await unit.write([(MARIA, Record(1))])
        with pytest.raises(ClaimedElsewhere):
            await self.unit(leased=False).read([])
        await unit.write([(MARIA, Record(2, revision=revision))], last=True)
        with pytest.raises(AlreadyHandled):
            await self.unit(leased=False).read([])

    async def test_updates_that_change_nothing_are_noted_together(self) -> None:
        many = [Claim(bot, number) for bot in ("pizza", "pasta") for number in range(10)]
        units = [DatabaseTransaction("default", {}, claim=claim) for claim in many]
        await self.counted()  # Connects.
        with noted_statements(work_of) as made:
            await asyncio.gather(*(unit.read([]) for unit in units))
        assert made == ["INSERT claim"]
        with noted_statements(work_of) as made:
            assert await asyncio.gather(*map(note_handled, many)) == [True] * 20
        assert made == ["UPDATE claim"]
        for claim in many:
            with pytest.raises(AlreadyHandled):
                again = Claim(claim.bot, claim.update_id)
                await DatabaseTransaction("default", {}, claim=again).read([])

    async def test_who_notes_what_others_have_is_told(self) -> None:
        first, second, mine = Claim("pizza", 1), Claim("pizza", 1), Claim("pizza", 2)
        for claim in (first, mine):
            await DatabaseTransaction("default", {}, claim=claim).read([])
        await lapse_all()
        await DatabaseTransaction("default", {}, claim=second).read([])
        assert await asyncio.gather(note_handled(first), note_handled(mine)) == [False, True]
        assert await note_handled(second)

    async def test_one_that_is_handled_already_does_not_stop_the_others(self) -> None:
        await self.count(self.unit(Claim("pizza", 5)))
        units = [DatabaseTransaction("default", {}, claim=Claim("pizza", n)) for n in range(10)]
        found = await asyncio.gather(*(unit.read([]) for unit in units), return_exceptions=True)
        assert [isinstance(outcome, AlreadyHandled) for outcome in found] == [
            number == 5 for number in range(10)
        ]

    async def test_what_was_handled_long_ago_does_not_swallow_a_new_update(self) -> None:
        await self.count(self.unit())
        await age_all(25 * 3600)
        await self.count(self.unit())
        assert await self.counted() == 2
        with pytest.raises(AlreadyHandled):
            await self.unit(leased=False).read([])
        assert await rows() == 1

    async def test_who_gives_up_lets_others_handle_it(self) -> None:
        claim = Claim("pizza", 1001)
        await self.unit(claim, leased=False).read([])
        claim.give_up()
        claim.give_up()
        for _ in range(100):
            try:
                await self.unit(leased=False).read([])
            except ClaimedElsewhere:
                await asyncio.sleep(0.02)
            else:
                return
        raise AssertionError("Nobody can have it.")

    async def test_a7_claims_are_renewed_whatever_the_event_loop_does(self) -> None:
        with (
            mock.patch.object(claims, "CLAIM_SECONDS", 1.0),
            mock.patch.object(leases_table, "LEASE_SECONDS", 1.0),
        ):
            unit = self.unit()
            record = (await unit.read([MARIA])).get(MARIA)
            time.sleep(2)  # noqa: ASYNC251
            with pytest.raises(ClaimedElsewhere):
                await self.unit(leased=False).read([])
            await self.save(unit, record)

    async def test_a5_a_save_whose_answer_was_lost_is_known_by_its_note(self) -> None:
        """Even if somebody else has changed the session since."""
        if connection.vendor == "sqlite":
            self.skipTest("There is no answer to lose.")
        with between() as proxy:
            unit = self.unit()
            record = (await unit.read([MARIA])).get(MARIA)
            proxy.swallow_an_answer()
            save = asyncio.ensure_future(self.save(unit, record))
            await asyncio.to_thread(proxy.swallowed.wait, 10)
            await save
            assert await self.counted() == 1
