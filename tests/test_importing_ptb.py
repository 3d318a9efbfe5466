"""``manage.py import_sessions`` from what python-telegram-bot's own persistences have stored."""

from __future__ import annotations

import asyncio
import pickle
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from telegram.ext import (
    CallbackQueryHandler,
    CommandHandler,
    ContextTypes,
    ConversationHandler,
    MessageHandler,
    PicklePersistence,
    filters,
)

from botsessions import SessionContext, enhance_storage, multi_session, session
from botsessions.keys import per_user, per_user_chat
from botsessions.models import BotSession
from botsessions.testing import BotClient

from .origins.ptb import talk

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:If 'per_message="),
]

MARIA, TOM, GROUP = 5, 6, -1001
SAID = [(MARIA, MARIA, "capers"), (GROUP, MARIA, "🍕"), (GROUP, TOM, "ham")]
MINE = "--yes-this-file-is-mine"
LIBRARY = "python_telegram_bot_django_persistence"


@dataclass
class Order:
    texts: list[str] = field(default_factory=list)
    since: datetime | None = None
    toppings: set[str] = field(default_factory=set)


def of_bot(update: Any) -> str:
    return "all"


def from_ptb(old: Any) -> Any:
    return {"texts": old["texts"], "toppings": old.get("toppings", [])}


declared = multi_session(
    chat=session(initial=dict),
    user=session(initial=dict, get_session_key=per_user),
    order=session(initial=Order),
    member=session(initial=dict, get_session_key=per_user_chat),
    bot=session(initial=dict, get_session_key=of_bot),
    migrated=session(initial=Order, storage=enhance_storage(migrations={1: from_ptb})),
)


@pytest.fixture(autouse=True)
def bots(settings: Any) -> None:
    settings.BOTSESSIONS = {"BOTS": {"shop": {"SESSION": declared, "APPLICATION": build}}}


async def answer(update: Any, context: Any) -> None:
    await update.message.reply_text(", ".join(context.session.chat["texts"]))


def build(builder: Any) -> Any:
    application = builder.build()
    application.add_handler(MessageHandler(filters.TEXT, answer))
    return application


def remember(context: Any, text: str) -> None:
    context.chat_data.setdefault("texts", []).append(text)
    context.user_data.setdefault("texts", []).append(text)
    context.bot_data["count"] = context.bot_data.get("count", 0) + 1


def imported(*arguments: str, **options: Any) -> str:
    out, err = StringIO(), StringIO()
    try:
        call_command("import_sessions", *arguments, stdout=out, stderr=err, **options)
    except CommandError as exc:
        err.write(str(exc))
    return out.getvalue() + err.getvalue()


def stored(name: str) -> dict[str, Any]:
    return dict(BotSession.objects.filter(name=name).values_list("key", "data"))


def all_is_imported(*arguments: str) -> str:
    """Import chats, users and the bot's data, each twice; return what was said first."""
    said = ""
    for data, *where in (
        ("chat_data", "--fragment", "chat"),
        ("user_data", "--fragment", "user"),
        ("bot_data", "--fragment", "bot", "--key", "all"),
    ):
        line = imported(*arguments, "--data", data, *where)
        said = said or line
        again = imported(*arguments, "--data", data, *where)
        assert again.startswith("0 sessions imported, ")
        assert "there already" in again
    assert stored("chat") == {
        str(MARIA): {"texts": ["capers"]},
        str(GROUP): {"texts": ["🍕", "ham"]},
    }
    assert stored("user") == {
        str(MARIA): {"texts": ["capers", "🍕"]},
        str(TOM): {"texts": ["ham"]},
    }
    assert stored("bot") == {"all": {"count": 3}}
    about = BotSession.objects.exclude(name="bot").values_list("name", "chat_id", "user_id")
    assert set(about) == {
        *(("chat", chat, None) for chat in (MARIA, GROUP)),
        *(("user", None, user) for user in (MARIA, TOM)),
    }
    assert BotClient().user(id=MARIA).send("?").text == "capers"
    return said


# Pickles.


