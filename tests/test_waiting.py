"""Waiting for keys: one holder at a time, in order of the requests, and nobody for ever.

Rules E1 to E5.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Any

import pytest
from django.db import transaction

from botsessions import MemoryStorage, session

from .limits import in_thread, run, within
from .locked import (
    BOT,
    bot_running,
    bot_with,
    both_locks,
    counting,
    eventually,
    is_free,
    new_chat,
)
from .test_cancellation import BlindStorage


class Visits:
    """Who has a key, noted by whoever gets it."""

    def __init__(self) -> None:
        self.inside: list[str] = []
        self.order: list[str] = []
        self.collisions: list[list[str]] = []
        self._mutex = threading.Lock()

    @contextmanager
    def visit(self, name: str) -> Iterator[None]:
        with self._mutex:
            self.inside.append(name)
            self.order.append(name)
            if len(self.inside) > 1:
                self.collisions.append(list(self.inside))
        try:
            yield
        finally:
            with self._mutex:
                self.inside.remove(name)


@both_locks
@pytest.mark.parametrize("patience", [None, 0.1], ids=["is cancelled", "runs out of patience"])
@pytest.mark.django_db(transaction=True)
def test_a_view_keeps_the_key_when_somebody_behind_it_gives_up(
    patience: float | None, lock: str
) -> None:
    """The view had to wait for it."""
    declared, chat, visits = session(initial=counting), str(new_chat()), Visits()
    leave = threading.Event()

    def view() -> None:
        with declared.edit(chat, bot=BOT) as data, visits.visit("view"):
            data["count"] += 1
            assert leave.wait(10)

    async def task(name: str) -> None:
        async with declared.aedit(chat, bot=BOT) as data:
            with visits.visit(name):
                data["count"] += 1
                await asyncio.sleep(0.01)

    async def main() -> None:
        async with bot_running(lock, declared):
            async with declared.aedit(chat, bot=BOT):
                in_view = asyncio.wrap_future(in_thread(view))
                await asyncio.sleep(0.1)
            await eventually(lambda: visits.inside == ["view"])
            gives_up = start(asyncio.wait_for(task("gives up"), patience))
            await asyncio.sleep(0.02)
            last = start(task("last"))
            await asyncio.sleep(0.02)
            if patience is None:
                gives_up.cancel()
            await asyncio.wait([gives_up], timeout=5)
            await asyncio.sleep(0.1)
            leave.set()
            await asyncio.wait_for(asyncio.gather(in_view, last), 5)
            assert visits.collisions == []
            assert visits.order == ["view", "last"]
            assert await declared.aget(chat, bot=BOT) == {"count": 2}

    run(main())


@pytest.mark.once
def test_where_nobody_compares_no_change_is_lost_when_somebody_gives_up() -> None:
    declared, chat = session(initial=counting, storage=BlindStorage()), str(new_chat())
    inside, leave = threading.Event(), threading.Event()

    def view() -> None:
        with declared.edit(chat, bot=BOT) as data:
            inside.set()
            assert leave.wait(10)
            data["count"] += 1

    async def task() -> None:
        async with declared.aedit(chat, bot=BOT) as data:
            data["count"] += 1

    async def main() -> None:
        async with bot_running("process", declared):
            async with declared.aedit(chat, bot=BOT):
                in_view = asyncio.wrap_future(in_thread(view))
                await asyncio.sleep(0.1)
            await eventually(inside.is_set)
            gives_up, last = start(task()), start(task())
            await asyncio.sleep(0.02)
            gives_up.cancel()
            await asyncio.sleep(0.1)
            leave.set()
            await asyncio.wait_for(asyncio.gather(in_view, last), 5)
            assert await declared.aget(chat, bot=BOT) == {"count": 2}

    run(main())


def start(coroutine: Any) -> asyncio.Task[Any]:
    """Run a coroutine in a task, which belongs to nobody who has a key."""
    return Context().run(asyncio.ensure_future, coroutine)


class Kept:
    """What an error tracker does: it keeps an exception, with all that its frames hold."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []

    @contextmanager
    def keeping(self) -> Iterator[None]:
        try:
            yield
        except ZeroDivisionError as exc:
            self.errors.append(exc)


def fail() -> None:
    raise ZeroDivisionError


def a_hook_before(declared: Any, key: str) -> None:
    with transaction.atomic():
        transaction.on_commit(fail)
        with declared.edit(key, bot=BOT) as data:
            data["count"] += 1


def a_hook_after(declared: Any, key: str) -> None:
    with transaction.atomic():
        with declared.edit(key, bot=BOT) as data:
            data["count"] += 1
        transaction.on_commit(fail)


def the_block(declared: Any, key: str) -> None:
    with declared.edit(key, bot=BOT) as data:
        data["count"] += 1
        fail()


