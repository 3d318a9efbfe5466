"""What ``on_expire`` is given: two arguments or three, and the bot to tell people."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from botsessions import MemoryStorage
from botsessions.ptb.reaching import telegram_bot
from botsessions.storages import About, Address, Record
from botsessions.storages.hearing import reach_bots_by, takes_context, tell_author

from .limits import run
from .test_storages import PlainStorage

pytestmark = pytest.mark.once

HERE = Address("pizza", "user", "42")
GONE = Record(None, expired={"count": 1})


@pytest.fixture
def reached() -> Iterator[list[str]]:
    found = []

    @asynccontextmanager
    async def reach(alias: str) -> AsyncIterator[Any]:
        found.append(alias)
        yield f"the bot {alias}"

    reach_bots_by(reach)
    yield found
    reach_bots_by(telegram_bot)


def two(key: Any, data: Any) -> None: ...
def two_and_more(key: Any, data: Any, more: Any = 1, *rest: Any, **options: Any) -> None: ...
def anything(*given: Any) -> None: ...
def three(key: Any, data: Any, context: Any) -> None: ...


class Method:
    def on_expire(self, key: Any, data: Any, context: Any) -> None: ...


@pytest.mark.parametrize(
    ("function", "takes"),
    [
        (two, False),
        (two_and_more, False),
        (anything, False),
        (three, True),
        (Method().on_expire, True),
        (partial(three, context=1), False),
        (dict.fromkeys, False),
    ],
)
def test_who_takes_three_arguments_gets_the_context(
    function: Callable[..., Any], takes: bool
) -> None:
    assert takes_context(function) is takes


def test_for_two_arguments_nobody_reaches_the_bot(reached: list[str]) -> None:
    told = []
    run(tell_author(lambda key, data: told.append((key, data)), MemoryStorage(), HERE, GONE))
    assert told == [("42", {"count": 1})]
    assert reached == []


@pytest.mark.parametrize("is_known", [True, False])
def test_the_context_says_who_is_to_be_told_and_by_which_bot(
    reached: list[str], is_known: bool
) -> None:
    told = []

    async def on_expire(key: str, data: Any, context: Any) -> None:
        told.append((key, data, context))

    record = Record(None, expired={"count": 1}, about=About(-9, 5) if is_known else None)
    run(tell_author(on_expire, PlainStorage(), HERE, record))
    ((key, data, context),) = told
    assert (key, data) == ("42", {"count": 1})
    assert (context.bot, context.alias, context.name) == ("the bot pizza", "pizza", "user")
    assert (context.chat_id, context.user_id) == ((-9, 5) if is_known else (None, None))
    assert reached == ["pizza"]


def test_what_the_record_does_not_say_the_storage_is_asked_for(reached: list[str]) -> None:
    class Knowing(MemoryStorage):
        def about(self, address: Address) -> About:
            return About(chat_id=-9)

    told = []
    run(tell_author(lambda key, data, context: told.append(context), Knowing(), HERE, GONE))
    assert told[0].chat_id == -9
