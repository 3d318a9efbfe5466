"""Data of code around that holds their keys: joined, instead of waiting for itself. Rule E8."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import sys
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import anyio
import pytest
from asgiref.sync import sync_to_async
from django.db import connection, transaction
from django.test import SimpleTestCase
from telegram import Update
from telegram.ext import TypeHandler

from botsessions import MemoryStorage, lazy_session, multi_session, session
from botsessions.contents import Contents
from botsessions.data import Data
from botsessions.declaration import Fragment
from botsessions.exceptions import (
    SessionClosed,
    SessionKeyError,
    SessionLockError,
    SessionLockTimeout,
)
from botsessions.keys import per_user
from botsessions.sources import FromIds, FromKey, FromUpdate, Source
from botsessions.storages import Address, Record

from .harness import Store, text, turns
from .limits import aside, run, within
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

BOUND_SECONDS = 30
"""So long code that holds a key waits for another."""

Work = Callable[[], Coroutine[Any, Any, None]]


class Around:
    """A unit of work whose code another one runs in."""

    def __init__(self, *shared: Data[Any], hides: bool = False) -> None:
        self.data = {data.address: data for data in shared}
        self.held = [address for address in self.data if address is not None]
        self.hides = hides
        self.over = False
        self.contents = Contents({})

    def shared(self, address: Address | None) -> Data[Any] | None:
        return None if self.hides else self.data.get(address)

    async def reach(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return await coroutine

    async def save(self) -> None: ...


async def found(**keys: Any) -> Contents:
    """Return the contents of a unit with a fragment for each of some keys."""
    store = Store()
    declared = multi_session(
        **{
            name: session(initial=counting, storage=store, get_session_key=lambda _, key=key: key)
            for name, key in keys.items()
        }
    )
    update = Update(1)
    contents = Contents(declared.fragments)
    await contents.find(BOT, FromUpdate(update))
    return contents


@pytest.mark.once
def test_what_is_found_is_all_its_own_and_has_the_keys_to_be_held() -> None:
    async def main() -> None:
        contents = await found(one="1", none=None, two="2")
        assert list(contents.all) == ["one", "none", "two"]
        assert list(contents.own) == list(contents.all.values())
        assert contents.addresses == [Address(BOT, "one", "1"), Address(BOT, "two", "2")]
        assert contents.at(Address(BOT, "two", "2")) is contents.all["two"]
        assert contents.at(Address(BOT, "two", "1")) is None
        assert not contents.has_lost_holders
        contents.forget()
        assert (contents.all, list(contents.own), contents.addresses) == ({}, [], [])

    run(main())


@pytest.mark.once
class Finding(SimpleTestCase):
    async def test_each_fragment_gets_the_key_that_its_function_gives(self) -> None:
        async def slowly(update: Any = None, *, chat: int = 0) -> str:
            return f"slow-{chat}"

        def nothing(update: Any = None, *, chat: int = 0) -> None:
            return None

        store = Store()
        fragments = multi_session(
            chat=session(storage=store),
            slow=session(storage=store, get_session_key=slowly),
            none=session(storage=store, get_session_key=nothing),
        ).fragments
        found = await data_for(fragments, "pizza", FromIds({"chat": 5}))
        assert {name: data.address for name, data in found.items()} == {
            "chat": Address("pizza", "chat", "5"),
            "slow": Address("pizza", "slow", "slow-5"),
            "none": None,
        }
        with pytest.raises(SessionKeyError, match="nothing gives no key for chat"):
            found["none"].get()

    async def test_a_fragment_may_have_one_key_whatever_it_is_asked_for(self) -> None:
        fragments = multi_session(
            common=session(storage=Store()), chat=session(storage=Store())
        ).fragments
        common = dataclasses.replace(fragments["common"], key="all")
        found = await data_for({**fragments, "common": common}, "pizza", FromIds({"chat": 5}))
        assert {name: data.address for name, data in found.items()} == {
            "common": Address("pizza", "common", "all"),
            "chat": Address("pizza", "chat", "5"),
        }
        assert found["common"].fragment is common

    async def test_a_key_that_cannot_be_stored_is_refused(self) -> None:
        fragments = session(storage=Store()).fragments
        with pytest.raises(SessionKeyError, match="is empty"):
            await data_for(fragments, "pizza", FromKey(""))


async def data_for(
    fragments: Mapping[str, Fragment[Any]], bot: str, source: Source
) -> dict[str, Data[Any]]:
    """Return each fragment's data, of which nothing is known yet."""
    contents = Contents(fragments)
    await contents.find(bot, source)
    return contents.all


