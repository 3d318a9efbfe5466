"""Groups that become supergroups: rule F7."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from datetime import timedelta
from itertools import permutations
from typing import Any
from unittest import IsolatedAsyncioTestCase, mock

import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, connections
from django.test import TestCase, TransactionTestCase, override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from msgspec.structs import replace
from telegram import Update
from telegram.error import ChatMigrated
from telegram.ext import CommandHandler, MessageHandler, TypeHandler, filters

from botsessions import MemoryStorage, enhance_storage, multi_session, session
from botsessions.database.connections import close_databases
from botsessions.exceptions import SessionConflict, SessionError
from botsessions.keys import in_other_chat, per_chat, per_topic, per_user, per_user_chat
from botsessions.locks import process_lock
from botsessions.maintenance.moving import amove_chat, move_chat
from botsessions.models import BotSession
from botsessions.storages import Address, ValueStorage
from botsessions.testing import BotClient

from .commands import ROOT, TIMEOUT
from .harness import Store, building, client, running
from .locked import BOT, bot_running, both_locks

GROUP, SUPERGROUP = -4567, -1001234567890
MARIA = {"id": 5, "is_bot": False, "first_name": "Maria"}
TOM = {"id": 7, "is_bot": False, "first_name": "Tom"}
ANONYMOUS = {
    "id": 1087968824,
    "is_bot": True,
    "first_name": "Group",
    "username": "GroupAnonymousBot",
}
OLD = {
    "id": GROUP,
    "type": "group",
    "title": "Pizza",
    "all_members_are_administrators": True,
}
NEW = {"id": SUPERGROUP, "type": "supergroup", "title": "Pizza"}
TO = {
    "message": {
        "message_id": 23,
        "from": MARIA,
        "chat": OLD,
        "date": 1764000000,
        "migrate_to_chat_id": SUPERGROUP,
    }
}
FROM = {
    "message": {
        "message_id": 1,
        "from": ANONYMOUS,
        "sender_chat": NEW,
        "chat": NEW,
        "date": 1764000000,
        "migrate_from_chat_id": GROUP,
    }
}
ORDERS = [
    order for length in (1, 2) for order in permutations([("to", TO), ("from", FROM)], length)
] + [(("to", TO),) * 2, (("from", FROM),) * 2, (("from", FROM), ("to", TO), ("from", FROM))]


def message(sender: dict[str, Any], chat: dict[str, Any], text: str = "/add") -> dict[str, Any]:
    entity = {"type": "bot_command", "offset": 0, "length": len(text)}
    content = {"message_id": 9, "from": sender, "chat": chat, "date": 0, "text": text}
    return {"message": {**content, "entities": [entity]}}


def counting() -> dict[str, int]:
    return {"count": 0}


def per_shop_in_chat(update: Update | None = None, *, chat: int | None = None) -> str | None:
    if update is not None:
        chat = update.effective_chat.id if update.effective_chat else None
    return None if chat is None else f"chat{-chat}"


def per_pair(update: Update) -> str:
    assert update.effective_chat
    assert update.effective_user
    return f"chat={update.effective_chat.id};user={update.effective_user.id}"


FRAGMENTS = {
    "chat": per_chat,
    "user": per_user,
    "member": per_user_chat,
    "topic": per_topic,
    "own": per_shop_in_chat,
    "pair": per_pair,
}
every = multi_session(
    **{n: session(initial=counting, get_session_key=f) for n, f in FRAGMENTS.items()}
)


async def add(update: Any, context: Any) -> None:
    for name in FRAGMENTS:
        getattr(context.session, name)["count"] += 1


async def count(update: Any, context: Any) -> None:
    context.session["count"] += 1


def keys_of(chat: int, *users: int) -> set[tuple[str, str]]:
    """Return the names and keys of the sessions of a chat in which these users have written."""
    return {
        *[(name, str(chat)) for name in ("chat", "topic")],
        ("own", f"chat{-chat}"),
        *[("member", f"{user}/{chat}") for user in users],
        *[("pair", f"chat={chat};user={user}") for user in users],
        *[("user", str(user)) for user in users],
    }


def stored() -> dict[tuple[str, str], int]:
    return {(s.name, s.key): s.data["count"] for s in BotSession.objects.all()}


class Moving(TestCase):
    def setUp(self) -> None:
        self.bot = BotClient(build=building(every, CommandHandler("add", add)))
        for person in MARIA, TOM:
            self.bot.feed(message(person, OLD))
        self.before = stored()

    def migrate(self, *orders: Any) -> None:
        for _, update in orders:
            self.bot.feed(dict(update))

    def test_f7_sessions_move_with_the_chat_whichever_message_comes_first_and_how_often(
        self,
    ) -> None:
        assert set(self.before) == keys_of(GROUP, 5, 7)
        for order in ORDERS:
            with self.subTest("-".join(name for name, _ in order)):
                BotSession.objects.all().delete()
                self.setUp()
                self.migrate(*order)
                assert set(stored()) == keys_of(SUPERGROUP, 5, 7)
                assert sorted(stored().values()) == sorted(self.before.values())

    def test_f7_the_supergroup_goes_on_with_the_groups_data(self) -> None:
        self.migrate(("to", TO))
        self.bot.feed(message(TOM, NEW))
        assert stored() == {
            **dict.fromkeys(keys_of(SUPERGROUP, 5, 7), 1),
            ("chat", str(SUPERGROUP)): 3,
            ("topic", str(SUPERGROUP)): 3,
            ("own", f"chat{-SUPERGROUP}"): 3,
            ("member", f"7/{SUPERGROUP}"): 2,
            ("pair", f"chat={SUPERGROUP};user=7"): 2,
            ("user", "7"): 2,
        }

    def test_the_chats_id_and_kind_follow_and_the_row_stays(self) -> None:
        before = {s.pk: s for s in BotSession.objects.exclude(name="user")}
        self.migrate(("from", FROM), ("to", TO))
        after = {s.pk: s for s in BotSession.objects.exclude(name="user")}
        assert before.keys() == after.keys()
        for pk, session_ in after.items():
            assert (session_.chat_id, session_.chat_type) == (SUPERGROUP, "supergroup")
            assert session_.revision != before[pk].revision
            for kept in ("user_id", "title", "created_at", "updated_at", "size", "data"):
                assert getattr(session_, kept) == getattr(before[pk], kept)

    def test_sessions_of_other_bots_and_of_users_stay(self) -> None:
        BotSession.objects.create(bot="other", name="chat", key=str(GROUP), chat_id=GROUP, data=1)
        user = BotSession.objects.get(name="user", user_id=5)
        self.migrate(("to", TO))
        assert BotSession.objects.get(bot="other").key == str(GROUP)
        assert BotSession.objects.get(name="user", user_id=5).revision == user.revision

    def test_a_fragment_that_is_not_declared_any_more_moves_where_its_key_shows_the_chat(
        self,
    ) -> None:
        for key in (f"5/{GROUP}", "hidden"):
            BotSession.objects.create(bot="1", name="gone", key=key, chat_id=GROUP, data={})
        self.migrate(("to", TO))
        keys = set(BotSession.objects.filter(name="gone").values_list("key", flat=True))
        assert keys == {f"5/{SUPERGROUP}", "hidden"}

    def test_a_session_whose_chat_is_not_known_moves_by_its_key(self) -> None:
        BotSession.objects.update(chat_id=None, user_id=None)
        self.migrate(("to", TO))
        moved = keys_of(SUPERGROUP, 5) - {("user", "5")}
        assert moved <= set(stored())
        assert ("member", f"7/{GROUP}") in stored()  # Nobody can find it.

    def test_f7_where_both_have_data_the_new_one_counts_and_the_old_one_stays(self) -> None:
        self.bot.feed(message(MARIA, NEW))
        self.migrate(("from", FROM), ("to", TO))
        new = str(SUPERGROUP)
        assert stored()["chat", str(GROUP)] == 2
        assert stored()["chat", new] == 1
        assert stored()["member", f"5/{GROUP}"] == stored()["member", f"5/{new}"] == 1
        assert ("member", f"7/{GROUP}") not in stored()
        assert ("member", f"7/{new}") in stored()
        assert BotSession.objects.get(name="chat", key=str(GROUP)).chat_id == GROUP

    def test_what_has_expired_is_no_data(self) -> None:
        self.bot.feed(message(MARIA, NEW))
        now = timezone.now()
        BotSession.objects.filter(name="chat", chat_id=SUPERGROUP).update(expires_at=now)
        BotSession.objects.filter(name="member", user_id=7).update(expires_at=now)
        self.migrate(("to", TO))
        assert stored()["chat", str(SUPERGROUP)] == 2
        assert ("member", f"7/{GROUP}") in stored()
        assert BotSession.objects.get(name="chat").expires_at is None

    def test_it_costs_three_statements_however_many_sessions_and_one_where_there_are_none(
        self,
    ) -> None:
        BotSession.objects.bulk_create(
            BotSession(
                bot="1",
                name="member",
                key=f"{number}/{GROUP}",
                chat_id=GROUP,
                user_id=number,
                data={"count": number},
            )
            for number in range(1000, 1190)
        )
        assert self.statements(TO) == ["SELECT", "SELECT", "UPDATE"]
        assert len(stored()) == len(self.before) + 190
        assert stored()["member", f"1007/{SUPERGROUP}"] == 1007
        assert self.statements(FROM) == ["SELECT", "SELECT"]

    def statements(self, update: Any) -> list[str]:
        with CaptureQueriesContext(connection) as queries:
            self.bot.feed(dict(update))
        words = [query["sql"].split()[0] for query in queries.captured_queries]
        return [word for word in words if word not in ("SAVEPOINT", "RELEASE")]


class ServiceMessages(TestCase):
    """What a handler sees that takes every update, the service messages included."""

    def test_both_messages_have_the_supergroups_session(self) -> None:
        for order in ORDERS:
            with self.subTest("-".join(name for name, _ in order)):
                BotSession.objects.all().delete()
                bot = BotClient(build=building(session(initial=counting), count))
                bot.feed(message(MARIA, OLD))
                for _, update in order:
                    bot.feed(dict(update))
                row = BotSession.objects.get()
                assert (row.key, row.data) == (str(SUPERGROUP), {"count": 1 + len(order)})
                about = (row.chat_id, row.user_id, row.chat_type, row.title)
                assert about == (SUPERGROUP, None, "supergroup", "Pizza")

    def test_a_chat_without_data_begins_in_the_supergroup(self) -> None:
        bot = BotClient(build=building(session(initial=counting), count))
        bot.feed(dict(TO))
        row = BotSession.objects.get()
        assert (row.key, row.chat_id, row.chat_type) == (str(SUPERGROUP), SUPERGROUP, "supergroup")

    def test_a_handler_may_edit_other_members_sessions(self) -> None:
        members = session(initial=counting, get_session_key=per_user_chat)

        async def add_to_tom(update: Any, context: Any) -> None:
            async with members.aedit(user=7, chat=SUPERGROUP) as data:
                data["count"] += 1

        bot = BotClient(build=building(members, add_to_tom))
        BotSession.objects.create(
            bot="1", key=f"7/{GROUP}", chat_id=GROUP, user_id=7, data={"count": 4}
        )
        bot.feed(dict(TO))
        assert BotSession.objects.get(user_id=7).data == {"count": 5}


# Storages.


class Drawer(ValueStorage):
    """It can neither list nor compare."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def get_value(self, key: str) -> Any:
        return self.values.get(key)

    def set_value(self, key: str, value: Any) -> None:
        self.values[key] = value

    def delete_value(self, key: str) -> None:
        self.values.pop(key, None)


