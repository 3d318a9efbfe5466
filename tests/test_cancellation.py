"""Cancelling: whatever it hits, nothing stays held, and nothing is saved by half: rule E9."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from contextvars import Context
from dataclasses import dataclass
from typing import Any

import pytest
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED
from django.db import connection
from telegram.ext import CommandHandler, TypeHandler

from botsessions import MemoryStorage, lazy_session, multi_session, session
from botsessions.exceptions import SessionClosed, SessionConflict
from botsessions.keys import per_user
from botsessions.models import BotSession
from botsessions.storages import ANY, Address, Record, ValueStorage

from .elsewhere import Elsewhere, TooLong, elsewhere
from .harness import text
from .limits import aside, run
from .locked import (
    BOT,
    bot_running,
    both_locks,
    count,
    counting,
    eventually,
    is_free,
    new_chat,
)
from .suspensions import Cancellation, Moment

SWEEP_SECONDS = 60
END_SECONDS = 3.0
"""So long a run may take to end once its task was cancelled."""
MOST_POINTS = 400
MOST_PROBLEMS = 4
"""After so many a sweep ends: each takes its time."""


class BlindStorage(ValueStorage):
    """One that cannot compare, and takes a while."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    async def get_value(self, key: str) -> Any:
        await asyncio.sleep(0)
        return self.values.get(key)

    async def set_value(self, key: str, value: Any) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        self.values[key] = value

    async def delete_value(self, key: str) -> None:
        await asyncio.sleep(0)
        self.values.pop(key, None)