@pytest.mark.once
def test_what_is_held_around_is_joined_of_the_innermost_that_shows_it() -> None:
    async def main() -> None:
        inner, outer, other = await found(one="1"), await found(one="1"), await found(two="9")
        contents = await found(one="1", two="2")
        mine = contents.all["two"]
        hiding = Around(*outer.own, hides=True)
        holders = [hiding, Around(*other.own), Around(*inner.own), Around(*outer.own)]
        contents.join(holders)
        assert contents.all == {"one": inner.all["one"], "two": mine}
        assert list(contents.own) == [mine]
        assert {name: each.holder for name, each in contents.joined.items()} == {"one": holders[2]}
        holders[3].over = True
        assert not contents.has_lost_holders
        holders[2].over = True
        assert contents.has_lost_holders

    run(main())


@pytest.mark.once
def test_fresher_data_are_its_own_unless_they_were_joined() -> None:
    async def main() -> None:
        contents, outer = await found(one="1", two="2"), await found(one="1")
        contents.join([Around(*outer.own)])
        fresher = await found(two="2")
        contents.replace(fresher.all)
        assert contents.all["two"] is fresher.all["two"]
        assert list(contents.own) == [fresher.all["two"]]

    run(main())


@pytest.mark.once
def test_data_can_be_added_once_for_each_address() -> None:
    async def main() -> None:
        contents, others = await found(one="1"), await found(one="1", two="2")
        contents.add(others.all["two"])
        assert list(contents.own) == [contents.all["one"], others.all["two"]]
        contents.add(others.all["one"])
        again = (await found(two="2")).all["two"]
        contents.add(again)
        assert list(contents.own) == [others.all["one"], again]

    run(main())


@pytest.mark.parametrize("failed", [False, True])
@pytest.mark.once
def test_at_the_end_only_a_failure_leaves_something_to_look_at(failed: bool) -> None:
    async def main() -> None:
        outer = await found(one="1")
        shared = outer.all["one"]
        await shared.look()
        shared.get()["count"] = 1
        contents = await found(one="1", two="2")
        mine = contents.all["two"]
        contents.join([Around(shared)])
        contents.step_in()
        shared.get()["count"] = 2
        reading = asyncio.ensure_future(mine.aget())
        await asyncio.sleep(0)
        contents.close(failed=failed)
        assert shared.get() == {"count": 1 if failed else 2}
        assert set(contents.all) == ({"one", "two"} if failed else set())
        with pytest.raises(SessionClosed):
            await reading

    run(main())


async def directly(work: Work) -> None:
    await work()


async def in_a_task(work: Work) -> None:
    await asyncio.create_task(work())


async def by_gather(work: Work) -> None:
    await asyncio.gather(work(), asyncio.sleep(0))


async def by_wait(work: Work) -> None:
    ((task,), _) = await asyncio.wait([asyncio.create_task(work())])
    await task


async def by_wait_for(work: Work) -> None:
    await asyncio.wait_for(work(), 5)


async def by_shield(work: Work) -> None:
    await asyncio.shield(work())


async def as_completed(work: Work) -> None:
    for done in asyncio.as_completed([work()]):
        await done


