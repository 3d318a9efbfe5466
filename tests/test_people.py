"""What bots remember of a person: ``export_user`` and ``forget_user``."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import stat
import threading
import tracemalloc
from datetime import datetime, timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from telegram import Update
from telegram.ext import MessageHandler, filters

from botsessions import MemoryStorage, enhance_storage, multi_session, session
from botsessions.database.connections import close_databases
from botsessions.exceptions import SessionConflict, SessionError
from botsessions.keys import per_chat, per_topic, per_user, per_user_chat
from botsessions.maintenance import people
from botsessions.maintenance.people import count_user, export_user, forget_user
from botsessions.models import BotSession, Incident
from botsessions.testing import BotClient

from .commands import manage, output
from .harness import client

MARIA, TOM, GROUP = 5, 55, -4567
Json = dict[str, Any]


def by_nick(update: Update | None = None, *, user: int | None = None) -> str | None:
    return None if user is None else f"nick-{user}"


def by_bot(update: Update) -> str:
    return "bot"


async def by_account(update: Any = None, *, chat: int | None = None) -> str | None:
    return None if chat is None else f"account-{chat}"


drawer = MemoryStorage()
shop = multi_session(
    chat=session(initial=dict, get_session_key=per_chat),
    member=session(initial=dict, get_session_key=per_user_chat),
    topic=session(initial=dict, get_session_key=per_topic),
    nick=session(initial=dict, get_session_key=by_nick),
    account=session(initial=dict, get_session_key=by_account),
    common=session(initial=dict, get_session_key=by_bot),
)
games = session(initial=dict, get_session_key=per_user)
drawers = multi_session(
    cart=session(
        initial=dict,
        get_session_key=per_user,
        storage=enhance_storage(drawer, time_to_live=timedelta(hours=1)),
    ),
    note=session(initial=dict, get_session_key=by_bot, storage=drawer),
)


@pytest.fixture
def bots(settings: Any) -> None:
    declared = {"shop": shop, "games": games, "drawers": drawers}
    settings.BOTSESSIONS = {
        "BOTS": {n: {"SESSION": s, "APPLICATION": print} for n, s in declared.items()}
    }
    drawer._stored.clear()


def make(bot: str, name: str, key: str, **fields: Any) -> BotSession:
    fields = {"data": {"of": key}, **fields}
    return BotSession.objects.create(bot=bot, name=name, key=key, **fields)


@pytest.fixture
def hers(db: None, bots: None) -> set[tuple[str, str, str]]:
    """Store sessions of several people; return the addresses of Maria's."""
    maria = [
        make("shop", "chat", "5", chat_id=MARIA, title="Maria"),
        make("shop", "chat", "biz/5", chat_id=MARIA, title="Maria"),
        make("shop", "member", f"5/{GROUP}", chat_id=GROUP, user_id=MARIA, title="Maria, Pizza"),
        make("shop", "common", "bot", chat_id=MARIA, user_id=MARIA, title="Maria"),
        make("games", "", "5", user_id=MARIA, title="Maria"),
        make("4711", "", "5", user_id=MARIA),  # Of a bot that the settings do not know.
        # Made from outside by their key, so nothing says whose they are:
        make("shop", "member", "5/-9"),
        make("shop", "topic", "5/7"),
        make("shop", "nick", "nick-5"),
        make("shop", "account", "account-5"),
        # Expired, but not swept:
        make("shop", "topic", "5", chat_id=MARIA, expires_at=timezone.now()),
    ]
    make("shop", "chat", "55", chat_id=TOM)
    make("shop", "chat", str(GROUP), chat_id=GROUP, title="Pizza")
    make("shop", "member", f"55/{GROUP}", chat_id=GROUP, user_id=TOM)
    make("shop", "chat", "5/6")  # No key of the chat 5.
    make("games", "", "55", user_id=TOM)
    return {(s.bot, s.name, s.key) for s in maria}


def addresses(sessions: Any) -> set[tuple[str, str, str]]:
    return {(s["bot"], s["fragment"], s["key"]) for s in sessions}


def stored() -> set[tuple[str, str, str]]:
    return set(BotSession.objects.values_list("bot", "name", "key"))


# Finding.


def test_every_session_in_which_a_user_takes_part_is_exported_once(hers: Any) -> None:
    exported = list(export_user(MARIA))
    assert addresses(exported) == hers
    assert len(exported) == len(hers)
    assert count_user(MARIA) == len(hers)


