"""E12: a sweep leaves what somebody holds, whichever lock the bot has and wherever it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import timedelta
from functools import cache
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections, transaction
from django.test import override_settings
from django.utils import timezone

from botsessions import enhance_storage, lazy_session
from botsessions.database.execution import execute
from botsessions.database.lease import lease_key
from botsessions.database.leases_table import lease_table_of
from botsessions.database.leases_texts import NOBODY
from botsessions.database.statements import one
from botsessions.exceptions import SessionConflict
from botsessions.maintenance import Sweep
from botsessions.models import BotSession
from botsessions.storages import Address

from .bots.elsewhere import MOMENT, counting, heard, quiet, told
from .elsewhere import Elsewhere, elsewhere
from .locked import BOT, bot_running, both_locks, new_chat
from .servers import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

SESSIONS = {"quiet": quiet, "heard": heard}
LEFT = {"deleted": 0, "busy": 1, "failed": 0, "told": []}

both_kinds = pytest.mark.parametrize("kind", SESSIONS)
"""One that expires in silence, and one of which somebody hears."""


failed: list[Any] = []


async def fail(update: Any, context: Any) -> None:
    failed.append(context.error)


@pytest.fixture(autouse=True)
def no_handler_fails() -> Iterator[None]:
    failed.clear()
    yield
    assert failed == []


def path(kind: str) -> str:
    return f"tests.bots.elsewhere.{kind}"


@pytest.fixture(scope="module")
def processes(django_db_setup: None) -> Iterator[Callable[[str, str], Elsewhere]]:
    """Other processes, by lock and kind."""
    with ExitStack() as stack:
        yield cache(lambda lock, kind: stack.enter_context(elsewhere(lock, path(kind))))


@pytest.fixture
def other(processes: Callable[[str, str], Elsewhere], request: pytest.FixtureRequest) -> Elsewhere:
    """Another process with the test's lock, and sessions of its kind."""
    parameters = request.node.callspec.params
    return processes(parameters["lock"], parameters.get("kind", "quiet"))


def talk(lock: str, declared: Any, handle: Any, key: str, errors: Any = fail) -> None:
    """Have somebody talk to a bot."""

    async def main() -> None:
        async with bot_running(lock, declared, handle, errors=errors) as bot:
            await bot.user(id=int(key)).send("x")

    asyncio.run(main())


