"""Awaitables that were assigned to a lazy session: rule C5."""

from __future__ import annotations

import asyncio

import pytest
from django.test import SimpleTestCase

from botsessions.exceptions import SessionError
from botsessions.promises import Promise

pytestmark = pytest.mark.once


class Promises(SimpleTestCase):
    async def test_c5_what_it_gives_is_awaited_once_however_many_ask(self) -> None:
        runs = []

        async def data() -> str:
            runs.append(1)
            await asyncio.sleep(0)
            return "pizza"

        promise = Promise(data())
        assert await asyncio.gather(promise.kept(), promise.kept()) == ["pizza", "pizza"]
        assert await promise.kept() == "pizza"
        assert len(runs) == 1

    async def test_c5_who_is_cancelled_does_not_take_it_from_others(self) -> None:
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        promise = Promise(ready)
        one, other = asyncio.ensure_future(promise.kept()), asyncio.ensure_future(promise.kept())
        await asyncio.sleep(0)
        one.cancel()
        ready.set_result("pizza")
        assert await other == "pizza"

    async def test_c5_one_that_is_cancelled_is_an_error_and_cancels_nobody(self) -> None:
        never: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        promise = Promise(never)
        waiting = asyncio.ensure_future(promise.kept())
        await asyncio.sleep(0)
        never.cancel()
        with pytest.raises(SessionError, match="was cancelled"):
            await waiting

    async def test_c5_the_code_that_it_awaits_is_not_to_wait_for_it(self) -> None:
        found = []

        async def data() -> None:
            found.append(promise.waits_for_this_code())
            await asyncio.create_task(look())

        async def look() -> None:
            found.append(promise.waits_for_this_code())

        promise = Promise(data())
        assert not promise.waits_for_this_code()
        await promise.kept()
        assert found == [True, True]
        assert not promise.waits_for_this_code()

    async def test_c5_of_a_task_nobody_but_who_assigned_it_is_certain_to_be_another(self) -> None:
        go = asyncio.Event()
        task = asyncio.ensure_future(go.wait())
        promise = Promise(task)
        assert not promise.waits_for_this_code()

        async def elsewhere() -> bool:
            return promise.waits_for_this_code()

        assert await asyncio.create_task(elsewhere())
        go.set()
        await task
        assert not await asyncio.create_task(elsewhere())

    async def test_a_coroutine_that_nobody_awaited_is_closed(self) -> None:
        async def data() -> None: ...

        coroutine = data()
        Promise(coroutine).drop()
        with pytest.raises(RuntimeError, match="cannot reuse already awaited"):
            await coroutine

    async def test_one_that_is_being_awaited_goes_on_when_it_is_dropped(self) -> None:
        async def data() -> str:
            return "pizza"

        promise = Promise(data())
        kept = asyncio.ensure_future(promise.kept())
        await asyncio.sleep(0)
        promise.drop()
        assert await kept == "pizza"
