"""Wrong arguments: each of the likely ones gets a message that says what to write instead."""

from __future__ import annotations

import asyncio
import copy
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from telegram import Update
from telegram.ext import ApplicationBuilder, TypeHandler

from botsessions import (
    DatabaseStorage,
    MemoryStorage,
    MultiSession,
    Session,
    enhance_storage,
    keys,
    lazy_session,
    multi_session,
    session,
)
from botsessions.asgi import WebhookMiddleware
from botsessions.exceptions import SessionDataError, SessionKeyError
from botsessions.jobs import stored_job
from botsessions.maintenance import Migrate, Sweep, tables
from botsessions.maintenance.people import export_user, forget_user
from botsessions.models import AbstractBotSession
from botsessions.persistence import BotPersistence
from botsessions.steps import StepHandler
from botsessions.storages import CacheStorage, FileStorage, FreeStorage, ValueStorage
from botsessions.testing import BotClient

from .harness import Store, client

pytestmark = pytest.mark.once


@dataclass
class Pizza:
    count: int = 0


@dataclass
class Named:
    name: str


class Plain:
    """No dataclass."""


pizza: Any = session(initial=Pizza, storage=MemoryStorage())
shop: Any = multi_session(cart=session(storage=MemoryStorage()))
enhance: Any = enhance_storage
declared_type: Any = Session
multi_type: Any = MultiSession
declare: Any = session
declare_multi: Any = multi_session


def builder() -> Any:
    return ApplicationBuilder().token("1:A")


for declared in (pizza, shop):
    declared.install(builder(), bot="here").build()


def install(plain: Any) -> Any:
    """Install another session: those above are of one bot."""
    return session(storage=MemoryStorage()).install(plain)


def build(plain: Any) -> Any:
    return install(plain).build()


def bot_client(*args: Any, **kwargs: Any) -> Any:
    return BotClient(*args, **kwargs)


def person() -> Any:
    return bot_client(build=build).user()


GROUP = {"id": -9, "type": "group"}


def reminder() -> Any:
    """Return a stored job that is declared as long as the test."""
    return stored_job(asynchronous)


async def asynchronous(*args: Any) -> None: ...


def inside(manager: Any) -> None:
    with manager:
        pass


async def awaited(awaitable: Any) -> None:
    await awaitable


async def inside_async(manager: Any) -> None:
    async with manager:
        pass


