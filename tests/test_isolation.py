"""What holds up one chat holds up no other, and nobody loses a key meanwhile: rules E2, E6, E10."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection, models, transaction

from botsessions import session
from botsessions.exceptions import SessionConflict
from botsessions.models import BotSession, BotSessionLease
from project.settings import DATABASE

from .elsewhere import Elsewhere, elsewhere
from .harness import text
from .limits import aside, in_thread, run
from .locked import BOT, LOCKS, bot_running, both_locks, count, counting, new_chat
from .test_waiting import start

HELD_SECONDS = 9.0
"""Longer than a lease lasts without being renewed."""
SOON_SECONDS = 4.0
"""So long others may take, at most, on a busy machine. What holds up one chat lasts until then."""

has_row_locks = pytest.mark.skipif(
    DATABASE == "sqlite", reason="In SQLite nobody can write beside a transaction."
)
each_lock = pytest.mark.parametrize("lock", LOCKS)


@pytest.fixture(scope="module")
def processes(django_db_setup: None, django_db_blocker: Any) -> Iterator[dict[str, Elsewhere]]:
    """Another process with either lock."""
    with (
        django_db_blocker.unblock(),
        elsewhere("process") as of_process,
        elsewhere("database") as of_database,
    ):
        yield {"process": of_process, "database": of_database}


@contextmanager
def locked(rows: models.QuerySet[Any]) -> Iterator[None]:
    """Have somebody lock rows, by another connection, as long as this lasts."""

    def hold() -> None:
        with transaction.atomic():
            assert list(rows.select_for_update())
            held.set()
            assert done.wait(60)

    held, done = threading.Event(), threading.Event()
    holding = in_thread(hold)
    assert held.wait(5)
    try:
        yield
    finally:
        done.set()
        holding.result(10)


@contextmanager
def index_being_made() -> Iterator[None]:
    """Have the table of sessions locked as CREATE INDEX does: everybody can read it."""

    def hold() -> None:
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute("BEGIN")
                cursor.execute("LOCK TABLE botsessions_botsession IN SHARE MODE")
            else:
                cursor.execute("LOCK TABLES botsessions_botsession READ")
            held.set()
            assert done.wait(60)
            cursor.execute("COMMIT" if connection.vendor == "postgresql" else "UNLOCK TABLES")

    held, done = threading.Event(), threading.Event()
    holding = in_thread(hold)
    assert held.wait(5)
    try:
        yield
    finally:
        done.set()
        holding.result(10)


async def assert_others_go_on(bot: Any, chats: int = 10) -> None:
    """Assert that updates of other chats, new ones and known ones, are handled and saved."""
    people = [bot.user(id=new_chat()) for _ in range(chats)]
    for _ in range(2):
        sending = [asyncio.create_task(person.send("x")) for person in people]
        _, late = await asyncio.wait(sending, timeout=SOON_SECONDS)
        assert not late, f"{len(late)} of {chats} other chats wait, too."
        assert [task.result().errors for task in sending] == [[]] * chats


async def end(*tasks: asyncio.Task[Any]) -> None:
    _, late = await asyncio.wait(tasks, timeout=10)
    assert not late


@has_row_locks
@each_lock
@pytest.mark.parametrize("stuck", [1, 5])
@pytest.mark.django_db(transaction=True)
def test_a_row_that_somebody_has_locked_holds_up_its_own_chat_only(stuck: int, lock: str) -> None:
    async def main() -> None:
        async with bot_running(lock, declared, count) as bot:
            people = [bot.user(id=chat) for chat in chats]
            for person in people:
                await person.send("x")
            with locked(BotSession.objects.filter(key__in=map(str, chats))):
                waiting = [asyncio.create_task(person.send("x")) for person in people]
                await asyncio.sleep(0.3)
                assert not any(task.done() for task in waiting)
                await assert_others_go_on(bot)
            await end(*waiting)
            assert [task.result().errors for task in waiting] == [[]] * stuck
            for chat in chats:
                assert await declared.aget(str(chat), bot=BOT) == {"count": 2}

    declared, chats = session(initial=counting), [new_chat() for _ in range(stuck)]
    run(main(), 30)


@has_row_locks
@each_lock
@pytest.mark.parametrize("exists", [True, False], ids=["known", "new"])
@pytest.mark.django_db(transaction=True)
def test_a_views_open_transaction_holds_up_its_own_chat_only(
    exists: bool, lock: str, processes: dict[str, Elsewhere]
) -> None:
    """The view is in another process, and has left ``edit()``, but not its ``atomic()``."""
    view = processes[lock]

    async def main() -> None:
        async with bot_running(lock, declared, count) as bot:
            maria = bot.user(id=chat)
            if exists:
                await maria.send("x")
            await aside(lambda: view.hold(str(chat), atomic=True))
            try:
                waiting = asyncio.create_task(maria.send("x"))
                await asyncio.sleep(0.3)
                await assert_others_go_on(bot)
            finally:
                await aside(view.let_go)
            await end(waiting)
            errors = waiting.result().errors
            if lock == "database":
                assert errors == []
                assert await declared.aget(str(chat), bot=BOT) == {"count": 2 + exists}
            else:  # It does not wait for the view, but it does not overwrite its change either.
                assert [type(error) for error in errors] in ([], [SessionConflict])

    declared, chat = session(initial=counting), new_chat()
    run(main(), 30)


@has_row_locks
@pytest.mark.django_db(transaction=True)
def test_a_view_of_the_same_process_holds_up_its_own_chat_only() -> None:
    """With ``LOCK="process"``: the update waits for the view's key."""

    def view() -> None:
        with transaction.atomic():
            with declared.edit(str(chat), bot=BOT) as data:
                data["count"] += 1
            left.set()
            assert done.wait(30)

    async def main() -> None:
        async with bot_running("process", declared, count) as bot:
            viewing = asyncio.wrap_future(in_thread(view))
            await aside(left.wait, 5)
            waiting = asyncio.create_task(bot.user(id=chat).send("x"))
            await asyncio.sleep(0.1)
            await assert_others_go_on(bot)
            assert not waiting.done()
            done.set()
            await end(viewing, waiting)  # type: ignore[arg-type]
            assert waiting.result().errors == []
            assert await declared.aget(str(chat), bot=BOT) == {"count": 2}

    left, done = threading.Event(), threading.Event()
    declared, chat = session(initial=counting), new_chat()
    run(main(), 30)


