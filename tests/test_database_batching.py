"""What waits at the same moment goes to the database together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from functools import partial
from typing import Any
from unittest import IsolatedAsyncioTestCase, mock

import pytest
from django.db import DataError, OperationalError, connection, connections
from django.test import SimpleTestCase, override_settings

from botsessions.database import batching as batching_module
from botsessions.database.batch import Locked
from botsessions.database.batching import Batching
from botsessions.database.changes import Change
from botsessions.database.connections import close_databases
from botsessions.database.lease import Lease
from botsessions.database.requests import Read, Request, Write
from botsessions.database.sessions_table import Table
from botsessions.database.storage import DatabaseStorage
from botsessions.exceptions import SessionConflict, SessionStorageError
from botsessions.models import BotSession
from botsessions.records import utcnow
from botsessions.storages import ANY, About, Address, Record

from .harness import left_to_collect
from .statements import noted_statements

PEOPLE = [Address("pizza", "", str(number)) for number in range(20)]


@pytest.mark.django_db(transaction=True)
class Batches(IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        self.addCleanup(close_databases)
        self.storage = DatabaseStorage()

    async def test_requests_of_one_moment_are_one_statement_of_each_kind(self) -> None:
        await self.storage.read(PEOPLE[0])  # Connects.
        with statements() as made:
            revisions = await self.write_all(None)
        assert made == ["INSERT"]
        with statements() as made:
            await asyncio.gather(*(self.storage.read(address) for address in PEOPLE))
        assert made == ["SELECT"]
        with statements() as made:
            await asyncio.gather(
                *(self.write(a, r) for a, r in list(revisions.items())[:10]),
                *(self.storage.delete(a, r) for a, r in list(revisions.items())[10:]),
                self.write(Address("pizza", "", "new"), None),
            )
        assert sorted(made) == ["DELETE", "INSERT", "UPDATE"]
        assert len(await self.stored()) == 11

    async def test_many_requests_of_one_moment_are_two_statements(self) -> None:
        """While a server is at one half, the event loop goes on with the other."""
        await self.storage.read(PEOPLE[0])  # Connects.
        with statements() as made:
            await asyncio.gather(*(self.storage.read(PEOPLE[i % 20]) for i in range(64)))
        assert made == ["SELECT"] * (1 if connection.vendor == "sqlite" else 2)

    async def test_requests_leave_nothing_to_the_garbage_collector(self) -> None:
        revisions = await self.write_all(None)
        with left_to_collect() as left:
            for address, revision in revisions.items():
                await self.write(address, revision)
            await asyncio.gather(*(self.storage.read(address) for address in PEOPLE))
        assert left == []

    async def test_renewals_of_one_moment_are_one_statement(self) -> None:
        revisions = await self.write_all(None)
        tomorrow = utcnow() + timedelta(days=1)
        attempts = revisions | {PEOPLE[3]: 1}
        with statements() as made:
            await asyncio.gather(
                *(
                    self.storage.renew(address, Record(None, None, tomorrow, revision))
                    for address, revision in attempts.items()
                ),
                self.storage.read(PEOPLE[0]),
            )
        made = [word for word in made if word not in ("SAVEPOINT", "RELEASE")]
        # Only PostgreSQL tells which rows it has changed, others how many.
        looked = [] if connection.vendor == "postgresql" else ["SELECT"]
        assert made == ["UPDATE", *looked, "SELECT"]
        stored = await self.stored()
        assert {a: record.revision for a, record in stored.items()} == revisions
        assert [stored[a].expires_at for a in PEOPLE] == [
            None if address is PEOPLE[3] else tomorrow for address in PEOPLE
        ]

    async def test_one_that_conflicts_does_not_fail_the_others(self) -> None:
        revisions = await self.write_all(None)
        for wrong in (1, None):
            attempts = {a: (wrong if a is PEOPLE[3] else r) for a, r in revisions.items()}
            outcomes = await asyncio.gather(
                *(self.write(a, r, value=2) for a, r in attempts.items()), return_exceptions=True
            )
            conflicts = [
                a for a, o in zip(PEOPLE, outcomes, strict=True) if isinstance(o, Exception)
            ]
            assert conflicts == [PEOPLE[3]]
            assert isinstance(outcomes[3], SessionConflict)
            assert "'3'" in str(outcomes[3])
            outcomes[3] = (await self.read(PEOPLE[3])).revision
            revisions = dict(zip(PEOPLE, outcomes, strict=True))
            assert (await self.read(PEOPLE[3])).value == 1
            assert (await self.read(PEOPLE[4])).value == 2

    async def test_one_that_the_database_refuses_does_not_fail_the_others(self) -> None:
        long = Address("pizza", "", "k" * 256)
        outcomes = await asyncio.gather(
            *(self.write(a, None) for a in [*PEOPLE, long]), return_exceptions=True
        )
        refused = [a for a, o in zip([*PEOPLE, long], outcomes, strict=True) if refuses(o)]
        assert refused == ([] if connection.vendor == "sqlite" else [long])  # It has no limit.
        assert len(await self.stored()) == 20

    async def test_a_key_that_is_none_fails_alone(self) -> None:
        wrong: Any = Address("pizza", "", [])  # type: ignore[arg-type]
        outcomes = await asyncio.gather(
            self.storage.write(wrong, Record(1)),
            self.storage.write(PEOPLE[0], Record(1)),
            return_exceptions=True,
        )
        assert [type(outcome) for outcome in outcomes] == [TypeError, int]

    async def test_writes_of_one_address_go_one_after_another(self) -> None:
        outcomes = await asyncio.gather(
            *(self.write(PEOPLE[0], ANY, value=number) for number in range(5)),
            self.write(PEOPLE[0], None),
            return_exceptions=True,
        )
        assert [type(outcome) for outcome in outcomes] == [int] * 5 + [SessionConflict]
        assert (await self.read(PEOPLE[0])).value == 4

    async def test_changes_of_one_request_are_all_made_or_none(self) -> None:
        revisions = await self.write_all(None)
        changes = [(a, Record(2, revision=r)) for a, r in revisions.items()]
        changes[7] = (PEOPLE[7], Record(2, revision=1))
        beside = self.write(Address("pizza", "", "beside"), None)
        outcomes = await asyncio.gather(
            self.storage.write_many(changes), beside, return_exceptions=True
        )
        assert [type(outcome) for outcome in outcomes] == [SessionConflict, int]
        assert {record.value for record in (await self.stored()).values()} == {1}

    async def test_changes_of_one_request_are_one_statement_of_each_kind(self) -> None:
        revisions = await self.write_all(None)
        changes = [(a, Record(2, revision=r)) for a, r in list(revisions.items())[:3]]
        changes += [(a, Record(None, revision=r)) for a, r in list(revisions.items())[3:6]]
        changes += [(Address("pizza", "more", str(n)), Record(3)) for n in range(3)]
        changes += [(Address("pizza", "any", str(n)), Record(3, revision=ANY)) for n in range(3)]
        with statements() as made:
            await self.storage.write_many(changes)
        # Of the deletion it is looked whether anything is left.
        assert sorted(made) == ["DELETE", "INSERT", "INSERT", "SELECT", "UPDATE"]

    async def test_all_columns_arrive(self) -> None:
        about = About(-5, 7, "group", "Ümläut 🍕")
        records = [Record({"n": n}, revision=None, about=about) for n in range(3)]
        await asyncio.gather(
            *(self.storage.write(a, r) for a, r in zip(PEOPLE, records, strict=False))
        )
        stored = [await self.read(address) for address in PEOPLE[:3]]
        await asyncio.gather(
            *(
                self.storage.write(
                    a, Record({"m": r.value}, revision=r.revision, about=About(chat_id=-6))
                )
                for a, r in zip(PEOPLE, stored, strict=False)
            )
        )
        rows = await asyncio.to_thread(all_rows)
        for number, row in enumerate(rows):
            assert row.data == {"m": {"n": number}}
            assert (row.chat_id, row.user_id, row.chat_type, row.title) == (
                -6,
                7,
                "group",
                about.title,
            )
            assert row.size == len('{"m":{"n":0}}')
            assert row.expires_at is None
            assert row.created_at < row.updated_at

    async def test_whoever_gives_up_does_not_stop_the_others(self) -> None:
        one = asyncio.ensure_future(self.storage.read(PEOPLE[0]))
        other = asyncio.ensure_future(self.storage.read(PEOPLE[1]))
        await asyncio.sleep(0)
        one.cancel()
        assert await other is None

    async def test_a_batch_is_not_without_end(self) -> None:
        await self.storage.read(PEOPLE[0])  # Connects.
        with mock.patch.object(batching_module, "MOST_REQUESTS", 8), statements() as made:
            await asyncio.gather(*(self.storage.read(address) for address in PEOPLE))
        assert made == ["SELECT"] * 3

    async def test_an_error_that_stays_is_raised_to_all_in_the_end(self) -> None:
        gone = OperationalError("could not connect")
        with (
            mock.patch.object(Table, "reading", side_effect=gone),
            override_settings(BOTSESSIONS={"RETRY_SECONDS": 0.1}),
        ):
            outcomes = await asyncio.gather(
                *(self.storage.read(address) for address in PEOPLE), return_exceptions=True
            )
        assert {type(outcome) for outcome in outcomes} == {OperationalError}
        assert await self.storage.read(PEOPLE[0]) is None

    async def write(self, address: Address, revision: Any, value: Any = 1) -> int:
        return await self.storage.write(address, Record(value, revision=revision))

    async def write_all(self, revision: Any) -> dict[Address, int]:
        outcomes = await asyncio.gather(*(self.write(address, revision) for address in PEOPLE))
        return dict(zip(PEOPLE, outcomes, strict=True))

    async def read(self, address: Address) -> Record:
        record = await self.storage.read(address)
        assert record is not None
        return record

    async def stored(self) -> dict[Address, Record]:
        names = [*PEOPLE, *(Address("pizza", "", key) for key in ("new", "beside"))]
        return await self.storage.read_many(names)


def refuses(outcome: Any) -> bool:
    return isinstance(outcome, DataError)


def all_rows() -> list[BotSession]:
    try:
        return list(BotSession.objects.order_by("key"))
    finally:
        connections.close_all()


def statements() -> AbstractContextManager[list[str]]:
    """Note the first words of all statements."""
    return noted_statements(lambda sql: sql.split()[0])


class Driver:
    """Answers each batch when it is told to, or at once."""

    retries = True

    def __init__(self, *errors: Any) -> None:
        self.batches: list[list[Request]] = []
        self.errors = list(errors)
        """What requests come to, in turn; then there are no more errors."""
        self.waits = False
        self.go_on: list[Callable[[], None]] = []

    def carry_out(self, requests: Sequence[Request], done: Any) -> None:
        self.batches.append(list(requests))
        outcomes = [self.errors.pop(0) if self.errors else "done" for _ in requests]
        loop = asyncio.get_running_loop()
        answer = partial(loop.call_soon, done, outcomes, None)
        if self.waits:
            self.go_on.append(answer)
        else:
            answer()


LOST = OperationalError("could not connect")
TABLE = Table(BotSession, "default")


def reading(*addresses: Address, lease: Lease | None = None) -> Read:
    return Read({TABLE: addresses}, lease)


def writing(address: Address, value: Any = 1) -> Write:
    return Write({TABLE: [Change(address, Record(value), 7)]})


class Gathering(SimpleTestCase):
    """With a driver that does nothing: what goes when, and again."""

    def batching(self, *errors: Any) -> tuple[Driver, Batching]:
        driver = Driver(*errors)
        return driver, Batching("default", driver)

    async def test_what_is_requested_at_one_moment_goes_together_in_order(self) -> None:
        driver, batching = self.batching()
        requests = [reading(address) for address in PEOPLE[:5]]
        assert await asyncio.gather(*map(batching.request, requests)) == ["done"] * 5
        assert driver.batches == [requests]

    async def test_while_one_is_under_way_the_next_gathers(self) -> None:
        driver, batching = self.batching()
        driver.waits = True
        one, two, three = [reading(address) for address in PEOPLE[:3]]
        futures = [batching.request(one)]
        await asyncio.sleep(0)
        futures += [batching.request(two), batching.request(three)]
        await asyncio.sleep(0)
        assert driver.batches == [[one]]
        driver.waits = False
        driver.go_on[0]()
        await asyncio.gather(*futures)
        assert driver.batches == [[one], [two, three]]
        await batching.request(one)
        assert driver.batches[2:] == [[one]]

    async def test_of_many_a_server_gets_half_first(self) -> None:
        driver, batching = self.batching()
        await asyncio.gather(*(batching.request(reading(PEOPLE[0])) for _ in range(33)))
        await asyncio.gather(*(batching.request(reading(PEOPLE[0])) for _ in range(31)))
        sizes = [33, 31] if connection.vendor == "sqlite" else [16, 17, 31]
        assert list(map(len, driver.batches)) == sizes

    async def test_a_batch_is_limited_in_requests_and_bytes(self) -> None:
        driver, batching = self.batching()
        with mock.patch.object(batching_module, "MOST_REQUESTS", 3):
            await asyncio.gather(*(batching.request(reading(PEOPLE[0])) for _ in range(7)))
        assert list(map(len, driver.batches)) == [3, 3, 1]
        driver.batches.clear()
        with mock.patch.object(batching_module, "MOST_BYTES", 100):
            sizes = (38, 58, 60, 200, 10)  # And two quotes each.
            writes = [writing(a, "x" * n) for a, n in zip(PEOPLE, sizes, strict=False)]
            await asyncio.gather(*map(batching.request, writes))
        one, two, three, four, five = writes
        assert driver.batches == [[one, two], [three], [four], [five]]

    async def test_a_second_write_of_an_address_waits_and_the_others_go(self) -> None:
        driver, batching = self.batching()
        one, again, other = writing(PEOPLE[0]), writing(PEOPLE[0], 2), writing(PEOPLE[1])
        await asyncio.gather(*map(batching.request, (one, again, other)))
        assert driver.batches == [[one, other], [again]]

    async def test_what_has_lost_its_connection_goes_again_and_may_have_landed(self) -> None:
        driver, batching = self.batching(LOST)
        write, read = writing(PEOPLE[0]), reading(PEOPLE[0])
        assert await asyncio.gather(*map(batching.request, (write, read))) == ["done"] * 2
        assert driver.batches == [[write, read], [write]]
        assert write.tried
        assert not write.met_lock

    async def test_what_has_met_a_lock_goes_again_without_the_others(self) -> None:
        driver, batching = self.batching(Locked(LOST))
        write = writing(PEOPLE[0])
        future = batching.request(write)
        await asyncio.sleep(0)
        behind, other = writing(PEOPLE[0], 2), writing(PEOPLE[1])
        assert await asyncio.gather(future, *map(batching.request, (behind, other))) == ["done"] * 3
        assert driver.batches[0] == [write]
        assert [write] in driver.batches[1:]
        assert driver.batches.index([behind]) > driver.batches.index([write], 1)
        assert not write.tried

    async def test_one_that_fails_for_good_fails_alone(self) -> None:
        driver, batching = self.batching(SessionConflict("changed"), "done", DataError("too long"))
        outcomes = await asyncio.gather(
            *(batching.request(writing(address)) for address in PEOPLE[:4]), return_exceptions=True
        )
        assert [type(outcome) for outcome in outcomes] == [SessionConflict, str, DataError, str]
        assert len(driver.batches) == 1
        assert await batching.request(writing(PEOPLE[0])) == "done"  # Its address is free.

    async def test_where_nothing_may_be_tried_again_the_error_is_raised(self) -> None:
        for error, kind in ((LOST, OperationalError), (Locked(LOST), OperationalError)):
            driver, batching = self.batching(error)
            driver.retries = False
            with pytest.raises(kind, match="could not connect"):
                await batching.request(reading(PEOPLE[0]))
            assert len(driver.batches) == 1

    @override_settings(BOTSESSIONS={"RETRY_SECONDS": 0})
    async def test_what_stays_locked_names_its_session(self) -> None:
        _, batching = self.batching(Locked(LOST))
        with pytest.raises(
            SessionStorageError, match="session '0' of bot 'pizza' locked"
        ) as caught:
            await batching.request(reading(PEOPLE[0]))
        assert caught.value.__cause__ is LOST
        _, batching = self.batching(LOST)
        with pytest.raises(OperationalError, match="could not connect"):
            await batching.request(reading(PEOPLE[0]))

    async def test_a_driver_that_cannot_even_begin_fails_what_it_was_given(self) -> None:
        class Broken(Driver):
            def carry_out(self, requests: Sequence[Request], done: Any) -> None:
                raise RuntimeError("can't start new thread")

        batching = Batching("default", Broken())
        with pytest.raises(RuntimeError, match="new thread"):
            await batching.request(reading(PEOPLE[0]))
        batching.driver = Driver()
        assert await batching.request(reading(PEOPLE[0])) == "done"

    async def test_a_read_that_nobody_waits_for_is_left_out_and_a_write_is_not(self) -> None:
        driver, batching = self.batching()
        lease = Lease("default", PEOPLE[:1])
        read, write = reading(PEOPLE[0], lease=lease), writing(PEOPLE[1])
        futures = [batching.request(read), batching.request(write)]
        assert (lease.asking, lease.was_asked_for) == (1, True)
        for future in futures:
            future.cancel()
        assert await futures[1] == "done"
        assert driver.batches == [[write]]
        assert lease.asking == 0
        await batching.request(reading(PEOPLE[0], lease=lease))
        assert lease.asking == 0