class OneByOne:
    """It can compare, but not list."""

    def __init__(self) -> None:
        memory = MemoryStorage()
        self.read, self.write, self.delete = memory.read, memory.write, memory.delete
        self.write_together = memory.write_many


class Together(OneByOne):
    """It can also write several at once."""

    def __init__(self) -> None:
        super().__init__()
        self.write_many = self.write_together


HOUR = timedelta(hours=1)
STORAGES = {
    "memory": MemoryStorage,
    "values": Drawer,
    "one by one": OneByOne,
    "together": Together,
    "enhanced": lambda: enhance_storage(
        MemoryStorage(), time_to_live=HOUR, migrations={1: lambda old: old}
    ),
    "enhanced values": lambda: enhance_storage(Drawer(), time_to_live=HOUR),
}


@pytest.mark.once
@pytest.mark.parametrize("order", ORDERS, ids=lambda order: "-".join(n for n, _ in order))
@pytest.mark.parametrize("kind", STORAGES)
def test_f7_on_every_storage_the_chat_and_the_sender_take_their_sessions_along(
    kind: str, order: Any
) -> None:
    storage = STORAGES[kind]()
    asyncio.run(moves(storage, order, finds_all=kind in ("memory", "enhanced")))


async def moves(storage: Any, order: Any, finds_all: bool) -> None:
    functions = {"chat": per_chat, "member": per_user_chat}
    declared = multi_session(
        **{
            name: session(initial=counting, get_session_key=function, storage=storage)
            for name, function in functions.items()
        }
    )

    async def add_here(update: Any, context: Any) -> None:
        context.session.chat["count"] += 1
        context.session.member["count"] += 1

    bot = client(declared, CommandHandler("add", add_here))
    for person in MARIA, TOM:
        await bot.feed(message(person, OLD))
    for _, update in order:
        await bot.feed(dict(update))
    maria_moved = finds_all or any(name == "to" for name, _ in order)  # It is she who sends it.
    expected = {
        ("chat", str(SUPERGROUP)): 2,
        ("member", f"5/{SUPERGROUP if maria_moved else GROUP}"): 1,
        ("member", f"7/{SUPERGROUP if finds_all else GROUP}"): 1,
    }
    for name in functions:
        for chat in GROUP, SUPERGROUP:
            keys = [str(chat)] if name == "chat" else [f"5/{chat}", f"7/{chat}"]
            for key in keys:
                data = await getattr(declared, name).aget(key, bot="1")
                assert (data or {}).get("count") == expected.get((name, key)), (name, key)


