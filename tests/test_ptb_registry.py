"""The applications of this process that can be used to talk to Telegram, and where."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from telegram.ext import Application

from botsessions import MemoryStorage, session
from botsessions.ptb.registry import ANY_LOOP, application_here, register, unregister

from .limits import run

pytestmark = pytest.mark.once


def application(alias: str) -> Any:
    """Return one that nobody has registered."""
    builder = Application.builder().token("1:OFFLINE")
    return session(storage=MemoryStorage()).install(builder, bot=alias).build()


async def found(alias: str) -> Any:
    return application_here(alias)


def test_it_is_found_by_its_alias_in_its_event_loop_only() -> None:
    made = application("registry-1")

    async def main() -> None:
        register(made, asyncio.get_running_loop())
        assert application_here("registry-1") is made
        assert application_here("registry-2") is None
        assert await asyncio.to_thread(asyncio.run, found("registry-1")) is None
        unregister(made)
        unregister(made)
        assert application_here("registry-1") is None

    run(main())


def test_one_for_any_loop_is_found_in_each_and_the_newest_counts() -> None:
    one, other = application("registry-3"), application("registry-3")
    register(one, ANY_LOOP)
    assert run(found("registry-3")) is one
    register(other, ANY_LOOP)
    assert run(found("registry-3")) is other
    unregister(other)
    assert run(found("registry-3")) is one
    unregister(one)


def test_it_is_forgotten_with_its_owner() -> None:
    class Owner:
        pass

    made, owner = application("registry-4"), Owner()
    register(made, ANY_LOOP, owner)
    assert run(found("registry-4")) is made
    del owner
    gc.collect()
    assert run(found("registry-4")) is None
