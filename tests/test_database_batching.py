"""What waits at the same moment goes to the database together."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any
from unittest import IsolatedAsyncioTestCase, mock

import pytest
from django.db import DataError, OperationalError, connection, connections
from django.test import override_settings

from botsessions.database import batching
from botsessions.database.connections import close_databases
from botsessions.database.sessions_table import Table
from botsessions.database.storage import DatabaseStorage
from botsessions.exceptions import SessionConflict
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
        with mock.patch.object(batching, "MOST_REQUESTS", 8), statements() as made:
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