@pytest.mark.once
@pytest.mark.parametrize("kind", STORAGES)
def test_f7_on_every_storage_the_new_data_counts(kind: str) -> None:
    async def both(storage: Any) -> None:
        declared = session(initial=counting, storage=storage)
        bot = client(declared, CommandHandler("add", count))
        for chat in OLD, OLD, NEW:
            await bot.feed(message(MARIA, chat))
        await bot.feed(dict(TO))
        assert await declared.aget(chat=GROUP, bot="1") == {"count": 2}
        assert await declared.aget(chat=SUPERGROUP, bot="1") == {"count": 1}

    asyncio.run(both(STORAGES[kind]()))


@pytest.mark.once
def test_a_session_that_is_changed_while_it_is_moved_one_by_one_is_moved_with_the_change() -> None:
    storage = Together()

    async def write_after_somebody_else(changes: Any) -> Any:
        storage.write_many = storage.write_together
        address = Address("1", "", str(GROUP))
        before = await storage.read(address)
        await storage.write(address, replace(before, value={"count": 9}))
        return await storage.write_together(changes)

    async def move() -> None:
        declared = session(initial=counting, storage=storage)
        bot = client(declared, CommandHandler("add", count))
        await bot.feed(message(MARIA, OLD))
        storage.write_many = write_after_somebody_else
        await bot.feed(dict(TO))
        assert await declared.aget(chat=SUPERGROUP, bot="1") == {"count": 9}
        assert await declared.aget(chat=GROUP, bot="1") is None

    asyncio.run(move())


