"""The keys of units of work, with the lock of the process and of the database: rules E6 to E8."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any
from unittest import IsolatedAsyncioTestCase, mock

import pytest
from asgiref.sync import async_to_sync
from django.db import connection, connections, transaction
from django.test import SimpleTestCase, TestCase, TransactionTestCase, override_settings
from django.test.utils import CaptureQueriesContext
from telegram.ext import CommandHandler

from botsessions import (
    DatabaseStorage,
    MemoryStorage,
    holding,
    lazy_session,
    maintenance,
    multi_session,
    session,
)
from botsessions.database import leases_texts
from botsessions.database.connections import close_databases
from botsessions.database.keeper import keeper_of
from botsessions.database.lease import Lease
from botsessions.editing import Edit
from botsessions.exceptions import SessionConflict, SessionLockError, SessionLockTimeout
from botsessions.holding import Hold
from botsessions.locks import process_lock
from botsessions.maintenance import unused
from botsessions.models import BotSession, BotSessionLease
from botsessions.signals import session_conflict
from botsessions.storages import Address
from botsessions.testing import BotClient
from botsessions.unit import Unit

from .locked import BOT, bot_with, both_locks, build_with, count, counting
from .test_database_leases import (
    DEFAULT,
    ask,
    ask_again_and_again,
    ask_alone,
    end_all_leases,
    give_back,
    in_thread,
    in_thread_of_its_own,
    lasting,
    statements,
    write_under,
)


def bot_of(declared: Any, *handlers: Any) -> Any:
    """Return a client of a bot with the lock of the database."""
    return bot_with("database", declared, *handlers)


def on_nothing(builder: Any) -> Any:
    return builder.build()


async def look(update: Any, context: Any) -> None:
    assert context.session is not None


def lease_on(*keys: str, name: str = "") -> Lease:
    """Return a lease as another process would ask for."""
    return Lease(DEFAULT, [Address(BOT, name, key) for key in keys])


def saving() -> list[str]:
    """Return the statements that change a session and give its lease back."""
    return ["UPDATE lease", "UPDATE session"]


@pytest.mark.django_db(transaction=True)
class Base(IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        self.addCleanup(close_databases)

    async def stored(self) -> dict[str, Any]:
        def rows() -> dict[str, Any]:
            try:
                return dict(BotSession.objects.values_list("key", "data"))
            finally:
                connections.close_all()

        return await asyncio.to_thread(rows)


class Requested(SimpleTestCase):
    async def test_keys_that_get_free_before_they_are_awaited_are_held_and_released(self) -> None:
        keys = [Address("pizza", "", "42")]
        first, second = Hold(), Hold()
        await first.acquire(keys, lambda wanted: [], list)
        request = process_lock().request

        def requested(*keys_and_caller: Any) -> Any:
            ticket = request(*keys_and_caller)
            assert not ticket.granted
            first.release()
            return ticket

        with mock.patch.object(process_lock(), "request", requested):
            await asyncio.wait_for(second.acquire(keys, lambda wanted: [], list), 5)
        assert second.ticket is not None
        assert second.ticket.granted
        second.release()
        assert not process_lock().busy


class Costs(Base):
    """One statement on the way in and at most one on the way out, besides the session's."""

    async def statements_of(self, declared: Any, handler: Any, key: str = "42") -> list[str]:
        maria = bot_of(declared, handler).user(id=int(key))
        for _ in range(2):  # The second time there is a session.
            with statements() as made:
                answers = await maria.send("x")
                await everything_given_back()
            assert answers.errors == []
        return of_tables(made)

    async def test_a_change_costs_at_most_a_statement_more_on_either_way(self) -> None:
        made = await self.statements_of(session(initial=counting), count)
        assert made == ["INSERT lease", "SELECT session", *saving()]

    async def test_a_look_at_the_session_too(self) -> None:
        async def seen_before(update: Any, context: Any) -> None:
            if not await context.application.session.aget("42"):
                context.session["count"] = 1

        made = await self.statements_of(session(initial=counting), seen_before)
        made.remove("SELECT session")
        assert made == ["INSERT lease", "SELECT session", "UPDATE lease"]

    async def test_a_lazy_session_that_nobody_asks_for_costs_the_two(self) -> None:
        made = await self.statements_of(lazy_session(initial=counting), look)
        assert made == ["INSERT lease", "UPDATE lease"]

    async def test_a_multi_session_costs_no_more(self) -> None:
        async def count_both(update: Any, context: Any) -> None:
            await count_a(update, context)
            context.session.b["count"] += 1

        async def count_a(update: Any, context: Any) -> None:
            context.session.a["count"] += 1

        part = session(initial=counting)
        made = await self.statements_of(multi_session(a=part, b=part), count_both)
        assert made == ["INSERT lease", "SELECT session", "UPDATE lease", "UPDATE session"]

    async def test_a17_an_update_that_no_handler_takes_costs_none(self) -> None:
        async def slow(update: Any, context: Any) -> None:
            await asyncio.sleep(0.05)

        maria = bot_of(session(initial=counting), CommandHandler("slow", slow)).user(id=42)
        with statements() as made:
            await asyncio.gather(maria.send("/slow"), maria.send("Hello"), maria.send("Hello"))
            await everything_given_back()
        # The others inherit the first one's lease, of which they have no use.
        assert made.count("INSERT lease") == made.count("SELECT session") == 1
        assert made.count("UPDATE lease") == 2

    async def test_a_key_that_is_handed_on_in_the_process_is_not_taken_again(self) -> None:
        maria = bot_of(session(initial=counting), count).user(id=42)
        await maria.send("x")
        with statements() as made:
            await asyncio.gather(*(maria.send("x") for _ in range(3)))
        assert made.count("INSERT lease") == 1
        assert all(made.count(statement) == 3 for statement in saving())
        assert made.count("SELECT session") == 3
        assert await ask_again_and_again(lease_on("42"))

    async def test_many_chats_at_once_share_statements(self) -> None:
        bot = bot_of(session(initial=counting), count)
        people = [bot.user(id=1000 + number) for number in range(20)]
        await people[0].send("x")
        with statements() as made:
            await asyncio.gather(*(person.send("x") for person in people))
        assert len(made) <= 4 * 4 + 3