CALLS: list[tuple[Callable[[], Any], str]] = [
    # Calls of session and lazy_session
    (lambda: declare(Pizza), "session(): too many positional arguments. Write session(initial=…,"),
    (lambda: declare(getSessionKey=str), "'getSessionKey'. Write session(initial=…, get_session"),
    (lambda: session(initial=Pizza()), "initial must be a class or a function without arguments"),  # type: ignore[call-overload]
    (lambda: session(initial=Named), "Named() fails: missing a required argument: 'name'"),
    (
        lambda: session(initial=asynchronous),
        "that returns the data of a new chat, and is not async",
    ),
    (lambda: session(initial=Counter), "initial must not be the class Counter: what is stored co"),
    (lambda: declare(get_session_key="chat"), "get_session_key must be a function from an update"),
    (lambda: session(get_session_key=lambda: "1"), "<lambda>(update) fails: too many positional"),
    (lambda: declare(storage=DatabaseStorage), "like DatabaseStorage(), not the class Database"),
    (lambda: declare(storage={}), "storage must be an object with read, write and delete, like Da"),
    (lambda: declare(data_type=Pizza()), "data_type must be a type whose data can be stored"),
    (lambda: declare(data_type=Plain), "like a dataclass, not the class Plain."),
    (lambda: lazy_session(storage="database"), "DatabaseStorage(), not str."),  # type: ignore[call-overload]
    # Calls of multi_session
    (lambda: declare_multi(session()), "multi_session(): too many positional arguments. Write mu"),
    (lambda: declare_multi(cart=session), "'cart' is function, not session(…) or lazy_session(…)."),
    (
        lambda: declare_multi(cart=shop),
        "'cart' is MultiSession, not session(…) or lazy_session(…).",
    ),
    (lambda: declare_multi(initial=Pizza), "'initial' is type, not session(…) or lazy_session(…)."),
    (lambda: shop.edit(chat=7), "There is no fragment 'edit'; there is cart."),
    # Calls of their types
    (
        lambda: declared_type(initial=Pizza),
        "what session(…) and lazy_session(…) return: write one of",
    ),
    (
        lambda: declared_type(Pizza),
        "what session(…) and lazy_session(…) return: write one of these",
    ),
    (lambda: declared_type(), "what session(…) and lazy_session(…) return: write one of these"),
    (
        lambda: declared_type(pizza),
        "what session(…) and lazy_session(…) return: write one of these",
    ),
    (
        lambda: multi_type(pizza),
        "MultiSession(): too many positional arguments. Write MultiSession(**",
    ),
    # Calls of install
    (
        lambda: pizza.install(),
        "missing a required argument: 'builder'. Write install(builder, bot=",
    ),
    (lambda: pizza.install("1:A"), "builder must be an Application.builder() whose application is"),
    (lambda: pizza.install(builder().build()), "not built yet, not Application."),
    (lambda: pizza.install(ApplicationBuilder), "not the class ApplicationBuilder."),
    (lambda: pizza.install(builder(), "shop"), "too many positional arguments. Write install(bui"),
    (lambda: pizza.install(builder(), bot=1), "bot must be what the bot's sessions are stored und"),
    (lambda: pizza.install(builder(), bot=""), "as text, not empty."),
    (lambda: pizza.install(builder(), bot="x" * 65), "bot must have at most 64 characters"),
    (lambda: pizza.install(builder(), bot="shop "), "bot must neither begin nor end with a blan"),
    (lambda: pizza.install(builder(), lock="redis"), "There is no lock 'redis': choose one of"),
    # Calls of edit and get and delete
    (lambda: pizza.get(), "Which session? Name it by its key or by ids, like edit('42') or edit(c"),
    (lambda: pizza.get(None), "Which session? Name it by its key or by ids"),
    (lambda: pizza.get("7", chat=7), "Which session? Name it by its key or by ids"),
    (
        lambda: pizza.get(7),
        "A session key is text, not int. Name it by its key or by ids, like edi",
    ),
    (
        lambda: pizza.get(Update(1)),
        "A session key is text, not Update. Name it by its key or by id",
    ),
    (lambda: pizza.get("7", "here"), "get(): too many positional arguments. Write get(key, bot=…,"),
    (lambda: pizza.get("7", bot=1), "bot must be a bot's alias or id, as text, not int."),
    (lambda: inside(pizza.edit(7)), "A session key is text, not int. Name it by its key or by ids"),
    (lambda: pizza.delete(7), "A session key is text, not int. Name it by its key or by ids"),
    (lambda: pizza.edit("7").count, "There is no 'count' here. Write `with session.edit(…) as da"),
    (lambda: setattr(pizza.edit("7"), "count", 1), "'count' cannot be set here. Write `with sess"),
    (lambda: inside(pizza.aedit("7")), "Write `async with session.aedit(…) as data`; where no ev"),
    (lambda: asyncio.run(inside_async(pizza.aedit(7))), "A session key is text, not int. Name"),
    (lambda: pizza.get(chat="7"), "Telegram's ids are numbers: write chat=42, not str."),
    (lambda: pizza.get(chat=True), "Telegram's ids are numbers: write chat=42, not bool."),
    (lambda: pizza.get(chat=2**63), " is no id of Telegram's: it is too large."),
    (lambda: pizza.get(chat=None), "The key function per_chat gives no key for chat=None."),
    (lambda: pizza.get(chat_id=7), "per_chat knows no chat_id; it takes business, chat"),
    (lambda: pizza.get(key="7"), "A key itself goes without a name: edit('42')."),
    # Key functions
    (lambda: keys.per_chat(7), "A key function takes an update, not int, or ids by name, like per"),  # type: ignore[arg-type]
    (lambda: keys.per_chat({}), "A key function takes an update, not dict, or ids by name, like p"),  # type: ignore[arg-type]
    (lambda: keys.per_user("7"), "A key function takes an update, not str, or ids by name"),  # type: ignore[arg-type]
    (lambda: keys.per_user(user="7"), "Telegram's ids are numbers: write user=42, not str."),  # type: ignore[arg-type]
    (lambda: keys.per_chat(chat=1, business=2), "are text: write business='abc', not int."),  # type: ignore[arg-type]
    (lambda: keys.per_topic(chat=1, topic="2"), "Telegram's ids are numbers: write topic=42, not"),  # type: ignore[arg-type]
    # Calls of enhance_storage
    (lambda: enhance(timedelta(1)), "storage must be an object with read, write and delete, like"),
    (lambda: enhance(DatabaseStorage), "like DatabaseStorage(), not the class DatabaseStorage."),
    (lambda: enhance(session()), "like DatabaseStorage(), not Session."),
    (lambda: enhance(milliseconds_to_live=3), "'milliseconds_to_live'. Write enhance_storage(sto"),
    (
        lambda: enhance(time_to_live=30),
        "time_to_live must be a timedelta, like timedelta(minutes=30",
    ),
    (lambda: enhance(time_to_live=timedelta(0)), "time_to_live must be longer than nothing and at"),
    (lambda: enhance(time_to_live=timedelta.max), "at most a century, not 999999999 days"),
    (lambda: enhance(time_to_live=timedelta(1), renew="read"), "renew must be 'change' or 'acces"),
    (lambda: enhance(on_expire="tell"), "on_expire must be a function of key and data, not str."),
    (
        lambda: enhance(migrations=[str]),
        "migrations must be a dict of functions by version, like {",
    ),
    (lambda: enhance(migrations={1: None}), "The migration to version 1 must be a function from o"),
    (lambda: enhance(migrations={1: lambda a, b: a}), "<lambda>(data) fails: missing a required"),
    # Storages
    (lambda: DatabaseStorage("default"), "Write DatabaseStorage(model=…, using=…, history=…)."),  # type: ignore[misc]
    (
        lambda: DatabaseStorage(using=1),
        "using must be a name in settings.DATABASES, as text, not i",
    ),  # type: ignore[arg-type]
    (lambda: DatabaseStorage(using="none").model, "settings.DATABASES has no 'none'; it has 'defa"),
    (lambda: DatabaseStorage(model=int), "model must be a subclass of AbstractBotSession with a"),  # type: ignore[arg-type]
    (lambda: DatabaseStorage(model="Session").model, "or its label like 'shop.ShopSession'"),
    (lambda: DatabaseStorage(model=User).model, "AbstractBotSession with a table, or its label li"),  # type: ignore[arg-type]
    (
        lambda: DatabaseStorage(model=AbstractBotSession).model,
        "a subclass of AbstractBotSession wi",
    ),
    (lambda: MemoryStorage(5), "too many positional arguments. Write MemoryStorage()."),  # type: ignore[call-arg]
    (lambda: FileStorage(None), "path must be the name of a directory, as text, not NoneType."),  # type: ignore[arg-type]
    (lambda: FileStorage(""), "path must be the name of a directory, as text, not empty."),
    (lambda: CacheStorage(cache), "alias must be a name in settings.CACHES, as text, not Connecti"),  # type: ignore[arg-type]
    (lambda: FreeStorage(123), "token must be a bot's token from Telegram, as text, not int."),  # type: ignore[arg-type]
    (lambda: FreeStorage("1:A", "example.org"), "root_url must begin with https:// or http://."),
    (lambda: ValueStorage().get_value("7"), "ValueStorage needs a method get_value."),
    # Persistence
    (lambda: BotPersistence("bot.pickle"), "store_data must be a PersistenceInput(…), not str."),  # type: ignore[arg-type]
    (lambda: BotPersistence(DatabaseStorage()), "a PersistenceInput(…), not DatabaseStorage."),  # type: ignore[arg-type]
    (lambda: BotPersistence(filepath="x"), "'filepath'. Write BotPersistence(store_data, storage"),  # type: ignore[call-arg]
    (lambda: BotPersistence(storage=FileStorage), "like DatabaseStorage(), not the class FileSto"),  # type: ignore[arg-type]
    # Test clients
    (
        lambda: bot_client(build=lambda b: None),
        "build returned NoneType: let it return the applica",
    ),
    (lambda: bot_client(build=lambda b: b.build()), "an application without a session: let it in"),
    (lambda: bot_client(build=install), "build returned the builder: let it return builder."),
    (lambda: bot_client(build=asynchronous), "build returned something to await: write it with de"),
    (lambda: bot_client(build=build(builder())), "build must be a function from a builder to an a"),
    (lambda: bot_client(pizza), "The bot must be an alias of BOTSESSIONS['BOTS'], as text, not Se"),
    (lambda: bot_client("default", build=build), "Give either a bot's alias or build, not both."),
    (lambda: bot_client(build=build).user(5), "name must be first name, or first and last name, a"),
    (lambda: bot_client(build=build).user(id="5"), "id must be a number, not str."),
    (lambda: bot_client(build=build).group(5), "title must be the chat's title, as text, not int."),
    (
        lambda: bot_client(build=build).feed({"mesage": {}}),
        "An update is a dict of one kind of the",
    ),
    (
        lambda: bot_client(build=build).feed({"message": {"text": "Hi"}}),
        "python-telegram-bot cannot read this as an update: KeyError: 'date'. Write all that the",
    ),
    (lambda: bot_client(build=build, timeout="5"), "timeout must be a number of seconds, not str."),
    (lambda: bot_client(build=build).feed({"message": "Hi"}), "message must be a dict as in the B"),
    (lambda: person().in_chat(5), "chat must be what the client's group(), supergroup() or chann"),
    (lambda: person().in_chat(person()), "or channel() returned, not Person."),
    (lambda: person().send(5), "text must be what the person writes, as text, not int."),
    (lambda: person().edit(5), "text must be what the person writes, as text, not int."),
    (
        lambda: person().ask_inline(None),
        "query must be what the person types, as text, not NoneType.",
    ),
    (lambda: person().press(5), "button must be its label or its callback data, as text, not int."),
    (
        lambda: person().press("a", message="a"),
        "message must be one of the bot's answers, not str.",
    ),
    (
        lambda: person().send(photo=5),
        "cannot read this as an update: TypeError: 'int' object is not",
    ),
    (lambda: person().in_chat(GROUP, topic="7"), "ids are numbers: write topic=42, not str."),
    (lambda: person().in_chat(GROUP, business=7), "text: write business='abc', not int."),
    # Stored jobs
    (
        lambda: reminder().run_once("soon", chat=7),
        "when must be seconds, a timedelta, a datetime or",
    ),  # type: ignore[arg-type]
    (
        lambda: reminder().run_once(float("nan"), chat=7),
        "when is nan, which is no moment of the ye",
    ),
    (
        lambda: reminder().run_once(float("inf"), chat=7),
        "when is inf, which is no moment of the ye",
    ),
    (
        lambda: reminder().run_once(1_900_000_000_000, chat=7),
        "give seconds, not milliseconds, or a",
    ),
    (
        lambda: reminder().run_once(timedelta.max, chat=7),
        "which is no moment of the years 1 to 9999",
    ),
    (lambda: reminder().run_once(1, chat=2**63), " is no id of Telegram's: it is too large."),
    # Steps
    (lambda: StepHandler(lambda: True, TypeHandler(object, print)), "The condition must be a fun"),  # type: ignore[arg-type,misc]
    # Webhooks
    (lambda: WebhookMiddleware("shop.asgi"), "application must be an ASGI application, like get_"),  # type: ignore[arg-type]
    # Maintenance
    (lambda: list(export_user("7")), "user_id must be Telegram's id of a user, a number, not str."),  # type: ignore[arg-type]
    (lambda: forget_user(None), "user_id must be Telegram's id of a user, a number, not NoneType."),  # type: ignore[arg-type]
    (lambda: forget_user(True), "user_id must be Telegram's id of a user, a number, not bool."),
    (lambda: Sweep(idle_for=90), "idle_for must be a timedelta, like timedelta(minutes=30), no"),  # type: ignore[arg-type]
    (lambda: Sweep(batch_size=0), "batch_size must be 1 or more, not 0."),
    (lambda: Migrate(bot=1), "bot must be a bot's alias or id, as text, not int."),  # type: ignore[arg-type]
    (lambda: tables("none"), "settings.DATABASES has no 'none'; it has 'default'"),
]


