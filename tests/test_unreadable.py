"""Stored data that nobody can read: D33, and no other chat suffers from it."""

from __future__ import annotations

import asyncio
import enum
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, connections
from django.test import override_settings
from django.utils import timezone

from botsessions import enhance_storage, lazy_session, multi_session, session
from botsessions.exceptions import SessionDataError
from botsessions.models import BotSession

from .bots.elsewhere import counting, heard, told
from .locked import BOT, bot_running, both_locks, new_chat

pytestmark = pytest.mark.django_db(transaction=True)

BOTS = {
    BOT: {
        "SESSION": "tests.bots.elsewhere.heard",
        "APPLICATION": "tests.bots.elsewhere.nothing",
    }
}
TEXTS = {
    "a number beyond all floats": '{"count": 1e999}',
    "half a character": '{"count": "\\ud83d"}',
    "a number of too many digits": f'{{"count": {"9" * 5000}}}',
    "very deep": f"{'[' * 5000}{']' * 5000}",
    "no JSON": '{"count": 1',
}


def store(key: str, text: str) -> bool:
    """Put text into the place of a session's data; return whether the database takes it."""
    name = connection.ops.quote_name(BotSession._meta.db_table)
    value = {"postgresql": "%s::jsonb"}.get(connection.vendor, "%s")
    with closing(connections["default"]) as own, own.cursor() as cursor:
        if own.vendor == "sqlite":
            cursor.execute("PRAGMA ignore_check_constraints = ON")
        try:
            where = f"WHERE {own.ops.quote_name('key')} = %s"
            cursor.execute(f"UPDATE {name} SET data = {value} {where}", [text, key])  # noqa: S608
        except Exception:
            return False
    return True


def is_readable(key: str) -> bool:
    """Whether it is something else in the database: PostgreSQL has 1e999 as a whole number."""
    with suppress(ValueError, RecursionError, TypeError, OverflowError):
        return isinstance(data_of(key)["count"], int)
    return False


def data_of(key: str) -> Any:
    return BotSession.objects.values_list("data", flat=True).get(key=key)


@pytest.fixture(params=TEXTS)
def broken(request: Any) -> str:
    """A chat whose session cannot be read."""
    chat = new_chat()
    BotSession.objects.create(bot=BOT, key=chat, data={"count": 5})
    if not store(str(chat), TEXTS[request.param]) or is_readable(str(chat)):
        pytest.skip(f"{connection.vendor} does not take that.")
    return str(chat)


@both_locks
def test_only_the_chat_itself_fails(lock: str, broken: str) -> None:
    errors: list[Any] = []

    async def count(update: Any, context: Any) -> None:
        context.session["count"] += 1

    async def note(update: Any, context: Any) -> None:
        errors.append((context.error, context.session_key))

    async def main() -> None:
        async with bot_running(lock, session(initial=counting), count, errors=note) as bot:
            people = [bot.user(id=int(key)) for key in (*others, broken)]
            await asyncio.gather(*(person.send("x") for person in people))

    others = [str(new_chat()) for _ in range(20)]
    asyncio.run(main())
    ((error, key),) = errors
    assert (type(error), key) == (SessionDataError, broken)
    assert f"'{broken}' of bot" in str(error)
    assert [data_of(key) for key in others] == [{"count": 1}] * 20


class Size(enum.Enum):
    SMALL = "small"


@dataclass
class Shirt:
    size: Size = Size.SMALL
    count: int = 0


async def assign(context: Any) -> None:
    context.session = Shirt()
    await context.save_session()


async def assign_none(context: Any) -> None:
    context.session = None
    await context.save_session()


async def delete(context: Any) -> None:
    del context.session
    await context.save_session()


async def edit_and_assign(context: Any) -> None:
    async with context.edit_session():
        context.session = Shirt()
    await context.save_session()


async def delete_from_outside(context: Any) -> None:
    await context.bot_data["declared"].adelete(context.session_key, bot=BOT)
    await context.save_session()


WAYS_OUT = [assign, assign_none, delete, edit_and_assign, delete_from_outside]


@pytest.mark.parametrize("way", WAYS_OUT)
@pytest.mark.parametrize("declare", [session, lazy_session])
@both_locks
def test_d33_an_error_handler_gets_out_of_it(lock: str, declare: Any, way: Any) -> None:
    """Whether it is no JSON or does not fit the type any more."""
    texts = ['{"size": "large"}', TEXTS["a number of too many digits"], TEXTS["no JSON"]]

    async def count(update: Any, context: Any) -> None:
        data = await context.get_session()
        data.count += 1

    async def get_out(update: Any, context: Any) -> None:
        assert isinstance(context.error, SessionDataError), context.error
        context.bot_data["declared"] = declared
        await way(context)

    async def main() -> None:
        async with bot_running(lock, declared, count, errors=get_out) as bot:
            for _ in range(3):
                await bot.user(id=int(key)).send("x")

    declared = declare(initial=Shirt)
    for text in texts:
        key = str(new_chat())
        BotSession.objects.create(bot=BOT, key=key, data={})
        if store(key, text):
            asyncio.run(main())
            assert data_of(key) == {"size": "small", "count": 2}


@both_locks
def test_d33_a_fragment_leaves_the_others_in_peace(lock: str, broken: str) -> None:
    async def count(update: Any, context: Any) -> None:
        context.session.other["count"] += 1
        context.session.basket["count"] += 1

    async def get_out(update: Any, context: Any) -> None:
        errors.append(type(context.error))
        context.session.basket = {"count": 0}
        await context.save_session()

    async def main() -> None:
        async with bot_running(lock, declared, count, errors=get_out) as bot:
            for _ in range(3):
                await bot.user(id=int(broken)).send("x")

    errors: list[Any] = []
    declared = multi_session(
        basket=session(initial=counting),
        other=session(initial=counting),
    )
    BotSession.objects.update(name="basket")
    asyncio.run(main())
    found = dict(BotSession.objects.values_list("name", "data"))
    assert errors == [SessionDataError]
    assert found == {"basket": {"count": 2}, "other": {"count": 2}}


def test_d33_it_can_be_deleted_from_outside(broken: str) -> None:
    with override_settings(BOTSESSIONS={"BOTS": BOTS}):
        with pytest.raises(SessionDataError):
            heard.get(broken)
        heard.delete(broken)
    assert not BotSession.objects.exists()


def test_a_sweep_deletes_what_has_expired_and_tells_nobody_what_it_was(broken: str) -> None:
    BotSession.objects.update(expires_at=timezone.now())
    before, out = list(told), StringIO()
    with override_settings(BOTSESSIONS={"BOTS": BOTS}):
        call_command("sweep_sessions", stdout=out)
    assert out.getvalue().startswith("1 session deleted")
    assert told[len(before) :] in ([], [broken])


def test_migrations_are_not_given_it(broken: str) -> None:
    given: list[Any] = []

    def migrate(data: Any) -> Any:
        given.append(data)
        return data

    async def count(update: Any, context: Any) -> None:
        context.session["count"] += 1

    async def main() -> None:
        async with bot_running("process", declared, count) as bot:
            await bot.user(id=int(broken)).send("x")

    storage = enhance_storage(migrations={1: migrate}, time_to_live=timedelta(hours=1))
    declared = session(initial=counting, storage=storage)
    asyncio.run(main())
    assert all(isinstance(data, (dict, list)) for data in given)