class AmongProcesses(Base):
    """Another process is a lease that the bot knows nothing of."""

    async def test_e6_an_update_waits_while_another_process_has_its_key(self) -> None:
        maria = bot_of(session(initial=counting), count).user(id=42)
        theirs = lease_on("42")
        assert await ask(theirs)
        update = asyncio.ensure_future(maria.send("x"))
        await asyncio.sleep(0.1)
        assert not update.done()
        assert await self.stored() == {}
        await give_back(theirs)
        assert (await update).errors == []
        assert await self.stored() == {"42": {"count": 1}}

    async def test_e6_what_the_last_holder_stored_is_seen(self) -> None:
        declared = session(initial=counting)
        maria = bot_of(declared, count).user(id=42)
        await maria.send("x")
        theirs = lease_on("42")
        assert await ask(theirs)
        update = asyncio.ensure_future(maria.send("x"))
        await asyncio.sleep(0.05)
        await asyncio.to_thread(change_all, {"count": 50})
        await give_back(theirs)
        await update
        assert await self.stored() == {"42": {"count": 51}}

    async def test_e2_other_keys_do_not_wait(self) -> None:
        bot = bot_of(session(initial=counting), count)
        assert await ask(lease_on("42"))
        assert (await asyncio.wait_for(bot.user(id=43).send("x"), 20)).errors == []

    async def test_e6_a_holder_that_was_killed_is_succeeded_when_its_lease_ends(self) -> None:
        with lasting(0.3):
            assert await ask(lease_on("42"))
        maria = bot_of(session(initial=counting), count).user(id=42)
        assert (await asyncio.wait_for(maria.send("x"), 20)).errors == []

    async def test_e6_a_handler_that_outlives_its_lease_keeps_the_key(self) -> None:
        async def block(update: Any, context: Any) -> None:
            time.sleep(2)  # Not even the event loop goes on.  # noqa: ASYNC251
            tried.append(await ask(lease_on("42")))
            context.session["count"] += 1

        tried: list[bool] = []
        with lasting(1.0):
            answers = await bot_of(session(initial=counting), block).user(id=42).send("x")
        assert answers.errors == []
        assert tried == [False]
        assert await self.stored() == {"42": {"count": 1}}

    async def test_e6_a_holder_that_was_cut_off_cannot_write(self) -> None:
        async def assign(update: Any, context: Any) -> None:
            await lose_key(update, context)
            context.session = {"count": 99}

        async def delete(update: Any, context: Any) -> None:
            await lose_key(update, context)
            context.session = None

        async def change(update: Any, context: Any) -> None:
            await lose_key(update, context)
            context.session["count"] = 99

        async def lose_key(update: Any, context: Any) -> None:
            await asyncio.to_thread(end_all_leases)
            theirs = lease_on(context.session_key)
            assert await ask(theirs)
            if successor_is_done:
                await give_back(theirs)

        numbers = itertools.count(100)
        for successor_is_done, handler, lazy, exists in itertools.product(  # noqa: B007
            (False, True), (assign, delete, change), (False, True), (False, True)
        ):
            if handler is change and lazy:
                continue
            declared = (lazy_session if lazy else session)(initial=counting)
            key = str(next(numbers))
            if exists:
                await asyncio.to_thread(store, key)
            with self.subTest(handler=handler.__name__, lazy=lazy, exists=exists):
                answers = await bot_of(declared, handler).user(id=int(key)).send("x")
                if lazy or exists or handler is not delete:  # Else there is nothing to delete.
                    assert [type(error) for error in answers.errors] == [SessionConflict]
                stored = (await self.stored()).get(key)
                assert stored == ({"count": 5} if exists else None)

    async def test_e6_so_says_the_signal_session_conflict(self) -> None:
        async def lose_key(update: Any, context: Any) -> None:
            context.session["count"] = 99
            await asyncio.to_thread(end_all_leases)
            assert await ask(lease_on("42"))

        told: list[dict[str, Any]] = []

        def note(**kwargs: Any) -> None:
            told.append(kwargs)

        session_conflict.connect(note)
        try:
            await bot_of(session(initial=counting), lose_key).user(id=42).send("x")
        finally:
            session_conflict.disconnect(note)
        (conflict,) = told
        assert (conflict["bot"], conflict["name"], conflict["key"]) == (BOT, "", "42")
        assert conflict["sender"] is DatabaseStorage
        assert conflict["revision"] is None

    async def test_an_end_of_the_lease_that_nobody_has_noticed_is_no_conflict(self) -> None:
        async def let_end(update: Any, context: Any) -> None:
            await asyncio.to_thread(end_all_leases)
            context.session["count"] += 1

        answers = await bot_of(session(initial=counting), let_end).user(id=42).send("x")
        assert answers.errors == []

    async def test_whoever_waits_too_long_is_told(self) -> None:
        assert await ask(lease_on("42"))
        maria = bot_of(session(initial=counting), count).user(id=42)
        with mock.patch.object(holding, "PATIENCE_SECONDS", 0.05):
            (error,) = (await maria.send("x")).errors
        assert isinstance(error, SessionLockTimeout)
        assert "'42'" in str(error)
        assert "block=False" in str(error)
        assert not process_lock().busy

    async def test_e3_whoever_gives_up_leaves_nothing_behind(self) -> None:
        theirs = lease_on("42")
        assert await ask(theirs)
        maria = bot_of(session(initial=counting), count).user(id=42)
        update = asyncio.ensure_future(maria.send("x"))
        await asyncio.sleep(0.05)
        update.cancel()
        with pytest.raises(asyncio.CancelledError):
            await update
        await give_back(theirs)
        assert (await asyncio.wait_for(maria.send("x"), 20)).errors == []
        assert await self.stored() == {"42": {"count": 1}}

    async def test_e3_a_key_is_free_again_after_a_handler_has_failed(self) -> None:
        async def fail(update: Any, context: Any) -> None:
            raise ValueError("no")

        await bot_of(session(initial=counting), fail).user(id=42).send("x")
        assert await ask_again_and_again(lease_on("42"))

    async def test_e4_sessions_with_keys_in_common_do_not_wait_in_a_circle(self) -> None:
        parts = {name: session(initial=counting, get_session_key=word(n)) for n, name in PARTS}

        async def count_all(update: Any, context: Any) -> None:
            for name in parts:
                getattr(context.session, name)["count"] += 1

        bot = bot_of(multi_session(**parts), count_all)
        others = [lease_on(*keys, name="a") for keys in (("1", "2"), ("2", "3"), ("3", "1"))]
        keys = ["1 2", "2 3", "3 1"] * 5
        results = asyncio.gather(
            *(bot.user().send(words) for words in keys), *(hold_for_a_moment(o) for o in others * 3)
        )
        await asyncio.wait_for(results, 60)
        assert {data["count"] for data in (await self.stored()).values()} == {5}

    async def test_a_session_without_a_database_has_its_lease_on_the_default_one(self) -> None:
        declared = session(initial=counting, storage=MemoryStorage())
        maria = bot_of(declared, count).user(id=42)
        theirs = lease_on("42")
        assert await ask(theirs)
        update = asyncio.ensure_future(maria.send("x"))
        await asyncio.sleep(0.05)
        assert not update.done()
        await give_back(theirs)
        assert (await update).errors == []
        assert await maria.session == {"count": 1}


