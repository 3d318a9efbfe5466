"""Sync code that waits for coroutines: on one event loop, in its own thread's transaction."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import ThreadSensitiveContext, async_to_sync, sync_to_async
from django.db import connection, transaction
from django.test import TestCase, override_settings
from django.utils import translation
from django.utils.translation import get_language
from telegram.ext import TypeHandler

from botsessions import lazy_session, session
from botsessions.database.callers import Caller, caller_here, sync_code_waits, wait_for
from botsessions.locks import process_lock
from botsessions.models import BotSession
from botsessions.testing import BotClient

from .locked import both_locks

VIEWS = 8
lazy = lazy_session(initial=lambda: {"n": 0})


class Interrupted(Exception):
    """What a signal's handler raises, as Celery's does when a task takes too long."""


def counter() -> Any:
    declared = session(initial=lambda: {"n": 0})
    declared.installed("bot", "process")
    return declared


@pytest.mark.django_db(transaction=True)
def test_g3_views_that_run_at_once_change_sessions_each_in_its_own_transaction() -> None:
    declared, seen = counter(), []

    def view(chat: int) -> None:
        try:
            with transaction.atomic():
                with declared.edit(chat=chat) as data:
                    data["n"] += 1
                seen.append(BotSession.objects.filter(key=str(chat)).exists())
                if chat % 2:
                    transaction.set_rollback(True)
        finally:
            connection.close()

    async def request(chat: int) -> None:
        async with ThreadSensitiveContext():  # As Django's handler has it for each request.
            await sync_to_async(view)(chat)

    async def site() -> None:
        await asyncio.gather(*map(request, range(VIEWS)))

    asyncio.run(site())
    assert seen == [True] * VIEWS
    kept = BotSession.objects.values_list("key", flat=True)
    assert sorted(kept) == [str(chat) for chat in range(0, VIEWS, 2)]


def edit_two_chats() -> None:
    for chat in (7, 8):
        with lazy.edit(chat=chat) as data:
            data["n"] += 1
    assert lazy.get(chat=8) == {"n": 1}


async def call_sync_code(update: Any, context: Any) -> None:
    await sync_to_async(edit_two_chats)()


def build(builder: Any) -> Any:
    application = builder.build()
    application.add_handler(TypeHandler(object, call_sync_code))
    return application


@override_settings(
    BOTSESSIONS={
        "BOTS": {"shop": {"SESSION": f"{__name__}.lazy", "APPLICATION": f"{__name__}.build"}}
    }
)
class InATestsTransaction(TestCase):
    def test_e8_sync_code_of_a_handler_joins_a_session_that_nobody_has_read_yet(self) -> None:
        assert BotClient("shop").user(id=7).send("x").errors == []
        found = BotSession.objects.values_list("key", "data")
        assert sorted(found) == [("7", {"n": 1}), ("8", {"n": 1})]


@pytest.mark.django_db(transaction=True)
@both_locks
def test_e3_who_is_interrupted_while_it_waits_leaves_no_key_behind(lock: str) -> None:
    declared = counter()
    declared.installed("bot", lock)
    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        with declared.edit("1"):
            held.set()
            assert go.wait(30)
        connection.close()

    def interrupt(number: int, frame: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, interrupt)
    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert held.wait(30)
        queued = threading.Timer(0.3, signal.pthread_kill, (threading.get_ident(), signal.SIGUSR1))
        queued.start()
        with pytest.raises(Interrupted), declared.edit("1"):
            pass
    finally:
        go.set()
        holder.join()
        signal.signal(signal.SIGUSR1, before)
    assert not process_lock().busy
    with declared.edit("1", bot="bot") as data:
        data["n"] = 5
    assert declared.get("1") == {"n": 5}


WITH_A_DATABASE = """
import sys
import django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["botsessions"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1]}},
)
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from botsessions import session
"""
"""What a program begins with; its first argument is the path of a new file."""

INTERRUPTED = (
    WITH_A_DATABASE
    + """
import random, signal, threading, time
from django.db import connections

counted = session(initial=lambda: {"n": 0})
counted.installed("bot", "process")


class Interrupted(Exception):
    pass


def interrupt(*_):
    raise Interrupted


def count(key):
    with counted.edit(key) as data:
        data["n"] += 1


def look(key, found):
    found.append(counted.edit(key).__enter__())
    connections.close_all()


signal.signal(signal.SIGALRM, interrupt)
count("first")
begun = time.perf_counter()
for _ in range(20):
    count("first")
seconds = (time.perf_counter() - begun) / 20
for number in range(400):
    key, found = f"key {number}", []
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, seconds))
        count(key)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except Interrupted:
        pass
    other = threading.Thread(target=look, args=[key, found], daemon=True)
    other.start()
    other.join(30)
    assert found and found[0]["n"] in (0, 1), f"The key is held after {number} interruptions."