def apart(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function on a thread of its own, with a connection of its own, and wait for it."""

    def call() -> Any:
        with closing(connections["default"]):
            return function(*args)

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


def make(key: str, lasting: timedelta) -> None:
    until = timezone.now() + lasting
    BotSession.objects.create(bot=BOT, key=key, data={"count": 5}, expires_at=until)


def let_expire(key: str) -> None:
    """Let a session expire as time does: its revision stays."""
    BotSession.objects.filter(key=key).update(expires_at=timezone.now())


def wait_until_others_see(key: str) -> None:
    """Wait until the database shows that a key is held."""
    wanted = [lease_key(Address(BOT, "", key))]
    own = connections["default"]
    statement = lease_table_of(own).texts.held_by_others(wanted, NOBODY)
    wait_until(lambda: execute(own, one(statement)).rows, lambda: "Nobody holds it.")


def swept(lock: str, kind: str) -> str:
    """Sweep here; return what the command says."""
    bots = {BOT: {"SESSION": path(kind), "APPLICATION": path("nothing"), "LOCK": lock}}
    out = StringIO()
    with override_settings(BOTSESSIONS={"BOTS": bots}):
        call_command("sweep_sessions", stdout=out)
    return out.getvalue().partition(" in ")[0].rstrip(",")


def stored(key: str) -> Any:
    return BotSession.objects.values_list("data", flat=True).get(key=key)


@both_kinds
@both_locks
def test_e12_what_expires_while_its_handler_runs(lock: str, kind: str, other: Elsewhere) -> None:
    found: list[Any] = []

    def expires(key: str) -> None:
        wait_until_others_see(key)
        let_expire(key)
        found.append(other.sweep())
        found.append(swept(lock, kind))

    async def handle(update: Any, context: Any) -> None:
        context.session["count"] += 1
        await asyncio.to_thread(apart, expires, context.session_key)

    key, before = str(new_chat()), len(told)
    make(key, MOMENT)
    talk(lock, SESSIONS[kind], handle, key)
    left = "0 sessions deleted, 1 left for the next sweep because a handler holds it"
    assert found == [LEFT, left]
    assert stored(key) == {"count": 6}
    let_expire(key)
    wait_until(lambda: other.sweep()["deleted"], lambda: "The key stays held.")
    assert other.sweep()["told"] == ([key] if kind == "heard" else [])
    assert len(told) == before


@both_locks
def test_e12_while_a_handler_blocks_its_event_loop(lock: str, other: Elsewhere) -> None:
    found: list[Any] = []

    def expires(key: str) -> None:
        wait_until_others_see(key)
        let_expire(key)
        found.append(other.sweep())

    async def handle(update: Any, context: Any) -> None:
        context.session["count"] += 1
        apart(expires, context.session_key)

    key = str(new_chat())
    make(key, MOMENT)
    talk(lock, quiet, handle, key)
    assert (found, stored(key)) == ([LEFT], {"count": 6})


@both_locks
def test_e12_what_is_saved_in_between_and_expires_then(lock: str, other: Elsewhere) -> None:
    async def handle(update: Any, context: Any) -> None:
        context.session["count"] += 1
        await context.save_session()
        await asyncio.to_thread(apart, expires, context.session_key)
        context.session["count"] += 1

    def expires(key: str) -> None:
        wait_until_others_see(key)
        let_expire(key)
        assert other.sweep() == LEFT

    key = str(new_chat())
    talk(lock, quiet, handle, key)
    assert stored(key) == {"count": 2}


@both_locks
def test_e12_a_lazy_session_that_expires_after_it_was_read(lock: str, other: Elsewhere) -> None:
    declared = lazy_session(initial=counting, storage=enhance_storage(time_to_live=MOMENT))

    async def handle(update: Any, context: Any) -> None:
        data = await context.session
        data["count"] += 1
        await asyncio.to_thread(apart, expires, context.session_key)

    def expires(key: str) -> None:
        wait_until_others_see(key)
        let_expire(key)
        assert other.sweep() == LEFT

    key = str(new_chat())
    make(key, MOMENT)
    talk(lock, declared, handle, key)
    assert stored(key) == {"count": 6}


@both_locks
def test_e12_what_a_view_edits(lock: str, other: Elsewhere) -> None:
    key = str(new_chat())
    bots = {BOT: {"SESSION": path("quiet"), "APPLICATION": path("nothing"), "LOCK": lock}}
    with override_settings(BOTSESSIONS={"BOTS": bots}):
        make(key, MOMENT)
        with quiet.edit(key) as data:
            data["count"] += 1
            wait_until_others_see(key)
            let_expire(key)
            assert other.sweep() == LEFT
    assert stored(key) == {"count": 6}


@both_locks
def test_e12_what_is_idle(lock: str, other: Elsewhere) -> None:
    """With keys held in a process only, by a sweep in that process."""
    found: list[Any] = []

    async def handle(update: Any, context: Any) -> None:
        context.session["count"] += 1
        await asyncio.to_thread(apart, sweep, context.session_key)

    def sweep(key: str) -> None:
        BotSession.objects.update(updated_at=timezone.now() - timedelta(days=100))
        out = StringIO()
        call_command("sweep_sessions", idle_for=timedelta(days=90), stdout=out)
        found.append(out.getvalue().partition(" deleted")[0])
        if lock == "database":
            found.append(other.sweep(idle_for=90 * 24 * 3600))

    key = str(new_chat())
    make(key, timedelta(days=1))
    talk(lock, quiet, handle, key)
    assert found == ["0 sessions", LEFT][: len(found)]
    assert stored(key) == {"count": 6}


@both_locks
def test_e12_a_sweep_goes_on_behind_what_is_held_and_keeps_its_limit(lock: str) -> None:
    async def handle(update: Any, context: Any) -> None:
        await asyncio.to_thread(apart, sweep, context.session_key)

    def sweep(key: str) -> None:
        BotSession.objects.filter(key=key).update(expires_at=timezone.now() - timedelta(days=1))
        for number in range(5):
            make(f"old {number}", -MOMENT)
        out = StringIO()
        call_command("sweep_sessions", batch_size=2, limit=4, stdout=out)
        assert out.getvalue().startswith("4 sessions deleted, 1 left for the next sweep")
        assert BotSession.objects.count() == 2

    key = str(new_chat())
    make(key, timedelta(days=1))
    talk(lock, quiet, handle, key)
    assert stored(key) == {"count": 5}


@both_locks
def test_a_sweep_in_a_transaction_tells_of_all(lock: str) -> None:
    bots = {BOT: {"SESSION": path("heard"), "APPLICATION": path("nothing"), "LOCK": lock}}
    before, keys = len(told), [str(new_chat()) for _ in range(5)]
    for key in keys:
        make(key, -MOMENT)
    with override_settings(BOTSESSIONS={"BOTS": bots}), transaction.atomic():
        batches = list(Sweep().run(BotSession, "default"))
    assert sum(batch.done for batch in batches) == 5
    assert sorted(told[before:]) == keys
    del told[before:]


def test_a_job_of_the_bot_sweeps_and_leaves_its_own_chat() -> None:
    swept: list[int] = []

    def sweep() -> None:
        with closing(connections["default"]):
            swept.append(sum(batch.done for batch in Sweep().run(BotSession, "default")))

    async def work(context: Any) -> None:
        await asyncio.to_thread(sweep)

    async def main() -> None:
        async with bot_running("process", heard, errors=fail) as bot:
            job = bot.application.job_queue.run_once(work, 3600, chat_id=int(keys[0]))
            for key in keys:
                await asyncio.to_thread(apart, make, key, -MOMENT)
            await asyncio.wait_for(job.run(bot.application), 30)

    bots = {BOT: {"SESSION": path("heard"), "APPLICATION": path("nothing")}}
    before, keys = len(told), [str(new_chat()) for _ in range(5)]
    with override_settings(BOTSESSIONS={"BOTS": bots}):
        asyncio.run(main())
    assert swept == [4]
    assert set(told[before:]) == set(keys)
    del told[before:]


def test_a19_what_somebody_deletes_while_its_handler_runs_is_not_brought_back() -> None:
    conflicts: list[Any] = []

    async def handle(update: Any, context: Any) -> None:
        context.session["count"] += 1
        await asyncio.to_thread(apart, forget)

    def forget() -> None:
        let_expire(key)
        BotSession.objects.all().delete()

    async def note(update: Any, context: Any) -> None:
        conflicts.append(context.error)

    key = str(new_chat())
    make(key, MOMENT)
    talk("process", quiet, handle, key, errors=note)
    assert [type(error) for error in conflicts] == [SessionConflict]
    assert not BotSession.objects.exists()