async def in_a_group(work: Work) -> None:
    if sys.version_info < (3, 11):
        pytest.skip("There are no task groups.")
    async with asyncio.TaskGroup() as group:
        group.create_task(work())


async def in_a_group_of_anyio(work: Work) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(work)


async def by_an_event(work: Work) -> None:
    async def tell() -> None:
        await work()
        done.set()

    done = asyncio.Event()
    task = asyncio.create_task(tell())
    await done.wait()
    await task


async def in_tasks_of_tasks(work: Work) -> None:
    await asyncio.gather(in_a_task(lambda: by_wait(work)))


WAYS = [
    directly,
    in_a_task,
    by_gather,
    by_wait,
    by_wait_for,
    by_shield,
    as_completed,
    in_a_group,
    in_a_group_of_anyio,
    by_an_event,
    in_tasks_of_tasks,
]
each_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
THREADS = {"to_thread": asyncio.to_thread, "sync_to_async": lambda f: sync_to_async(f)()}
each_thread = pytest.mark.parametrize("call", THREADS.values(), ids=THREADS)


class Handled:
    """What has become of an update."""

    def __init__(self, errors: list[BaseException], stored: Any) -> None:
        self.errors = errors
        self.stored = stored


async def handled(lock: str, declared: Any, handler: Any, chat: int, errors: Any = None) -> Handled:
    """Have a bot handle an update of a chat; its key is free afterwards."""
    async with bot_running(lock, declared, handler, errors=errors) as bot:
        answers = await asyncio.wait_for(bot.user(id=chat).send("x"), 5)
        stored = await declared.aget(str(chat), bot=BOT)
        assert await is_free(declared, str(chat))
        return Handled(answers.errors, stored)


@each_way
@both_locks
@pytest.mark.django_db(transaction=True)
def test_a_handler_that_edits_its_own_chat_works_on_its_session(way: Any, lock: str) -> None:
    async def handler(update: Any, context: Any) -> None:
        async def edit() -> None:
            async with declared.aedit(chat=chat, bot=BOT) as data:
                assert data["count"] == 1
                await asyncio.sleep(0)
                data["count"] += 10
            assert context.session["count"] == 11

        context.session["count"] += 1
        await way(edit)
        assert context.session["count"] == 11
        context.session["count"] += 100

    declared, chat = session(initial=counting), new_chat()
    outcome = run(handled(lock, declared, handler, chat))
    assert outcome.errors == []
    assert outcome.stored == {"count": 111}


@each_thread
@both_locks
@pytest.mark.django_db(transaction=True)
def test_sync_code_that_a_handler_calls_works_on_its_session(call: Any, lock: str) -> None:
    async def handler(update: Any, context: Any) -> None:
        context.session["count"] += 1
        await call(edit)
        assert context.session["count"] == 11
        context.session["count"] += 100

    def edit() -> None:
        with declared.edit(chat=chat, bot=BOT) as data:
            assert data["count"] == 1
            data["count"] += 10

    declared, chat = session(initial=counting), new_chat()
    outcome = run(handled(lock, declared, handler, chat))
    assert outcome.errors == []
    assert outcome.stored == {"count": 111}


def closing_the_connection(function: Callable[[], object]) -> None:
    """Call a function on a thread that nobody looks after."""
    try:
        function()
    finally:
        connection.close()


@each_thread
@both_locks
@pytest.mark.django_db(transaction=True)
def test_e8_so_it_does_in_a_transaction_and_is_rolled_back_with_it(call: Any, lock: str) -> None:
    async def handler(update: Any, context: Any) -> None:
        context.session["count"] += 1
        await call(partial(closing_the_connection, edit_in_vain))
        assert context.session == {"count": 1}
        await call(partial(closing_the_connection, edit))
        context.session["count"] += 100

    def edit_in_vain() -> None:
        with suppress(ZeroDivisionError), transaction.atomic():
            with declared.edit(chat=chat, bot=BOT) as data:
                data["half"] = True
            raise ZeroDivisionError

    def edit() -> None:
        with transaction.atomic():
            with suppress(ZeroDivisionError), transaction.atomic():
                with declared.edit(chat=chat, bot=BOT) as data:
                    data["half"] = True
                raise ZeroDivisionError
            with declared.edit(chat=chat, bot=BOT) as data:
                data["count"] += 10

    declared, chat = session(initial=counting), new_chat()
    outcome = run(handled(lock, declared, handler, chat))
    assert outcome.errors == []
    assert outcome.stored == {"count": 111}