"""
)


@pytest.mark.once
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="There are no such timers here.")
def test_e3_whenever_somebody_is_interrupted_no_key_is_left(tmp_path: Path) -> None:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-W", "ignore", "-c", INTERRUPTED, str(tmp_path / "db.sqlite3")],
        timeout=120,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.django_db(transaction=True)
def test_edits_share_one_event_loop_and_one_thread() -> None:
    declared = counter()
    with declared.edit("1") as data:
        data["n"] += 1
    before = set(threading.enumerate())  # Of which those that other tests left may end.
    for _ in range(20):
        with declared.edit("1") as data:
            data["n"] += 1
    assert set(threading.enumerate()) <= before
    assert declared.get("1") == {"n": 21}


def test_work_is_done_on_the_thread_that_waits() -> None:
    async def work() -> tuple[int, bool]:
        return await sync_to_async(threading.get_ident)(), sync_code_waits()

    assert wait_for(work()) == (threading.get_ident(), True)
    assert not asyncio.run(asked())


def test_tasks_of_the_coroutine_are_waited_for_by_the_same_code() -> None:
    async def work() -> bool:
        here = caller_here()
        task = asyncio.create_task(asked())
        return here is not None and await task

    assert wait_for(work())


def test_the_coroutine_sees_the_context_of_who_waits() -> None:
    variable: ContextVar[str] = ContextVar("variable")
    variable.set("pizza")

    async def work() -> str:
        return variable.get()

    assert wait_for(work()) == "pizza"


def test_the_coroutine_sees_the_language_of_who_waits() -> None:
    async def work() -> tuple[str | None, str | None]:
        return get_language(), await sync_to_async(get_language)()

    with translation.override("de"):
        assert wait_for(work()) == ("de", "de")
    assert wait_for(work()) == ("en", "en")


def test_what_the_coroutine_raises_is_raised() -> None:
    async def work() -> None:
        raise KeyError("pizza")

    with pytest.raises(KeyError, match="pizza"):
        wait_for(work())


def test_what_a_function_on_the_waiting_thread_raises_ends_the_coroutine() -> None:
    ended = []

    async def work() -> None:
        try:
            await sync_to_async(sys.exit)(3)
        finally:
            ended.append(True)

    with pytest.raises(SystemExit):
        wait_for(work())
    assert ended


def test_a_coroutine_that_exits_exits_nothing_but_the_code_that_waits_for_it() -> None:
    async def work() -> None:
        sys.exit(3)

    with pytest.raises(SystemExit):
        wait_for(work())
    assert wait_for(asked())


def test_later_coroutines_of_the_thread_have_an_event_loop_of_their_own() -> None:
    async def work() -> asyncio.AbstractEventLoop:
        await sync_to_async(threading.get_ident)()
        return asyncio.get_running_loop()

    assert wait_for(work()) is wait_for(work())
    assert async_to_sync(work)() is not wait_for(work())


def test_whoever_has_gone_on_does_no_more_work() -> None:
    left: list[Any] = []

    async def work() -> None:
        left.append(caller_here())

    wait_for(work())
    assert isinstance(left[0], Caller)
    with pytest.raises(RuntimeError, match="has gone on already"):
        left[0].submit(print)


FORKING = """
import os, sys
import django
from django.conf import settings
settings.configure()
django.setup()
from botsessions.database.callers import wait_for


async def work():
    return os.getpid()


assert wait_for(work()) == os.getpid()
if child := os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
assert wait_for(work()) == os.getpid()
"""


@pytest.mark.once
@pytest.mark.skipif(not hasattr(os, "fork"), reason="There are no forks here.")
def test_a_forked_child_has_an_event_loop_of_its_own() -> None:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-W", "ignore", "-c", FORKING],
        timeout=60,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


ENDING = (
    WITH_A_DATABASE
    + """
import asyncio, types
import botsessions

declared = session(initial=dict)
declared.installed("bot", sys.argv[2])


def edit(declared=declared):
    with declared.edit("42") as data:
        data["count"] = 1


def aedit(declared=declared, run=asyncio.run):
    async def main():
        async with declared.aedit("42") as data:
            data["count"] = 1

    run(main())


class AtTheEnd:
    def __init__(self, use):
        self.use = use

    def __del__(self):
        try:
            self.use()
        except Exception as exc:
            print(exc, flush=True)


async def begin_and_leave():
    loop.create_task(begin())
    await asyncio.sleep(0.2)


async def begin():
    async with declared.aedit("42"):
        await asyncio.sleep(60)


edit()
if sys.argv[3] == "begin":
    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin_and_leave())
else:  # What a module has goes when Python ends, the last imported first.
    sys.modules["last"] = botsessions.last = types.ModuleType("last")
    botsessions.last.used = AtTheEnd({"edit": edit, "aedit": aedit}[sys.argv[3]])
"""
)


@pytest.mark.once
@both_locks
@pytest.mark.parametrize("use", ["edit", "aedit", "begin"])
def test_a_session_used_when_python_shuts_down_is_refused_and_the_process_ends(
    tmp_path: Path, lock: str, use: str
) -> None:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-W", "ignore", "-c", ENDING, str(tmp_path / "db.sqlite3"), lock, use],
        timeout=20,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "botsessions" not in done.stderr
    assert ("Python is" in done.stdout and "shutting down" in done.stdout) is (use != "begin")


async def asked() -> bool:
    return sync_code_waits()
