"""What a unit of work reads from the storages into its contents, and writes from them."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import SimpleTestCase

from botsessions import lazy_session, multi_session, session
from botsessions.contents import Contents
from botsessions.data import Data
from botsessions.exceptions import SessionConflict
from botsessions.exchange import Exchange
from botsessions.holding import Hold
from botsessions.sources import FromKey
from botsessions.storages import ANY, Address, Record

from .harness import Store, client
from .test_beside import beside

pytestmark = pytest.mark.once


def counting() -> dict[str, int]:
    return {"count": 0}


async def exchanged(declared: Any) -> tuple[Contents, Exchange]:
    """Return what a unit has of a session, and its exchange with the storages, without a key."""
    contents = Contents(declared.fragments)
    await contents.find("1", FromKey("42"))
    return contents, Exchange(contents, Hold(), "process", None, "")


class ReadingAndWriting(SimpleTestCase):
    async def test_all_is_read_at_once_and_only_what_has_changed_is_written(self) -> None:
        store = Store({"42": {"count": 3}}, name="one")
        declared = multi_session(
            one=session(initial=counting, storage=store),
            two=session(initial=counting, storage=store),
        )
        contents, exchange = await exchanged(declared)
        await exchange.read(contents.own)
        assert store.operations == ["read", "read"]
        one, two = contents.own
        assert one.get() == {"count": 3}
        await exchange.write(last=False)
        assert store.operations == ["read", "read"]
        two.get()["count"] += 1
        await exchange.write(last=True)
        assert store.operations[2:] == ["write"]
        assert not exchange.is_writing

    async def test_what_is_added_after_the_first_read_is_written_with_the_rest(self) -> None:
        store, other = Store(), Store()
        declared = session(initial=counting, storage=store)
        contents, exchange = await exchanged(declared)
        await exchange.read(contents.own)
        for storage in (store, other):
            fragment = session(initial=counting, storage=storage).fragments[""]
            added = Data(fragment, Address("1", "more", str(id(storage))))
            added.assign({"count": 1})
            contents.add(added)
        await exchange.write(last=True)
        assert (store.operations, other.operations) == (
            ["read", "read", "write"],
            ["read", "write"],
        )

    async def test_what_another_unit_has_read_just_now_is_not_read_again(self) -> None:
        store = Store()
        contents, exchange = await exchanged(session(initial=counting, storage=store))
        exchange.known[""] = Record({"count": 7}, revision=5)
        await exchange.read(contents.own)
        (data,) = contents.own
        assert data.get() == {"count": 7}
        assert store.operations == []
        await exchange.read(contents.own)
        assert store.operations == ["read"]

    async def test_while_it_is_read_nobody_else_is_shown_it(self) -> None:
        seen = []

        class Looking(Store):
            async def read_many(self, addresses: Any) -> Any:
                seen.append(exchange.is_reading)
                return await super().read_many(addresses)

        contents, exchange = await exchanged(session(initial=counting, storage=Looking()))
        await exchange.read(contents.own)
        assert seen == [True]
        assert not exchange.is_reading

    async def test_a_write_that_fails_is_over_too(self) -> None:
        store, seen = Store(), []

        class Failing(Store):
            async def write_many(self, changes: Any) -> Any:
                seen.append(exchange.is_writing)
                raise OSError("gone")

        store = Failing()
        contents, exchange = await exchanged(session(initial=counting, storage=store))
        await exchange.read(contents.own)
        contents.own[0].assign({"count": 1})
        with pytest.raises(OSError, match="gone"):
            await exchange.write(last=True)
        assert seen == [True]
        assert not exchange.is_writing

    async def test_a19_it_is_compared_with_what_was_read(self) -> None:
        store = Store({"42": {"count": 3}})
        contents, exchange = await exchanged(session(initial=counting, storage=store))
        await exchange.read(contents.own)
        await store.write(Address("1", "", "42"), Record({"count": 50}, revision=ANY))
        contents.own[0].assign({"count": 4})
        with pytest.raises(SessionConflict):
            await exchange.write(last=True)
        assert store.values == {"42": {"count": 50}}


class WithoutTheKey(SimpleTestCase):
    async def test_an_assignment_is_compared_with_what_is_stored_when_it_is_saved(self) -> None:
        """It holds nothing, so it must not replace what it has not seen."""
        store = Store({"1001": {"count": 1}})

        async def assign(update: Any, context: Any) -> None:
            context.session = {"count": 5}

        declared = lazy_session(initial=counting, storage=store)
        assert (await client(declared, beside(assign)).user().send("x")).errors == []
        assert store.operations == ["read", "write"]
        assert store.values == {"1001": {"count": 5}}

    async def test_a_promise_is_compared_with_what_is_stored_when_it_is_saved(self) -> None:
        store = Store({"1001": {"count": 1}})

        async def later() -> dict[str, int]:
            return {"count": 5}

        async def assign(update: Any, context: Any) -> None:
            context.session = later()

        declared = lazy_session(initial=counting, storage=store)
        assert (await client(declared, beside(assign)).user().send("x")).errors == []
        assert store.operations == ["read", "write"]

    async def test_with_the_key_an_assignment_reads_nothing(self) -> None:
        store = Store({"1001": {"count": 1}})

        async def assign(update: Any, context: Any) -> None:
            context.session = {"count": 5}
            await context.save_session()
            context.session = {"count": 6}

        await client(lazy_session(initial=counting, storage=store), assign).user().send("x")
        assert store.operations == ["write", "write"]

    async def test_a_key_function_that_failed_is_not_asked_again(self) -> None:
        calls = []

        def key(update: Any) -> str:
            calls.append(update)
            raise LookupError("no key")

        async def work(update: Any, context: Any) -> None:
            raise AssertionError("never run")

        declared = session(initial=counting, storage=Store(), get_session_key=key)
        answers = await client(declared, beside(work), beside(work)).user().send("x")
        assert [str(error) for error in answers.errors] == ["no key"]
        assert len(calls) == 1
