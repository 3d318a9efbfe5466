"""Bots with either lock, under one alias in all processes."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from telegram.ext import BaseHandler, TypeHandler

from botsessions.testing import AsyncBotClient

BOT = "shop"
LOCKS = ("process", "database")

END_SECONDS = 5
"""So long a bot may take to stop."""

both_locks = pytest.mark.parametrize("lock", LOCKS)


_chats = itertools.count(1000)


def new_chat() -> int:
    """Return a chat that no test has had: what one leaves held does no harm to others."""
    return next(_chats)


def counting() -> dict[str, Any]:
    return {"count": 0}


async def count(update: Any, context: Any) -> None:
    context.session["count"] += 1


def build_with(
    lock: str, declared: Any, *handlers: Any, errors: Any = None, setup: Any = None
) -> Callable[[Any], Any]:
    """Return what builds a bot with these handlers, each in a group of its own.

    A plain callback takes every update.
    """

    def build(plain: Any) -> Any:
        builder = declared.install(plain, bot=BOT, lock=lock)
        if setup is not None:
            setup(builder)
        application = builder.build()
        for group, handler in enumerate(handlers):
            if not isinstance(handler, BaseHandler):
                handler = TypeHandler(object, handler)
            application.add_handler(handler, group)
        if errors is not None:
            application.add_error_handler(errors)
        return application

    return build


def bot_with(lock: str, declared: Any, *handlers: Any, **kwargs: Any) -> AsyncBotClient:
    """Return a client of such a bot."""
    return AsyncBotClient(build=build_with(lock, declared, *handlers, **kwargs), raise_errors=False)


@asynccontextmanager
async def bot_running(
    lock: str, declared: Any, *handlers: Any, **kwargs: Any
) -> AsyncIterator[Any]:
    """Run such a bot: also ``application.process_update()`` can be called."""
    bot = bot_with(lock, declared, *handlers, **kwargs)
    await bot.application.initialize()
    await bot.application.start()
    try:
        yield bot
    finally:
        closing = asyncio.create_task(bot.aclose())
        await asyncio.wait([closing], timeout=END_SECONDS)
    assert closing.done(), "The bot does not stop."
    closing.result()


async def is_free(declared: Any, key: str, seconds: float = 2) -> bool:
    """Whether a key can be had soon, by code that belongs to nobody's update."""

    async def take() -> None:
        async with declared.aedit(key, bot=BOT):
            pass

    taking = asyncio.create_task(take())
    await asyncio.wait([taking], timeout=seconds)
    if not taking.done():
        taking.cancel()
        return False
    taking.result()
    return True


async def eventually(condition: Callable[[], object], seconds: float = 5) -> None:
    """Wait until something is so."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not condition():
        assert loop.time() < deadline, f"It is not so within {seconds:g} s."
        await asyncio.sleep(0.005)