@has_row_locks
@pytest.mark.django_db(transaction=True)
def test_a_lease_whose_row_somebody_has_locked_holds_up_its_own_chat_only() -> None:
    """Like a process that was suspended in the midst of taking it."""

    async def main() -> None:
        async with bot_running("database", declared, count) as bot:
            maria = bot.user(id=chat)
            await maria.send("x")
            await asyncio.sleep(0.1)
            with locked(BotSessionLease.objects.all()):
                waiting = asyncio.create_task(maria.send("x"))
                await asyncio.sleep(0.3)
                await assert_others_go_on(bot)
            await end(waiting)
            assert waiting.result().errors == []
            assert await declared.aget(str(chat), bot=BOT) == {"count": 2}

    declared, chat = session(initial=counting), new_chat()
    run(main(), 30)


@has_row_locks
@pytest.mark.parametrize("obstacle", ["row", "index"])
@pytest.mark.django_db(transaction=True)
def test_a_handler_keeps_its_key_while_another_chats_save_waits(
    obstacle: str, processes: dict[str, Elsewhere]
) -> None:
    """For a row lock, or for CREATE INDEX; longer than a lease lasts. E6."""
    other = processes["database"]

    async def handler(update: Any, context: Any) -> None:
        if update.message.text == "work":
            await asyncio.sleep(HELD_SECONDS)
        context.session["count"] += 1

    async def main() -> None:
        async with bot_running("database", declared, handler) as bot:
            await bot.user(id=stuck).send("x")
            obstacles = {
                "row": lambda: locked(BotSession.objects.filter(key=str(stuck))),
                "index": index_being_made,
            }
            working = asyncio.create_task(bot.user(id=chat).send("work"))
            await asyncio.sleep(0.2)
            with obstacles[obstacle]():
                waiting = asyncio.create_task(bot.user(id=stuck).send("x"))
                taking = asyncio.create_task(aside(other.count, str(chat), HELD_SECONDS + 10))
                await asyncio.sleep(HELD_SECONDS - 0.4)
                assert not taking.done(), "Another process has taken the key of a running handler."
            await end(working, waiting, taking)
            assert working.result().errors == []
            assert waiting.result().errors == []
            assert taking.result() == 2

    declared = session(initial=counting)
    chat, stuck = new_chat(), new_chat()
    run(main(), HELD_SECONDS + 25)