@pytest.mark.parametrize(("call", "says"), CALLS, ids=[says for _, says in CALLS])
def test_a_wrong_argument_is_told_what_to_write_instead(call: Callable[[], Any], says: str) -> None:
    with pytest.raises(
        (
            *(TypeError, ValueError, AttributeError, NotImplementedError),
            *(SessionKeyError, ImproperlyConfigured),
        ),
        match=re.escape(says),
    ):
        call()


AS_DATA: list[Callable[[Any], Any]] = [
    lambda data: data.count,
    lambda data: setattr(data, "count", 1),
    lambda data: data["count"],
    lambda data: data.update({}),
    lambda data: data + 1,
    lambda data: list(data),
    lambda data: len(data),
    lambda data: not data,
    lambda data: "count" in data,
]


@pytest.mark.parametrize("use", AS_DATA)
@pytest.mark.parametrize("multi", [False, True])
def test_a_lazy_session_that_is_not_awaited_says_so(use: Callable[[Any], Any], multi: bool) -> None:
    lazy = lazy_session(initial=Pizza, storage=Store())

    async def handler(update: Any, context: Any) -> None:
        use(context.session.cart if multi else context.session)

    (error,) = errors_of(multi_session(cart=lazy) if multi else lazy, handler)
    assert "has to be awaited: data = await context.session" in str(error)


