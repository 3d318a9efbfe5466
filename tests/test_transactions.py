"""Fragments on one database, whatever storages they are declared with, and storages of one's own.

What is written of them is written all or not at all (B7), and their keys are held together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from django.db import connection, connections
from django.test.utils import isolate_apps

from botsessions import DatabaseStorage, enhance_storage, multi_session, session
from botsessions.database.lease import lease_key
from botsessions.exceptions import SessionConflict
from botsessions.models import AbstractBotSession, BotSession, BotSessionLease
from botsessions.records import new_revision
from botsessions.storages import Address, Record

from .bots.elsewhere import counting
from .harness import client
from .locked import BOT, bot_running, both_locks, new_chat

pytestmark = pytest.mark.django_db(transaction=True)


class Slow(DatabaseStorage):
    """Awaits something before and after each operation, as one that tells others would."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.written: list[str] = []

    async def read(self, address: Address) -> Record | None:
        await asyncio.sleep(0)
        return await super().read(address)

    async def write(self, address: Address, record: Record) -> int:
        await asyncio.sleep(0.001)
        revision = await super().write(address, record)
        await asyncio.sleep(0.001)
        self.written.append(address.key)
        return revision

    async def delete(self, address: Address, revision: Any) -> None:
        await asyncio.sleep(0.001)
        await super().delete(address, revision)


class Named(DatabaseStorage):
    """Changes nothing of how it reads and writes."""

    label = "named"


@pytest.fixture
def other_model() -> Iterator[type[AbstractBotSession]]:
    """Another table on the same database."""
    with isolate_apps("project"):

        class OtherSession(AbstractBotSession):
            class Meta(AbstractBotSession.Meta):
                abstract = False
                app_label = "project"

    with connection.schema_editor() as editor:
        editor.create_model(OtherSession)
    yield OtherSession
    with connection.schema_editor() as editor:
        editor.delete_model(OtherSession)


@pytest.fixture
def storages(other_model: type[AbstractBotSession]) -> dict[str, Any]:
    """Storages that are not equal, all on the same database."""
    return {
        "plain": DatabaseStorage(),
        "named": DatabaseStorage(using="default"),
        "labelled": DatabaseStorage(model="botsessions.BotSession", using="default"),
        "enhanced": enhance_storage(DatabaseStorage(), migrations={1: dict}),
        "other_table": DatabaseStorage(model=other_model),
        "subclass": Named(),
    }


def held_keys() -> set[int]:
    with closing(connections["default"]):
        held = BotSessionLease.objects.filter(holder__gt=0)
        return set(held.values_list("id", flat=True))


@both_locks
def test_a2a_all_is_written_or_nothing(lock: str, storages: Any, other_model: Any) -> None:
    fragments = {name: session(initial=counting, storage=s) for name, s in storages.items()}
    errors: list[Any] = []

    async def count(update: Any, context: Any) -> None:
        for name in fragments:
            getattr(context.session, name)["count"] += 1
        if update.effective_message.text == "conflict":
            await asyncio.to_thread(interfere, context.session_key["plain"])

    def interfere(key: str) -> None:
        with closing(connections["default"]):
            changed = BotSession.objects.filter(key=key, name="labelled")
            assert changed.update(data={"count": 50}, revision=new_revision()) == 1

    async def note(update: Any, context: Any) -> None:
        errors.append(context.error)

    async def main() -> None:
        async with bot_running(lock, multi_session(**fragments), count, errors=note) as bot:
            maria = bot.user(id=new_chat())
            await maria.send("x")
            await maria.send("conflict")

    asyncio.run(main())
    assert [type(error) for error in errors] == [SessionConflict]
    found = dict(BotSession.objects.values_list("name", "data"))
    found |= dict(other_model.objects.values_list("name", "data"))
    once = {name: {"count": 1} for name in fragments}
    assert found == once | {"labelled": {"count": 50}}


def test_a2a_their_keys_are_leased_together(storages: Any) -> None:
    fragments = {name: session(initial=counting, storage=s) for name, s in storages.items()}
    held: list[set[int]] = []

    async def look(update: Any, context: Any) -> None:
        held.append(await asyncio.to_thread(held_keys))

    async def main() -> None:
        async with bot_running("database", multi_session(**fragments), look) as bot:
            await bot.user(id=chat).send("x")

    chat = new_chat()
    asyncio.run(main())
    assert held == [{lease_key(Address(BOT, name, str(chat))) for name in fragments}]


@both_locks
def test_a2h_a_storage_of_ones_own_may_await(lock: str) -> None:
    storage, errors = Slow(), []

    async def count(update: Any, context: Any) -> None:
        context.session["count"] += 1
        await context.save_session()
        context.session["count"] += 1

    async def note(update: Any, context: Any) -> None:
        errors.append(context.error)

    async def main() -> None:
        declared = session(initial=counting, storage=storage)
        async with bot_running(lock, declared, count, errors=note) as bot:
            await asyncio.gather(*(bot.user(id=chat).send("x") for chat in chats for _ in "12"))

    chats = [new_chat() for _ in range(5)]
    asyncio.run(main())
    assert errors == []
    found = dict(BotSession.objects.values_list("key", "data"))
    assert found == {str(chat): {"count": 4} for chat in chats}
    assert sorted(storage.written) == sorted(str(chat) for chat in chats for _ in range(4))


@both_locks
def test_a2h_beside_others_on_the_same_database(lock: str) -> None:
    declared = multi_session(
        slow=session(initial=counting, storage=Slow()),
        plain=session(initial=counting),
        enhanced=session(initial=counting, storage=enhance_storage(Slow(), migrations={1: dict})),
    )
    errors: list[Any] = []

    async def count(update: Any, context: Any) -> None:
        for name in ("slow", "plain", "enhanced"):
            getattr(context.session, name)["count"] += 1

    async def forget(update: Any, context: Any) -> None:
        if update.effective_message.text == "forget":
            context.session = None

    async def note(update: Any, context: Any) -> None:
        errors.append(context.error)

    async def main() -> None:
        async with bot_running(lock, declared, count, forget, errors=note) as bot:
            maria = bot.user(id=new_chat())
            await maria.send("x")
            await maria.send("x")
            found.extend(await asyncio.to_thread(stored))
            await maria.send("forget")

    def stored() -> list[Any]:
        with closing(connections["default"]):
            return list(BotSession.objects.order_by("name").values_list("name", "data"))

    found: list[Any] = []
    asyncio.run(main())
    assert errors == []
    assert found == [(name, {"count": 2}) for name in ("enhanced", "plain", "slow")]
    assert not BotSession.objects.exists()


def test_a2h_whose_write_fails_is_told_and_not_an_assertion() -> None:
    class Full(Slow):
        async def write(self, address: Address, record: Record) -> int:
            await asyncio.sleep(0)
            raise OSError("The disk is full.")

    async def count(update: Any, context: Any) -> None:
        context.session["count"] += 1

    async def main() -> Any:
        bot = client(session(initial=counting, storage=Full()), count)
        answers = await bot.user().send("x")
        await bot.aclose()
        return answers.errors

    (error,) = asyncio.run(main())
    assert str(error) == "The disk is full."