Handler = Callable[[Any, Any], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Scenario:
    """What an author does: a session, handlers, and what is done with them.

    ``most`` is how often it counts at most; ``act`` counts in the chat that it is given.
    """

    act: Callable[[Any, int], Coroutine[Any, Any, None]]
    handlers: Sequence[Any] = ()
    kind: Callable[..., Any] = session
    most: int = 1
    contended: bool = False
    """Whether somebody else has the key when it begins."""


async def send(bot: Any, chat: int, words: str = "x") -> None:
    await bot.application.process_update(text(bot.user(id=chat), chat, words))


async def send_two(bot: Any, chat: int) -> None:
    both = [asyncio.create_task(send(bot, chat)) for _ in range(2)]
    await asyncio.wait(both)
    await asyncio.gather(*both, return_exceptions=True)


async def count_lazily(update: Any, context: Any) -> None:
    (await context.session)["count"] += 1


async def assign_awaitable(update: Any, context: Any) -> None:
    async def counted() -> Any:
        data = await context.get_session()
        await asyncio.sleep(0)
        return {"count": data["count"] + 1}

    await context.session
    context.session = counted()


async def count_both(update: Any, context: Any) -> None:
    context.session.a["count"] += 1
    context.session.b["count"] += 1


async def save_early(update: Any, context: Any) -> None:
    context.session["count"] += 1
    await context.save_session()
    await asyncio.sleep(0)


async def edit_for_a_moment(update: Any, context: Any) -> None:
    await asyncio.sleep(0)
    async with context.edit_session() as data:
        data["half"] = True
        await asyncio.sleep(0)
        data["count"] += 1
        del data["half"]
    await asyncio.sleep(0)


async def edit_other_chat(update: Any, context: Any) -> None:
    """A chat edits the one that it names, in a task."""

    async def edit() -> None:
        async with context.application.session.aedit(update.message.text, bot=BOT) as data:
            data["half"] = True
            await asyncio.sleep(0)
            data["count"] += 1
            del data["half"]

    await asyncio.create_task(edit())


async def edit_own_chat(update: Any, context: Any) -> None:
    async def edit() -> None:
        async with context.application.session.aedit(
            chat=update.effective_chat.id, bot=BOT
        ) as data:
            data["half"] = True
            await asyncio.sleep(0)
            data["count"] += 1
            del data["half"]

    await asyncio.wait([asyncio.create_task(edit())])


async def count_in_vain(update: Any, context: Any) -> None:
    context.session["count"] += 1
    await aside(change_behind_its_back, update.effective_chat.id)


def change_behind_its_back(chat: int) -> None:
    BotSession.objects.filter(key=str(chat)).update(revision=chat)


async def tell_other_chat(bot: Any, chat: int) -> None:
    await send(bot, new_chat(), str(chat))


async def edit(bot: Any, chat: int) -> None:
    async with bot.application.session.aedit(chat=chat, bot=BOT) as data:
        data["half"] = True
        await asyncio.sleep(0)
        data["count"] += 1
        del data["half"]


async def delete(bot: Any, chat: int) -> None:
    await bot.application.session.adelete(chat=chat, bot=BOT)


async def run_job(bot: Any, chat: int) -> None:
    async def job(context: Any) -> None:
        await asyncio.sleep(0)
        context.session["count"] += 1

    def end(event: Any) -> None:
        ended.set()

    ended = asyncio.Event()
    scheduler = bot.application.job_queue.scheduler
    scheduler.add_listener(end, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)
    try:
        bot.application.job_queue.run_once(job, 0, chat_id=chat)
        await ended.wait()
    finally:
        scheduler.remove_listener(end)


async def run_job_now(bot: Any, chat: int) -> None:
    async def job(context: Any) -> None:
        await asyncio.sleep(0)
        context.session["count"] += 1

    job_queue = bot.application.job_queue
    await job_queue.run_once(job, 3600, chat_id=chat).run(bot.application)


SCENARIOS = {
    "an update": Scenario(send, [count]),
    "an update behind another": Scenario(send, [count], contended=True),
    "two updates of a chat": Scenario(send_two, [count], most=2),
    "two updates behind another": Scenario(send_two, [count], most=2, contended=True),
    "an update with a lazy session": Scenario(send, [count_lazily], lazy_session),
    "an awaitable that is assigned": Scenario(send, [assign_awaitable], lazy_session),
    "save_session": Scenario(send, [save_early], contended=True),
    "edit_session": Scenario(
        send, [TypeHandler(object, edit_for_a_moment, block=False)], contended=True
    ),
    "edit_session beside an update": Scenario(
        send, [TypeHandler(object, edit_for_a_moment, block=False), count], most=2
    ),
    "aedit": Scenario(edit),
    "aedit behind another": Scenario(edit, contended=True),
    "adelete": Scenario(delete, contended=True, most=0),
    "aedit of another chat in a task": Scenario(tell_other_chat, [edit_other_chat]),
    "aedit of another chat that is busy": Scenario(
        tell_other_chat, [edit_other_chat], contended=True
    ),
    "aedit of the own chat in a task": Scenario(send, [edit_own_chat]),
    "a job": Scenario(run_job, contended=True),
    "a job that is run by hand": Scenario(run_job_now, contended=True),
}


class Sweep:
    """Runs a scenario once for each point where it can be cancelled, each in a chat of its own."""

    def __init__(
        self, scenario: Scenario, declared: Any, lock: str, other: Elsewhere | None = None
    ) -> None:
        self.scenario = scenario
        self.declared = declared
        self.problems: list[str] = []
        self.points = 0
        self._lock = lock
        self._other = other
        self._complaints: list[str] = []

    async def go(self) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._note)
        async with bot_running(self._lock, self.declared, *self.scenario.handlers) as bot:
            await asyncio.wait_for(bot.user(id=new_chat()).send(str(new_chat())), END_SECONDS)
            tasks = len(asyncio.all_tasks())
            for moment in Moment:
                for number in range(1, MOST_POINTS):
                    point = Cancellation(number, moment)
                    await self._run(bot, point, tasks)
                    if not point.happened or len(self.problems) >= MOST_PROBLEMS:
                        self.points += number - 1
                        break
                else:
                    pytest.fail("It has no end.")

    def _note(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._complaints.append(f"{context['message']}: {context.get('exception')!r}")

    async def _run(self, bot: Any, point: Cancellation, tasks: int) -> None:
        chat, loop = await self._new_chat(), asyncio.get_running_loop()
        with point.driving(loop):
            async with self._contention(chat):
                # In a context of its own: it is not part of what has the key.
                acting = Context().run(loop.create_task, self._act(bot, chat))
                await asyncio.sleep(0)
            await asyncio.wait([acting], timeout=END_SECONDS)
            if point.tasks:
                await asyncio.wait(point.tasks, timeout=END_SECONDS)
        try:
            await self._check(point, chat, tasks)
        except (AssertionError, SessionConflict) as exc:
            self.problems.append(f"Cancelled at {point}: {exc}")
        for task in point.tasks:
            task.cancel()

    async def _new_chat(self) -> int:
        return new_chat()

    @asynccontextmanager
    async def _contention(self, chat: int) -> AsyncIterator[None]:
        if not self.scenario.contended:
            yield
            return
        async with self.declared.aedit(chat=chat, bot=BOT) as data:
            data["count"] = 0
            yield
            for _ in range(5):
                await asyncio.sleep(0)

    async def _act(self, bot: Any, chat: int) -> None:
        await self.scenario.act(bot, chat)

    async def _check(self, point: Cancellation, chat: int, tasks: int) -> None:
        running = [task.get_coro() for task in point.tasks if not task.done()]
        assert not running, f"still running: {running}"
        assert not point.swallowed, "the cancellation was swallowed"
        assert await is_free(self.declared, str(chat)), "its key is held for ever"
        await self._check_data(str(chat))
        await self._check_elsewhere(str(chat))
        with suppress(AssertionError):
            await eventually(lambda: len(asyncio.all_tasks()) <= tasks, 1)
        left = len(asyncio.all_tasks()) - tasks
        assert left <= 0, f"{left} tasks are left: {asyncio.all_tasks()}"
        complaints, self._complaints = self._complaints, []
        assert not complaints, f"the event loop complains: {complaints}"

    async def _check_data(self, key: str) -> None:
        async with self.declared.aedit(key, bot=BOT) as data:
            assert "half" not in data, "half of a change was saved"
            assert 0 <= data["count"] <= self.scenario.most, f"it has counted {data['count']}"
            data["count"] = 1000
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        stored = await self.declared.aget(key, bot=BOT)
        assert stored == {"count": 1000}, "something was written after the key was released"

    async def _check_elsewhere(self, key: str) -> None:
        if self._other is not None:
            try:
                await aside(self._other.count, key, END_SECONDS)
            except TooLong:
                raise AssertionError("another process cannot have its key") from None


def sweep(scenario: Scenario, declared: Any, lock: str, other: Any = None) -> None:
    sweeping = Sweep(scenario, declared, lock, other)
    run(sweeping.go(), SWEEP_SECONDS)
    assert sweeping.problems == [], "\n".join(sweeping.problems)
    assert sweeping.points > 1


@pytest.fixture(scope="module")
def another_process(django_db_setup: None, django_db_blocker: Any) -> Iterator[Elsewhere]:
    with django_db_blocker.unblock(), elsewhere("database") as process:
        yield process


each_scenario = pytest.mark.parametrize("name", SCENARIOS)


@each_scenario
@both_locks
@pytest.mark.django_db(transaction=True)
def test_whatever_is_cancelled_and_wherever_nothing_is_left_held(
    name: str, lock: str, another_process: Elsewhere
) -> None:
    scenario = SCENARIOS[name]
    other = another_process if lock == "database" else None
    sweep(scenario, scenario.kind(initial=counting), lock, other)
    assert_no_transaction_is_open()


@pytest.mark.once
@each_scenario
def test_where_nobody_compares_no_late_write_destroys_a_later_change(name: str) -> None:
    scenario = SCENARIOS[name]
    sweep(scenario, scenario.kind(initial=counting, storage=BlindStorage()), "process")


class GatedStorage(MemoryStorage):
    """One whose reads, or writes, wait until they are let through."""

    def __init__(self, *, read: bool = False, write: bool = False) -> None:
        super().__init__()
        self.open = asyncio.Event()
        self.waiting = 0
        self.events: list[str] = []
        self._gated = {"read": read, "write": write}

    async def read_many(self, addresses: Any) -> Any:
        await self._pass("read")
        return await super().read_many(addresses)

    async def write_many(self, changes: Any) -> Any:
        await self._pass("write")
        return await super().write_many(changes)

    async def _pass(self, work: str) -> None:
        self.events.append(f"{work} begins")
        if self._gated[work]:
            self.waiting += 1
            await self.open.wait()
        self.events.append(f"{work} ends")


class BlindGatedStorage(BlindStorage):
    """One that cannot compare, and whose writes wait until they are let through."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()
        self.events: list[str] = []

    async def set_value(self, key: str, value: Any) -> None:
        self.events.append("write begins")
        await self.open.wait()
        self.values[key] = value
        self.events.append("write ends")


ENDS = [RuntimeError, asyncio.CancelledError, SystemExit, KeyboardInterrupt, GeneratorExit]
"""What a block may end with."""
each_end = pytest.mark.parametrize("end", ENDS)


@pytest.mark.once
@pytest.mark.parametrize("block", [False, True], ids=["beside its chat", "holding its chat"])
@pytest.mark.django_db(transaction=True)
def test_an_edit_session_that_times_out_is_not_saved_by_half(block: bool) -> None:
    async def edit_slowly(update: Any, context: Any) -> None:
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(edit(context), 0.05)
        context.session["whole"] = True

    async def edit(context: Any) -> None:
        async with context.edit_session() as data:
            data["half"] = True
            await asyncio.sleep(60)
            data["other half"] = True

    async def main() -> None:
        handler = TypeHandler(object, edit_slowly, block=block)
        async with bot_running("process", declared, handler) as bot:
            assert (await bot.user(id=chat).send("x")).errors == []
        assert await declared.aget(str(chat), bot=BOT) == {"count": 0, "whole": True}

    declared = session(initial=counting)
    chat = new_chat()
    run(main())


@pytest.mark.once
@each_end
@pytest.mark.django_db(transaction=True)
def test_however_an_edit_session_ends_early_nothing_of_it_is_saved(
    end: type[BaseException],
) -> None:
    async def edit_by_half(update: Any, context: Any) -> None:
        with suppress(end):
            async with context.edit_session() as data:
                data["half"] = True
                raise end

    async def main() -> None:
        handler = TypeHandler(object, edit_by_half, block=False)
        async with bot_running("process", declared, handler) as bot:
            await bot.user(id=chat).send("x")
        assert await declared.aget(str(chat), bot=BOT) in (None, {"count": 0})
        assert await is_free(declared, str(chat))

    declared = session(initial=counting)
    chat = new_chat()
    run(main())


@both_locks
@each_end
@pytest.mark.django_db(transaction=True)
def test_however_an_edit_ends_early_nothing_of_it_is_saved_and_the_key_is_free(
    end: type[BaseException], lock: str
) -> None:
    async def main() -> None:
        async with bot_running(lock, declared, count):
            with suppress(end):
                async with declared.aedit(str(chat), bot=BOT) as data:
                    data["half"] = True
                    raise end
            await aside(edit_in_a_view)
            assert await declared.aget(str(chat), bot=BOT) is None
            assert await is_free(declared, str(chat))

    def edit_in_a_view() -> None:
        with suppress(end), declared.edit(str(chat), bot=BOT) as data:
            data["half"] = True
            raise end

    declared = session(initial=counting)
    chat = new_chat()
    run(main())


@pytest.mark.once
@each_end
@pytest.mark.django_db(transaction=True)
def test_an_update_whose_handler_ends_early_is_not_saved_and_its_key_is_free(
    end: type[BaseException],
) -> None:
    async def leave(update: Any, context: Any) -> None:
        context.session["half"] = True
        if update.message.text == "leave":
            raise end

    async def main() -> None:
        async with bot_running("process", declared, leave) as bot:
            with suppress(end):
                await bot.application.process_update(text(bot.user(id=chat), 1, "leave"))
            assert await declared.aget(str(chat), bot=BOT) is None
            assert await is_free(declared, str(chat))

    declared = session(initial=counting)
    chat = new_chat()
    run(main())


@pytest.mark.once
def test_a_lazy_read_that_outlives_its_update_ends_in_session_closed() -> None:
    """A15. Its task is not cancelled: nobody has cancelled it."""

    async def start_reading(update: Any, context: Any) -> None:
        reading.append(asyncio.create_task(read(context)))
        await eventually(lambda: storages[0].waiting)

    async def read(context: Any) -> Any:
        return await context.session

    async def main() -> None:
        storage = GatedStorage(read=True)
        storages.append(storage)
        declared = lazy_session(initial=counting, storage=storage)
        async with bot_running("process", declared, start_reading) as bot:
            await bot.user(id=chat).send("x")
            assert storage.waiting == 1
            storage.open.set()
            await asyncio.wait(reading, timeout=5)
            (task,) = reading
            assert task.done()
            assert not task.cancelled()
            assert isinstance(task.exception(), SessionClosed)

    reading: list[asyncio.Task[Any]] = []
    storages: list[GatedStorage] = []
    chat = new_chat()
    run(main())


@pytest.mark.once
def test_a_cancelled_update_whose_save_is_refused_is_cancelled_nevertheless() -> None:
    async def main() -> None:
        storage = GatedStorage(write=True)
        declared = session(initial=counting, storage=storage)
        async with bot_running("process", declared, count, errors=note) as bot:
            person = bot.user(id=chat)
            update = asyncio.create_task(bot.application.process_update(text(person)))
            await eventually(lambda: storage.waiting)
            await MemoryStorage.write_many(storage, [stored(chat)])
            update.cancel()
            await asyncio.sleep(0)
            storage.open.set()
            await asyncio.wait([update], timeout=5)
            assert update.done()
            assert update.cancelled()
            assert await is_free(declared, str(chat))

    async def note(update: Any, context: Any) -> None:
        pass

    chat = new_chat()
    run(main())


def stored(chat: int) -> Any:
    """Return what somebody else stores in the chat meanwhile."""
    return Address(BOT, "", str(chat)), Record({"count": 50}, revision=ANY)


@pytest.mark.once
def test_nobody_has_the_key_before_a_tasks_write_has_landed() -> None:
    """The task's ``save_session()`` is under way when its update is cancelled."""

    async def save_in_a_task(update: Any, context: Any) -> None:
        storage.events.append(f"{update.message.text} begins")
        context.session["count"] += 1
        if update.message.text == "first":
            await asyncio.create_task(save(context))
        storage.events.append(f"{update.message.text} ends")

    async def save(context: Any) -> None:
        await context.save_session()

    async def save_unasked(update: Any, context: Any) -> None:
        storage.events.append(f"{update.message.text} begins")
        context.session["count"] += 1
        if update.message.text == "first":
            tasks.append(asyncio.create_task(save(context)))
            await asyncio.sleep(60)
        storage.events.append(f"{update.message.text} ends")

    async def main(handler: Any) -> None:
        declared = session(initial=counting, storage=storage)
        async with bot_running("process", declared, handler) as bot:
            person = bot.user(id=chat)
            application = bot.application
            first = asyncio.create_task(application.process_update(text(person, 1, "first")))
            await eventually(lambda: "write begins" in storage.events)
            second = asyncio.create_task(application.process_update(text(person, 2, "second")))
            first.cancel()
            for _ in range(20):
                await asyncio.sleep(0)
            storage.open.set()
            await asyncio.wait([first, second, *tasks], timeout=5)
            assert storage.events[:2] == ["first begins", "write begins"]
            if "second begins" in storage.events:
                landed = storage.events.index("write ends")
                assert landed < storage.events.index("second begins"), storage.events
            (stored,) = storage.values.values()
            assert stored["count"] == 2

    for handler in (save_in_a_task, save_unasked):
        chat, storage, tasks = new_chat(), BlindGatedStorage(), list[asyncio.Task[Any]]()
        run(main(handler))


@pytest.mark.once
def test_save_session_behind_the_last_save_writes_or_says_that_it_is_too_late() -> None:
    """A task of a handler changes something while the update is being saved."""

    async def leave_a_task(update: Any, context: Any) -> None:
        context.session["count"] += 1
        tasks.append(asyncio.create_task(change_late(context)))

    async def change_late(context: Any) -> None:
        await eventually(lambda: storage.waiting)
        context.session["late"] = True
        await context.save_session()

    async def main() -> None:
        declared = session(initial=counting, storage=storage)
        async with bot_running("process", declared, leave_a_task) as bot:
            update = asyncio.create_task(bot.application.process_update(text(bot.user(id=chat))))
            await eventually(lambda: storage.waiting)
            await asyncio.sleep(0.05)
            storage.open.set()
            await asyncio.wait_for(update, 5)
            await asyncio.wait(tasks, timeout=5)
            (task,) = tasks
            too_late = isinstance(task.exception(), SessionClosed)
            written = "late" in (await declared.aget(str(chat), bot=BOT) or {})
            assert too_late or written

    storage, tasks = GatedStorage(write=True), list[asyncio.Task[Any]]()
    chat = new_chat()
    run(main())


@both_locks
@pytest.mark.django_db(transaction=True)
def test_a_cancelled_update_that_meets_a_conflict_is_cancelled_nevertheless(lock: str) -> None:
    """The cancellation hits the save, too, whose error goes to the error handlers."""

    async def store_first(bot: Any, chat: int) -> None:
        await send(bot, chat)

    declared = session(initial=counting)
    scenario = Scenario(store_first, [CommandHandler("never", count), count_in_vain], most=1000)

    class WithConflict(Sweep):
        async def _new_chat(self) -> int:
            chat = new_chat()
            async with self.declared.aedit(chat=chat, bot=BOT) as data:
                data["stored"] = True
            return chat

        async def _check_data(self, key: str) -> None:
            stored = await self.declared.aget(key, bot=BOT)
            assert stored == {"count": 0, "stored": True}

    sweeping = WithConflict(scenario, declared, lock)
    run(sweeping.go(), SWEEP_SECONDS)
    assert sweeping.problems == [], "\n".join(sweeping.problems)


@both_locks
@pytest.mark.django_db(transaction=True)
def test_of_a_cancelled_update_all_fragments_are_saved_or_none(lock: str) -> None:
    pair = multi_session(
        a=session(initial=counting), b=session(initial=counting, get_session_key=per_user)
    )

    class OfPairs(Sweep):
        async def _check(self, point: Cancellation, chat: int, tasks: int) -> None:
            a, b = str(chat), str(chat)
            assert not point.swallowed, "the cancellation was swallowed"
            for fragment, key in ((pair.a, a), (pair.b, b)):
                assert await is_free(fragment, key), "a key is held for ever"
            stored = await pair.a.aget(a, bot=BOT), await pair.b.aget(b, bot=BOT)
            assert stored[0] == stored[1], f"stored: {stored}"
            if self._other is not None:
                for name in "ab":
                    await aside(self._other.count, str(chat), END_SECONDS, 1, name)

    pairs = elsewhere(lock, "tests.bots.elsewhere.pair")
    with pairs if lock == "database" else nullcontext() as other:
        sweeping = OfPairs(Scenario(send, [count_both]), pair, lock, other)
        run(sweeping.go(), SWEEP_SECONDS)
    assert sweeping.problems == [], "\n".join(sweeping.problems)


def assert_no_transaction_is_open() -> None:
    """Whether a connection was left in the midst of one; on SQLite nobody else could write."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*), count(*) FILTER (WHERE state LIKE 'idle in transaction%') "
                "FROM pg_stat_activity WHERE datname = current_database()"
            )
            connections, idle = cursor.fetchone()
        assert idle == 0
        assert connections < 10
