"""Going on to the end although the task is cancelled: rule E9."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from botsessions.database.uncancellable import Uncancellable
from botsessions.exceptions import SessionStorageError
from botsessions.storages.uncancelled import through, to_its_end

from .limits import run

pytestmark = pytest.mark.once

both = pytest.mark.parametrize("to_the_end", [to_its_end, through])


class Work:
    """Something that ends when it is told to."""

    def __init__(self) -> None:
        self.end = Uncancellable()
        self.done = False

    async def run(self) -> str:
        result: str = await self.end
        self.done = True
        return result


def started(to_the_end: Any, work: Work) -> asyncio.Future[str]:
    async def caller() -> str:
        result: str = await to_the_end(work.run())
        return result

    return asyncio.ensure_future(caller())


@both
def test_results_and_errors_come_back(to_the_end: Any) -> None:
    async def main() -> None:
        for outcome in ("pizza", OSError("gone")):
            work = Work()
            task = started(to_the_end, work)
            await asyncio.sleep(0)
            if isinstance(outcome, Exception):
                work.end.set_exception(outcome)
                with pytest.raises(OSError, match="gone"):
                    await task
            else:
                work.end.set_result(outcome)
                assert await task == "pizza"

    run(main())


@both
def test_e9_who_is_cancelled_is_told_at_the_end_however_often(to_the_end: Any) -> None:
    async def main() -> None:
        work = Work()
        task = started(to_the_end, work)
        for _ in range(3):
            await asyncio.sleep(0)
            task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        work.end.set_result("pizza")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert work.done

    run(main())


@both
def test_e9_of_one_that_is_cancelled_the_error_is_the_cause(to_the_end: Any) -> None:
    async def main() -> None:
        work = Work()

        async def caller() -> None:
            with pytest.raises(asyncio.CancelledError) as caught:
                await to_the_end(work.run())
            assert isinstance(caught.value.__cause__, OSError)

        task = asyncio.ensure_future(caller())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        work.end.set_exception(OSError("gone"))
        await task

    run(main())


def test_work_that_is_cancelled_by_itself_is_an_error_and_cancels_nobody() -> None:
    async def main() -> None:
        never: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def work() -> None:
            await never

        caller = asyncio.ensure_future(to_its_end(work()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        never.cancel()
        with pytest.raises(SessionStorageError, match="its end"):
            await caller

    run(main())


def test_what_awaits_nothing_needs_no_event_loop() -> None:
    async def at_once() -> str:
        return "pizza"

    async def caller() -> str:
        return await through(at_once())

    with pytest.raises(StopIteration) as end:
        caller().send(None)
    assert end.value.value == "pizza"