class HandedOn(Base):
    """A lease goes from one update to the next in its process, without being asked for again."""

    async def test_nor_by_those_that_a_process_hands_its_key_on_to(self) -> None:
        theirs, asked = lease_on("42"), asyncio.Event()

        async def count_and_let_them_ask(update: Any, context: Any) -> None:
            await count(update, context)
            await ask(theirs)
            asked.set()

        maria = bot_of(session(initial=counting), count_and_let_them_ask).user(id=42)
        updates = asyncio.gather(*(maria.send("x") for _ in range(60)))
        await asked.wait()
        assert await ask_again_and_again(theirs)
        passed = (await self.stored())["42"]["count"]
        assert 1 < passed <= 1 + leases_texts.MOST_PASSED
        await give_back(theirs)
        assert [answers.errors for answers in await updates] == [[]] * 60
        assert await maria.session == {"count": 60}

    async def test_e3_whoever_inherits_a_key_and_gives_up_leaves_nothing_behind(self) -> None:
        maria = bot_of(session(initial=counting), count).user(id=42)
        for _ in range(10):
            updates = [asyncio.ensure_future(maria.send("x")) for _ in range(4)]
            updates[0].add_done_callback(lambda _, heir=updates[1]: heir.cancel())
            await asyncio.gather(*updates, return_exceptions=True)
            theirs = lease_on("42")
            assert await ask_again_and_again(theirs)
            await give_back(theirs)
        assert not process_lock().busy

    async def test_keys_that_were_free_for_long_are_swept(self) -> None:
        old, held = lease_on("1"), lease_on("2")
        for lease in (old, held):
            assert await ask(lease)
        await give_back(old)
        with mock.patch.object(unused, "FREE_FOR", timedelta(seconds=-1)):
            assert await asyncio.to_thread(sweep) == 1
        await write_under(held)


