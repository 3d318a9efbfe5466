"""Strict, multi and lazy sessions: rules A, B and C."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
from django.test import SimpleTestCase
from telegram import Update
from telegram.ext import CommandHandler

from botsessions import MultiSession, lazy_session, multi_session, session
from botsessions.exceptions import (
    SessionClosed,
    SessionConflict,
    SessionDataError,
    SessionKeyError,
    SessionNotInitialized,
)
from botsessions.keys import per_user
from botsessions.storages import ANY, Address, Record
from botsessions.testing import Answers

from .harness import Store, client

pytestmark = pytest.mark.once


@dataclass
class Pizza:
    count: int = 0
    toppings: list[str] = field(default_factory=list)


class Step(NamedTuple):
    name: str = "begin"
    tries: int = 0


def counting() -> dict[str, Any]:
    return {"count": 0}


async def count(update: Any, context: Any) -> None:
    context.session["count"] += 1


async def look(update: Any, context: Any) -> None:
    assert context.session is not None


class StrictSessions(SimpleTestCase):
    async def test_a1_updates_reach_handlers_unchanged(self) -> None:
        seen: list[Update] = []

        async def note(update: Update, context: Any) -> None:
            seen.append(update)

        bot = client(session(initial=counting, storage=Store()), note)
        without_session = Update(7)
        await bot.feed(without_session)
        await bot.user().send("Hello")
        assert seen[0] is without_session
        assert seen[1].effective_message.text == "Hello"

    async def test_a2_without_a_key_nothing_is_called_and_the_session_is_none(self) -> None:
        store, seen = Store(), []

        async def note(update: Any, context: Any) -> None:
            seen.append((context.session, context.session_key, await context.get_session()))

        bot = client(session(initial=counting, storage=store), note)
        await bot.user().ask_inline("x")
        assert seen == [(None, None, None)]
        assert store.calls == []

    async def test_a3_assigning_without_a_key_says_that_the_update_has_no_chat(self) -> None:
        error = await error_of(session(initial=counting, storage=Store()), assign({}), chat=False)
        assert isinstance(error, SessionKeyError)
        assert "no chat" in str(error)

    async def test_a3_assigning_without_a_key_says_that_the_key_function_gave_none(self) -> None:
        def nobody(update: Update) -> None:
            return None

        declared = session(initial=counting, storage=Store(), get_session_key=nobody)
        error = await error_of(declared, assign({}))
        assert isinstance(error, SessionKeyError)
        assert "nobody returned None" in str(error)

    async def test_a4_what_a_handler_that_raised_had_assigned_is_not_written(self) -> None:
        store = Store({"1001": {"count": 3}})

        async def fail(update: Any, context: Any) -> None:
            context.session = {"count": 4}
            raise ValueError

        await client(session(storage=store), fail).user().send("x")
        assert store.operations == ["read"]
        assert store.values == {"1001": {"count": 3}}

    async def test_a5_plain_values_are_counted_up(self) -> None:
        store = Store()

        async def up(update: Any, context: Any) -> None:
            context.session += 1

        await client(session(initial=lambda: 0, storage=store), up).user().send("x")
        assert store.values == {"1001": 1}

    async def test_a5_falsy_values_are_data(self) -> None:
        for value in (0, "", False, []):
            with self.subTest(value=value):
                store, seen = Store(), []

                async def note(update: Any, context: Any, seen: Any = seen) -> None:
                    seen.append(context.session)

                await client(session(storage=store), assign(value)).user().send("x")
                assert store.values == {"1001": value}
                await client(session(storage=store), note).user().send("x")
                assert seen == [value]

    async def test_a6_none_deletes_once_and_the_next_update_starts_anew(self) -> None:
        for delete in (assign(None), delete_session):
            store, seen = Store({"1001": {"count": 3}}), []

            async def note(update: Any, context: Any, seen: Any = seen) -> None:
                seen.append(context.session)

            declared = session(initial=counting, storage=store)
            maria = client(declared, delete, delete, note).user()
            await maria.send("x")
            assert store.operations == ["read", "delete"]
            assert store.values == {}
            assert seen == [None]
            await client(declared, note).user().send("x")
            assert seen[1] == {"count": 0}

    async def test_a6_deleting_what_was_never_stored_is_no_call(self) -> None:
        store = Store()
        await client(session(initial=counting, storage=store), delete_session).user().send("x")
        assert store.operations == ["read"]

    async def test_a7_a_custom_key_is_used_for_read_write_and_delete(self) -> None:
        store = Store()

        async def by_language(update: Update) -> str:
            return f"lang {update.effective_user.language_code}"

        declared = session(initial=counting, storage=store, get_session_key=by_language)
        await client(declared, count).user(language_code="de").send("x")
        await client(declared, delete_session).user(language_code="de").send("x")
        assert store.calls == [(op, "lang de") for op in ("read", "write", "read", "delete")]

    async def test_a7_the_key_function_runs_once_per_update(self) -> None:
        calls = []

        def key(update: Update) -> str:
            calls.append(update)
            return "k"

        declared = session(initial=counting, storage=Store(), get_session_key=key)
        await client(declared, count, count, look).user().send("x")
        assert len(calls) == 1

    async def test_a7_what_the_key_function_raises_reaches_the_error_handlers(self) -> None:
        def broken(update: Update) -> str:
            raise LookupError("no key today")

        async def slowly_broken(update: Update) -> str:
            raise LookupError("no key today")

        for key in (broken, slowly_broken):
            store = Store()
            declared = session(initial=counting, storage=store, get_session_key=key)
            answers = await client(declared, count, count).user().send("x")
            assert [str(error) for error in answers.errors] == ["no key today"]
            assert store.calls == []

    async def test_a7_a_key_that_is_not_text_is_refused(self) -> None:
        declared = session(storage=Store(), get_session_key=lambda update: 42)
        error = await error_of(declared, assign({}))
        assert isinstance(error, SessionKeyError)
        assert "int" in str(error)

    async def test_a8_initial_runs_only_when_nothing_is_stored_and_once(self) -> None:
        calls = []

        def initial() -> dict[str, Any]:
            calls.append(1)
            return {"count": 0}

        store = Store({"1": {"count": 5}})
        bot = client(session(initial=initial, storage=store), count, count)
        await bot.user(id=1).send("x")
        assert calls == []
        await bot.user(id=2).send("x")
        assert calls == [1]
        assert store.values == {"1": {"count": 7}, "2": {"count": 2}}

    async def test_a8_chats_never_share_an_initial_object(self) -> None:
        store = Store()

        async def add(update: Any, context: Any) -> None:
            context.session.toppings.append(update.effective_user.first_name)

        bot = client(session(initial=Pizza, storage=store), add)
        await asyncio.gather(bot.user("Ann", id=1).send("x"), bot.user("Bob", id=2).send("x"))
        assert store.values["1"]["toppings"] == ["Ann"]
        assert store.values["2"]["toppings"] == ["Bob"]

    async def test_a8_initial_that_returns_none_reads_as_none_and_writes_nothing(self) -> None:
        store, seen = Store(), []

        async def note(update: Any, context: Any) -> None:
            seen.append(context.session)

        await client(session(initial=lambda: None, storage=store), note).user().send("x")
        assert seen == [None]
        assert store.operations == ["read"]

    async def test_a8_initial_data_that_is_the_same_object_every_time_is_copied(self) -> None:
        defaults = {"count": 0, "toppings": ["basil"]}

        def shared() -> dict[str, Any]:
            return defaults

        def shared_inside() -> dict[str, Any]:
            return {"toppings": defaults["toppings"]}

        async def order(update: Any, context: Any) -> None:
            context.session["toppings"].append("olives")

        for initial in (shared, shared_inside):
            bot = client(session(initial=initial, storage=Store()), order)
            for name in ("Maria", "Tom"):
                person = bot.user(name)
                await person.send("x")
                assert (await person.session)["toppings"] == ["basil", "olives"]
        assert defaults == {"count": 0, "toppings": ["basil"]}

    async def test_a9_initial_data_that_a_handler_has_seen_is_written(self) -> None:
        store, seen = Store(), []

        async def note(update: Any, context: Any) -> None:
            seen.append(context.session)

        bot = client(session(initial=lambda: random.random(), storage=store), note)  # noqa: S311
        maria = bot.user()
        await maria.send("x")
        await maria.send("x")
        assert seen[0] == seen[1]
        assert store.operations == ["read", "write", "read"]

    async def test_a9_initial_data_that_nobody_has_seen_is_not_written(self) -> None:
        store = Store()
        await client(session(initial=counting, storage=store), nothing).user().send("x")
        assert store.operations == ["read"]

    async def test_a10_without_initial_reading_says_what_to_do(self) -> None:
        error = await error_of(session(storage=Store()), count)
        assert isinstance(error, SessionNotInitialized)
        assert "'1001'" in str(error)
        assert "initial" in str(error)

    async def test_a10_without_initial_assigning_works_and_not_touching_costs_no_write(
        self,
    ) -> None:
        store = Store()
        await client(session(storage=store), nothing).user().send("x")
        assert store.operations == ["read"]
        await client(session(storage=store), assign({"count": 1}), count).user().send("x")
        assert store.values == {"1001": {"count": 2}}

    async def test_a11_only_a_change_is_written(self) -> None:
        async def nested(update: Any, context: Any) -> None:
            context.session["list"][0]["deep"] = "new"

        async def there_and_back(update: Any, context: Any) -> None:
            value = context.session.pop("count")
            context.session["count"] = value + 1
            context.session["count"] -= 1

        for handler, operations in (
            (look, ["read"]),
            (there_and_back, ["read"]),
            (nested, ["read", "write"]),
        ):
            store = Store({"1001": {"count": 1, "list": [{"deep": "old"}]}})
            await client(session(storage=store), handler).user().send("x")
            assert store.operations == operations

    async def test_a12_when_reading_fails_no_handler_runs_and_nothing_is_written(self) -> None:
        store, ran, seen = Store({"1001": {"count": 1}}), [], []
        store.fails["read"] = OSError("storage is away")

        async def note(update: Any, context: Any) -> None:
            ran.append(context.session)

        async def on_error(update: Any, context: Any) -> None:
            with pytest.raises(OSError, match="away"):
                _ = context.session
            seen.append(context.error)

        maria = client(session(initial=counting, storage=store), note, note, errors=on_error).user()
        await maria.send("x")
        assert ran == []
        assert [str(error) for error in seen] == ["storage is away"]
        assert store.operations == ["read"]
        store.fails.clear()
        await maria.send("x")
        assert ran == [{"count": 1}, {"count": 1}]

    async def test_a13_when_writing_fails_the_error_handlers_are_told(self) -> None:
        store = Store({"1001": {"count": 1}})
        store.fails["write"] = OSError("disk full")
        maria = client(session(storage=store), count).user()
        answers = await maria.send("x")
        assert [str(error) for error in answers.errors] == ["disk full"]
        store.fails.clear()
        await maria.send("x")
        assert store.values == {"1001": {"count": 2}}

    async def test_a14_nothing_of_a_failed_handler_is_there_at_the_next_update(self) -> None:
        store, seen = Store({"1001": {"list": []}}), []

        async def fail_once(update: Any, context: Any) -> None:
            seen.append(list(context.session["list"]))
            context.session["list"].append(1)
            if len(seen) == 1:
                raise ValueError

        maria = client(session(storage=store), fail_once).user()
        await maria.send("x")
        await maria.send("x")
        await maria.send("x")
        assert seen == [[], [], [1]]

    async def test_a15_the_session_is_closed_when_the_update_is_over(self) -> None:
        kept = []

        async def keep(update: Any, context: Any) -> None:
            kept.append(context)

        await client(session(initial=counting, storage=Store()), keep).user().send("x")
        with pytest.raises(SessionClosed):
            _ = kept[0].session
        with pytest.raises(SessionClosed):
            kept[0].session = {}
        with pytest.raises(SessionClosed):
            await kept[0].get_session()
        with pytest.raises(SessionClosed):
            await kept[0].save_session()

    async def test_a17_an_update_that_no_handler_takes_calls_no_storage(self) -> None:
        store = Store()
        declared = session(initial=counting, storage=store)
        await client(declared, CommandHandler("start", count)).user().send("x")
        assert store.calls == []

    async def test_a18_saving_writes_at_once_and_later_errors_do_not_undo_it(self) -> None:
        store = Store({"1001": {"count": 1}})

        async def save_and_fail(update: Any, context: Any) -> None:
            context.session["count"] = 2
            await context.save_session()
            assert store.values == {"1001": {"count": 2}}
            context.session["count"] = 3
            raise ValueError

        await client(session(storage=store), save_and_fail).user().send("x")
        assert store.values == {"1001": {"count": 2}}

    async def test_a18_what_was_saved_is_written_again_only_if_it_changed(self) -> None:
        for changes, operations in ((1, ["read", "write"]), (2, ["read", "write", "write"])):
            store = Store({"1001": {"count": 0}})

            async def save(update: Any, context: Any, changes: int = changes) -> None:
                context.session["count"] = 1
                await context.save_session()
                await context.save_session()
                context.session["count"] = changes

            answers = await client(session(storage=store), save).user().send("x")
            assert answers.errors == []
            assert store.operations == operations
            assert store.values == {"1001": {"count": changes}}

    async def test_a18_saving_twice_at_the_same_moment_does_not_conflict(self) -> None:
        store = Store({"1001": {"count": 0}})

        async def save(update: Any, context: Any) -> None:
            context.session["count"] = 1
            await asyncio.gather(context.save_session(), context.save_session())

        assert (await client(session(storage=store), save).user().send("x")).errors == []
        assert store.operations == ["read", "write"]

    async def test_a18_deleting_saving_and_assigning_again_does_not_conflict(self) -> None:
        store = Store({"1001": {"count": 0}})

        async def start_over(update: Any, context: Any) -> None:
            context.session = None
            await context.save_session()
            context.session = {"count": 9}

        assert (await client(session(storage=store), start_over).user().send("x")).errors == []
        assert store.values == {"1001": {"count": 9}}

    async def test_a19_a_write_never_lands_on_what_it_has_not_seen(self) -> None:
        address = Address("1", "", "1001")

        async def change(store: Store) -> None:
            await store.write(address, Record({"count": 50}, revision=ANY))

        async def delete(store: Store) -> None:
            await store.delete(address, ANY)

        async def replace(store: Store) -> None:
            await delete(store)
            await store.write(address, Record({"count": 1}, revision=None))

        for interfere in (change, delete, replace):
            for act in (count, delete_session):
                if interfere is delete and act is delete_session:
                    continue  # What both want has happened.
                store = Store({"1001": {"count": 1}})

                async def handler(
                    update: Any,
                    context: Any,
                    interfere: Any = interfere,
                    store: Any = store,
                    act: Any = act,
                ) -> None:
                    await interfere(store)
                    await act(update, context)

                answers = await client(session(storage=store), handler).user().send("x")
                assert [type(error) for error in answers.errors] == [SessionConflict]
                assert store.values.get("1001", {}).get("count") != 2

    async def test_data_that_is_no_json_is_refused_by_path_and_not_written(self) -> None:
        store = Store()
        error = await error_of(session(storage=store), assign({"a": [{"b": {1, 2}}]}))
        assert isinstance(error, SessionDataError)
        assert error.path == "$.a[0].b"
        assert "'1001'" in str(error)
        assert store.operations == ["read"]

    async def test_fields_that_the_type_does_not_know_are_kept(self) -> None:
        store = Store({"1001": {"count": 1, "toppings": [], "colour": "red"}})

        async def change(update: Any, context: Any) -> None:
            context.session.count += 1

        async def replace(update: Any, context: Any) -> None:
            context.session = Pizza(count=9)

        bot = client(session(initial=Pizza, storage=store), change)
        await bot.user().send("x")
        assert store.values == {"1001": {"count": 2, "toppings": [], "colour": "red"}}
        await client(session(initial=Pizza, storage=store), replace).user().send("x")
        assert store.values == {"1001": {"count": 9, "toppings": [], "colour": "red"}}

    async def test_a_named_tuple_is_the_type_of_a_session_and_of_a_fragment(self) -> None:
        async def try_again(update: Any, context: Any) -> None:
            context.session = context.session._replace(tries=context.session.tries + 1)

        async def try_fragment(update: Any, context: Any) -> None:
            step = context.session.step
            context.session.step = step._replace(tries=step.tries + 1)

        for declared, handler in (
            (session(initial=Step, storage=(single := Store())), try_again),
            (session(initial=lambda: Step(), data_type=Step, storage=Store()), try_again),
            (multi_session(step=session(initial=Step, storage=Store())), try_fragment),
        ):
            maria = client(declared, handler, raise_errors=True).user(id=7)
            for _ in range(3):
                await maria.send("x")
            stored = await maria.session
            step = stored.step if declared.is_multi else stored
            assert (type(step), step) == (Step, ("begin", 3))
        assert single.values == {"7": ["begin", 3]}

    async def test_data_that_does_not_fit_its_type_any_more_is_refused_and_kept(self) -> None:
        store = Store({"1001": {"count": "many"}})
        error = await error_of(session(initial=Pizza, storage=store), nothing)
        assert isinstance(error, SessionDataError)
        assert error.path == "$.count"
        assert "many" not in str(error)
        assert store.values == {"1001": {"count": "many"}}


class MultiSessions(SimpleTestCase):
    async def test_b1_fragments_have_keys_storages_and_laziness_of_their_own(self) -> None:
        chats, users = Store(name="chat"), Store(name="user")
        declared = multi_session(
            chat=session(initial=counting, storage=chats),
            user=lazy_session(initial=counting, storage=users, get_session_key=per_user),
        )

        async def both(update: Any, context: Any) -> None:
            context.session.chat["count"] += 1
            (await context.session.user)["count"] += 10
            assert context.session_key == {"chat": "-5", "user": "7"}

        bot = client(declared, both)
        await bot.user(id=7).in_chat(bot.group(id=-5)).send("x")
        assert chats.values == {"-5": {"count": 1}}
        assert users.values == {"7": {"count": 10}}

    async def test_b1_no_fragments_pass_updates_through(self) -> None:
        seen = []

        async def note(update: Any, context: Any) -> None:
            seen.append(context.session_key)

        await client(multi_session(), note).user().send("x")
        assert seen == [{}]

    async def test_no_update_holds_a_lazy_fragment_that_all_share(self) -> None:
        shared, both = Store({"all": {"count": 5}}, name="shared"), asyncio.Event()
        declared = multi_session(
            chat=session(initial=counting, storage=Store()),
            shared=lazy_session(
                initial=counting, storage=shared, get_session_key=lambda update: "all"
            ),
        )
        present = []

        async def work(update: Any, context: Any) -> None:
            (await context.session.shared)["count"] += 1
            present.append(update)
            if len(present) == 2:
                both.set()
            await asyncio.wait_for(both.wait(), 5)

        async def replace(update: Any, context: Any) -> None:
            context.session.shared = {"count": 10}

        bot = client(declared, work)
        answers = await asyncio.gather(bot.user().send("x"), bot.user().send("x"))
        assert [type(e) for answer in answers for e in answer.errors] == [SessionConflict]
        assert shared.values == {"all": {"count": 6}}
        assert (await client(declared, replace).user().send("x")).errors == []
        assert shared.values == {"all": {"count": 10}}

    async def test_b2_reads_of_one_update_run_side_by_side(self) -> None:
        meeting = asyncio.Barrier(2) if hasattr(asyncio, "Barrier") else None

        class Slow(Store):
            async def read(self, address: Address) -> Record | None:
                if meeting is not None:
                    await asyncio.wait_for(meeting.wait(), 2)
                return await super().read(address)

        declared = multi_session(
            a=session(initial=counting, storage=Slow()), b=session(initial=counting, storage=Slow())
        )
        assert (await client(declared, nothing).user().send("x")).errors == []

    async def test_b2_reads_of_one_storage_are_one_call(self) -> None:
        class Batches(Store):
            batches: list[int] = []  # noqa: RUF012

            async def read_many(self, addresses: Any) -> Any:
                self.batches.append(len(addresses))
                return await super().read_many(addresses)

        store = Batches()
        part = session(initial=counting, storage=store)
        await client(multi_session(a=part, b=part), nothing).user().send("x")
        assert store.batches == [2]

    async def test_b3_a_fragment_without_a_key_is_none_and_the_others_work(self) -> None:
        store, seen = Store(name="user"), []
        declared = multi_session(
            chat=session(initial=counting, storage=Store()),
            user=session(initial=counting, storage=store, get_session_key=per_user),
        )

        async def work(update: Any, context: Any) -> None:
            seen.append(context.session.chat)
            context.session.user["count"] += 1
            with pytest.raises(SessionKeyError, match="no chat"):
                context.session.chat = {}

        answers = await client(declared, work).user(id=7).ask_inline("x")
        assert answers.errors == []
        assert seen == [None]
        assert store.values == {"7": {"count": 1}}

    async def test_b4_none_deletes_every_fragment_that_has_a_key(self) -> None:
        chats, users = Store(name="chat"), Store({"7": {"count": 1}}, name="user")
        declared = multi_session(
            chat=session(initial=counting, storage=chats),
            user=session(initial=counting, storage=users, get_session_key=per_user),
        )
        answers = await client(declared, assign(None)).user(id=7).ask_inline("x")
        assert answers.errors == []
        assert users.values == {}

    async def test_b4_deleting_a_fragment_deletes_that_one(self) -> None:
        a, b = Store({"1001": 1}, name="a"), Store({"1001": 1}, name="b")
        declared = multi_session(a=session(storage=a), b=session(storage=b))

        async def delete(update: Any, context: Any) -> None:
            del context.session.a

        await client(declared, delete).user().send("x")
        assert (a.values, b.values) == ({}, {"1001": 1})

    async def test_b5_assigning_the_whole_raises_and_names_the_fragments(self) -> None:
        error = await error_of(multi_session(foo=session(storage=Store())), assign({"foo": 1}))
        assert isinstance(error, TypeError)
        assert "context.session.foo" in str(error)

    async def test_b5_an_unknown_fragment_raises_and_names_the_known(self) -> None:
        async def misspell(update: Any, context: Any) -> None:
            with pytest.raises(AttributeError, match=r"'fo'.*foo"):
                context.session.fo = 1
            with pytest.raises(AttributeError, match=r"'fo'.*foo"):
                del context.session.fo
            assert "foo" in dir(context.session)
            _ = context.session.fo

        error = await error_of(multi_session(foo=session(storage=Store())), misspell)
        assert isinstance(error, AttributeError)

    async def test_b6_fragments_of_one_storage_never_collide(self) -> None:
        store = Store()
        part = session(storage=store, get_session_key=lambda update: "same")

        async def write(update: Any, context: Any) -> None:
            context.session.a, context.session.b = 1, 2

        maria = client(multi_session(a=part, b=part), write).user()
        await maria.send("x")
        stored = await maria.session
        assert (stored.a, stored.b) == (1, 2)

    async def test_b7_if_one_fragment_cannot_be_written_none_of_its_storage_is(self) -> None:
        store = Store()
        part = session(initial=counting, storage=store)

        async def interfere(update: Any, context: Any) -> None:
            await store.write(Address("1", "b", "1001"), Record({"count": 50}, revision=ANY))
            context.session.a["count"] = 1
            context.session.b["count"] = 1

        answers = await client(multi_session(a=part, b=part), interfere).user().send("x")
        assert {type(error) for error in answers.errors} == {SessionConflict}
        assert store.values == {"1001": {"count": 50}}

    async def test_b7_if_one_fragment_is_no_json_none_is_written(self) -> None:
        a, b = Store(name="a"), Store(name="b")
        declared = multi_session(a=session(storage=a), b=session(storage=b))

        async def write(update: Any, context: Any) -> None:
            context.session.a, context.session.b = 1, {2}

        assert len((await client(declared, write).user().send("x")).errors) == 1
        assert (a.values, b.values) == ({}, {})

    def test_a_fragment_must_be_a_session(self) -> None:
        with pytest.raises(TypeError, match="'chat' is dict"):
            multi_session(chat={})  # type: ignore[arg-type]

    def test_a_fragment_cannot_take_a_name_that_is_taken(self) -> None:
        for name in ("install", "fragments", "_hidden"):
            with pytest.raises(ValueError, match=f"named '{name}': a session has that name"):
                multi_session(**{name: session(storage=Store())})
        with pytest.raises(ValueError, match="longer than 64"):
            multi_session(**{"x" * 65: session(storage=Store())})

    def test_a_fragment_has_a_name_that_can_be_written_as_an_attribute(self) -> None:
        for name in ("*", "", " ", "user data", "user ", "user-data", "1", "class", "ﬁrst", "a\n"):
            with pytest.raises(ValueError, match="no name of an attribute"):
                multi_session(**{name: session(storage=Store())})
        assert set(multi_session(self=session(), größe=session()).fragments) == {"self", "größe"}

    async def test_fragments_can_be_attributes_of_a_class(self) -> None:
        class Shop(MultiSession):
            chat = session(initial=counting, storage=Store())
            user = session(initial=Pizza, get_session_key=per_user, storage=Store())

        class LargeShop(Shop):
            chat = session(initial=dict, storage=Store())
            cart = session(initial=dict, storage=Store())

        async def order(update: Any, context: Any) -> None:
            context.session.user.count += 1

        shop = Shop()
        person = client(shop, order).user()
        await person.send("x")
        assert await shop.user.aget(user=person.id, bot="1") == Pizza(1)
        large = LargeShop(more=session(storage=Store()))
        assert set(large.fragments) == {"chat", "user", "cart", "more"}
        assert large.fragments["chat"].initial() == {}

    def test_attributes_of_a_class_cannot_take_a_name_that_is_taken(self) -> None:
        class Shop(MultiSession):
            lock = session(storage=Store())  # type: ignore[assignment]

        with pytest.raises(ValueError, match="named 'lock'"):
            Shop()

    def test_an_unknown_fragment_is_an_attribute_error_with_those_there_are(self) -> None:
        with pytest.raises(AttributeError, match="no fragment 'users'; there is chat, user"):
            _ = multi_session(chat=session(), user=session()).users


class LazySessions(SimpleTestCase):
    async def test_c1_never_awaited_and_never_assigned_costs_nothing(self) -> None:
        store = Store({"1001": {"count": 1}})

        async def mention(update: Any, context: Any) -> None:
            _ = context.session

        await client(lazy_session(storage=store), mention, nothing).user().send("x")
        assert store.calls == []

    async def test_c2_awaited_by_many_it_is_read_once(self) -> None:
        store = Store({"1001": {"count": 1}})

        async def ask(context: Any) -> Any:
            return await context.session

        async def gather(update: Any, context: Any) -> None:
            promise = context.session
            first, *others = await asyncio.gather(*(ask(context) for _ in range(5)))
            assert all(other is first for other in others)
            assert await promise is first
            assert await promise is first

        assert (await client(lazy_session(storage=store), gather).user().send("x")).errors == []
        assert store.operations == ["read"]

    async def test_c2_a_cancelled_reader_does_not_take_the_read_from_others(self) -> None:
        begun, finish = asyncio.Event(), asyncio.Event()

        class Slow(Store):
            async def read_many(self, addresses: Any) -> Any:
                begun.set()
                await finish.wait()
                return await super().read_many(addresses)

        async def cancel_one(update: Any, context: Any) -> None:
            async def ask() -> Any:
                return await context.session

            one, other = asyncio.ensure_future(ask()), asyncio.ensure_future(ask())
            await begun.wait()
            one.cancel()
            finish.set()
            assert await other == {"count": 1}

        store = Slow({"1001": {"count": 1}})
        assert (await client(lazy_session(storage=store), cancel_one).user().send("x")).errors == []

    async def test_c2_a_change_of_what_was_awaited_is_written(self) -> None:
        store = Store({"1001": {"count": 1}})

        async def change(update: Any, context: Any) -> None:
            (await context.session)["count"] += 1

        await client(lazy_session(storage=store), change).user().send("x")
        assert store.values == {"1001": {"count": 2}}

    async def test_c3_assigned_without_reading_is_one_write(self) -> None:
        store = Store({"1001": {"count": 1}})
        await client(lazy_session(storage=store), assign({"count": 5})).user().send("x")
        assert store.operations == ["write"]
        assert store.values == {"1001": {"count": 5}}

    async def test_c3_deleted_without_reading_is_one_delete(self) -> None:
        store = Store({"1001": {"count": 1}})
        await client(lazy_session(storage=store), delete_session).user().send("x")
        assert store.operations == ["delete"]

    async def test_c4_a_read_that_ends_after_an_assignment_is_dropped(self) -> None:
        begun, finish = asyncio.Event(), asyncio.Event()

        class Slow(Store):
            async def read_many(self, addresses: Any) -> Any:
                begun.set()
                await finish.wait()
                return await super().read_many(addresses)

        seen = []

        async def race(update: Any, context: Any) -> None:
            async def ask() -> None:
                seen.append(await context.session)

            reader = asyncio.ensure_future(ask())
            await begun.wait()
            context.session = {"count": 5}
            finish.set()
            await reader
            seen.append(await context.session)

        store = Slow({"1001": {"count": 1}})
        await client(lazy_session(storage=store), race).user().send("x")
        assert seen == [{"count": 5}, {"count": 5}]
        assert store.values == {"1001": {"count": 5}}

    async def test_c5_an_awaitable_is_awaited_before_the_write(self) -> None:
        async def later() -> dict[str, Any]:
            await asyncio.sleep(0)
            return {"count": 5}

        for make in (later, lambda: asyncio.ensure_future(later())):
            store, seen = Store(), []

            async def promise(
                update: Any, context: Any, make: Any = make, seen: Any = seen
            ) -> None:
                context.session = make()
                seen.append(await context.session)
                seen.append(await context.session)

            async def forget(update: Any, context: Any, make: Any = make) -> None:
                context.session = make()

            await client(lazy_session(storage=store), promise).user(id=1).send("x")
            await client(lazy_session(storage=store), forget).user(id=2).send("x")
            assert seen == [{"count": 5}, {"count": 5}]
            assert store.values == {"1": {"count": 5}, "2": {"count": 5}}

    async def test_c5_an_awaitable_may_delete(self) -> None:
        async def nobody() -> None:
            return None

        async def delete(update: Any, context: Any) -> None:
            context.session = nobody()

        store = Store({"1001": {"count": 1}})
        await client(lazy_session(storage=store), delete).user().send("x")
        assert store.values == {}

    async def test_c5_an_awaitables_error_reaches_the_error_handlers(self) -> None:
        async def broken() -> None:
            raise LookupError("never")

        async def promise(update: Any, context: Any) -> None:
            context.session = broken()

        store = Store({"1001": {"count": 1}})
        answers = await client(lazy_session(storage=store), promise).user().send("x")
        assert [str(error) for error in answers.errors] == ["never"]
        assert store.operations == []

    async def test_c5_so_does_that_it_was_cancelled(self) -> None:
        async def promise(update: Any, context: Any) -> None:
            task = asyncio.create_task(asyncio.sleep(60))
            context.session = task
            task.cancel()

        store = Store({"1001": {"count": 1}})
        answers = await client(lazy_session(storage=store), promise).user().send("x")
        assert "was cancelled: nothing is stored" in str(answers.errors)
        assert store.operations == []

    async def test_a13_so_does_a_write_that_its_storage_has_cancelled(self) -> None:
        store = Store()
        store.fails["write"] = asyncio.CancelledError()
        answers = await client(session(storage=store), assign(1)).user().send("x")
        assert "own work was cancelled" in str(answers.errors)

    async def test_c5_an_awaitable_may_await_the_session_itself(self) -> None:
        for wrap in (lambda c: c, asyncio.ensure_future, lambda c: asyncio.wait_for(c, 5)):
            store = Store({"1001": {"count": 41}})

            async def reset(update: Any, context: Any, wrap: Any = wrap) -> None:
                async def counted() -> Any:
                    stats = await context.session
                    stats["count"] += 1
                    return stats

                context.session = wrap(counted())

            bot = client(lazy_session(storage=store), reset)
            answers = await asyncio.wait_for(bot.user().send("x"), 5)
            assert answers.errors == []
            assert store.values == {"1001": {"count": 42}}

    async def test_c5_an_awaitable_that_nobody_awaited_is_closed_without_a_warning(self) -> None:
        async def later() -> dict[str, Any]:
            return {}

        async def fail(update: Any, context: Any) -> None:
            context.session = later()
            context.session = later()
            raise ValueError

        store = Store()
        await client(lazy_session(storage=store), fail).user().send("x")
        assert store.calls == []

    async def test_c6_one_call_serves_strict_and_lazy_sessions(self) -> None:
        for declare in (session, lazy_session):
            store = Store({"1001": {"count": 1}})

            async def change(update: Any, context: Any) -> None:
                (await context.get_session())["count"] += 1

            await client(declare(storage=store), change).user().send("x")
            assert store.values == {"1001": {"count": 2}}

    async def test_a_lazy_session_without_a_key_awaits_to_none(self) -> None:
        seen = []

        async def note(update: Any, context: Any) -> None:
            seen.append(await context.session)

        await client(lazy_session(storage=Store()), note).user().ask_inline("x")
        assert seen == [None]

    async def test_a_lazy_read_that_fails_fails_again_and_writes_nothing(self) -> None:
        store = Store({"1001": {"count": 1}})
        store.fails["read"] = OSError("away")

        async def ask(update: Any, context: Any) -> None:
            for _ in range(2):
                with pytest.raises(OSError, match="away"):
                    await context.session

        assert (await client(lazy_session(storage=store), ask).user().send("x")).errors == []
        assert store.operations == ["read"]


def assign(value: Any) -> Any:
    async def handler(update: Any, context: Any) -> None:
        context.session = value

    return handler


async def delete_session(update: Any, context: Any) -> None:
    del context.session


async def nothing(update: Any, context: Any) -> None:
    pass


async def error_of(declared: Any, handler: Any, *, chat: bool = True) -> Exception:
    maria = client(declared, handler).user()
    answers: Answers = await (maria.send("x") if chat else maria.ask_inline("x"))
    (error,) = answers.errors
    return error