@pytest.mark.once
def test_an_edit_that_has_joined_costs_no_read_and_no_write_of_its_own() -> None:
    async def handler(update: Any, context: Any) -> None:
        for _ in range(3):
            async with declared.aedit(chat=chat, bot=BOT) as data:
                data["count"] += 1

    store, chat = Store(), new_chat()
    declared = session(initial=counting, storage=store)

    async def main() -> None:
        async with bot_running("process", declared, handler) as bot:
            assert (await bot.user(id=chat).send("x")).errors == []

    run(main())
    assert store.calls == [("read", str(chat)), ("write", str(chat))]


@each_way
@both_locks
@pytest.mark.django_db(transaction=True)
def test_if_the_block_raises_the_data_is_what_it_was_before_it(way: Any, lock: str) -> None:
    async def handler(update: Any, context: Any) -> None:
        async def edit() -> None:
            with suppress(ZeroDivisionError):
                async with declared.aedit(chat=chat, bot=BOT) as data:
                    data["count"] += 10
                    data["list"].append("half")
                    raise ZeroDivisionError

        context.session["count"] += 1
        context.session["list"] = ["whole"]
        await way(edit)
        assert context.session == {"count": 1, "list": ["whole"]}
        context.session["count"] += 100

    declared, chat = session(initial=counting), new_chat()
    outcome = run(handled(lock, declared, handler, chat))
    assert outcome.errors == []
    assert outcome.stored == {"count": 101, "list": ["whole"]}


@both_locks
@pytest.mark.django_db(transaction=True)
def test_so_it_is_if_the_block_was_the_first_to_read_it(lock: str) -> None:
    async def handler(update: Any, context: Any) -> None:
        with suppress(ZeroDivisionError):
            async with declared.aedit(chat=chat, bot=BOT) as data:
                data["half"] = True
                raise ZeroDivisionError
        with suppress(ZeroDivisionError):
            async with context.edit_session() as data:
                data["half"] = True
                raise ZeroDivisionError
        (await context.session)["count"] += 100

    async def main() -> None:
        async with bot_running(lock, declared, handler) as bot:
            async with declared.aedit(str(chat), bot=BOT) as data:
                data["count"] = 7
            assert (await bot.user(id=chat).send("x")).errors == []
            assert await declared.aget(str(chat), bot=BOT) == {"count": 107}

    declared, chat = lazy_session(initial=counting), new_chat()
    run(main())


@pytest.mark.once
@pytest.mark.parametrize(
    "end",
    [RuntimeError, asyncio.CancelledError, SystemExit, KeyboardInterrupt],
)
@pytest.mark.django_db(transaction=True)
def test_however_the_block_ends_early_nothing_of_it_is_saved(end: type[BaseException]) -> None:
    async def handler(update: Any, context: Any) -> None:
        context.session["count"] += 1
        with suppress(end):
            async with declared.aedit(chat=chat, bot=BOT) as data:
                data["half"] = True
                raise end
        await asyncio.to_thread(edit)

    def edit() -> None:
        with suppress(end), declared.edit(chat=chat, bot=BOT) as data:
            data["half"] = True
            raise end

    declared, chat = session(initial=counting), new_chat()
    outcome = run(handled("process", declared, handler, chat))
    assert outcome.errors == []
    assert outcome.stored == {"count": 1}


