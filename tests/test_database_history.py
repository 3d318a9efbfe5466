"""``DatabaseStorage(history=…)``: the last versions of each session, written with its saves."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from unittest import IsolatedAsyncioTestCase, mock

import pytest
from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext
from telegram.ext import CommandHandler, MessageHandler

from botsessions import DatabaseStorage, enhance_storage, session
from botsessions.database import history
from botsessions.database.connections import close_databases, run
from botsessions.database.lease import Lease
from botsessions.database.transaction import DatabaseTransaction
from botsessions.exceptions import SessionConflict
from botsessions.models import BotSession, HistoryEntry
from botsessions.records import ANY
from botsessions.storages import Address, Record
from botsessions.testing import BotClient

from .harness import building
from .statements import noted_statements

STORAGE = DatabaseStorage(history=3)
MARIA = Address("pizza", "", "5")


def always_trimmed(divisor: int = 1) -> Any:
    return mock.patch.object(history, "TRIMMED_ONCE_IN", divisor)


def never_trimmed() -> Any:
    return always_trimmed(2**62)


def entries(**which: Any) -> list[tuple[Any, str]]:
    found = HistoryEntry.objects.filter(**which).order_by("pk")
    return [(json.loads(entry.data), entry.by) for entry in found]


@pytest.mark.django_db(transaction=True)
class Storage(IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        self.addCleanup(close_databases)

    async def past(self, **which: Any) -> list[Any]:
        return [data for data, _ in await run("default", lambda: entries(**which))]

    async def test_each_save_is_a_version_whatever_makes_it(self) -> None:
        with never_trimmed():
            revision = await STORAGE.write(MARIA, Record({"n": 1}))
            revision = await STORAGE.write(MARIA, Record({"n": 2}, revision=revision))
            await STORAGE.write(MARIA, Record({"n": 3}, revision=ANY))
        assert await self.past() == [{"n": 1}, {"n": 2}, {"n": 3}]
        stored = await STORAGE.read(MARIA)
        newest = await run("default", lambda: HistoryEntry.objects.latest("pk"))
        assert stored is not None
        assert newest.revision == stored.revision

    async def test_what_conflicts_leaves_nothing(self) -> None:
        await STORAGE.write(MARIA, Record({"n": 1}))
        for revision in (1, None):
            with pytest.raises(SessionConflict):
                await STORAGE.write(MARIA, Record({"n": 2}, revision=revision))
        assert await self.past() == [{"n": 1}]

    async def test_many_at_once_are_noted_each_of_its_own_session(self) -> None:
        addresses = [Address("pizza", "", str(n)) for n in range(20)]
        with never_trimmed():
            revisions = await asyncio.gather(
                *(STORAGE.write(a, Record({"n": 0})) for a in addresses)
            )
            changes = zip(addresses, revisions, strict=True)
            await asyncio.gather(
                *(STORAGE.write(a, Record({"n": int(a.key)}, revision=r)) for a, r in changes)
            )
            changes = [(a, Record({"n": -int(a.key)}, revision=ANY)) for a in addresses]
            await STORAGE.write_many(changes)
        for address in addresses:
            number = int(address.key)
            found = await run("default", lambda key=address.key: of_key(key))
            assert found == [{"n": 0}, {"n": number}, {"n": -number}]

    async def test_only_the_last_are_kept(self) -> None:
        with always_trimmed():
            for number in range(6):
                await STORAGE.write(MARIA, Record({"n": number}, revision=ANY))
            await STORAGE.write_many(
                [(MARIA, Record({"n": 6}, revision=ANY)), (MARIA._replace(key="6"), Record({}))]
            )
        assert await run("default", lambda: of_key("5")) == [{"n": 4}, {"n": 5}, {"n": 6}]
        assert await run("default", lambda: of_key("6")) == [{}]

    async def test_they_go_with_the_session_and_with_no_other(self) -> None:
        revision = await STORAGE.write(MARIA, Record({"n": 1}))
        await STORAGE.write(MARIA._replace(key="6"), Record({"n": 6}))
        with pytest.raises(SessionConflict):
            await STORAGE.delete(MARIA, 1)
        assert await self.past() == [{"n": 1}, {"n": 6}]
        await STORAGE.delete(MARIA, revision)
        assert await self.past() == [{"n": 6}]
        await STORAGE.delete(MARIA, revision)
        await STORAGE.delete(MARIA._replace(key="6"), ANY)
        assert await self.past() == []
        await STORAGE.write(MARIA, Record({"n": 2}))
        await STORAGE.write(MARIA._replace(key="6"), Record({"n": 3}))
        found = [MARIA, MARIA._replace(key="6")]
        await STORAGE.write_many([(address, Record(None, revision=ANY)) for address in found])
        assert await self.past() == []

    async def test_a_renewal_is_no_version(self) -> None:
        revision = await STORAGE.write(MARIA, Record({"n": 1}))
        await STORAGE.renew(MARIA, Record({"n": 1}, revision=revision))
        assert await self.past() == [{"n": 1}]

    async def test_a_save_under_a_lease_is_noted_in_its_transaction(self) -> None:
        lease = Lease("default", [MARIA])
        unit = DatabaseTransaction("default", {MARIA: STORAGE.table}, lease=lease, by="update:7")
        await unit.read([MARIA])
        await unit.write([(MARIA, Record({"n": 1}))], last=True)
        assert await run("default", entries) == [({"n": 1}, "update:7")]

    async def test_changes_that_cannot_all_be_made_leave_nothing(self) -> None:
        revision = await STORAGE.write(MARIA, Record({"n": 1}))
        good = (MARIA, Record({"n": 2}, revision=revision))
        for bad in (Record({"n": 3}, revision=1), Record(None, revision=1)):
            await STORAGE.write(MARIA._replace(key="6"), Record({"n": 6}, revision=ANY))
            past = await self.past()
            with pytest.raises(SessionConflict):
                await STORAGE.write_many([good, (MARIA._replace(key="6"), bad)])
            assert await self.past() == past

    async def test_under_a_lease_too_it_is_no_statement_more_on_postgresql(self) -> None:
        revision = await STORAGE.write(MARIA, Record({"n": 1}))
        unit = DatabaseTransaction(
            "default", {MARIA: STORAGE.table}, lease=Lease("default", [MARIA])
        )
        await unit.read([MARIA])
        with never_trimmed(), noted_statements(lambda sql: sql.split()[0]) as made:
            await unit.write([(MARIA, Record({"n": 2}, revision=revision))], last=True)
        noting = [] if connection.vendor == "postgresql" else ["INSERT"]
        assert made == ["UPDATE", "UPDATE", *noting]

    async def test_without_history_nothing_is_kept(self) -> None:
        await DatabaseStorage().write(MARIA, Record({"n": 1}))
        assert await self.past() == []


def of_key(key: str) -> list[Any]:
    return [data for data, _ in entries(session_id=BotSession.objects.get(key=key).pk)]


def counting() -> dict[str, int]:
    return {"count": 0}


async def count(update: Any, context: Any) -> None:
    context.session["count"] += 1


async def forget(update: Any, context: Any) -> None:
    del context.session


class Bots(TestCase):
    def test_it_is_said_by_whom(self) -> None:
        declared = session(initial=counting, storage=enhance_storage(STORAGE))
        build = building(declared, CommandHandler("go", count), CommandHandler("stop", forget))
        maria = BotClient(build=build).user(id=5)
        maria.send("/go")
        maria.send("/go")
        (first, one), (second, two) = entries()
        assert (first, second) == ({"count": 1}, {"count": 2})
        assert one.startswith("update:")
        assert two == f"update:{int(one.partition(':')[2]) + 1}"
        with declared.edit(bot="1", chat=5) as data:
            data["count"] = 40
        assert entries()[-1] == ({"count": 40}, "")
        maria.send("/stop")
        assert entries() == []

    def test_whatever_a_job_is_called_its_session_is_saved(self) -> None:
        async def run_job(update: Any, context: Any) -> None:
            name = update.message.text
            job = context.job_queue.run_once(count_in_job, 3600, name=name, chat_id=6)
            await job.run(context.application)

        async def count_in_job(context: Any) -> None:
            context.session["count"] += 1

        build = building(session(initial=counting, storage=STORAGE), MessageHandler(None, run_job))
        maria = BotClient(build=build).user(id=5)
        for name in ("напомнить 🍕 " * 40, "with\0NUL", "lone \ud800"):
            maria.send(name)
        data, by = zip(*entries(by__startswith="job:"), strict=True)
        assert data == ({"count": 1}, {"count": 2}, {"count": 3})
        assert [len(by[0]), *by[1:]] == [100, "job:with?NUL", "job:lone ?"]

    def test_on_postgresql_it_is_the_same_statement(self) -> None:
        build = building(session(initial=counting, storage=STORAGE), CommandHandler("go", count))
        maria = BotClient(build=build).user(id=5)
        maria.send("/go")
        with never_trimmed(), CaptureQueriesContext(connection) as queries:
            maria.send("/go")
        made = [query["sql"].split()[0] for query in queries.captured_queries]
        if connection.vendor == "postgresql":
            assert made == ["SELECT", "WITH"]
        else:
            assert [word for word in made if "SAVEPOINT" not in word and word != "RELEASE"] == [
                *("SELECT", "UPDATE", "INSERT")
            ]


@pytest.mark.parametrize("wrong", [-1, True, "20", 1.5])
def test_a_wrong_number_is_refused(wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="history must be a number of versions"):
        DatabaseStorage(history=wrong)


def test_storages_with_other_histories_are_others() -> None:
    assert DatabaseStorage(history=20) == DatabaseStorage(history=20)
    assert DatabaseStorage(history=20) != DatabaseStorage()
    assert "history=20" in repr(DatabaseStorage(history=20))