@pytest.fixture(params=["single", "split"])
def pickles(request: pytest.FixtureRequest, tmp_path: Path) -> PicklePersistence[Any, Any, Any]:
    return PicklePersistence(tmp_path / "bot", single_file=request.param == "single")


def test_a_pickle_is_imported_and_the_bot_goes_on_with_it(pickles: Any) -> None:
    talk(pickles, SAID, remember)
    said = all_is_imported("pickle", str(pickles.filepath), MINE)
    assert said.startswith("2 sessions imported in")
    assert "Not reached: user_data, bot_data, conversations." in said


def test_a_pickle_is_not_read_before_somebody_says_whose_it_is(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (exec, (f"import pathlib; pathlib.Path({str(tmp_path / 'trap')!r}).touch()",))

    path = tmp_path / "bot.pickle"
    path.write_bytes(pickle.dumps({"chat_data": {1: Trap()}}))
    said = imported("pickle", str(path), "--data", "chat_data", "--fragment", "chat")
    assert "A pickle is a program" in said
    assert MINE in said
    assert not (tmp_path / "trap").exists()


def test_data_that_is_no_json_is_typed_or_refused_by_its_place(tmp_path: Path) -> None:
    path = tmp_path / "bot.pickle"

    def remember_more(context: Any, text: str) -> None:
        remember(context, text)
        context.chat_data["since"] = datetime(2026, 1, 2, tzinfo=timezone.utc)
        context.chat_data["toppings"] = {"secret"}
        if text == "ham":
            context.chat_data[7] = "seven"

    talk(PicklePersistence(path), SAID[:1], remember_more)
    arguments = ("pickle", str(path), MINE, "--data", "chat_data", "--fragment")
    said = imported(*arguments, "chat")
    assert said.startswith("0 sessions imported in")
    assert (
        f"Session in chat_data[{MARIA}]: $.since is datetime, which needs a declared type" in said
    )
    assert "secret" not in said
    assert imported(*arguments, "order").startswith("1 session imported in")
    order = declared.order.get(chat=MARIA)
    assert order == Order(["capers"], datetime(2026, 1, 2, tzinfo=timezone.utc), {"secret"})


def test_data_of_another_shape_is_left_to_the_migrations(tmp_path: Path) -> None:
    path = tmp_path / "bot.pickle"

    def remember_others(context: Any, text: str) -> None:
        remember(context, text)
        context.chat_data["toppings"] = ("ham", "eggs")

    talk(PicklePersistence(path), SAID[:1], remember_others)
    arguments = ("pickle", str(path), MINE, "--data", "chat_data", "--fragment", "migrated")
    assert imported(*arguments).startswith("1 session imported in")
    assert BotSession.objects.get().version is None
    assert declared.migrated.get(chat=MARIA) == Order(["capers"], None, {"ham", "eggs"})


def test_who_was_only_seen_has_no_session(tmp_path: Path) -> None:
    path = tmp_path / "bot.pickle"
    talk(PicklePersistence(path), SAID, lambda context, text: context.chat_data.get("x"))
    said = imported("pickle", str(path), MINE, "--data", "chat_data", "--fragment", "chat")
    assert said.startswith("0 sessions imported, 2 left out because they are empty, in")


def test_a_key_function_that_needs_more_ids_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bot.pickle"
    talk(PicklePersistence(path), SAID, remember)
    arguments = ("pickle", str(path), MINE, "--data", "chat_data", "--fragment")
    said = imported(*arguments, "member")
    assert said.startswith("1 session imported in")  # Of the private chat.
    assert (
        f"Session in chat_data[{GROUP}]: The key function per_user_chat gives no key for the id "
        "of a chat." in said
    )
    assert set(stored("member")) == {f"{MARIA}/{MARIA}"}
    assert "The key function of_bot takes updates only" in imported(*arguments, "bot")


@dataclass
class ChatData:
    texts: list[str] = field(default_factory=list)


def test_classes_of_the_bot_itself_are_imported_and_missed_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("shop_of_old")
    module.ChatData = ChatData  # type: ignore[attr-defined]
    monkeypatch.setattr(ChatData, "__module__", module.__name__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    path = tmp_path / "bot.pickle"
    context_types = ContextTypes(chat_data=ChatData)
    persistence = PicklePersistence[Any, Any, Any](path, context_types=context_types)
    talk(persistence, SAID[:1], lambda c, text: c.chat_data.texts.append(text), context_types)
    arguments = ("pickle", str(path), MINE, "--data", "chat_data", "--fragment", "order")
    assert imported(*arguments).startswith("1 session imported in")
    assert declared.order.get(chat=MARIA) == Order(["capers"])
    del sys.modules[module.__name__]
    said = imported(*arguments)
    assert "cannot be read: Something went wrong unpickling" in said
    assert "No module named 'shop_of_old'." in said


def test_files_that_are_not_there_or_no_pickles_are_errors(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("secret")
    for name, problem in (
        ("nowhere", "There is no file"),
        ("text", "cannot be read"),
    ):
        arguments = ("pickle", str(tmp_path / name), MINE, "--data", "chat_data")
        said = imported(*arguments, "--fragment", "chat")
        assert problem in said
        assert "secret" not in said


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "Say which data, with --data: chat_data, user_data, bot_data, conversations."),
        (["--data", "bot_data", "--fragment", "bot"], "Name the session key that bot_data is"),
        (
            ["--data", "chat_data", "--fragment", "chat", "--key", "x"],
            "chat_data has keys of its own: leave --key out.",
        ),
        (["--data", "chat_data"], "Choose a fragment of bot 'shop' with --fragment: chat, user"),
        (["--data", "callback_data"], "invalid choice"),
        (["--prefix", "x"], "--prefix is of no use with pickle."),
    ],
)
def test_wrong_usage_is_explained(arguments: list[str], problem: str) -> None:
    assert problem in imported("pickle", "bot.pickle", MINE, *arguments)