@pytest.mark.once
@pytest.mark.django_db(transaction=True)
def test_a_joined_block_that_times_out_is_not_saved_by_half() -> None:
    async def handler(update: Any, context: Any) -> None:
        async def edit() -> None:
            async with declared.aedit(chat=chat, bot=BOT) as data:
                data["half"] = True
                await asyncio.sleep(60)

        context.session["count"] += 1
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(edit(), 0.02)

    declared, chat = session(initial=counting), new_chat()
    outcome = run(handled("process", declared, handler, chat))
    assert outcome.stored == {"count": 1}


@pytest.mark.once
@pytest.mark.django_db(transaction=True)
def test_data_that_a_joined_block_assigns_is_the_handlers_from_then_on() -> None:
    async def handler(update: Any, context: Any) -> None:
        edit = declared.aedit(chat=chat, bot=BOT)
        async with edit:
            edit.data = {"count": 50}
        assert context.session == {"count": 50}
        context.session["count"] += 1

    declared, chat = session(initial=counting), new_chat()
    assert run(handled("process", declared, handler, chat)).stored == {"count": 51}


@pytest.mark.once
@pytest.mark.django_db(transaction=True)
def test_a_handler_that_deletes_its_own_chat_from_outside_has_no_session_any_more() -> None:
    async def handler(update: Any, context: Any) -> None:
        context.session["count"] += 1
        await context.save_session()
        await by_wait(lambda: declared.adelete(chat=chat, bot=BOT))
        assert context.session is None

    declared, chat = session(initial=counting), new_chat()
    outcome = run(handled("process", declared, handler, chat))
    assert (outcome.errors, outcome.stored) == ([], None)


@both_locks
@pytest.mark.django_db(transaction=True)
def test_if_the_handler_raises_what_a_joined_block_changed_is_not_saved(lock: str) -> None:
    async def handler(update: Any, context: Any) -> None:
        async with declared.aedit(chat=chat, bot=BOT) as data:
            data["count"] += 10
        raise ZeroDivisionError

    declared, chat = session(initial=counting), new_chat()
    outcome = run(handled(lock, declared, handler, chat))
    assert [type(error) for error in outcome.errors] == [ZeroDivisionError]
    assert outcome.stored is None


@both_locks
@pytest.mark.django_db(transaction=True)
def test_blocks_that_run_side_by_side_work_on_one_session(lock: str) -> None:
    async def handler(update: Any, context: Any) -> None:
        async def edit() -> None:
            async with declared.aedit(chat=chat, bot=BOT) as data:
                data["count"] += 1
                await asyncio.sleep(0)

        await asyncio.gather(*(edit() for _ in range(10)))

    declared, chat = session(initial=counting), new_chat()
    outcome = run(handled(lock, declared, handler, chat))
    assert (outcome.errors, outcome.stored) == ([], {"count": 10})


@both_locks
@pytest.mark.django_db(transaction=True)
def test_blocks_inside_blocks_work_on_one_session(lock: str) -> None:
    async def main() -> None:
        async with bot_running(lock, declared):
            async with declared.aedit(chat=chat, bot=BOT) as outer:
                outer["count"] += 1
                await by_wait(edit_inside)
                with suppress(ZeroDivisionError):
                    await edit_in_vain()
                assert outer["count"] == 11
                outer["count"] += 100
            assert await declared.aget(str(chat), bot=BOT) == {"count": 111}
            await aside(edit_in_a_view)
            assert await declared.aget(str(chat), bot=BOT) == {"count": 222}
            assert await is_free(declared, str(chat))

    async def edit_inside() -> None:
        async with declared.aedit(chat=chat, bot=BOT) as inner:
            inner["count"] += 10

    async def edit_in_vain() -> None:
        async with declared.aedit(chat=chat, bot=BOT) as inner:
            inner["count"] += 1000
            raise ZeroDivisionError

    def edit_in_a_view() -> None:
        with declared.edit(chat=chat, bot=BOT) as outer:
            outer["count"] += 1
            with declared.edit(chat=chat, bot=BOT) as inner:
                inner["count"] += 10
            outer["count"] += 100

    declared, chat = session(initial=counting), new_chat()
    run(main())


