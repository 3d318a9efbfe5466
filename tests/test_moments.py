"""Moments of event loops."""

from __future__ import annotations

import asyncio
import gc
import weakref

from botsessions.moments import this_moment


async def next_turn() -> None:
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def test_all_of_one_turn_share_a_moment_that_is_over_in_the_next() -> None:
    async def main() -> None:
        moment = this_moment()
        assert this_moment() is moment
        assert not moment.over
        await next_turn()
        assert moment.over
        assert this_moment() is not moment

    asyncio.run(main())


def test_each_loop_has_its_own_and_keeps_it_no_longer_than_itself() -> None:
    async def main() -> object:
        return this_moment()

    one, two = asyncio.new_event_loop(), asyncio.new_event_loop()
    first = one.run_until_complete(main())
    assert two.run_until_complete(main()) is not first
    left = weakref.ref(one)
    one.close()
    two.close()
    del one
    gc.collect()
    assert left() is None


def test_a_loop_that_ran_before_does_not_take_what_it_read_then_for_fresh() -> None:
    async def main() -> object:
        return this_moment()

    loop = asyncio.new_event_loop()
    before = loop.run_until_complete(main())
    assert loop.run_until_complete(main()) is not before
    loop.close()