@pytest.mark.parametrize("kind", [session, lazy_session])
def test_a_multi_session_can_be_copied_but_not_with_its_data(kind: Any) -> None:
    async def handler(update: Any, context: Any) -> None:
        copied = copy.copy(context.session)
        assert dir(copied) == dir(context.session)
        data = await copy.copy(copied.cart) if kind is lazy_session else copied.cart
        data.count += 1
        copied.user = Pizza(7)
        assert copy.deepcopy(data) == Pizza(1)
        copy.deepcopy(copied)

    store = Store()
    cart = kind(initial=Pizza, storage=store)
    (error,) = errors_of(multi_session(cart=cart, user=pizza), handler)
    assert str(error).endswith("in its fragments: context.session.cart, context.session.user.")


def test_a_multi_session_used_as_data_names_its_fragments() -> None:
    async def handler(update: Any, context: Any) -> None:
        assert context.session
        context.session["cart"] = 1

    (error,) = errors_of(multi_session(cart=pizza, user=pizza), handler)
    assert str(error).endswith("in its fragments: context.session.cart, context.session.user.")


@pytest.mark.parametrize("use", [inside, awaited, *AS_DATA[:4]])
def test_edit_session_that_is_not_entered_says_how(use: Callable[[Any], Any]) -> None:
    async def handler(update: Any, context: Any) -> None:
        result = use(context.edit_session())
        assert result is None or await result

    (error,) = errors_of(session(initial=Pizza, storage=MemoryStorage()), handler)
    assert "Write `async with context.edit_session() as data`." in str(error)


