"""What becomes of data that two updates have changed at once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from django.test import SimpleTestCase, TransactionTestCase
from hypothesis import given
from hypothesis import strategies as st
from telegram.ext import CommandHandler, ContextTypes

from botsessions import enhance_storage, multi_session
from botsessions.exceptions import SessionConflict
from botsessions.models import BotSession
from botsessions.persistence import BotPersistence
from botsessions.persistence.fragments import BOT_DATA
from botsessions.persistence.merging import merged
from botsessions.persistence.values import ValueCodec
from botsessions.ptb.context import SessionContext
from botsessions.storages import ANY, Address, Record
from botsessions.testing import AsyncBotClient

from .harness import Store, client

LIMIT = 10**6


def both(before: Any, mine: Any, theirs: Any) -> Any:
    codec = ValueCodec()
    value = merged(*(codec.encode(one, {}, LIMIT) for one in (before, mine, theirs)))
    return None if value is None else codec.decode(value).data


@pytest.mark.once
@pytest.mark.parametrize(
    ("before", "mine", "theirs", "expected"),
    [
        ({}, {"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": 1, "b": 2}, {"b": 2}, {"a": 1, "b": 3}, {"b": 3}),
        ({}, {"users": {5}}, {"users": {6}}, {"users": {5, 6}}),
        ({"users": {1, 2}}, {"users": {1, 2, 3}}, {"users": {2}}, {"users": {2, 3}}),
        ({}, {"of": {5: "x"}}, {"of": {6: "y"}}, {"of": {5: "x", 6: "y"}}),
        ({1: "a"}, {1: "b"}, {1: "a", 2: "c"}, {1: "b", 2: "c"}),
        ({"of": {"a": 1}}, {"of": {"a": 2}}, {"of": {"a": 1, "b": 1}}, {"of": {"a": 2, "b": 1}}),
        ({}, {"language": "it"}, {"language": "it"}, {"language": "it"}),
        ({}, {"n": 1}, {"n": 1}, None),
        ({"n": 1}, {"n": 2}, {"n": 2}, None),
        ({"of": {"n": 1}}, {"of": {"n": 2}}, {"of": {"n": 2}}, None),
        ({"l": []}, {"l": [1]}, {"l": [1]}, None),
        ({"a": "x"}, {"a": "y"}, {"a": "z"}, None),
        ({"a": "x"}, {}, {"a": "z"}, None),
    ],
)
def test_changes_of_different_entries_go_together(
    before: Any, mine: Any, theirs: Any, expected: Any
) -> None:
    assert both(before, mine, theirs) == expected


@pytest.mark.once
def test_what_somebody_has_deleted_stays_deleted() -> None:
    assert merged({"a": 1}, {"a": 1, "b": 2}, None) is None
    assert merged(None, {"b": 2}, None) == {"b": 2}


@pytest.mark.once
@pytest.mark.parametrize(("before", "after"), [(1, True), (1, 1.0), (False, 0), ([1], [True])])
def test_what_is_equal_but_not_the_same_is_a_change(before: Any, after: Any) -> None:
    changed = both({"a": before}, {"a": after}, {"a": before, "b": 1})
    assert repr(changed["a"]) == repr(after)
    assert both({}, {"a": before}, {"a": after}) is None


JSON = st.recursive(
    st.one_of(st.integers(0, 2), st.sampled_from("ab")),
    lambda inner: st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=5,
)
DICTS = st.dictionaries(st.sampled_from("xyz"), JSON, max_size=3)


@pytest.mark.once
@given(DICTS, DICTS, DICTS)
def test_it_does_not_matter_who_comes_first(before: Any, mine: Any, theirs: Any) -> None:
    assert merged(before, mine, theirs) == merged(before, theirs, mine)
    assert merged(before, before, theirs) == theirs


@dataclass
class Settings:
    n: int = 0


class Merged(SimpleTestCase):
    async def test_e2_updates_that_change_different_entries_do_not_meet(self) -> None:
        store, begun, go = Store(), asyncio.Event(), asyncio.Event()

        async def change(update: Any, context: Any) -> None:
            context.bot_data.setdefault("users", set()).add(update.effective_user.id)
            if update.effective_user.id == 5:
                begun.set()
                await go.wait()
                await context.save_session()
                context.bot_data["last"] = max(context.bot_data["users"])

        bot = client(
            multi_session(),
            change,
            builder=lambda b: b.persistence(BotPersistence(storage=store)),
            raise_errors=True,
        )
        first = asyncio.create_task(bot.user("Maria", id=5).send("x"))
        await begun.wait()
        await bot.user("Tom", id=6).send("x")
        go.set()
        await first
        users = {"__type__": "set", "value": [5, 6]}
        assert store.values["bot"] == {"users": users, "last": 6}

    async def test_e2_fields_that_the_type_does_not_know_stay_as_others_have_changed_them(
        self,
    ) -> None:
        place = Address("1", BOT_DATA, "bot")
        store = Store({"bot": {"n": 1, "more": 1}}, name=BOT_DATA)

        async def change(update: Any, context: Any) -> None:
            context.bot_data.n = 2
            await store.write(place, Record({"n": 1, "more": 2}, revision=ANY))
            await context.save_session()
            assert store.values["bot"] == {"n": 2, "more": 2}
            writes = store.operations.count("write")
            await context.save_session()
            assert store.operations.count("write") == writes
            context.bot_data.n = 3

        bot = client(
            multi_session(),
            change,
            builder=lambda b: b.persistence(BotPersistence(storage=store)).context_types(
                ContextTypes(SessionContext, bot_data=Settings)
            ),
            raise_errors=True,
        )
        await bot.user("Maria").send("x")
        assert store.values["bot"] == {"n": 3, "more": 2}

    async def _beside(self, change: Any, *, migrations: Any = None) -> tuple[Any, list[Any]]:
        """Let a step with ``block=False`` end after a change of its user's and chat's data.

        Returns what is stored then, and the errors.
        """
        store, begun, go, errors = Store(), asyncio.Event(), asyncio.Event(), []

        async def slowly(update: Any, context: Any) -> None:
            context.user_data["size"] = context.chat_data["size"] = "large"
            begun.set()
            await go.wait()

        async def error(update: Any, context: Any) -> None:
            errors.append(context.error)

        async def first(update: Any, context: Any) -> None:
            context.user_data["name"] = context.chat_data["name"] = "Maria"

        storage = enhance_storage(store, migrations=migrations) if migrations else store
        bot = client(
            multi_session(),
            CommandHandler("first", first),
            CommandHandler("slow", slowly, block=False),
            CommandHandler("change", change),
            errors=error,
            builder=lambda b: b.persistence(BotPersistence(storage=storage)),
        )
        maria = bot.user("Maria", id=5).in_chat(bot.supergroup("Friends", id=-100))
        await maria.send("/first")
        slow = asyncio.create_task(maria.send("/slow"))
        await begun.wait()
        await maria.send("/change", wait=False)
        go.set()
        await slow
        return store.values.get("5"), errors

    async def test_e2_a_slow_step_and_others_change_different_entries(self) -> None:
        async def change(update: Any, context: Any) -> None:
            context.user_data["town"] = context.chat_data["town"] = "Rome"

        data = {"name": "Maria", "town": "Rome", "size": "large"}
        assert await self._beside(change) == (data, [])
        assert await self._beside(change, migrations={1: dict}) == (data, [])

    async def test_e2_a_slow_step_and_others_change_the_same_entry(self) -> None:
        async def change(update: Any, context: Any) -> None:
            context.user_data["size"] = "small"

        found, errors = await self._beside(change)
        assert (found, [*map(type, errors)]) == (
            {"name": "Maria", "size": "small"},
            [SessionConflict],
        )

    async def test_e2_a_slow_step_does_not_bring_back_what_was_dropped(self) -> None:
        async def change(update: Any, context: Any) -> None:
            context.application.drop_user_data(5)

        found, errors = await self._beside(change)
        assert (found, [*map(type, errors)]) == (None, [SessionConflict])

    async def test_f12_bots_that_start_at_once_fill_bot_data_together(self) -> None:
        store = Store()
        bots = [
            client(multi_session(), builder=lambda b: b.persistence(BotPersistence(storage=store)))
            for _ in range(3)
        ]
        for bot in bots:
            await bot.application.initialize()
            bot.application.bot_data.setdefault("languages", ["it", "de"])
        await asyncio.gather(*(bot.application.start() for bot in bots))
        for bot in bots:
            await bot.conversation.close()
        assert store.values["bot"] == {"languages": ["it", "de"]}


class Many(TransactionTestCase):
    async def test_e2_of_many_at_once_no_change_is_lost(self) -> None:
        async def change(update: Any, context: Any) -> None:
            await asyncio.sleep(0)
            context.bot_data[update.effective_user.id] = 1

        def build(builder: Any) -> Any:
            from telegram.ext import TypeHandler  # noqa: PLC0415

            builder = builder.concurrent_updates(True).persistence(BotPersistence())
            application = multi_session().install(builder).build()
            application.add_handler(TypeHandler(object, change))
            return application

        bot = AsyncBotClient(build=build, raise_errors=True)
        people = [bot.user(f"P{n}", id=n) for n in range(1, 13)]
        await asyncio.gather(*(person.send("x") for person in people))
        row = await BotSession.objects.aget(name="ptb:bot_data")
        assert dict(row.data["value"]) == dict.fromkeys(range(1, 13), 1)
        await bot.conversation.close()