@both_locks
@pytest.mark.django_db(transaction=True)
def test_an_update_that_a_handler_feeds_has_its_session(lock: str) -> None:
    async def handler(update: Any, context: Any) -> None:
        context.session["count"] += 1
        if update.message.text == "x":
            again = text(bots[0].user(id=chat), 2, "again")
            await by_wait(lambda: context.application.process_update(again))
            assert context.session["count"] == 2

    async def main() -> None:
        async with bot_running(lock, declared, handler) as bot:
            bots.append(bot)
            answers = await asyncio.wait_for(bot.user(id=chat).send("x"), 5)
            assert answers.errors == []
            assert await declared.aget(str(chat), bot=BOT) == {"count": 2}

    declared, chat = session(initial=counting), new_chat()
    bots: list[Any] = []
    run(main())


@pytest.mark.once
@pytest.mark.parametrize("kind", [session, lazy_session])
@pytest.mark.django_db(transaction=True)
def test_a_fragment_is_joined_too(kind: Any) -> None:
    async def handler(update: Any, context: Any) -> None:
        context.session.chat["count"] += 1
        for fragment in (declared.chat, declared.user):
            ids = {"chat": chat} if fragment is declared.chat else {"user": chat}

            async def edit(fragment: Any = fragment, ids: Any = ids) -> None:
                async with fragment.aedit(**ids, bot=BOT) as data:
                    data["count"] += 10

            await by_wait(edit)

    declared = multi_session(
        chat=session(initial=counting), user=kind(initial=counting, get_session_key=per_user)
    )
    chat = new_chat()

    async def main() -> None:
        async with bot_running("process", declared, handler) as bot:
            answers = await asyncio.wait_for(bot.user(id=chat).send("x"), 5)
            assert answers.errors == []
        assert await declared.chat.aget(str(chat), bot=BOT) == {"count": 11}
        assert await declared.user.aget(str(chat), bot=BOT) == {"count": 10}

    run(main())


@pytest.mark.once
@pytest.mark.django_db(transaction=True)
def test_a_job_that_edits_its_own_chat_works_on_its_session() -> None:
    async def job(context: Any) -> None:
        async def edit() -> None:
            async with declared.aedit(chat=chat, bot=BOT) as data:
                data["count"] += 10

        context.session["count"] += 1
        await by_wait(edit)
        counts.append(context.session["count"])

    async def main() -> None:
        async with bot_running("process", declared) as bot:
            bot.application.job_queue.run_once(job, 0, chat_id=chat)
            await eventually(lambda: counts)
        assert counts == [11]

    declared, chat = session(initial=counting), new_chat()
    counts: list[int] = []
    run(main())


@both_locks
@pytest.mark.django_db(transaction=True)
def test_a_block_that_outlives_its_update_ends_in_session_closed(lock: str) -> None:
    async def handler(update: Any, context: Any) -> None:
        context.session["count"] += 1
        tasks.append(asyncio.create_task(edit_for_long()))
        await entered.wait()

    async def edit_for_long() -> None:
        async with declared.aedit(chat=chat, bot=BOT) as data:
            entered.set()
            await over.wait()
            data["late"] = True

    async def main() -> None:
        nonlocal entered, over
        entered, over = asyncio.Event(), asyncio.Event()
        async with bot_running(lock, declared, handler) as bot:
            await asyncio.wait_for(bot.user(id=chat).send("x", wait=False), 5)
            assert await is_free(declared, str(chat))
            over.set()
            await asyncio.wait(tasks, timeout=5)
            assert isinstance(tasks[0].exception(), SessionClosed)
            stored = await declared.aget(str(chat), bot=BOT)
            assert stored is not None
            assert stored["count"] == 1

    entered: Any = None
    over: Any = None
    declared, chat = session(initial=counting), new_chat()
    tasks: list[asyncio.Task[Any]] = []
    run(main())