# python-telegram-bot-django-persistence.


@pytest.fixture
def tables(settings: Any) -> Iterator[None]:
    """The tables of the library, which is installed while they are written only."""
    if connection.vendor == "mysql":
        pytest.skip("The library's migrations fail on MariaDB and MySQL.")
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, LIBRARY]
    call_command("migrate", LIBRARY, verbosity=0)
    yield
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, LIBRARY]
    call_command("migrate", LIBRARY, "zero", verbosity=0)


def write_tables(settings: Any, messages: Any, namespace: str = "") -> None:
    from python_telegram_bot_django_persistence.persistence import (  # noqa: PLC0415
        DjangoPersistence,
    )

    talk(DjangoPersistence(namespace=namespace), messages, remember)
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != LIBRARY]


@pytest.mark.usefixtures("tables")
def test_tables_are_imported_and_the_bot_goes_on_with_them(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botsessions.maintenance.origins.sql.PAGE", 1)
    write_tables(settings, SAID)
    assert all_is_imported("django-persistence").startswith("2 sessions imported in")


@pytest.mark.usefixtures("tables")
def test_only_of_a_namespace(settings: Any) -> None:
    write_tables(settings, [(7, 7, "other")], namespace="shop")
    arguments = ("django-persistence", "--data", "user_data", "--fragment", "user")
    assert imported(*arguments).startswith("0 sessions imported in")
    assert imported(*arguments, "--namespace", "shop").startswith("1 session imported in")
    assert stored("user") == {"7": {"texts": ["other"]}}


@pytest.mark.usefixtures("tables")
def test_a_row_that_cannot_be_read_is_named(settings: Any) -> None:
    write_tables(settings, SAID)
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA ignore_check_constraints = ON")
        table, deep = f"{LIBRARY}_userdata", "[" * 5000 + "]" * 5000
        cursor.execute(f"UPDATE {table} SET data = %s WHERE user_id = 6", [deep])  # noqa: S608
    said = imported("django-persistence", "--data", "user_data", "--fragment", "user")
    assert "Session in user_data[6]: It is no JSON that Python can read." in said


def test_tables_that_are_not_there_are_an_error() -> None:
    said = imported("django-persistence", "--data", "user_data", "--fragment", "user")
    assert said == f"There is no table '{LIBRARY}_userdata' in the database 'default'."


# Into PERSISTENCE.


async def greet(update: Any, context: Any) -> int:
    answers = context.user_data.setdefault("answers", {})
    answers[len(answers)] = update.message.text
    await update.message.reply_text(f"{len(answers)}, {context.bot_data}")
    return 0


def build_unmodified(builder: Any) -> Any:
    application = builder.build()
    hearing = MessageHandler(filters.TEXT, greet)
    application.add_handler(
        ConversationHandler(
            [CommandHandler("start", greet)], {0: [hearing]}, [], name="order", persistent=True
        )
    )
    return application


def test_f12_an_unmodified_bot_goes_on_with_what_it_had(settings: Any, tmp_path: Path) -> None:
    def remember_numbers(context: Any, text: str) -> None:
        answers = context.user_data.setdefault("answers", {})
        answers[len(answers)] = text
        context.bot_data["seen"] = {context._user_id}

    path = tmp_path / "bot.pickle"
    talk(PicklePersistence(path), [(MARIA, MARIA, "one"), (MARIA, MARIA, "two")], remember_numbers)
    settings.BOTSESSIONS = {
        "BOTS": {"shop": {"APPLICATION": build_unmodified, "PERSISTENCE": True}}
    }
    for data in ("user_data", "chat_data", "bot_data", "conversations"):
        said = imported("pickle", str(path), "--data", data, MINE)
        assert "0 sessions imported" in said if data == "chat_data" else "1 session" in said
    conversation = BotSession.objects.get(name="ptb:conversation:order")
    assert (conversation.chat_id, conversation.user_id) == (MARIA, MARIA)
    # No /start: the conversation goes on.
    maria = BotClient("shop").user("Maria", id=MARIA)
    assert maria.send("three").text == "3, {'seen': {5}}"


def test_conversations_are_for_a_bot_with_persistence(tmp_path: Path) -> None:
    path = tmp_path / "bot.pickle"
    talk(PicklePersistence(path), SAID, remember)
    said = imported("pickle", str(path), "--data", "conversations", "--fragment", "chat", MINE)
    assert "bot 'shop' has none" in said


@dataclass
class Profile:
    visits: int = 0
    since: datetime | None = None


class Clicks:
    def __init__(self) -> None:
        self.per_message: dict[int, int] = defaultdict(int)


KINDS = ContextTypes(SessionContext, user_data=Profile, chat_data=Clicks)
SINCE = datetime(2026, 5, 1, tzinfo=timezone.utc)


async def step(update: Any, context: Any) -> int:
    return 0


def conversation(name: str, **options: Any) -> ConversationHandler[Any]:
    press = CallbackQueryHandler(step)
    return ConversationHandler(
        [press], {0: [press], 2: [press]}, [], name=name, persistent=True, **options
    )


def build_typed(builder: Any) -> Any:
    async def tell(update: Any, context: Any) -> None:
        seen = (context.user_data, dict(context.chat_data.per_message))
        await update.message.reply_text(repr(seen))

    application = builder.context_types(KINDS).build()
    application.add_handler(MessageHandler(filters.TEXT, tell))
    for group, handler in enumerate(
        (
            conversation("both"),
            conversation("user", per_chat=False),
            conversation("inline", per_chat=False, per_message=True),
            conversation("message", per_message=True),
        ),
        start=1,
    ):
        application.add_handler(handler, group)
    return application


@pytest.fixture
def typed(settings: Any) -> None:
    settings.BOTSESSIONS = {"BOTS": {"shop": {"APPLICATION": build_typed, "PERSISTENCE": True}}}


@pytest.mark.usefixtures("typed")
def test_f12_data_of_the_types_that_the_bot_names_is_what_it_was(tmp_path: Path) -> None:
    def remember_typed(context: Any, text: str) -> None:
        context.user_data.visits, context.user_data.since = 7, SINCE
        context.chat_data.per_message[3] = 4

    path = tmp_path / "bot.pickle"
    types = ContextTypes(user_data=Profile, chat_data=Clicks)
    persistence = PicklePersistence[Any, Any, Any](path, context_types=types)
    talk(persistence, SAID[:1], remember_typed, types)
    for data in ("user_data", "chat_data"):
        said = imported("pickle", str(path), "--data", data, MINE)
        assert said.startswith("1 session imported in")
    assert stored("ptb:user_data") == {str(MARIA): {"visits": 7, "since": "2026-05-01T00:00:00Z"}}
    maria = BotClient("shop").user("Maria", id=MARIA)
    assert maria.send("x").text == repr((Profile(7, SINCE), {3: 4}))


def test_an_application_that_cannot_be_built_is_named(settings: Any, tmp_path: Path) -> None:
    def build_nothing(builder: Any) -> Any:
        raise KeyError("secret")

    path = tmp_path / "bot.pickle"
    talk(PicklePersistence(path), SAID, remember)
    settings.BOTSESSIONS = {"BOTS": {"shop": {"APPLICATION": build_nothing, "PERSISTENCE": True}}}
    said = imported("pickle", str(path), "--data", "user_data", MINE)
    assert "APPLICATION of bot 'shop' cannot be built" in said
    assert "secret" not in said


def pickled(path: Path, conversations: dict[str, dict[tuple[Any, ...], Any]]) -> None:
    async def write() -> None:
        persistence = PicklePersistence[Any, Any, Any](path)
        for name, states in conversations.items():
            for key, state in states.items():
                await persistence.update_conversation(name, key, state)
        await persistence.flush()

    asyncio.run(write())


@pytest.mark.usefixtures("typed")
def test_conversations_belong_to_whom_their_handler_says(tmp_path: Path) -> None:
    path = tmp_path / "bot.pickle"
    pickled(
        path,
        {
            "both": {(GROUP, MARIA): 0, (MARIA, MARIA): 2},
            "user": {(TOM,): 0},
            "inline": {(TOM, "AgAAAInline_x"): 0, (MARIA, 77): 0},
            "message": {(GROUP, TOM, 77): 0},
            "gone": {(MARIA, MARIA): 0},
        },
    )
    said = imported("pickle", str(path), "--data", "conversations", MINE)
    assert said.startswith("6 sessions imported in")
    assert "in conversations['gone']: The code keeps no ConversationHandler of this name." in said
    found = BotSession.objects.values_list("name", "key", "chat_id", "user_id")
    assert {(name.rpartition(":")[2], *others) for name, *others in found} == {
        ("both", f"{GROUP}/{MARIA}", GROUP, MARIA),
        ("both", f"{MARIA}/{MARIA}", MARIA, MARIA),
        ("user", f"{TOM}", None, TOM),
        ("inline", f"{TOM}/AgAAAInline_x", None, TOM),
        ("inline", f"{MARIA}/77", None, MARIA),
        ("message", f"{GROUP}/{TOM}/77", GROUP, TOM),
    }


def test_the_application_is_built_once(settings: Any, tmp_path: Path) -> None:
    built = []

    def build(builder: Any) -> Any:
        built.append(builder)
        return build_typed(builder)

    settings.BOTSESSIONS = {"BOTS": {"shop": {"APPLICATION": build, "PERSISTENCE": True}}}
    path = tmp_path / "bot.pickle"
    pickled(path, {name: {(MARIA, MARIA): 0, (GROUP, TOM): 0} for name in ("both", "a", "b")})
    imported("pickle", str(path), "--data", "conversations", MINE)
    assert len(built) == 1


@pytest.mark.usefixtures("typed")
def test_conversations_that_are_over_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "bot.pickle"
    pickled(path, {"both": {(MARIA, MARIA): ConversationHandler.END, (GROUP, TOM): 0}})
    said = imported("pickle", str(path), "--data", "conversations", MINE)
    assert said.startswith("1 session imported, 1 left out because it is empty, in")
    assert set(stored("ptb:conversation:both")) == {f"{GROUP}/{TOM}"}