def test_an_awaitable_is_no_data_of_a_strict_session() -> None:
    async def handler(update: Any, context: Any) -> None:
        waiting = asyncio.get_running_loop().create_future()
        context.session = waiting

    (error,) = errors_of(session(storage=Store()), handler)
    assert "A strict session holds data, not Future: await it first, or declare a lazy_" in str(
        error
    )


def test_a_class_is_no_data() -> None:
    async def handler(update: Any, context: Any) -> None:
        context.session = Pizza

    (error,) = errors_of(session(initial=Pizza, storage=Store()), handler)
    assert isinstance(error, SessionDataError)
    assert "$ is the class Pizza itself, not an object of it." in str(error)


def test_initial_data_that_cannot_be_stored_is_told() -> None:
    async def handler(update: Any, context: Any) -> None:
        _ = context.session

    (error,) = errors_of(session(initial=Plain, storage=Store()), handler)
    assert "$ is Plain, which msgspec does not encode; a dataclass it does" in str(error)
    (error,) = errors_of(session(initial=Store, storage=Store()), handler)
    assert "initial must return data that can be stored, not Store." in str(error)
    (error,) = errors_of(session(initial=lambda: asynchronous(), storage=Store()), handler)
    assert "that returns the data of a new chat, not coroutine." in str(error)


def errors_of(declared: Any, handler: Any) -> list[Exception]:
    async def send() -> list[Exception]:
        return (await client(declared, handler).user().send("x")).errors

    return asyncio.run(send())