@both_locks
@pytest.mark.django_db(transaction=True)
def test_a_task_that_edits_when_its_update_is_over_has_a_session_of_its_own(lock: str) -> None:
    async def handler(update: Any, context: Any) -> None:
        context.session["count"] += 1
        tasks.append(asyncio.create_task(edit_later()))

    async def edit_later() -> None:
        await over.wait()
        async with declared.aedit(chat=chat, bot=BOT) as data:
            data["count"] += 10

    async def main() -> None:
        nonlocal over
        over = asyncio.Event()
        async with bot_running(lock, declared, handler) as bot:
            await asyncio.wait_for(bot.user(id=chat).send("x", wait=False), 5)
            over.set()
            await asyncio.wait_for(asyncio.gather(*tasks), 5)
            assert await declared.aget(str(chat), bot=BOT) == {"count": 11}

    over: Any = None
    declared, chat = session(initial=counting), new_chat()
    tasks: list[asyncio.Task[Any]] = []
    run(main())


class SlowStorage(MemoryStorage):
    """A storage whose first write waits until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.writing, self.let_go = asyncio.Event(), asyncio.Event()

    async def write(self, address: Address, record: Record) -> int:
        self.writing.set()
        await self.let_go.wait()
        return await super().write(address, record)


def test_what_begins_while_the_update_is_saved_for_the_last_time_waits_for_its_end() -> None:
    """It would change data of which nobody saves any more what has changed."""

    async def handler(update: Any, context: Any) -> None:
        context.session["count"] += 1
        tasks.append(asyncio.create_task(edit_while_it_is_saved()))

    async def edit_while_it_is_saved() -> None:
        await storage.writing.wait()
        async with declared.aedit(chat=chat, bot=BOT) as data:
            data["count"] += 10

    async def joined_before(update: Any, context: Any) -> None:
        context.session["count"] += 100
        tasks.append(asyncio.create_task(end_late()))
        await turns()

    async def end_late() -> None:
        async with declared.aedit(chat=chat, bot=BOT) as data:
            await storage.writing.wait()
            data["count"] += 1000

    async def main(work: Any) -> None:
        nonlocal declared, storage
        tasks.clear()
        storage = SlowStorage()
        declared = session(initial=counting, storage=storage)
        async with bot_running("process", declared, work) as bot:
            await bot.application.update_queue.put(text(bot.user(id=chat)))
            await storage.writing.wait()
            await turns()
            storage.let_go.set()
            outcome.extend(
                await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
            )
        outcome.append(await declared.aget(str(chat), bot=BOT))

    declared, storage, chat = None, None, new_chat()  # type: Any, Any, Any
    tasks: list[asyncio.Task[Any]] = []
    outcome: list[Any] = []
    run(main(handler))
    assert outcome == [None, {"count": 11}]
    outcome.clear()
    run(main(joined_before))
    assert isinstance(outcome[0], SessionClosed)
    assert outcome[1:] == [{"count": 100}]


@both_locks
@pytest.mark.django_db(transaction=True)
def test_a_task_that_runs_beside_its_chat_waits_for_it_like_anybody_else(lock: str) -> None:
    """It does not hold the key: only what the handler with the key has started joins."""

    async def handler(update: Any, context: Any) -> None:
        async with declared.aedit(chat=chat, bot=BOT) as data:
            seen.append(data["count"])
            data["count"] += 1

    async def main() -> None:
        beside = TypeHandler(object, handler, block=False)
        async with bot_running(lock, declared, beside) as bot:
            async with declared.aedit(chat=chat, bot=BOT) as data:
                data["count"] = 10
                await sent_by_somebody_else(bot)
                await asyncio.sleep(0.05)
                assert seen == []
            await eventually(lambda: seen)
        assert seen == [10]
        assert await declared.aget(str(chat), bot=BOT) == {"count": 11}

    async def sent_by_somebody_else(bot: Any) -> None:
        await bot.application.update_queue.put(text(bot.user(id=chat)))

    declared, chat = session(initial=counting), new_chat()
    seen: list[int] = []
    run(main())


@pytest.mark.django_db(transaction=True)
def test_a_transaction_that_edits_a_chat_twice_sees_its_own_change() -> None:
    def edit_twice() -> None:
        with transaction.atomic():
            with declared.edit(str(chat), bot=BOT) as data:
                data["count"] += 1
            with declared.edit(str(chat), bot=BOT) as data:
                assert data["count"] == 1
                with declared.edit(str(chat), bot=BOT) as inner:
                    inner["count"] += 10
                data["count"] += 100

    declared, chat = session(initial=counting), new_chat()
    bot_with("process", declared)
    with within(10):
        edit_twice()
        assert declared.get(str(chat), bot=BOT) == {"count": 111}


@asynccontextmanager
async def holding(declared: Any, chat: int) -> AsyncIterator[None]:
    """Have somebody hold a chat's key who does nothing else."""

    async def hold() -> None:
        async with declared.aedit(chat=chat, bot=BOT):
            held.set()
            await done.wait()

    held, done = asyncio.Event(), asyncio.Event()
    holder = asyncio.create_task(hold())
    await asyncio.wait_for(held.wait(), 5)
    try:
        yield
    finally:
        done.set()
        await asyncio.wait_for(holder, 5)