def the_transaction(declared: Any, key: str) -> None:
    with transaction.atomic():
        with declared.edit(key, bot=BOT) as data:
            data["count"] += 1
        fail()


def a_savepoint(declared: Any, key: str) -> None:
    with transaction.atomic(), transaction.atomic():
        with declared.edit(key, bot=BOT) as data:
            data["count"] += 1
        fail()


def the_block_in_the_transaction(declared: Any, key: str) -> None:
    with transaction.atomic(), declared.edit(key, bot=BOT) as data:
        data["count"] += 1
        fail()


RAISING = [
    a_hook_before,
    a_hook_after,
    the_block,
    the_transaction,
    a_savepoint,
    the_block_in_the_transaction,
]


@both_locks
@pytest.mark.parametrize("raising", RAISING, ids=lambda function: function.__name__)
@pytest.mark.django_db(transaction=True)
def test_an_exception_that_is_kept_keeps_no_key(raising: Any, lock: str) -> None:
    declared, chat, tracker = session(initial=counting), str(new_chat()), Kept()
    bot_with(lock, declared)
    with within(10), tracker.keeping():
        raising(declared, chat)
    assert tracker.errors
    assert run(is_free(declared, chat))


@both_locks
@pytest.mark.django_db(transaction=True)
def test_an_exception_that_a_handler_raised_keeps_no_key(lock: str) -> None:
    async def handler(update: Any, context: Any) -> None:
        async with declared.aedit(other, bot=BOT):
            fail()

    async def main() -> None:
        async with bot_running(lock, declared, handler) as bot:
            kept = (await bot.user(id=chat).send("x")).errors
            assert [type(error) for error in kept] == [ZeroDivisionError]
            assert await is_free(declared, str(chat))
            assert await is_free(declared, other)

    declared, chat, other = session(initial=counting), new_chat(), str(new_chat())
    run(main())


CROWD = 256


@pytest.mark.once
def test_many_handlers_that_edit_one_common_session_do_not_stop_the_event_loop() -> None:
    """What is measured is time of the processor, so that a busy machine does no harm."""

    async def handler(update: Any, context: Any) -> None:
        async with declared.aedit("common", bot=BOT) as data:
            data["count"] += 1

    async def main() -> None:
        async with bot_running("process", declared, handler) as bot:
            async with declared.aedit("common", bot=BOT):
                sending = [start(bot.user(id=new_chat()).send("x")) for _ in range(CROWD)]
                turns = await turns_until(asyncio.sleep(0.5))
            turns += await turns_until(asyncio.gather(*sending))
            answers = await asyncio.gather(*sending)
            assert [answer.errors for answer in answers] == [[]] * CROWD
            assert await declared.aget("common", bot=BOT) == {"count": CROWD}
            assert max(turns) < 0.5

    async def turns_until(end: Any) -> list[float]:
        """Return how long the event loop was busy between two looks."""
        ending, turns, before = asyncio.ensure_future(end), [], time.thread_time()
        while not ending.done():
            await asyncio.sleep(0)
            now = time.thread_time()
            turns.append(now - before)
            before = now
        await ending
        return turns

    declared = session(initial=counting, storage=MemoryStorage())
    run(main(), 30)


@both_locks
@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.django_db(transaction=True)
def test_when_a_thread_cannot_be_started_the_bot_goes_on_later(
    number: int, lock: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The update may fail, and then the error handlers hear of it."""

    async def handler(update: Any, context: Any) -> None:
        context.session["count"] += 1

    starting = threading.Thread.start
    started = itertools.count(1)

    def start_some(thread: threading.Thread) -> None:
        if next(started) == number:
            raise RuntimeError("can't start new thread")
        starting(thread)

    async def main() -> None:
        async with bot_running(lock, declared, handler) as bot:
            monkeypatch.setattr(threading.Thread, "start", start_some)
            first = asyncio.create_task(bot.user(id=chat).send("x"))
            await asyncio.wait([first], timeout=3)
            assert first.done(), "The update whose thread could not be started hangs."
            failed = len(first.result().errors)
            assert failed <= 1
            later = asyncio.gather(*(bot.user(id=new_chat()).send("x") for _ in range(5)))
            answers = await asyncio.wait_for(later, 3)
            assert [answer.errors for answer in answers] == [[]] * 5
            assert (await asyncio.wait_for(bot.user(id=chat).send("x"), 3)).errors == []
            assert await declared.aget(str(chat), bot=BOT) == {"count": 2 - failed}
            monkeypatch.undo()  # To stop it is another matter.

    declared, chat = session(initial=counting), new_chat()
    asyncio.run(declared.fragment.storage.close())  # Its thread starts anew.
    run(main())
