"""Going on to the end although the task is cancelled: rule E9."""

from __future__ import annotations

import asyncio

import pytest

from botsessions.database.uncancellable import Uncancellable

from .limits import run

pytestmark = pytest.mark.once


def test_e9_a_cancelled_task_waits_for_it_and_is_told_then() -> None:
    async def main() -> None:
        future, after = Uncancellable(), []

        async def wait() -> None:
            try:
                await future
            finally:
                after.append(future.done())

        task = asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        assert not future.cancel()
        assert not future.cancelled()
        assert after == []
        future.set_result(None)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert after == [True]

    run(main())