@pytest.mark.django_db(transaction=True)
def test_waiting_for_another_key_while_holding_one_ends_and_names_both() -> None:
    """Under both locks at the same time, and once in a circle: it takes half a minute."""

    async def visit(update: Any, context: Any) -> None:
        other = int(update.message.text)
        async with context.application.session.aedit(chat=other, bot=BOT):
            pass

    async def wait_for_a_holder(lock: str) -> BaseException:
        declared = session(initial=counting)
        own, other = new_chat(), new_chat()
        async with bot_running(lock, declared, visit) as bot, holding(declared, other):
            (error,) = (await bot.user(id=own).send(str(other))).errors
        assert isinstance(error, SessionLockTimeout), lock
        assert all(str(Address(BOT, "", str(chat))) in str(error) for chat in (own, other)), error
        return error

    async def wait_in_a_circle(lock: str) -> None:
        async def visit_slowly(update: Any, context: Any) -> None:
            await asyncio.sleep(0.05)
            await visit(update, context)

        declared = session(initial=counting)
        one, two = new_chat(), new_chat()
        async with bot_running(lock, declared, visit_slowly) as bot:
            answers = await asyncio.gather(
                bot.user(id=one).send(str(two)), bot.user(id=two).send(str(one))
            )
        errors = [error for answer in answers for error in answer.errors]
        assert errors
        assert all(isinstance(error, SessionLockError) for error in errors)

    async def main() -> None:
        work = [f(lock) for f in (wait_for_a_holder, wait_in_a_circle) for lock in LOCKS]
        outcomes = await asyncio.gather(
            *(asyncio.wait_for(one, BOUND_SECONDS + 5) for one in work), return_exceptions=True
        )
        failures = [o for o in outcomes if isinstance(o, (AssertionError, asyncio.TimeoutError))]
        assert failures == [], [repr(failure) for failure in failures]

    LOCKS = ("process", "database")  # noqa: N806
    run(main(), BOUND_SECONDS + 20)


def test_what_was_added_is_not_kept_when_all_is_over() -> None:
    contents = Contents({})
    data = Data(session(initial=dict, storage=Store()).fragments[""], Address(BOT, "", "5"))
    contents.add(data)
    known = weakref.ref(data)
    del data
    contents.close(failed=False)
    gc.collect()
    assert known() is None
