"""One key at a time inside a process: rules E1 to E5, E8 and E9."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from django.test import SimpleTestCase
from hypothesis import given, settings
from hypothesis import strategies as st
from telegram import Update

from botsessions import lazy_session, multi_session, session
from botsessions.exceptions import SessionLockTimeout
from botsessions.keys import per_chat, per_user
from botsessions.locks import ProcessLock, process_lock, release
from botsessions.storages import Address, Record

from .harness import Store, client

pytestmark = pytest.mark.once


async def held(lock: ProcessLock, *keys: str, seconds: float | None = None) -> Any:
    ticket = lock.request(keys)
    await lock.acquire(ticket, seconds)
    return ticket


async def soon(task: asyncio.Future[Any]) -> bool:
    """Whether the task ends as soon as it may run."""
    for _ in range(10):
        await asyncio.sleep(0)
    return task.done()


class TheLock(SimpleTestCase):
    async def test_a_free_key_is_held_at_once(self) -> None:
        lock = ProcessLock()
        assert not lock.busy
        ticket = await held(lock, "a")
        assert lock.busy
        lock.release(ticket)
        assert not lock.busy

    async def test_e1_keys_are_handed_out_in_the_order_of_the_requests(self) -> None:
        lock, order = ProcessLock(), []
        first = await held(lock, "a")

        async def take(number: int) -> None:
            ticket = await held(lock, "a")
            order.append(number)
            await asyncio.sleep(0)
            lock.release(ticket)

        tasks = [asyncio.ensure_future(take(number)) for number in range(5)]
        assert not await soon(tasks[0])
        lock.release(first)
        await asyncio.gather(*tasks)
        assert order == list(range(5))

    async def test_e2_other_keys_are_free(self) -> None:
        lock = ProcessLock()
        await held(lock, "a")
        await asyncio.wait_for(held(lock, "b"), 1)

    async def test_e3_a_place_in_the_queue_is_given_up_when_its_task_is_cancelled(self) -> None:
        lock = ProcessLock()
        first = await held(lock, "a")
        second = asyncio.ensure_future(held(lock, "a"))
        third = asyncio.ensure_future(held(lock, "a"))
        assert not await soon(third)
        second.cancel()
        assert not await soon(third)
        lock.release(first)
        lock.release(await third)
        assert not lock.busy

    async def test_e3_a_key_that_was_granted_to_a_cancelled_task_goes_on_to_the_next(self) -> None:
        lock = ProcessLock()
        first = await held(lock, "a")
        second = asyncio.ensure_future(held(lock, "a"))
        third = asyncio.ensure_future(held(lock, "a"))
        await soon(third)
        lock.release(first)  # Grants it to the second,
        second.cancel()  # which has not noticed yet.
        lock.release(await asyncio.wait_for(third, 1))
        assert not lock.busy

    async def test_e4_several_keys_are_queued_for_in_one_step(self) -> None:
        lock = ProcessLock()
        first = await held(lock, "a")
        both = asyncio.ensure_future(held(lock, "a", "b"))
        await soon(both)
        last = asyncio.ensure_future(held(lock, "b"))
        assert not await soon(last)
        lock.release(first)
        ticket = await both
        assert not await soon(last)
        lock.release(ticket)
        await last

    async def test_e5_no_key_is_remembered_when_it_is_free(self) -> None:
        lock = ProcessLock()
        for number in range(1000):
            lock.release(await held(lock, str(number), "shared"))
        assert not lock.busy
        assert not lock.wanted

    async def test_releasing_twice_does_nothing(self) -> None:
        lock = ProcessLock()
        first = await held(lock, "a")
        lock.release(first)
        second = await held(lock, "a")
        lock.release(first)
        assert lock.busy
        lock.release(second)

    async def test_e8_a_key_is_waited_for_as_long_as_is_asked_for(self) -> None:
        lock = ProcessLock()
        first = await held(lock, "a")
        with pytest.raises(asyncio.TimeoutError):
            await held(lock, "a", seconds=0.01)
        lock.release(first)
        assert not lock.busy

    async def test_keys_go_from_one_event_loop_to_another(self) -> None:
        lock, order = ProcessLock(), []
        first = await held(lock, "a")

        def elsewhere() -> None:
            async def take() -> None:
                ticket = await held(lock, "a")
                order.append("thread")
                lock.release(ticket)

            asyncio.run(take())

        thread = threading.Thread(target=elsewhere)
        thread.start()
        while not lock.has_heir(first):  # noqa: ASYNC110 (the other loop requests it)
            await asyncio.sleep(0.001)
        order.append("loop")
        lock.release(first)
        await asyncio.to_thread(thread.join)
        assert order == ["loop", "thread"]
        assert not lock.busy

    async def test_a_waiter_whose_event_loop_was_closed_does_not_keep_the_key(self) -> None:
        lock = ProcessLock()
        first, abandoned = await held(lock, "a"), []

        def elsewhere() -> None:
            loop = asyncio.new_event_loop()
            task = loop.create_task(held(lock, "a"))
            loop.run_until_complete(asyncio.sleep(0.01))
            loop.close()
            abandoned.append(task)

        await asyncio.to_thread(elsewhere)
        lock.release(first)
        lock.release(await asyncio.wait_for(held(lock, "a"), 1))

    async def test_a_holder_whose_event_loop_was_closed_keeps_the_key(self) -> None:
        """As one in sync code, which has an event loop only while it waits."""
        lock, tickets = ProcessLock(), []
        first = await held(lock, "a")

        def elsewhere() -> None:
            tickets.append(asyncio.run(held(lock, "a")))

        thread = threading.Thread(target=elsewhere)
        thread.start()
        while not lock.has_heir(first):  # noqa: ASYNC110 (the other loop requests it)
            await asyncio.sleep(0.001)
        lock.release(first)
        await asyncio.to_thread(thread.join)
        second = asyncio.ensure_future(held(lock, "a"))
        third = asyncio.ensure_future(held(lock, "a"))
        assert not await soon(third)
        second.cancel()
        assert not await soon(third)
        lock.release(*tickets)
        lock.release(await third)
        assert not lock.busy

    async def test_keys_that_are_held_or_waited_for_are_wanted(self) -> None:
        lock = ProcessLock()
        first, second = lock.request(["a"]), lock.request(["a", "b"])
        assert set(lock.wanted) == {"a", "b"}
        assert (first.granted, second.granted) == (True, False)
        await lock.acquire(first)  # Which is granted already.
        lock.release(second)
        assert set(lock.wanted) == {"a"}
        lock.release(first)
        assert not lock.wanted

    async def test_who_waits_in_vain_is_not_told_before_its_time(self) -> None:
        lock = ProcessLock()
        lock.request("a")
        task = asyncio.ensure_future(held(lock, "a", seconds=60))
        assert not await soon(task)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def test_a_key_that_was_granted_before_anybody_waited_is_had_at_once(self) -> None:
        lock = ProcessLock()
        first, second = lock.request("a"), lock.request("a")
        lock.release(first)
        assert second.granted
        asyncio.run(lock.acquire(second))

    def test_a_forked_child_has_a_lock_of_its_own(self) -> None:
        ticket = process_lock().request(["parent"])
        try:
            pid = os.fork()
            if pid == 0:
                os._exit(1 if process_lock().busy else 0)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            assert process_lock().busy
        finally:
            process_lock().release(ticket)

    @settings(deadline=None)
    @given(st.lists(st.sets(st.sampled_from("abcd"), min_size=1), max_size=30), st.randoms())
    def test_every_request_is_served_and_nobody_shares_a_key(
        self, requests: Any, random: Any
    ) -> None:
        lock, holders = ProcessLock(), set()

        async def take(keys: set[str]) -> None:
            ticket = await held(lock, *sorted(keys))
            assert not holders & keys
            holders.update(keys)
            for _ in range(random.randrange(3)):
                await asyncio.sleep(0)
            holders.difference_update(keys)
            lock.release(ticket)

        async def main() -> None:
            await asyncio.wait_for(asyncio.gather(*map(take, requests)), 5)

        asyncio.run(main())
        assert not lock.busy


class Lease:
    """What keys are held with among all processes."""

    def __init__(self, *, handed_on: bool) -> None:
        self.handed_on = handed_on
        self.given_up = 0

    def give_up(self) -> None:
        self.given_up += 1


class Heirs(SimpleTestCase):
    """Who waits for the very keys of a holder may go on with its lease."""

    def heir_of(self, *queue: str) -> bool:
        """Whether the first of these requests, each for some keys, has an heir."""
        lock = ProcessLock()
        first, *_ = [lock.request(keys) for keys in queue]
        return lock.has_heir(first)

    def test_the_next_who_wants_the_very_keys_is_the_heir(self) -> None:
        assert self.heir_of("a", "a")
        assert self.heir_of("a", "a", "ab")
        assert self.heir_of("ab", "ba")

    def test_nobody_is_who_wants_others_or_is_not_the_next(self) -> None:
        assert not self.heir_of("a")
        assert not self.heir_of("a", "b")
        assert not self.heir_of("a", "ab")
        assert not self.heir_of("a", "ab", "a")
        assert not self.heir_of("ab", "a")
        assert not self.heir_of("ab", "a", "ab")
        assert not self.heir_of("ab", "a", "b")

    def test_who_waits_itself_or_is_gone_has_none(self) -> None:
        lock = ProcessLock()
        first, second, _third = [lock.request("a") for _ in range(3)]
        assert not lock.has_heir(second)
        lock.release(first)
        assert lock.has_heir(second)
        assert not lock.has_heir(first)
        assert not ProcessLock().has_heir(first)

    def test_a_lease_that_was_kept_for_it_goes_to_the_heir(self) -> None:
        lock = ProcessLock()
        first, second = lock.request("ab"), lock.request("ab")
        first.lease = lease = Lease(handed_on=True)
        lock.release(first)
        assert second.granted
        assert second.lease is lease
        assert first.lease is None
        assert lease.given_up == 0
        lock.release(second)  # Nobody is there to inherit it.
        assert second.lease is None
        assert lease.given_up == 1

    def test_one_that_was_not_kept_or_that_nobody_inherits_is_given_up(self) -> None:
        for other, handed_on in (("a", False), ("ab", True)):
            lock = ProcessLock()
            first, second = lock.request("a"), lock.request(other)
            first.lease = lease = Lease(handed_on=handed_on)
            lock.release(first)
            assert second.granted
            assert second.lease is first.lease is None
            assert lease.given_up == 1
            lock.release(first)
            assert lease.given_up == 1

    def test_keys_of_this_process_are_released_in_its_lock(self) -> None:
        ticket = process_lock().request(["heir"])
        ticket.lease = lease = Lease(handed_on=False)
        release(ticket)
        assert not process_lock().busy
        assert lease.given_up == 1


class Handlers(SimpleTestCase):
    async def test_e1_updates_of_one_chat_are_handled_one_after_another_in_order(self) -> None:
        for concurrent in (False, 4, 256):
            store, order = Store(), []

            async def work(update: Update, context: Any, order: Any = order) -> None:
                order.append(("begin", update.update_id))
                data = context.session
                await asyncio.sleep(0.001)
                data["count"] += 1
                order.append(("end", update.update_id))

            bot = client(
                session(initial=lambda: {"count": 0}, storage=store),
                work,
                builder=lambda b, c=concurrent: b.concurrent_updates(c),
            )
            maria = bot.user()
            await maria.send("first")  # Starts the application.
            order.clear()
            for number in range(100, 110):
                await bot.application.update_queue.put(text(maria, number))
            direct = [bot.application.process_update(text(maria, n)) for n in range(200, 205)]
            await asyncio.gather(*direct, bot.application.update_queue.join())
            begun = [number for what, number in order if what == "begin"]
            assert [number for what, number in order if what == "end"] == begun
            assert order[::2] == [("begin", number) for number in begun]
            assert [n for n in begun if n < 200] == list(range(100, 110))
            assert [n for n in begun if n >= 200] == list(range(200, 205))
            assert store.values == {"1001": {"count": 16}}

    async def test_e1_order_is_that_in_which_the_keys_became_known(self) -> None:
        order, slow_key = [], asyncio.Event()

        async def key(update: Update) -> str:
            if update.update_id == 901:
                await slow_key.wait()
            return "same"

        async def work(update: Update, context: Any) -> None:
            order.append(update.update_id)

        declared = session(initial=dict, storage=Store(), get_session_key=key)
        bot = client(declared, work)
        maria = bot.user()
        await maria.send("start")
        first = asyncio.ensure_future(bot.application.process_update(text(maria, 901)))
        await soon(first)
        await bot.application.process_update(text(maria, 902))
        slow_key.set()
        await first
        assert order[1:] == [902, 901]

    async def test_e2_a_slow_chat_delays_nobody_else(self) -> None:
        begun, finish = asyncio.Event(), asyncio.Event()

        async def work(update: Update, context: Any) -> None:
            if update.effective_chat.id == 1:
                begun.set()
                await finish.wait()

        bot = client(session(initial=dict, storage=Store()), work)
        slow = asyncio.ensure_future(bot.user(id=1).send("x"))
        await begun.wait()
        await asyncio.wait_for(bot.user(id=2).send("x", wait=False), 1)
        assert not slow.done()
        finish.set()
        await slow

    async def test_e3_a_failing_or_cancelled_predecessor_does_not_stop_those_behind(self) -> None:
        begun, store = asyncio.Event(), Store()

        async def work(update: Update, context: Any) -> None:
            if update.update_id == 901:
                begun.set()
                await asyncio.sleep(60)
            if update.update_id == 902:
                raise ValueError
            context.session.append(update.update_id)

        bot = client(session(initial=list, storage=store), work)
        maria = bot.user()
        await maria.send("start")
        await store.delete(Address("1", "", "1001"), next_revision(store))
        cancelled, *others = [
            asyncio.ensure_future(bot.application.process_update(text(maria, n)))
            for n in (901, 902, 903)
        ]
        await begun.wait()
        cancelled.cancel()
        await asyncio.gather(*others)
        assert store.values == {"1001": [903]}
        assert not process_lock().busy

    async def test_e4_multi_sessions_with_crossing_keys_neither_deadlock_nor_lose(self) -> None:
        chats, users = Store(name="chat"), Store(name="user")
        declared = multi_session(
            chat=session(initial=lambda: 0, storage=chats, get_session_key=per_chat),
            user=session(initial=lambda: 0, storage=users, get_session_key=per_user),
        )

        async def work(update: Update, context: Any) -> None:
            chat, user = context.session.chat, context.session.user
            await asyncio.sleep(0)
            context.session.chat, context.session.user = chat + 1, user + 1

        bot = client(declared, work)
        people = [bot.user(id=n) for n in (1, 2, 3)]
        groups = [bot.group(id=-n) for n in (1, 2, 3)]
        places = [person.in_chat(group) for person in people for group in groups]
        await asyncio.wait_for(asyncio.gather(*(p.send("x") for p in places * 5)), 10)
        assert chats.values == {"-1": 15, "-2": 15, "-3": 15}
        assert users.values == {"1": 15, "2": 15, "3": 15}

    async def test_e5_nothing_is_left_behind_after_many_keys(self) -> None:
        bot = client(lazy_session(initial=dict, storage=Store()), nothing)
        for number in range(1, 300):
            await bot.user(id=number).send("x")
        assert not process_lock().busy
        assert not process_lock().wanted
        assert not bot.application._chat_ids_to_be_updated_in_persistence
        assert not bot.application._user_ids_to_be_updated_in_persistence

    async def test_e8_two_handlers_that_edit_each_other_get_an_error_not_a_deadlock(self) -> None:
        declared = session(initial=lambda: 0, storage=Store())
        both = asyncio.Barrier(2) if hasattr(asyncio, "Barrier") else None
        if both is None:
            self.skipTest("asyncio.Barrier is new in Python 3.11")

        async def edit(update: Update, context: Any) -> None:
            await both.wait()
            async with declared.aedit(chat=3 - update.effective_chat.id):
                pass

        bot = client(declared, edit)
        with mock.patch("botsessions.holding.WITHIN_SECONDS", 0.2):
            answers = await asyncio.gather(bot.user(id=1).send("x"), bot.user(id=2).send("x"))
        errors = [error for answer in answers for error in answer.errors]
        assert errors
        for error in errors:
            assert isinstance(error, SessionLockTimeout)
            assert "'1' of bot" in str(error)
            assert "'2' of bot" in str(error)

    async def test_e8_an_update_fed_by_a_handler_of_its_own_chat_joins_its_session(self) -> None:
        store = Store()
        declared = session(initial=lambda: {"count": 0}, storage=store)

        async def work(update: Update, context: Any) -> None:
            context.session["count"] += 1
            if update.update_id == 1:
                await context.application.process_update(text(maria, 2))
                assert context.session["count"] == 2

        bot = client(declared, work)
        maria = bot.user()
        await bot.feed(text(maria, 1))
        assert store.values == {"1001": {"count": 2}}
        assert store.operations == ["read", "write"]

    async def test_e9_a_cancelled_updates_write_lands_before_its_key_is_released(self) -> None:
        begun, finish, log = asyncio.Event(), asyncio.Event(), []

        class Slow(Store):
            async def write(self, address: Address, record: Record) -> int:
                begun.set()
                await finish.wait()
                log.append("written")
                return await super().write(address, record)

        async def work(update: Update, context: Any) -> None:
            log.append(("handled", dict(context.session)))
            context.session["count"] += 1

        bot = client(session(initial=lambda: {"count": 0}, storage=Slow()), work)
        maria = bot.user()
        first = asyncio.ensure_future(maria.send("x"))
        await begun.wait()
        second = asyncio.ensure_future(maria.send("x"))
        first.cancel()
        assert not await soon(second)
        first.cancel()
        assert not await soon(first)
        finish.set()
        with pytest.raises(asyncio.CancelledError):
            await first
        await second
        assert log == [("handled", {"count": 0}), "written", ("handled", {"count": 1}), "written"]

    async def test_e9_nothing_of_a_handler_that_was_cancelled_is_written(self) -> None:
        begun, store = asyncio.Event(), Store()

        async def work(update: Update, context: Any) -> None:
            context.session["count"] += 1
            begun.set()
            await asyncio.sleep(60)

        bot = client(session(initial=lambda: {"count": 0}, storage=store), work)
        task = asyncio.ensure_future(bot.user().send("x"))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert store.operations == ["read"]
        assert not process_lock().busy


@pytest.fixture(autouse=True)
def nothing_is_held() -> Iterator[None]:
    yield
    gc.collect()
    assert not process_lock().busy


def text(person: Any, update_id: int) -> Update:
    message = {
        "message_id": update_id,
        "date": 0,
        "chat": person.place.chat,
        "from": person.place.user,
        "text": "x",
    }
    bot = person.client.application.bot
    update = Update.de_json({"update_id": update_id, "message": message}, bot)
    assert update is not None
    return update


def next_revision(store: Store) -> Any:
    (record,) = store.records.values()
    return record.revision


async def nothing(update: Any, context: Any) -> None:
    pass


def test_what_is_given_up_in_the_midst_of_a_request_is_released() -> None:
    """As by the garbage collector, which ends coroutines whose event loop was closed."""

    class Collecting(str):
        __slots__ = ()

        def __hash__(self) -> int:
            lock.release(holder)
            return super().__hash__()

    lock = ProcessLock()
    holder = lock.request(["a"])
    assert lock.request([Collecting("b")]).granted
    assert lock.request(["a"]).granted