class Edits(TransactionTestCase):
    """E7: ``edit()`` in a view, with the lock that the bot has."""

    def setUp(self) -> None:
        self.addCleanup(close_databases)
        self.counter = session(initial=counting)
        self.counter.installed(BOT, "database")

    def test_e7_edit_waits_for_another_process(self) -> None:
        theirs = lease_on("42")
        assert async_to_sync(ask)(theirs)
        edit = threading.Thread(target=in_thread(self.edit))
        edit.start()
        edit.join(0.1)
        assert edit.is_alive()
        BotSession.objects.create(bot=BOT, key="42", data={"count": 10})
        async_to_sync(give_back)(theirs)
        edit.join(20)
        assert self.counter.get("42") == {"count": 11}

    def edit(self) -> None:
        with self.counter.edit("42") as data:
            data["count"] += 1

    def test_e7_other_processes_wait_for_edit(self) -> None:
        theirs = lease_on("42")
        with self.counter.edit("42") as data:
            data["count"] = 1
            assert not async_to_sync(ask)(theirs)
        assert async_to_sync(ask_again_and_again)(theirs)

    def test_outside_a_transaction_the_statements_are_those_of_an_update(self) -> None:
        self.edit()
        with statements() as made:
            self.edit()
        assert of_tables(made) == ["INSERT lease", "SELECT session", *saving()]

    def test_what_is_left_as_it_is_is_given_back_too(self) -> None:
        with self.counter.edit("42"):
            pass
        with pytest.raises(ValueError, match="no"), self.counter.edit("43"):
            raise ValueError("no")
        for key in ("42", "43"):
            assert async_to_sync(ask_again_and_again)(lease_on(key))

    def test_delete_takes_the_key_as_well(self) -> None:
        self.edit()
        with statements() as made:
            self.counter.delete("42")
        assert of_tables(made) == ["INSERT lease", "UPDATE lease", "DELETE session"]

    def test_e7_in_a_transaction_the_key_is_held_until_its_end(self) -> None:
        theirs = lease_on("42")
        for ends_well in (True, False):
            with suppress(ValueError), transaction.atomic():
                self.edit()
                if connection.vendor == "sqlite":  # Nobody else can write: that is enough.
                    assert not BotSessionLease.objects.exists()
                else:
                    assert not in_thread_of_its_own(ask_alone, theirs)
                if not ends_well:
                    raise ValueError
            assert async_to_sync(ask_again_and_again)(theirs)
            async_to_sync(give_back)(theirs)
            theirs = lease_on("42")
            BotSessionLease.objects.all().delete()
        assert self.counter.get("42") == {"count": 1}

    def test_e7_a_transaction_of_sqlite_does_not_wait_for_what_cannot_happen(self) -> None:
        if connection.vendor != "sqlite":
            self.skipTest("Of SQLite.")
        assert async_to_sync(ask)(lease_on("42"))
        with pytest.raises(SessionLockError, match=r"outside atomic\(\)"), transaction.atomic():
            self.edit()
        assert not process_lock().busy

    def test_e7_a_holder_that_was_cut_off_in_a_transaction_cannot_write(self) -> None:
        if connection.vendor == "sqlite":
            self.skipTest("There nobody could have succeeded it.")
        for edit in (self.edit, self.replace, lambda: self.counter.delete("42")):
            self.counter.delete("42")
            self.edit()
            loses_key = mock.patch.object(Unit, "save", self.losing_key(Unit.save))
            with pytest.raises(SessionConflict), transaction.atomic(), loses_key:
                edit()
            assert self.counter.get("42") == {"count": 1}
            BotSessionLease.objects.all().delete()

    def replace(self) -> None:
        edit = self.counter.edit("42")
        with edit:
            edit.data = {"count": 99}

    def losing_key(self, save: Any) -> Any:
        async def lose_it_first(unit: Any, **kwargs: Any) -> None:
            await asyncio.to_thread(in_thread_of_its_own, end_all_leases)
            assert await asyncio.to_thread(in_thread_of_its_own, ask_alone, lease_on("42"))
            await save(unit, **kwargs)

        return lose_it_first

    def test_a_lock_is_known_by_the_bots_settings(self) -> None:
        bots = {"shop": {"SESSION": self.counter, "APPLICATION": on_nothing, "LOCK": "database"}}
        with override_settings(BOTSESSIONS={"BOTS": bots}):
            with self.counter.edit("42") as data:
                data["count"] = 1
            assert BotSessionLease.objects.filter(id=lease_on("42").keys[0]).exists()