# Errors.


class Failing(Store):
    async def move(self, moves: Any) -> int:
        self._note("move", [move.address for move in moves])
        return await super().move(moves)


@pytest.mark.once
class Errors(IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        self.store = Failing({str(GROUP): {"count": 3}})
        self.errors: list[Exception] = []
        self.handled: list[Any] = []
        self.session = session(initial=counting, storage=self.store)

    async def note_error(self, update: object, context: Any) -> None:
        self.errors.append(context.error)

    async def note(self, update: Any, context: Any) -> None:
        self.handled.append(context.session)

    async def test_f7_a_move_that_fails_is_reported_once_and_made_by_the_other_message(
        self,
    ) -> None:
        bot = client(self.session, self.note, errors=self.note_error)
        for operation in "move", "read":
            self.store.fails[operation] = OSError("The disk is gone.")
            await bot.feed(dict(FROM))
            assert [str(error) for error in self.errors] == ["The disk is gone."]
            self.errors.clear()
            self.store.fails.clear()
        assert not process_lock().busy
        assert self.handled == []
        await bot.feed(dict(TO))
        assert self.handled == [{"count": 3}]
        assert self.store.values == {str(SUPERGROUP): {"count": 3}}

    async def test_f7_it_is_reported_even_if_no_handler_takes_the_message(self) -> None:
        bot = client(self.session, CommandHandler("no", self.note), errors=self.note_error)
        self.store.fails["move"] = OSError("The disk is gone.")
        await bot.feed(dict(TO))
        assert len(self.errors) == 1
        assert self.store.values == {str(GROUP): {"count": 3}}

    async def test_a_key_function_that_fails_is_reported(self) -> None:
        def fail(update: Any) -> str:
            raise ValueError("No key.")

        broken = session(initial=counting, get_session_key=fail, storage=self.store)
        bot = client(broken, self.note, errors=self.note_error)
        await bot.feed(dict(TO))
        assert [str(error) for error in self.errors] == ["No key."]
        assert self.handled == []

    async def test_an_update_without_a_key_reaches_its_handlers(self) -> None:
        bot = client(multi_session(), self.note, errors=self.note_error)
        await bot.feed(dict(TO))
        assert len(self.handled) == 1


# Beside other updates.


@pytest.mark.django_db(transaction=True)
class SideBySide(IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        self.addCleanup(close_databases)
        self.started = asyncio.Event()
        self.go_on = asyncio.Event()
        self.errors: list[Exception] = []
        self.handled: list[tuple[int, Any]] = []

    async def asyncTearDown(self) -> None:
        await sync_to_async(connections.close_all)()

    async def slow(self, update: Any, context: Any) -> None:
        data = context.session
        self.started.set()
        await self.go_on.wait()
        data["count"] += 1

    async def note_error(self, update: object, context: Any) -> None:
        self.errors.append(context.error)

    async def add(self, update: Any, context: Any) -> None:
        context.session["count"] += 1
        self.handled.append((update.effective_chat.id, context.session["count"]))

    def bot(self, *, block: bool = True, **options: Any) -> Any:
        declared = session(initial=counting, **options)
        handlers = (
            CommandHandler("slow", self.slow, block=block),
            CommandHandler("add", self.add),
        )
        return client(
            declared,
            *handlers,
            errors=self.note_error,
            builder=lambda builder: builder.concurrent_updates(True),
        )

    async def stored(self) -> dict[str, int]:
        return {s.key: s.data["count"] async for s in BotSession.objects.all()}

    async def test_f7_updates_of_the_supergroup_wait_for_the_move_through_the_update_queue(
        self,
    ) -> None:
        for function in per_chat, per_user_chat:
            with self.subTest(function.__name__):
                await BotSession.objects.all().adelete()
                self.handled.clear()
                bot = self.bot(get_session_key=function)
                async with running(bot) as application:
                    contents = [*[message(TOM, OLD)] * 2, FROM, *[message(TOM, NEW)] * 3, TO]
                    for number, content in enumerate(contents):
                        update = Update.de_json({"update_id": number, **content}, application.bot)
                        application.update_queue.put_nowait(update)
                    await application.update_queue.join()
                counts = [(GROUP, 1), (GROUP, 2), *[(SUPERGROUP, n) for n in (3, 4, 5)]]
                assert self.handled == counts
                assert list((await self.stored()).values()) == [5]
        assert self.errors == []
        assert not process_lock().busy

    async def test_f7_handlers_of_the_chat_are_waited_for_whoever_has_written(self) -> None:
        for function, key in (per_chat, "{}"), (per_user_chat, "7/{}"):
            with self.subTest(function.__name__):
                await BotSession.objects.all().adelete()
                self.setUp()
                bot = self.bot(get_session_key=function)
                slow = asyncio.ensure_future(bot.feed(message(TOM, OLD, "/slow")))
                await self.started.wait()
                moving = asyncio.ensure_future(bot.feed(dict(FROM)))
                await asyncio.sleep(0.05)
                self.go_on.set()
                await asyncio.gather(slow, moving)
                assert await self.stored() == {key.format(SUPERGROUP): 1}
                assert self.errors == []

    async def test_f7_a_handler_that_does_not_hold_its_key_conflicts(self) -> None:
        """It cannot bring back the session under its old key."""
        bot = self.bot(block=False)
        await bot.feed(message(TOM, OLD))
        await bot.feed(message(TOM, OLD, "/slow"), wait=False)
        await self.started.wait()
        await bot.feed(dict(FROM), wait=False)
        self.go_on.set()
        await bot.feed(message(TOM, NEW))
        assert [type(error) for error in self.errors] == [SessionConflict]
        assert await self.stored() == {str(SUPERGROUP): 2}

    async def test_a_handler_that_is_waited_for_may_edit_other_members_sessions(self) -> None:
        members = session(initial=counting, get_session_key=per_user_chat)

        async def add_to_tom(update: Any, context: Any) -> None:
            await self.slow(update, context)
            async with members.aedit(user=7, chat=SUPERGROUP, bot="1") as data:
                data["count"] += 1

        bot = client(session(initial=counting), CommandHandler("go", add_to_tom))
        handling = asyncio.ensure_future(bot.feed(message(MARIA, NEW, "/go")))
        await self.started.wait()
        moving = asyncio.ensure_future(bot.feed(dict(FROM)))
        await asyncio.sleep(0)
        self.go_on.set()
        await asyncio.gather(handling, moving)
        assert await self.stored() == {str(SUPERGROUP): 1, f"7/{SUPERGROUP}": 1}

    async def test_e8_a_handler_may_hand_in_updates_of_the_supergroup(self) -> None:
        async def forward(update: Any, context: Any) -> None:
            content = {"update_id": 1, **message(MARIA, NEW)}
            await context.application.process_update(Update.de_json(content, context.bot))

        bot = client(
            session(initial=counting),
            CommandHandler("add", self.add),
            MessageHandler(filters.StatusUpdate.MIGRATE, forward),
            errors=self.note_error,
        )
        await bot.feed(dict(TO))
        assert self.errors == []
        assert await self.stored() == {str(SUPERGROUP): 1}


# Several processes.


class Processes(TransactionTestCase):
    def test_f7_two_processes_that_move_at_once_move_everything_once(self) -> None:
        for number in range(150):
            BotSession.objects.create(
                bot="default", key=f"{number}/{GROUP}", chat_id=GROUP, user_id=number, data={}
            )
        revisions = set(BotSession.objects.values_list("revision", flat=True))
        code = f"""
import sys, django
django.setup()
from botsessions.maintenance.moving import move_chat
sys.stdin.readline()
print(move_chat("default", {GROUP}, {SUPERGROUP}))
"""
        processes = [
            subprocess.Popen(  # noqa: S603
                [sys.executable, "-c", code],
                cwd=ROOT,
                env={
                    **os.environ,
                    "DJANGO_SETTINGS_MODULE": "project.settings",
                    "BOTSESSIONS_DATABASE_NAME": str(connection.settings_dict["NAME"]),
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        outputs = []
        try:
            for process in processes:
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
            outputs = [process.communicate(timeout=TIMEOUT) for process in processes]
        finally:
            for process in processes:
                process.kill()
        assert [errors for _, errors in outputs] == ["", ""]
        assert sorted(int(text) for text, _ in outputs) == [0, 150]
        rows = BotSession.objects.all()
        assert {row.key for row in rows} == {f"{n}/{SUPERGROUP}" for n in range(150)}
        assert not revisions & {row.revision for row in rows}


# By hand.


class ByHand(TestCase):
    def test_a_chat_is_moved_by_a_call(self) -> None:
        BotSession.objects.create(bot="default", key=str(GROUP), data={"pizza_count": 2})
        BotSession.objects.create(
            bot="default", key=f"5/{GROUP}", chat_id=GROUP, user_id=5, data={}
        )
        assert move_chat("default", GROUP, SUPERGROUP) == 2
        assert move_chat("default", GROUP, SUPERGROUP) == 0
        keys = set(BotSession.objects.values_list("key", flat=True))
        assert keys == {str(SUPERGROUP), f"5/{SUPERGROUP}"}
        assert not process_lock().busy

    def test_wrong_calls_are_explained(self) -> None:
        with pytest.raises(ImproperlyConfigured, match="no bot 'other'"):
            move_chat("other", GROUP, SUPERGROUP)

        async def on_a_loop() -> None:
            move_chat("default", GROUP, SUPERGROUP)

        with pytest.raises(SessionError, match="amove_chat"):
            asyncio.run(on_a_loop())

    def test_an_error_is_raised(self) -> None:
        async def move() -> None:
            with mock.patch(
                "botsessions.storages.DatabaseStorage.of_chat", side_effect=OSError("Gone.")
            ):
                await amove_chat("default", GROUP, SUPERGROUP)

        with pytest.raises(OSError, match="Gone"):
            asyncio.run(move())


@both_locks
@pytest.mark.django_db(transaction=True)
class TestLearntFromAnError:
    """``ChatMigrated``, which whoever sends a message to the group gets instead of an answer."""

    def test_by_a_job_of_the_group(self, lock: str) -> None:
        async def remind(context: Any) -> None:
            context.session["pizza_count"] += 1
            await self.send(context)
            context.session["pizza_count"] += 1

        async def main() -> None:
            async with bot_running(lock, pizza, errors=self.note) as bot:
                job = bot.application.job_queue.run_once(remind, 3600, chat_id=GROUP)
                await asyncio.wait_for(job.run(bot.application), 20)

        self.run(main, lock)
        assert self.found() == {str(SUPERGROUP): {"pizza_count": 4}}

    def test_by_an_error_handler(self, lock: str) -> None:
        async def fail(update: Any, context: Any) -> None:
            raise ChatMigrated(SUPERGROUP)

        async def on_error(update: Any, context: Any) -> None:
            if isinstance(context.error, ChatMigrated):
                await amove_chat(BOT, update.effective_chat.id, context.error.new_chat_id)
            else:
                await self.note(update, context)

        async def main() -> None:
            async with bot_running(lock, pizza, fail, errors=on_error) as bot:
                group = bot.user().in_chat(bot.group(id=GROUP))
                await asyncio.wait_for(group.send("x"), 20)

        self.run(main, lock)
        assert self.found() == {str(SUPERGROUP): {"pizza_count": 2}}

    def test_by_an_error_handler_of_a_job(self, lock: str) -> None:
        async def fail(context: Any) -> None:
            raise ChatMigrated(SUPERGROUP)

        async def on_error(update: Any, context: Any) -> None:
            if isinstance(context.error, ChatMigrated):
                await amove_chat(BOT, context.job.chat_id, context.error.new_chat_id)
                context.session["pizza_count"] += 5
                await context.save_session()
            else:
                await self.note(update, context)

        async def main() -> None:
            async with bot_running(lock, pizza, errors=on_error) as bot:
                job = bot.application.job_queue.run_once(fail, 3600, chat_id=GROUP)
                await asyncio.wait_for(job.run(bot.application), 20)

        self.run(main, lock)
        assert self.found() == {str(SUPERGROUP): {"pizza_count": 7}}

    def test_by_a_handler_and_by_one_that_does_not_block(self, lock: str) -> None:
        async def remind(update: Any, context: Any) -> None:
            context.session["pizza_count"] += 1
            await self.send(context)

        for blocks in (True, False):
            BotSession.objects.all().delete()

            async def main(blocks: bool = blocks) -> None:
                handler = TypeHandler(object, remind, block=blocks)
                async with bot_running(lock, pizza, handler, errors=self.note) as bot:
                    await asyncio.wait_for(bot.user().in_chat(bot.group(id=GROUP)).send("x"), 20)

            self.run(main, lock)
            assert self.found() == {str(SUPERGROUP): {"pizza_count": 3}}

    async def send(self, context: Any) -> None:
        try:
            raise ChatMigrated(SUPERGROUP)
        except ChatMigrated as exc:
            await amove_chat(BOT, GROUP, exc.new_chat_id)

    async def note(self, update: Any, context: Any) -> None:
        self.errors.append(context.error)

    def run(self, main: Any, lock: str) -> None:
        self.errors: list[Any] = []
        BotSession.objects.create(bot=BOT, key=str(GROUP), data={"pizza_count": 2})
        bots = {BOT: {"SESSION": f"{__name__}.pizza", "APPLICATION": "x.y", "LOCK": lock}}
        with override_settings(BOTSESSIONS={"BOTS": bots}):
            asyncio.run(main())
        assert self.errors == []

    def found(self) -> dict[str, Any]:
        return dict(BotSession.objects.values_list("key", "data"))


pizza = session(initial=lambda: {"pizza_count": 0})


# Keys.


async def async_key(update: Any = None, *, chat: int | None = None) -> str | None:
    await asyncio.sleep(0)
    return None if chat is None else f"g{abs(chat)}"


def only_small(update: Any = None, *, chat: int | None = None) -> str | None:
    return None if chat is None or chat < -10_000 else f"small{-chat}"


def needs_user(update: Any = None, *, chat: int | None = None, user: int | None = None) -> str:
    return f"{user}@{-(chat or 0)}"


@pytest.mark.once
@pytest.mark.parametrize(
    ("function", "key", "user", "moved"),
    [
        (per_chat, "-9", None, "-100"),
        (per_chat, "biz/-9", None, "biz/-100"),
        (per_topic, "-9/7", None, "-100/7"),
        (per_user_chat, "5/-9", 5, "5/-100"),
        (per_user, "5", 5, None),
        (None, "5/-9", 5, "5/-100"),
        (None, "group", None, None),
        (per_pair, "chat=-9;user=5", 5, "chat=-100;user=5"),
        (per_pair, "chat_-9", 5, "chat_-100"),
        (per_pair, "shop-9", None, None),  # Shop 9?
        (per_pair, "-99", None, None),
        (per_pair, "1-9", None, None),
        (per_shop_in_chat, "chat9", None, "chat100"),
        (per_shop_in_chat, "chat8", None, None),
        (async_key, "g9", None, "g100"),
        (needs_user, "5@9", 5, "5@100"),
        (needs_user, "5@9", None, None),
    ],
)
def test_a_key_in_another_chat(
    function: Any, key: str, user: int | None, moved: str | None
) -> None:
    ids = {"chat": -9} | ({} if user is None else {"user": user})
    assert asyncio.run(in_other_chat(function, key, ids, -100)) == moved


@pytest.mark.once
def test_a_key_function_may_have_no_key_in_the_other_chat() -> None:
    assert asyncio.run(in_other_chat(only_small, "small9", {"chat": -9}, -20_000)) is None
