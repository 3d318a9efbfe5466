"""Sessions that have expired are told of, at least once, before they are gone: rules D1 and D3."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from unittest import IsolatedAsyncioTestCase

import pytest
from django.db import transaction
from django.test import SimpleTestCase, TestCase, TransactionTestCase
from telegram.ext import TypeHandler

from botsessions import enhance_storage, lazy_session, multi_session, session
from botsessions.database.connections import close_databases
from botsessions.exceptions import SessionConflict, SessionExpiryError
from botsessions.models import BotSession
from botsessions.records import utcnow
from botsessions.signals import session_expired
from botsessions.storages import Address, DatabaseStorage, MemoryStorage, Record
from botsessions.storages.layers import read_all
from botsessions.testing import BotClient

from .harness import Store, building, client
from .test_database_batching import statements
from .test_storages import DictStorage, PlainStorage

ADDRESS = Address("1", "", "1001")
YESTERDAY = datetime.now(timezone.utc) - timedelta(days=1)
OLD = {"count": 5}


def counting() -> dict[str, int]:
    return {"count": 0}


async def count(update: Any, context: Any) -> None:
    (await context.get_session())["count"] += 1


async def start_over(update: Any, context: Any) -> None:
    context.session = {"count": 100}


async def delete(update: Any, context: Any) -> None:
    context.session = None


async def pass_by(update: Any, context: Any) -> None:
    pass


class Ear:
    """Hears of expired sessions; it raises ``fails`` so many times."""

    def __init__(self, fails: int = 0) -> None:
        self.heard: list[Any] = []
        self.fails = fails

    def __call__(self, key: str, data: Any) -> None:
        self.heard.append((key, data))
        if self.fails:
            self.fails -= 1
            raise LookupError("4242-secret")

    async def listen(self, key: str, data: Any) -> None:
        await asyncio.sleep(0)
        self(key, data)


async def let_expire(storage: Any, address: Address = ADDRESS, value: Any = OLD) -> None:
    """Store what has expired, and forget that it was recorded."""
    await storage.write(address, Record(value, Decimal(1), YESTERDAY))
    if isinstance(storage, Store):
        storage.calls.clear()


async def expired(**options: Any) -> tuple[Store, Any]:
    """Return a store whose session has expired, and the enhanced storage around it."""
    store = Store()
    await let_expire(store)
    return store, enhance_storage(store, **options)


@contextmanager
def receiving(receiver: Callable[..., Any]) -> Iterator[None]:
    session_expired.connect(receiver)
    try:
        yield
    finally:
        session_expired.disconnect(receiver)


@pytest.mark.once
class InABot(SimpleTestCase):
    async def test_d1_it_is_told_once_and_the_session_starts_from_initial_again(self) -> None:
        for on_expire in (Ear(), Ear().listen):
            ear = getattr(on_expire, "__self__", on_expire)
            with self.subTest(on_expire=on_expire):
                store, storage = await expired(on_expire=on_expire)
                maria = client(session(initial=counting, storage=storage), count).user(id=1001)
                for number in (1, 2):
                    await maria.send("x")
                    assert store.values == {"1001": {"count": number}}
                    assert ear.heard == [("1001", OLD)]

    async def test_d3_what_is_told_is_the_stored_data_and_is_not_migrated(self) -> None:
        def never(value: Any) -> Any:
            raise AssertionError("This migration should not run.")

        ear = Ear()
        _, storage = await expired(
            time_to_live=timedelta(hours=1), on_expire=ear, migrations={2: never}
        )
        await client(session(initial=counting, storage=storage), count).user(id=1001).send("x")
        assert ear.heard == [("1001", OLD)]

    async def test_receivers_of_the_signal_are_told_by_any_storage(self) -> None:
        told: list[dict[str, Any]] = []

        def receive(**named: Any) -> None:
            told.append(named)

        async def receive_later(**named: Any) -> None:
            told.append(named)

        for receiver in (receive, receive_later):
            for enhanced in (True, False):
                with self.subTest(receiver=receiver.__name__, enhanced=enhanced):
                    store, storage = await expired(time_to_live=timedelta(hours=1))
                    declared = session(initial=counting, storage=storage if enhanced else store)
                    with receiving(receiver):
                        await client(declared, count).user(id=1001).send("x")
                    named = told.pop()
                    assert named.pop("signal") is session_expired
                    assert named == {
                        "sender": Store, "bot": "1", "name": "", "key": "1001", "data": OLD
                    }  # fmt: skip
                    assert (told, store.values) == ([], {"1001": {"count": 1}})

    async def test_every_layer_is_told_once(self) -> None:
        inner, outer = Ear(), Ear()
        _, storage = await expired(on_expire=inner)
        storage = enhance_storage(
            enhance_storage(storage, time_to_live=timedelta(1)), on_expire=outer
        )
        await client(session(initial=counting, storage=storage), count).user(id=1001).send("x")
        assert inner.heard == outer.heard == [("1001", OLD)]

    async def test_an_error_goes_to_the_error_handlers_and_the_session_stays_to_be_told_again(
        self,
    ) -> None:
        for kind in ("on_expire", "receiver"):
            with self.subTest(kind):
                ear = Ear(fails=2)

                def receive(ear: Ear = ear, *, key: str, data: Any, **named: Any) -> None:
                    ear(key, data)

                store, storage = await expired(on_expire=ear if kind == "on_expire" else None)
                maria = client(session(initial=counting, storage=storage), count).user(id=1001)
                with receiving(receive if kind == "receiver" else pass_all):
                    for _ in range(2):
                        (error,) = (await maria.send("x")).errors
                        assert isinstance(error, SessionExpiryError)
                        assert "session '1001' of bot '1' has expired raised Look" in str(error)
                        assert "secret" not in str(error)
                        assert "5" not in str(error)
                        assert isinstance(error.__cause__, LookupError)
                        assert store.values == {"1001": OLD}
                    assert (await maria.send("x")).errors == []
                assert ear.heard == [("1001", OLD)] * 3
                assert store.values == {"1001": {"count": 1}}

    async def test_a_lazy_session_is_told_of_when_it_is_awaited(self) -> None:
        ear = Ear()
        store, storage = await expired(on_expire=ear)
        declared = lazy_session(initial=counting, storage=storage)
        await client(declared, pass_by).user(id=1001).send("x")
        assert (ear.heard, store.calls) == ([], [])
        await client(declared, count).user(id=1001).send("x")
        assert ear.heard == [("1001", OLD)]
        assert store.values == {"1001": {"count": 1}}

    async def test_it_is_told_before_it_is_overwritten_or_deleted_unread(self) -> None:
        for handler, values in ((start_over, {"1001": {"count": 100}}), (delete, {})):
            for declare in (session, lazy_session):
                with self.subTest(handler=handler.__name__, declare=declare.__name__):
                    ear = Ear(fails=1)
                    store, storage = await expired(on_expire=ear)
                    maria = client(declare(storage=storage), handler).user(id=1001)
                    (error,) = (await maria.send("x")).errors
                    assert isinstance(error, SessionExpiryError)
                    assert store.values == {"1001": OLD}
                    await maria.send("x")
                    assert ear.heard == [("1001", OLD)] * 2
                    assert store.values == values

    async def test_handlers_that_do_not_hold_their_key_tell_of_it_too(self) -> None:
        for handler in (count, start_over):
            for declare in (session, lazy_session):
                with self.subTest(handler=handler.__name__, declare=declare.__name__):
                    ear = Ear()
                    _, storage = await expired(on_expire=ear)
                    declared = declare(initial=counting, storage=storage)
                    beside = TypeHandler(object, handler, block=False)
                    await client(declared, beside).user(id=1001).send("x")
                    assert ear.heard == [("1001", OLD)]

    async def test_fragments_that_have_expired_are_read_at_once_and_each_is_told(self) -> None:
        ear, store = Ear(), Store()
        for name in ("basket", "visit"):
            await let_expire(store, Address("1", name, "1001"), {"old": name})
        part = session(initial=counting, storage=enhance_storage(store, on_expire=ear))

        async def count_both(update: Any, context: Any) -> None:
            context.session.basket["count"] += 1
            context.session.visit["count"] += 1

        await client(multi_session(basket=part, visit=part), count_both).user(id=1001).send("x")
        assert sorted(ear.heard, key=str) == [
            ("1001", {"old": "basket"}),
            ("1001", {"old": "visit"}),
        ]
        assert store.operations == [*["read"] * 2, *["delete"] * 2, *["read"] * 2, *["write"] * 2]

    async def test_of_several_fragments_one_that_fails_stays_and_the_others_go(self) -> None:
        ear, store = Ear(fails=1), Store()
        for name in ("basket", "visit"):
            await let_expire(store, Address("1", name, "1001"), {"old": name})
        part = session(initial=counting, storage=enhance_storage(store, on_expire=ear))
        maria = client(multi_session(basket=part, visit=part), pass_by).user(id=1001)
        for _ in range(2):
            await maria.send("x")
        (first, *_, last) = ear.heard
        assert (len(ear.heard), first) == (3, last)
        assert store.values == {}


def pass_all(**named: Any) -> None:
    pass


@pytest.mark.once
class FromOutside(SimpleTestCase):
    async def test_whoever_only_looks_tells_nobody(self) -> None:
        ear = Ear()
        store, storage = await expired(on_expire=ear)
        declared = session(initial=counting, storage=storage)
        maria = client(declared, count).user(id=1001)
        assert await declared.aget("1001", bot="1") is None
        assert await maria.session is None
        assert (ear.heard, store.values) == ([], {"1001": OLD})

    async def test_edit_and_delete_tell_of_it_first(self) -> None:
        ear = Ear()
        store, storage = await expired(on_expire=ear)
        declared = session(initial=counting, storage=storage)
        async with declared.aedit("1001", bot="1") as data:
            data["count"] += 1
        assert (ear.heard, store.values) == ([("1001", OLD)], {"1001": {"count": 1}})
        await declared.adelete("1001", bot="1")
        await let_expire(store)
        await declared.adelete("1001", bot="1")
        assert (ear.heard, store.values) == ([("1001", OLD)] * 2, {})


@pytest.mark.once
class WhoIsTold(SimpleTestCase):
    """Opens the session that it is told of, or another one of the same chat."""

    async def test_sees_that_it_is_gone(self) -> None:
        seen = []

        async def look(key: str, data: Any) -> None:
            seen.append(await declared.aget(key, bot="1"))

        _, storage = await expired(on_expire=look)
        declared = session(initial=counting, storage=storage)
        await client(declared, count).user(id=1001).send("x")
        assert seen == [None]

    async def test_edits_it_and_the_bot_goes_on_with_that(self) -> None:
        async def edit_async(key: str, data: Any) -> None:
            async with self.declared.aedit(key, bot="1") as new:
                new["count"] = data["count"] * 10

        def edit_sync(key: str, data: Any) -> None:
            with self.declared.edit(key, bot="1") as new:
                new["count"] = data["count"] * 10

        for on_expire in (edit_async, edit_sync):
            for declare in (session, lazy_session):
                for make in (Store, PlainStorage, DictStorage):
                    with self.subTest(on_expire.__name__, declare=declare.__name__, storage=make):
                        store = make()
                        put = store.write(ADDRESS, Record(OLD, None, YESTERDAY))
                        await put if asyncio.iscoroutine(put) else None
                        storage = enhance_storage(store, on_expire=on_expire)
                        self.declared = declare(initial=counting, storage=storage)
                        maria = client(self.declared, count, raise_errors=True).user(id=1001)
                        await maria.send("x")
                        assert await maria.session == {"count": 51}

    async def test_edits_it_when_an_edit_from_outside_tells_it(self) -> None:
        async def edit(key: str, data: Any) -> None:
            async with declared.aedit(key, bot="1") as new:
                new["count"] = 50

        store, storage = await expired(on_expire=edit)
        declared = session(initial=counting, storage=storage)
        async with declared.aedit("1001", bot="1") as data:
            data["count"] += 1
        assert store.values == {"1001": {"count": 51}}

    async def test_edits_another_fragment_and_the_handler_sees_that(self) -> None:
        async def note(key: str, data: Any) -> None:
            async with shop.profile.aedit(key, bot="1") as profile:
                profile["count"] += data["count"]

        async def count_profile(update: Any, context: Any) -> None:
            context.session.profile["count"] += 1

        store = Store()
        await let_expire(store, Address("1", "basket", "1001"))
        await store.write(Address("1", "profile", "1001"), Record({"count": 1}))
        shop = multi_session(
            basket=session(initial=counting, storage=enhance_storage(store, on_expire=note)),
            profile=session(initial=counting, storage=store),
        )
        await client(shop, count_profile, raise_errors=True).user(id=1001).send("x")
        assert store.values == {"1001": {"count": 7}}

    async def test_may_start_a_task_that_is_told_of_later_ones(self) -> None:
        tasks, heard = [], []

        async def wait_and_edit(key: str) -> None:
            await written.wait()
            async with declared.aedit(key, bot="1") as data:
                data["count"] += 1

        async def start(key: str, data: Any) -> None:
            heard.append(data)
            if len(heard) == 1:
                tasks.append(asyncio.create_task(wait_and_edit(key)))

        written = asyncio.Event()
        store, storage = await expired(on_expire=start)
        declared = session(initial=counting, storage=storage)
        await client(declared, pass_by).user(id=1001).send("x")
        await let_expire(store, value={"count": 6})
        written.set()
        await asyncio.gather(*tasks)
        assert heard == [OLD, {"count": 6}]
        assert store.values == {"1001": {"count": 1}}


@pytest.mark.once
class TwoProcesses(SimpleTestCase):
    """Two storages around one store, which are told at the same moment."""

    async def test_the_slower_one_does_not_delete_what_the_faster_one_wrote(self) -> None:
        for make in (MemoryStorage, PlainStorage, DictStorage):
            with self.subTest(storage=make.__name__):
                store: Any = make()
                put = store.write(ADDRESS, Record(OLD, None, YESTERDAY))
                await put if asyncio.iscoroutine(put) else None
                begun, go_on, told = asyncio.Event(), asyncio.Event(), []

                async def wait(
                    key: str, data: Any, told: Any = told, begun: Any = begun, go_on: Any = go_on
                ) -> None:
                    told.append(data)
                    begun.set()
                    await go_on.wait()

                slow = enhance_storage(store, on_expire=wait)
                fast = enhance_storage(store, on_expire=lambda key, data, t=told: t.append(data))
                reading = asyncio.create_task(slow.read(ADDRESS))
                await asyncio.wait_for(begun.wait(), 10)
                assert await fast.read(ADDRESS) is None
                await fast.write(ADDRESS, Record({"count": 1}))
                go_on.set()
                record = await reading
                assert record is not None
                assert record.value == {"count": 1}
                assert told == [OLD, OLD]

    async def test_one_that_is_swept_while_it_is_told_is_no_error(self) -> None:
        store = MemoryStorage()
        await let_expire(store)

        async def sweep(key: str, data: Any) -> None:
            await store.delete(ADDRESS, (await store.read_many([ADDRESS]))[ADDRESS].revision)

        assert await enhance_storage(store, on_expire=sweep).read(ADDRESS) is None

    async def test_what_expires_again_and_again_while_it_is_told_is_a_conflict(self) -> None:
        store = MemoryStorage()
        await let_expire(store)

        async def renew_for_a_moment(key: str, data: Any) -> None:
            revision = (await store.read_many([ADDRESS]))[ADDRESS].revision
            await store.write(ADDRESS, Record(OLD, None, YESTERDAY, revision))

        with pytest.raises(SessionConflict):
            await enhance_storage(store, on_expire=renew_for_a_moment).read(ADDRESS)


@pytest.mark.once
class Declarations(SimpleTestCase):
    def test_on_expire_has_to_be_a_function(self) -> None:
        with pytest.raises(TypeError, match="on_expire must be a function of key and data, not s"):
            enhance_storage(MemoryStorage(), on_expire="shop.bot.gone")  # type: ignore[arg-type]


class InTheDatabase(TestCase):
    def test_on_expire_may_use_the_orm_if_it_is_not_async(self) -> None:
        def note(key: str, data: Any) -> None:
            BotSession.objects.create(bot="lost", key=key, data=data)

        storage = enhance_storage(time_to_live=timedelta(hours=1), on_expire=note)
        BotSession.objects.create(bot="1", key="42", data=OLD, expires_at=YESTERDAY)
        bot = BotClient(build=building(session(initial=counting, storage=storage), count))
        bot.user(id=42).send("x")
        found = dict(BotSession.objects.values_list("bot", "data"))
        assert found == {"1": {"count": 1}, "lost": OLD}


class InATransaction(TransactionTestCase):
    def test_an_edit_whose_key_the_transaction_keeps_may_be_told_and_edit_it(self) -> None:
        async def edit(key: str, data: Any) -> None:
            async with declared.aedit(key, bot="1") as new:
                new["count"] = data["count"] * 10

        declared = session(initial=counting, storage=enhance_storage(on_expire=edit))
        with transaction.atomic():
            with declared.edit("42", bot="1"):
                pass
            BotSession.objects.update(data=OLD, expires_at=YESTERDAY)
            with declared.edit("42", bot="1") as data:
                data["count"] += 1
        assert BotSession.objects.get().data == {"count": 51}

    def test_what_is_told_in_a_transaction_that_is_rolled_back_is_told_again(self) -> None:
        ear = Ear()
        declared = session(initial=counting, storage=enhance_storage(on_expire=ear))
        BotSession.objects.create(bot="1", key="42", data=OLD, expires_at=YESTERDAY)
        for _ in range(2):
            with pytest.raises(ValueError, match="no"), transaction.atomic():
                with declared.edit("42", bot="1"):
                    pass
                raise ValueError("no")
        assert ear.heard == [("42", OLD)] * 2
        assert BotSession.objects.get().data == OLD


@pytest.mark.django_db(transaction=True)
class OnTheThreadOfTheDatabase(IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        self.addCleanup(close_databases)
        self.store = DatabaseStorage()
        self.addresses = [Address("pizza", name, "42") for name in ("", "a", "b")]

    async def test_telling_of_many_costs_one_deletion_and_one_look_for_all(self) -> None:
        ear = Ear()

        async def hear(key: str, data: Any) -> None:
            ear(key, data)

        storage = enhance_storage(self.store, on_expire=hear)
        for address in self.addresses:
            await let_expire(self.store, address)
        with statements() as made:
            assert await self.read(storage) == [None] * 3
        assert made == ["SELECT", "DELETE", "SELECT"]
        assert ear.heard == [("42", OLD)] * 3

    async def test_renewing_many_costs_one_statement(self) -> None:
        storage = enhance_storage(self.store, time_to_live=timedelta(days=1), renew="access")
        for address in self.addresses:
            expires_at = None if address.name else utcnow() + timedelta(hours=1)
            await self.store.write(address, Record(OLD, None, expires_at))
        for expected in (["SELECT", "UPDATE"], ["SELECT"]):
            with statements() as made:
                assert await self.read(storage) == [OLD] * 3
            assert made == expected

    async def read(self, storage: Any) -> list[Any]:
        records = await read_all([(storage, address) for address in self.addresses])
        return [record and record.value for record in records]