@contextmanager
def held_by_another_thread(counter: Any) -> Iterator[None]:
    """Hold the key 42 while a block runs, and count afterwards."""
    held, end = threading.Event(), threading.Event()

    @in_thread
    def edit() -> None:
        with counter.edit("42") as data:
            data["count"] += 1
            held.set()
            end.wait(20)

    with ThreadPoolExecutor(1) as thread:
        editing = thread.submit(edit)
        held.wait(20)
        try:
            yield
        finally:
            end.set()
        editing.result(20)


@both_locks
@pytest.mark.django_db(transaction=True)
class TestInATransactionOfSQLite:
    """Nobody else can write, so a key that others have would never get free."""

    @pytest.fixture(autouse=True)
    def _of_sqlite(self) -> Iterator[None]:
        if connection.vendor != "sqlite":
            pytest.skip("Of SQLite.")
        yield
        close_databases()

    def counter(self, lock: str, **kwargs: Any) -> Any:
        counter = session(initial=counting, **kwargs)
        counter.installed(BOT, lock)
        return counter

    def test_a_key_of_its_own_process_is_not_waited_for(self, lock: str) -> None:
        counter = self.counter(lock)

        def edit() -> None:
            with counter.edit("42"):
                pass

        async def aedit() -> None:
            async with counter.aedit("42"):
                pass

        async def hold_many() -> None:
            async with maintenance.holding.held([Address(BOT, "", "42")], DEFAULT, lock):
                pass

        waits = (
            edit,
            lambda: counter.delete("42"),
            async_to_sync(aedit),
            async_to_sync(hold_many),
        )
        with held_by_another_thread(counter):
            for wait in waits:
                refused = pytest.raises(SessionLockError, match=r"'42'.* outside atomic\(\)")
                with refused as caught, transaction.atomic():
                    wait()
                assert not isinstance(caught.value, SessionLockTimeout)
        assert counter.get("42") == {"count": 1}
        assert not process_lock().busy

    def test_a_key_that_the_same_code_lets_go_is_waited_for(self, lock: str) -> None:
        counter = self.counter(lock)

        async def edit() -> None:
            async with counter.aedit("42") as data:
                await asyncio.sleep(0.01)
                data["count"] += 1

        async def edit_at_once() -> None:
            await asyncio.gather(edit(), edit())

        with transaction.atomic():
            async_to_sync(edit_at_once)()
        assert counter.get("42") == {"count": 2}

    def test_outside_one_it_is_waited_for(self, lock: str) -> None:
        counter, later = self.counter(lock), ThreadPoolExecutor(1)

        @in_thread
        def edit() -> None:
            with counter.edit("42") as data:
                data["count"] += 1

        with later, held_by_another_thread(counter):
            waits = later.submit(edit)
            time.sleep(0.05)
            assert not waits.done()
        assert counter.get("42") == {"count": 2}


