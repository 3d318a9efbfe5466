"""What each event loop has of its own, and work that would hold one up."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest
from asgiref.sync import async_to_sync

from botsessions.storages.loops import PerLoop, unblocked

pytestmark = pytest.mark.once


def test_each_event_loop_has_its_own_as_long_as_it_lives() -> None:
    made: PerLoop[list[str]] = PerLoop(list)

    async def use(word: str) -> list[str]:
        made.get().append(word)
        return made.get()

    loops = asyncio.new_event_loop(), asyncio.new_event_loop()
    found = [loop.run_until_complete(use(word)) for word in "ab" for loop in loops]
    assert found[0] is found[2]
    assert found == [["a", "b"]] * 4
    for loop in loops:
        loop.close()
    del loops, loop
    gc.collect()

    async def first_ever() -> list[str] | None:
        return made.pop()

    assert asyncio.run(first_ever()) is None


def test_what_was_forgotten_is_made_anew() -> None:
    made: PerLoop[object] = PerLoop(object)

    async def main() -> None:
        one = made.get()
        assert made.pop() is one
        assert made.pop() is None
        assert made.get() is not one

    asyncio.run(main())


def test_work_does_not_hold_up_the_event_loop() -> None:
    async def main() -> None:
        seen, go = asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()

        def work(word: str) -> str:
            loop.call_soon_threadsafe(seen.set)
            assert go.wait(5)
            return word

        task = asyncio.ensure_future(unblocked(work, "pizza"))
        await seen.wait()
        go.set()
        assert await task == "pizza"

    asyncio.run(main())


def test_where_sync_code_waits_its_own_thread_does_the_work() -> None:
    async def work() -> int:
        return await unblocked(threading.get_ident)

    assert async_to_sync(work)() == threading.get_ident()
