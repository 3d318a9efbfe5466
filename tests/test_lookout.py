"""Looking for what has come due: often enough, by an index, and beside what takes long."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from asgiref.sync import async_to_sync
from django.db import DatabaseError, connection
from django.test import TestCase, TransactionTestCase
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from botsessions import DatabaseStorage
from botsessions.lookout import Due, Lookout, NotNow, Watched
from botsessions.models import BotSession

from .test_storages import Nowhere

STORAGE = DatabaseStorage()


async def make(key: str, name: str = "job:a", ago: float = 1, bot: str = "shop") -> None:
    moment = timezone.now() - timedelta(seconds=ago)
    await BotSession.objects.acreate(bot=bot, name=name, key=key, data={}, expires_at=moment)


class Doing:
    """Does what is due by deleting it, unless it is told otherwise."""

    def __init__(self, *, name: str = "job:", begins: bool = True, seconds: float = 1) -> None:
        self.done: list[str] = []
        self.errors: list[BaseException] = []
        watched = Watched(STORAGE, name, self.do, seconds, begins)
        self.lookout = Lookout("shop", [watched])

    async def do(self, due: Due) -> None:
        self.done.append(due.key)
        if self.errors:
            raise self.errors.pop()
        await BotSession.objects.filter(pk=due.pk).adelete()


def test_it_looks_often_enough_for_the_most_urgent() -> None:
    for seconds, pause in (((0.1,), 0.2), ((2.0, 1.0), 1.0), ((360.0,), 5.0)):
        watched = [Watched(STORAGE, "a", Doing().do, one) for one in seconds]
        assert Lookout("shop", watched)._pause == pause


class Looking(TransactionTestCase):
    async def test_what_is_due_is_done_and_nothing_else(self) -> None:
        doing = Doing(name="job:a", begins=False)
        for row in (
            {"key": "1"},
            {"key": "2", "ago": 3600},
            {"key": "3", "ago": -60},
            {"key": "4", "name": "job:ab"},
            {"key": "5", "bot": "other"},
        ):
            await make(**row)
        assert not await doing.lookout.look()
        assert sorted(doing.done) == ["1", "2"]

    async def test_what_is_not_watched_any_more_is_left_alone(self) -> None:
        doing = Doing()
        await make("1")
        doing.lookout.unwatch("job:")
        assert not await doing.lookout.look()
        assert doing.done == []

    async def test_what_cannot_be_done_is_left_alone_for_a_while(self) -> None:
        doing = Doing()
        await make("1")
        doing.errors = [NotNow(0.05), ValueError("no")]
        with self.assertLogs("botsessions.lookout", "ERROR") as logs:
            await doing.lookout.look()
        assert "session '1' of fragment 'job:a' of bot 'shop'" in logs.output[0]
        await doing.lookout.look()
        assert doing.done == ["1"]
        with mock.patch("botsessions.lookout.FAILED_SECONDS", 0):
            other = Doing()
            other.errors = [NotNow(1), ValueError("no")]
            with self.assertLogs("botsessions.lookout", "ERROR"):
                await other.lookout.look()
            await other.lookout.look()
            await other.lookout.look()
            assert other.done == ["1", "1"]
            await asyncio.sleep(1.01)
            await other.lookout.look()
        assert other.done == ["1", "1", "1"]
        assert not await BotSession.objects.aexists()

    async def test_so_is_what_cancels_itself_and_all_goes_on(self) -> None:
        doing = Doing()
        await make("1")
        doing.errors = [asyncio.CancelledError()]
        with (
            mock.patch("botsessions.lookout.FAILED_SECONDS", 0),
            self.assertLogs("botsessions.lookout", "ERROR"),
        ):
            await doing.lookout.look()
        await doing.lookout.look()
        assert doing.done == ["1", "1"]

    async def test_a_whole_fragment_may_be_left_alone(self) -> None:
        doing = Doing()
        for n in range(3):
            await make(str(n))
        await make("other", name="job:b")
        doing.errors = [NotNow(whole_fragment=True)] * 3
        await doing.lookout.look()
        doing.done.clear()
        await make("new")
        await doing.lookout.look()
        assert doing.done == []

    async def test_it_can_be_told_of_more_while_it_runs(self) -> None:
        doing, other = Doing(name="job:a"), Doing()
        lookout = Lookout("shop", ())
        lookout.start()
        lookout.watch(Watched(STORAGE, "job:b", other.do, 1))
        lookout.watch(Watched(STORAGE, "job:b", doing.do, 1))
        await make("1", "job:b")
        for _ in range(50):
            await asyncio.sleep(0.1)
            if doing.done:
                break
        await lookout.stop()
        assert (doing.done, other.done) == (["1"], [])

    async def test_a_running_lookout_goes_on_beside_what_takes_long(self) -> None:
        going, seen = asyncio.Event(), asyncio.Event()

        async def do(due: Due) -> None:
            if due.key == "long":
                await going.wait()
            else:
                seen.set()
            await BotSession.objects.filter(pk=due.pk).adelete()

        lookout = Lookout("shop", [Watched(STORAGE, "job:", do, 0.2, begins=True)])
        await make("long")
        lookout.start()
        await asyncio.sleep(0.3)
        await make("short")
        await asyncio.wait_for(seen.wait(), 20)
        going.set()
        await lookout.stop()
        assert not await BotSession.objects.aexists()

    async def test_it_says_when_it_cannot_look_and_goes_on(self) -> None:
        doing = Doing(seconds=0.2)
        failing = mock.patch("botsessions.lookout.busy", side_effect=ValueError("no"))
        await make("1")
        with failing, self.assertLogs("botsessions.lookout", "ERROR") as logs:
            doing.lookout.start()
            while not logs.output:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        while not doing.done:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await doing.lookout.stop()
        assert "cannot look for what is due" in logs.output[0]

    async def test_where_one_table_cannot_be_looked_at_others_are(self) -> None:
        doing = Doing()
        broken = Watched(DatabaseStorage(model=Nowhere), "job:", doing.do, 1, begins=True)
        lookout = Lookout("shop", [broken, Watched(STORAGE, "job:", doing.do, 1, begins=True)])
        await make("1")
        with pytest.raises(DatabaseError):
            await lookout.look()
        assert doing.done == ["1"]
        await make("2")
        with self.assertLogs("botsessions.lookout", "ERROR"):
            lookout.start()
            while len(doing.done) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await lookout.stop()


class Cost(TestCase):
    async def test_nothing_to_look_for_costs_nothing(self) -> None:
        lookout = Lookout("shop", [])
        lookout.start()
        assert lookout._tasks == []
        await lookout.stop()

    def test_an_index_finds_what_has_come_due_lately(self) -> None:
        for n in range(300):
            async_to_sync(make)(str(n), name="", ago=3600 * n, bot=f"bot{n}")
        shelf = next(iter(Doing().lookout._shelves.values()))
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute("SET LOCAL enable_seqscan = off")
        with CaptureQueriesContext(connection) as queries:
            shelf._found(shelf._wanted(False), 50)
        sql: Any = queries.captured_queries[0]["sql"]
        explain = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
        with connection.cursor() as cursor:
            cursor.execute(f"{explain} {sql}")
            assert "botsession_expiry" in str(cursor.fetchall())