@pytest.mark.django_db(transaction=True)
def test_a_transaction_does_not_hinder_those_whose_sessions_are_elsewhere() -> None:
    counter = session(initial=counting, storage=MemoryStorage())
    counter.installed(BOT, "process")
    with held_by_another_thread(counter):
        patient = Edit(*counter._target(BOT, "42", {}), patience=0.01)
        with pytest.raises(SessionLockTimeout), transaction.atomic(), patient:
            pass


class InATest(TestCase):
    """Nobody outside a test's transaction can see what is in it, so no leases are taken there."""

    def test_bots_and_edits_work_as_with_the_lock_of_the_process(self) -> None:
        declared = session(initial=counting)
        maria = BotClient(build=build_with("database", declared, count)).user(id=42)
        with CaptureQueriesContext(connection) as captured:
            maria.send("x")
            with transaction.atomic(), declared.edit("42") as data:
                data["count"] += 1
        assert maria.session == {"count": 2}
        assert "lease" not in str(captured.captured_queries)
        assert not BotSessionLease.objects.exists()


async def everything_given_back() -> None:
    """Wait until the process has given back what nobody wants any more."""
    await asyncio.to_thread(keeper_of(DEFAULT).close)


def of_tables(made: list[str]) -> list[str]:
    """Return those of the statements that say something of a table."""
    return [statement for statement in made if statement.split()[1:]]


PARTS = list(enumerate("ab"))


def word(number: int) -> Any:
    return lambda update: update.message.text.split()[number]


async def hold_for_a_moment(lease: Lease) -> None:
    mine = Lease(lease.using, lease.addresses)
    assert await ask_again_and_again(mine)
    await give_back(mine)


@in_thread
def change_all(data: Any) -> None:
    BotSession.objects.update(data=data, revision=1)


@in_thread
def store(key: str) -> None:
    BotSession.objects.create(bot=BOT, key=key, data={"count": 5})


@in_thread
def sweep() -> int:
    return sum(batch.done for batch in unused.forget_leases(DEFAULT))
