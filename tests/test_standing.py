"""Objects that stand for data say how to get at it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from botsessions.standing import StandsForData

pytestmark = pytest.mark.once


class Stand(StandsForData):
    __slots__ = ("_data", "own")

    _remedy = "Await it."


async def awaiting(stand: Any) -> None:
    await stand


async def entering(stand: Any) -> None:
    async with stand:
        pass


@pytest.mark.parametrize(
    "use",
    [
        lambda stand: stand["count"],
        lambda stand: stand.__setitem__("count", 1),
        lambda stand: "count" in stand,
        lambda stand: list(stand),
        len,
        bool,
        lambda stand: stand + 1,
        lambda stand: stand < 1,
        lambda stand: asyncio.run(awaiting(stand)),
        lambda stand: asyncio.run(entering(stand)),
    ],
)
def test_using_it_as_if_it_were_the_data_says_what_to_do(use: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match="Await it"):
        use(Stand())


def test_an_attribute_of_the_data_is_not_here() -> None:
    with pytest.raises(AttributeError, match=r"There is no 'count' here\. Await it"):
        _ = Stand().count
    with pytest.raises(AttributeError, match=r"'count' cannot be set here\. Await it"):
        Stand().count = 1


def test_its_own_attributes_can_be_set() -> None:
    stand = Stand()
    stand._data = stand.own = 5
    assert (stand._data, stand.own) == (5, 5)