def test_every_one_of_them_is_erased_and_no_other(hers: Any) -> None:
    others = stored() - hers
    assert forget_user(MARIA) == len(hers)
    assert stored() == others
    assert list(export_user(MARIA)) == []
    assert forget_user(MARIA) == 0


def test_a_customers_direct_messages_to_a_channel_are_found_and_erased(
    db: None, bots: None
) -> None:
    async def remember(update: Update, context: Any) -> None:
        context.session["asked"] = "for olives"

    def build(builder: Any) -> Any:
        application = session(initial=dict).install(builder).build()
        application.add_handler(MessageHandler(filters.TEXT, remember))
        return application

    bot = BotClient(build=build)
    direct = bot.supergroup("Pizza Direct", is_direct_messages=True)
    maria, tom = (
        bot.user(id=user).in_chat(direct, topic=topic) for user, topic in ((MARIA, 70), (TOM, 71))
    )
    maria.send("Do you have olives?")
    tom.send("Do you have ham?")
    assert addresses(export_user(MARIA)) == {("1", "", f"{direct['id']}/70")}
    assert forget_user(MARIA) == 1
    assert (maria.session, tom.session) == (None, {"asked": "for olives"})


def test_only_of_one_bot_or_in_one_database(hers: Any) -> None:
    assert addresses(export_user(MARIA, bot="games")) == {("games", "", "5")}
    assert addresses(export_user(MARIA, bot="4711")) == {("4711", "", "5")}
    assert addresses(export_user(MARIA, using="default")) == hers
    assert forget_user(MARIA, bot="games") == 1
    assert addresses(export_user(MARIA)) == hers - {("games", "", "5")}


@pytest.mark.usefixtures("bots")
@pytest.mark.parametrize("wrong", [GROUP, 2**63])
def test_what_is_no_id_of_a_user_is_refused(db: None, wrong: int) -> None:
    for call in (count_user, forget_user, lambda user: list(export_user(user))):
        with pytest.raises(ValueError, match="no user's id"):
            call(wrong)


def test_on_an_event_loop_it_is_refused() -> None:
    async def on_a_loop() -> None:
        for call in (count_user, forget_user, lambda user: list(export_user(user))):
            with pytest.raises(SessionError, match="sync_to_async"):
                call(MARIA)

    asyncio.run(on_a_loop())


def test_without_expired_ones_each_index_is_asked_once(hers: Any) -> None:
    with CaptureQueriesContext(connection) as queries:
        list(export_user(MARIA, bot="games"))
    # By user, with what is kept and the end of it; by chat; by key.
    assert len(queries) == 5


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_to_forget_takes_few_statements_for_all_bots_and_fragments(hers: Any, size: int) -> None:
    with CaptureQueriesContext(connection) as queries:
        erased = forget_user(MARIA, batch_size=size)
    assert erased == len(hers)
    assert not stored() & hers
    # What there is, those nobody has locked, what is kept of them, themselves, incidents; and what
    # is gone.
    if size == 1000:
        texts = [query["sql"] for query in queries if "SAVEPOINT" not in query["sql"]]
        assert len(texts) == 6, texts


@pytest.mark.django_db
def test_many_bots_do_not_make_statements_long(settings: Any) -> None:
    def longest(bots: int) -> int:
        bot = {"SESSION": session(initial=dict, get_session_key=per_user_chat)}
        settings.BOTSESSIONS = {"BOTS": {f"bot{n}": bot for n in range(bots)}}
        with CaptureQueriesContext(connection) as queries:
            assert forget_user(MARIA) == 0
        return max(len(query["sql"]) for query in queries)

    assert longest(40) < 3 * longest(10)


# What an export holds.


def test_an_export_is_json_with_all_that_is_stored(db: None, bots: None) -> None:
    born = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.get_default_timezone())
    make(
        "games",
        "",
        "5",
        user_id=MARIA,
        title="María",
        version=Decimal("1.5"),
        data={"password": "🍕"},
        created_at=born,
        updated_at=born + timedelta(days=1),
        expires_at=born + timedelta(days=2),
    )
    (line,) = export_user(MARIA)
    assert json.loads(json.dumps(line)) == {
        "bot": "games",
        "fragment": "",
        "key": "5",
        "chat_id": None,
        "user_id": MARIA,
        "chat_type": "",
        "title": "María",
        "version": 1.5,
        "created": "2026-01-02T03:04:05+00:00",
        "changed": "2026-01-03T03:04:05+00:00",
        "expires": "2026-01-04T03:04:05+00:00",
        "expired": True,
        "data": {"password": "🍕"},
    }