@pytest.mark.django_db(transaction=True)
def test_a_handler_that_blocks_its_event_loop_keeps_its_key(
    processes: dict[str, Elsewhere],
) -> None:
    other = processes["database"]

    async def handler(update: Any, context: Any) -> None:
        taking.append(in_thread(other.count, str(chat), HELD_SECONDS + 10))
        time.sleep(HELD_SECONDS)  # Not even the event loop goes on.  # noqa: ASYNC251
        assert not taking[0].done(), "Another process has taken the key of a running handler."
        context.session["count"] += 1

    async def main() -> None:
        async with bot_running("database", declared, handler) as bot:
            assert (await bot.user(id=chat).send("x")).errors == []
            assert await asyncio.wrap_future(taking[0]) == 2

    taking: list[Any] = []
    declared, chat = session(initial=counting), new_chat()
    run(main(), HELD_SECONDS + 20)


def step_back(hours: float) -> None:
    """Leave what is left when the database's clock has been set back: moments in the future."""
    fields = [f for f in BotSessionLease._meta.concrete_fields if f.name.endswith("_at")]
    assert fields
    for lease in BotSessionLease.objects.all():
        for field in fields:
            before = getattr(lease, field.name)
            step: Any = timedelta(hours=hours)
            if not isinstance(before, datetime):
                step = int(step.total_seconds() * 1000)
            setattr(lease, field.name, before + step)
        lease.save()


@pytest.mark.django_db(transaction=True)
def test_a_key_that_nobody_holds_is_free_when_the_databases_clock_was_set_back(
    processes: dict[str, Elsewhere],
) -> None:
    other = processes["database"]

    async def main() -> None:
        async with bot_running("database", declared, count) as bot:
            maria = bot.user(id=chat)
            await maria.send("x")
            await aside(other.count, str(chat))
            await asyncio.sleep(0.2)
            await aside(step_back, 1.0)
            assert (await asyncio.wait_for(maria.send("x"), SOON_SECONDS)).errors == []
            await asyncio.sleep(0.2)
            await aside(step_back, 1.0)
            assert await aside(other.count, str(chat), SOON_SECONDS) == 4

    declared, chat = session(initial=counting), new_chat()
    run(main(), 20)


@both_locks
@pytest.mark.django_db(transaction=True)
def test_a_slow_handler_holds_up_its_own_chat_only(lock: str) -> None:
    async def handler(update: Any, context: Any) -> None:
        if update.message.text == "slow":
            await done.wait()
        context.session["count"] += 1

    async def main() -> None:
        nonlocal done
        done = asyncio.Event()
        async with bot_running(lock, declared, handler) as bot:
            slow = [
                start(bot.application.process_update(text(bot.user(id=chat), n, "slow")))
                for n in (1, 2)
            ]
            await asyncio.sleep(0.1)
            await assert_others_go_on(bot)
            done.set()
            await end(*slow)
            assert await declared.aget(str(chat), bot=BOT) == {"count": 2}

    done: Any = None
    declared, chat = session(initial=counting), new_chat()
    run(main(), 20)