def test_masked_fields_are_exported_as_they_are(db: None, bots: None, settings: Any) -> None:
    settings.BOTSESSIONS = {**settings.BOTSESSIONS, "MASKED_FIELDS": ["password"]}
    make("games", "", "5", user_id=MARIA, data={"password": "🍕"})
    (line,) = export_user(MARIA)
    assert line["data"] == {"password": "🍕"}


def test_an_export_of_many_sessions_is_never_in_memory_as_a_whole(db: None, bots: None) -> None:
    size, count = 20_000, 1000
    BotSession.objects.bulk_create(
        (
            BotSession(
                bot="shop", name="member", key=f"5/{-n}", user_id=MARIA, data={"x": "x" * size}
            )
            for n in range(count)
        ),
        batch_size=100,
    )
    lines = 0
    tracemalloc.start()
    for line in export_user(MARIA):
        lines += 1
        assert len(line["data"]["x"]) == size
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert lines == count
    assert peak < size * count / 2


# Storages that cannot be searched.


@pytest.mark.usefixtures("bots")
def test_storages_that_cannot_list_are_looked_at_under_the_users_key(db: None) -> None:
    for user in MARIA, TOM:
        with drawers.cart.edit(user=user) as data:
            data["pizzas"] = user
    with drawers.note.edit("bot") as data:
        data["maria"] = "?"
    (line,) = export_user(MARIA)
    assert (line["bot"], line["fragment"], line["key"]) == ("drawers", "cart", "5")
    assert line["data"] == {"pizzas": MARIA}
    assert line["expires"] is not None
    assert line["expired"] is False
    assert list(export_user(MARIA, using="default")) == []
    assert count_user(MARIA) == 1
    assert forget_user(MARIA) == 1
    assert drawers.cart.get(user=MARIA) is None
    assert drawers.cart.get(user=TOM) == {"pizzas": TOM}
    assert drawers.note.get("bot") == {"maria": "?"}


# Beside a running bot.


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("bots")
def test_a_handler_that_runs_meanwhile_cannot_write_back_what_was_erased() -> None:
    read, go_on = threading.Event(), threading.Event()
    errors = []

    async def slow(update: Any, context: Any) -> None:
        context.session["secret"] = "again"
        read.set()
        await asyncio.to_thread(go_on.wait, 30)

    async def failed(update: Any, context: Any) -> None:
        errors.append(context.error)

    def talk() -> None:
        async def converse() -> None:
            bot = client(games, slow, errors=failed)
            bot.application.session_bot = "games"
            await bot.user(id=MARIA).send("x")

        asyncio.run(converse())
        close_databases()

    make("games", "", "5", user_id=MARIA)
    bot = threading.Thread(target=talk)
    bot.start()
    try:
        assert read.wait(30)
        assert forget_user(MARIA) == 1
    finally:
        go_on.set()
        bot.join(30)
    assert [type(error) for error in errors] == [SessionConflict]
    assert stored() == set()


# What is left of it.


def test_an_audit_line_tells_how_many_sessions_of_which_bots_and_nothing_of_the_person(
    hers: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "botsessions.audit")
    forget_user(MARIA)
    counts = [
        "1 of bot '4711'",
        "1 of bot 'games'",
        "1 of bot 'shop', fragment 'account'",
        "2 of bot 'shop', fragment 'chat'",
        "1 of bot 'shop', fragment 'common'",
        "2 of bot 'shop', fragment 'member'",
        "1 of bot 'shop', fragment 'nick'",
        "2 of bot 'shop', fragment 'topic'",
    ]
    assert caplog.messages == [f"Sessions of a user were erased: {'; '.join(counts)}."]
    caplog.clear()
    forget_user(MARIA)
    assert caplog.messages == ["Sessions of a user were erased: there were none."]


def test_what_was_erased_before_an_error_is_told(
    hers: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "botsessions.audit")
    with (
        mock.patch.object(people, "stored_elsewhere", side_effect=OSError("Gone.")),
        pytest.raises(OSError, match="Gone"),
    ):
        forget_user(MARIA)
    assert len(caplog.messages) == 1
    assert "2 of bot 'shop', fragment 'chat'" in caplog.messages[0]


# The commands.


def run(command: str, *arguments: str, **options: Any) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command(command, *arguments, stdout=out, stderr=err, **options)
    return out.getvalue(), err.getvalue()


def test_export_user_prints_a_line_for_each_session(hers: Any) -> None:
    out, err = run("export_user", "5")
    assert addresses(map(json.loads, out.splitlines())) == hers
    assert "These storages cannot be searched" in err
    assert "fragment 'cart' of bot 'drawers' (MemoryStorage)" in err
    assert "note" in err
    out, err = run("export_user", "5", "--bot", "games")
    assert addresses(map(json.loads, out.splitlines())) == {("games", "", "5")}
    assert err == ""
    assert run("export_user", "5", "--database", "default")[1] == ""
    assert run("export_user", "6", "--bot", "games") == ("", "")


def test_export_user_writes_a_file_that_only_its_owner_can_read(hers: Any, tmp_path: Path) -> None:
    path = tmp_path / "maria.jsonl"
    out, _ = run("export_user", "5", "--output", str(path))
    assert out == f"{len(hers)} sessions written to {path}.\n"
    assert addresses(map(json.loads, path.read_text("utf-8").splitlines())) == hers
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(CommandError, match="cannot be written: File exists"):
        run("export_user", "5", "--output", str(path))
    assert len(path.read_text("utf-8").splitlines()) == len(hers)


def test_export_user_leaves_no_half_file_behind(hers: Any, tmp_path: Path) -> None:
    path = tmp_path / "maria.jsonl"
    with (
        mock.patch.object(people, "stored_elsewhere", side_effect=OSError("Gone.")),
        pytest.raises(OSError, match="Gone"),
    ):
        run("export_user", "5", "--output", str(path))
    assert not path.exists()


def test_forget_user_asks_first(hers: Any) -> None:
    others = stored() - hers
    with mock.patch("builtins.input", return_value="no") as asked:
        with pytest.raises(CommandError, match="nothing was erased"):
            run("forget_user", "5")
        assert f"Erase {len(hers)} sessions for ever?" in asked.call_args[0][0]
    assert hers <= stored()
    with (
        mock.patch("builtins.input", side_effect=KeyboardInterrupt),  # Ctrl+C.
        pytest.raises(CommandError, match="nothing was erased"),
    ):
        run("forget_user", "5")
    with (
        mock.patch("builtins.input", side_effect=EOFError),
        pytest.raises(CommandError, match="--noinput"),
    ):
        run("forget_user", "5")
    with mock.patch("builtins.input", return_value="yes"):
        out, err = run("forget_user", "5")
    assert out == f"{len(hers)} sessions erased.\n"
    assert "These storages cannot be searched" in err
    assert stored() == others


def test_forget_user_without_asking_or_without_erasing(hers: Any) -> None:
    out, _ = run("forget_user", "5", "--dry-run")
    assert out == f"{len(hers)} sessions would be erased.\n"
    assert hers <= stored()
    assert run("forget_user", "5", "--bot", "games", "--noinput") == ("1 session erased.\n", "")
    assert run("forget_user", "5", "--no-input", "--database", "default", verbosity=0) == ("", "")
    assert not hers & stored()


def test_forget_user_counts_one_session_as_one(hers: Any) -> None:
    games = ("forget_user", "5", "--bot", "games")
    assert run(*games, "--dry-run")[0] == "1 session would be erased.\n"
    with mock.patch("builtins.input", return_value="yes") as asked:
        assert run(*games)[0] == "1 session erased.\n"
    assert "Erase 1 session for ever?" in asked.call_args[0][0]


@pytest.mark.django_db
@pytest.mark.usefixtures("bots")
def test_forget_user_does_not_ask_about_somebody_of_whom_there_is_no_session() -> None:
    Incident.objects.create(bot="shop", user_id=99999, kind="load")
    with mock.patch("builtins.input", side_effect=AssertionError):
        for options in (["--dry-run"], [], ["--noinput"]):
            out, _ = run("forget_user", "99999", *options)
            assert out == "There is no session of user 99999.\n"
            assert Incident.objects.exists() is (options == ["--dry-run"])


@pytest.mark.usefixtures("bots")
@pytest.mark.parametrize("command", ["export_user", "forget_user"])
def test_wrong_usage_is_explained(command: str) -> None:
    for wrong, text in (
        (["-4567"], "above 0|required|arguments"),
        (["maria"], "'maria' is no user's id"),
        (["0"], "above 0"),
        (["9223372036854775808"], "'9223372036854775808' is no user's id"),
        (["5", "--database", "other"], "no database 'other'"),
    ):
        with pytest.raises(CommandError, match=text):
            run(command, *wrong)


@pytest.mark.once
def test_exit_statuses() -> None:
    for command in "export_user", "forget_user":
        assert "above 0" in output(manage(command, "0", env=dict(os.environ)), status=2)
    wrong = ("export_user", "5", "--database", "other")
    assert "no database" in output(manage(*wrong, env=dict(os.environ)), status=1)
