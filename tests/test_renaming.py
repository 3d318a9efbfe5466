"""``manage.py rename_bot``, ``rename_fragment`` and ``rekey_sessions``."""

from __future__ import annotations

import asyncio
import json
import threading
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from botsessions import MemoryStorage, multi_session, session
from botsessions.database.connections import close_databases
from botsessions.keys import per_topic, per_user, per_user_chat
from botsessions.maintenance import holding, readdressing
from botsessions.maintenance.renaming import RenameBot
from botsessions.models import BotSession, HandledUpdate, Incident, MaintenanceRun
from botsessions.records import MAX_NAME_LENGTH
from botsessions.storages import FileStorage

from .harness import client

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
GROUP = -1001


def of_all(update: Any) -> str:
    return "all"


def of_account(update: Any = None, *, chat: int | None = None) -> str | None:
    return None if chat is None else f"account-{chat}"


def of_shop(update: Any = None, *, shop: int | None = None) -> str | None:
    return None if shop is None else str(shop)


def growing(update: Any = None, *, shop: int | None = None) -> str | None:
    return None if shop is None else f"{shop}5"


def failing(update: Any = None, *, chat: int | None = None, user: int | None = None) -> str:
    raise LookupError("secret")


single = session(initial=dict)
multi = multi_session(
    cart=session(initial=dict),
    user=session(initial=dict, get_session_key=per_user),
    member=session(initial=dict, get_session_key=per_user_chat),
    topic=session(initial=dict, get_session_key=per_topic),
    account=session(initial=dict, get_session_key=of_account),
    all=session(initial=dict, get_session_key=of_all),
    growing=session(initial=dict, get_session_key=growing),
    failing=session(initial=dict, get_session_key=failing),
    memory=session(initial=dict, storage=MemoryStorage()),
)


@pytest.fixture(autouse=True)
def bots(settings: Any) -> None:
    settings.BOTSESSIONS = {
        "BOTS": {
            "shop": {"SESSION": single, "APPLICATION": print},
            "store": {"SESSION": multi, "APPLICATION": print},
        }
    }


def make(key: str, *, bot: str = "old", name: str = "", **fields: Any) -> BotSession:
    fields = {"data": {"of": key}, **fields}
    return BotSession.objects.create(bot=bot, name=name, key=key, **fields)


def stored(**which: Any) -> set[tuple[str, str, str]]:
    return set(BotSession.objects.filter(**which).values_list("bot", "name", "key"))


def run(command: str, *arguments: str, **options: Any) -> str:
    out, err = StringIO(), StringIO()
    try:
        call_command(command, *arguments, stdout=out, stderr=err, **options)
    except CommandError as exc:
        err.write(str(exc))
    return out.getvalue() + err.getvalue()


# A bot.


def test_a_bots_sessions_get_its_new_alias_and_nothing_else_of_them_changes() -> None:
    before = timezone.now() - DAY
    for key, name in (("1", ""), ("2", "cart"), ("3", "cart")):
        make(key, name=name, updated_at=before, expires_at=before + 2 * DAY, title=key)
    make("4", bot="older")
    fields = [f.name for f in BotSession._meta.concrete_fields if f.name not in ("bot", "revision")]
    rows = list(BotSession.objects.order_by("pk").values(*fields))
    revisions = set(BotSession.objects.exclude(bot="older").values_list("revision", flat=True))
    assert run("rename_bot", "old", "shop").startswith("3 sessions renamed in")
    assert stored() == {
        ("shop", "", "1"),
        ("shop", "cart", "2"),
        ("shop", "cart", "3"),
        ("older", "", "4"),
    }
    assert list(BotSession.objects.order_by("pk").values(*fields)) == rows
    now = set(BotSession.objects.exclude(bot="older").values_list("revision", flat=True))
    assert not revisions & now
    assert single.get("1", bot="shop") == {"of": "1"}


def test_a_session_whose_new_address_is_taken_stays_and_is_named() -> None:
    make("1")
    make("2")
    make("2", bot="shop", data={"n": 2})
    for _ in range(2):
        said = run("rename_bot", "old", "shop")
        assert (
            "Session '2' of bot 'old': There is another session '2' of bot 'shop'. "
            "Both stay as they are." in said
        )
        assert "1 session could not be handled" in said
    assert stored() == {("shop", "", "1"), ("shop", "", "2"), ("old", "", "2")}
    assert BotSession.objects.get(bot="shop", key="2").data == {"n": 2}


def test_one_that_has_expired_gives_way() -> None:
    make("1")
    make("1", bot="shop", data={"n": 0}, expires_at=timezone.now() - DAY)
    assert run("rename_bot", "old", "shop").startswith("1 session renamed in")
    assert BotSession.objects.get().data == {"of": "1"}


def test_a_dry_run_counts_and_names_and_writes_nothing() -> None:
    for key in ("1", "2", "3"):
        make(key)
    make("2", bot="shop")
    make("3", bot="shop", expires_at=timezone.now() - DAY)
    rows = list(BotSession.objects.values())
    said = run("rename_bot", "old", "shop", "--dry-run")
    assert said.startswith("2 sessions would be renamed.")
    assert "Session '2' of bot 'old': There is another" in said
    assert list(BotSession.objects.values()) == rows


def test_run_again_it_does_the_rest() -> None:
    for key in range(9):
        make(str(key))
    options = ("--batch-size", "2", "--limit", "5")
    assert run("rename_bot", "old", "shop", *options).startswith("5 sessions renamed in")
    assert run("rename_bot", "old", "shop", *options).startswith("4 sessions renamed in")
    assert "There is no bot 'old', and no session of such a bot" in run("rename_bot", "old", "shop")
    assert len(stored(bot="shop")) == 9
    result = json.loads(run("rename_bot", "shop", "store", "--json", "--limit", "1"))
    assert (result["renamed"], result["failed"]) == (1, 0)


def test_what_a_webhook_has_handled_goes_along() -> None:
    for bot, update_id in (("old", 1), ("old", 2), ("shop", 2), ("other", 3)):
        HandledUpdate.objects.create(bot=bot, update_id=update_id, claim=1, claimed_until=1)
    run("rename_bot", "old", "shop", "--dry-run")
    assert HandledUpdate.objects.filter(bot="old").count() == 2
    run("rename_bot", "old", "shop")
    assert set(HandledUpdate.objects.values_list("bot", "update_id")) == {
        ("shop", 1),
        ("old", 2),
        ("shop", 2),
        ("other", 3),
    }


def test_what_a_webhook_has_handled_stays_if_the_new_name_is_refused() -> None:
    HandledUpdate.objects.create(bot="old", update_id=1, claim=1, claimed_until=1)
    for wrong in ("misspelt", "9" * (MAX_NAME_LENGTH + 1)):
        assert run("rename_bot", "old", wrong)
    assert list(HandledUpdate.objects.values_list("bot", flat=True)) == ["old"]


def test_incidents_go_with_their_sessions() -> None:
    for bot, key in (("old", "1"), ("old", "taken"), ("old", ""), ("other", "1")):
        Incident.objects.create(bot=bot, key=key, kind="save")
    make("1")
    make("taken")
    make("taken", bot="shop")
    before = noted()
    run("rename_bot", "old", "shop", "--dry-run")
    assert noted() == before
    run("rename_bot", "old", "shop")
    assert noted() == {
        *(("shop", "", "1"), ("shop", "", "")),
        *(("old", "", "taken"), ("other", "", "1")),
    }


def test_incidents_go_to_another_fragment_and_to_another_key_too() -> None:
    Incident.objects.create(bot="store", name="basket", key="-7/3", kind="save")
    make("-7/3", bot="store", name="basket", chat_id=-7)
    run("rename_fragment", "basket", "cart", "--bot", "store")
    assert noted() == {("store", "cart", "-7/3")}
    rekeyed("cart", "per_topic")
    assert noted() == {("store", "cart", "-7")}


def noted() -> set[tuple[str, str, str]]:
    return set(Incident.objects.values_list("bot", "name", "key"))


def test_a_bot_that_was_installed_by_hand_goes_into_the_settings_and_back() -> None:
    make("1", bot="4711")
    assert run("rename_bot", "4711", "shop").startswith("1 session renamed")
    assert run("rename_bot", "shop", "4711").startswith("1 session renamed")
    assert stored() == {("4711", "", "1")}


def test_what_the_bot_looks_for_elsewhere_stays(settings: Any, tmp_path: Path) -> None:
    files = session(initial=dict, storage=FileStorage(tmp_path))
    settings.BOTSESSIONS["BOTS"]["files"] = {"SESSION": files, "APPLICATION": print}
    make("1")
    make("2", name="cart")
    said = run("rename_bot", "old", "files")
    assert "1 session renamed" in said
    assert "Not reached: bot 'files' (FileStorage)." in said
    assert "Session '1' of bot 'old': Its bot looks for it in another table or storage." in said


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("rename_bot", "old", "new"), "There is no bot 'new'"),
        (("rename_bot", "shop", "shop"), "'shop' is the same name."),
        (("rename_bot", "odl", "shop"), "There is no bot 'odl', and no session of such a bot: "),
        (("rename_bot", "4711", "shop"), "There is no bot '4711', and no session of such a bot"),
        (("rename_bot", "old", "shop", "--database", "x"), "There is no database 'x'"),
        (("rename_fragment", "a", "b", "--bot", "store"), "fragment of bot 'store' as NEW: "),
        (("rename_fragment", "a", "b", "--bot", "shop"), "has a single session"),
        (("rename_fragment", "cart", "cart", "--bot", "store"), "'cart' is the same name."),
        (
            ("rename_fragment", "crat", "user", "--bot", "store"),
            "There is no fragment 'crat' of bot 'store', and no session of such a fragment.",
        ),
        (
            ("rename_fragment", "ptb:conversation:odl", "cart", "--bot", "store"),
            "There is no fragment 'ptb:conversation:odl' of bot 'store', and no session of such",
        ),
        (("rename_fragment", "a", "cart"), "Name a bot"),
        (("rekey_sessions", "per_chat"), "Name a bot"),
        (("rekey_sessions", "per_chat", "--bot", "store"), "Choose a fragment of bot 'store'"),
        (
            ("rekey_sessions", "per_chat", "--bot", "store", "--fragment", "crat"),
            "Choose a fragment of bot 'store'",
        ),
        (("rekey_sessions", "per_cat", "--bot", "shop"), "There is no key function per_cat"),
        (("rekey_sessions", "no.module", "--bot", "shop"), "There is no key function no.module"),
        (
            ("rekey_sessions", "tests.test_renaming.of_all", "--bot", "shop"),
            "The key function of_all takes updates only",
        ),
        (
            ("rekey_sessions", "per_chat", "--bot", "store", "--fragment", "all"),
            "The key function of_all takes updates only",
        ),
    ],
)
@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_wrong_usage_is_explained_and_does_nothing(
    arguments: tuple[str, ...], options: tuple[str, ...], problem: str
) -> None:
    make("1", name="cart")
    rows = list(BotSession.objects.values())
    assert problem in run(*arguments, *options)
    assert list(BotSession.objects.values()) == rows
    assert not MaintenanceRun.objects.exists()


def test_what_the_settings_know_may_have_no_sessions() -> None:
    assert run("rename_bot", "store", "shop").startswith("0 sessions renamed in")
    assert run("rename_fragment", "user", "cart", "--bot", "store").startswith("0 sessions")


@pytest.mark.parametrize("model", [HandledUpdate, Incident])
def test_a_bot_without_sessions_in_tables_may_have_something_else_to_be_renamed(model: Any) -> None:
    needed = {"update_id": 1, "claim": 1, "claimed_until": 1} if model is HandledUpdate else {}
    model.objects.create(bot="old", **needed)
    assert run("rename_bot", "old", "shop").startswith("0 sessions renamed in")
    assert model.objects.get().bot == "shop"


# A fragment.


def test_a_single_session_becomes_a_fragment() -> None:
    make("1", bot="store")
    make("2", bot="store", name="user")
    make("3", bot="shop")
    assert run("rename_fragment", "", "cart", "--bot", "store").startswith("1 session renamed")
    assert stored() == {("store", "cart", "1"), ("store", "user", "2"), ("shop", "", "3")}
    assert multi.cart.get("1", bot="store") == {"of": "1"}


def test_a_fragment_whose_sessions_are_elsewhere_now_is_left() -> None:
    make("1", bot="store", name="basket")
    said = run("rename_fragment", "basket", "memory", "--bot", "store")
    assert "Its bot looks for it in another table or storage." in said
    assert stored() == {("store", "basket", "1")}


# Keys.


def rekeyed(name: str, old: str, *arguments: str) -> str:
    return run("rekey_sessions", old, "--bot", "store", "--fragment", name, *arguments)


def whose(name: str) -> dict[str, tuple[int | None, int | None]]:
    rows = BotSession.objects.filter(bot="store", name=name)
    return {row.key: (row.chat_id, row.user_id) for row in rows}


def test_sessions_per_chat_become_sessions_per_user_where_the_chat_is_private() -> None:
    make("5", bot="store", name="member", chat_id=5)
    make("6", bot="store", name="member")  # Made from outside.
    make(str(GROUP), bot="store", name="member", chat_id=GROUP)
    said = rekeyed("member", "per_chat")
    assert said.startswith("2 sessions rekeyed in")
    assert (
        f"Session '{GROUP}' of fragment 'member' of bot 'store': per_user_chat gives no key for "
        "its chat." in said
    )
    assert whose("member") == {"5/5": (5, 5), "6/6": (6, 6), str(GROUP): (GROUP, None)}
    again = rekeyed("member", "per_chat")
    assert again.startswith("0 sessions rekeyed, 2 stay where they are, in")


def test_whose_a_session_is_changes_even_where_its_key_does_not() -> None:
    make("5", bot="store", name="user", chat_id=5)
    assert rekeyed("user", "per_chat").startswith("1 session rekeyed in")
    assert whose("user") == {"5": (None, 5)}
    assert rekeyed("user", "per_chat").startswith("0 sessions rekeyed, 1 stays where it is, in")


def test_of_several_sessions_with_one_new_key_the_first_gets_it() -> None:
    for topic in ("", "/3", "/4"):
        make(f"{GROUP}{topic}", bot="store", name="cart", chat_id=GROUP)
    make("-7/3", bot="store", name="cart", chat_id=-7)
    make("-7/4", bot="store", name="cart", chat_id=-7)
    for arguments, done in ((("--dry-run",), 1), ((), 1), ((), 0)):
        said = rekeyed("cart", "per_topic", *arguments)
        assert said.startswith(f"{done} session")
        for key in (f"{GROUP}/3", f"{GROUP}/4", "-7/4"):
            assert f"Session '{key}' of fragment 'cart' of bot 'store': There is another" in said
    assert set(whose("cart")) == {str(GROUP), f"{GROUP}/3", f"{GROUP}/4", "-7", "-7/4"}


def test_parts_of_a_key_that_no_column_shows_are_kept() -> None:
    make(f"5/{GROUP}", bot="store", name="topic", chat_id=GROUP, user_id=5)
    make("5/business/6", bot="store", name="topic", chat_id=6, user_id=5)
    assert rekeyed("topic", "per_user_chat").startswith("2 sessions rekeyed in")
    assert whose("topic") == {str(GROUP): (GROUP, None), "business/6": (6, None)}


def test_a_customers_topic_in_direct_messages_stays_a_topic() -> None:
    make("-7/3", bot="store", name="topic", chat_id=-7, user_id=5)
    assert rekeyed("topic", "per_chat").startswith("0 sessions rekeyed, 1 stays where it is, in")
    assert whose("topic") == {"-7/3": (-7, 5)}


def test_keys_that_a_second_run_would_change_again_are_refused() -> None:
    make("7", bot="store", name="growing")
    said = rekeyed("growing", "tests.test_renaming.of_shop")
    assert "Its new key '75' cannot be told from old ones." in said
    assert whose("growing") == {"7": (None, None)}


def test_key_functions_of_the_authors_own_are_read_and_asked() -> None:
    make("5", bot="store", name="account", chat_id=5)
    assert rekeyed("account", "per_chat").startswith("1 session rekeyed in")
    assert whose("account") == {"account-5": (5, None)}
    BotSession.objects.update(name="cart")
    assert rekeyed("cart", "tests.test_renaming.of_account").startswith("1 session rekeyed in")
    assert whose("cart") == {"5": (5, None)}


def test_keys_that_nobody_understands_and_functions_that_fail_are_named() -> None:
    make("pizza", bot="store", name="user")
    make("5", bot="store", name="failing")
    assert "Session 'pizza' of fragment 'user' of bot 'store': Its key is none that per_chat" in (
        rekeyed("user", "per_chat")
    )
    said = rekeyed("failing", "per_chat")
    assert "failing raised LookupError for it." in said
    assert "secret" not in said


def test_a_batch_takes_few_statements() -> None:
    for key in range(20):
        make(str(key))
    with CaptureQueriesContext(connection) as queries:
        list(RenameBot(old="old", new="shop").run(BotSession, "default"))
    table = connection.ops.quote_name(BotSession._meta.db_table)
    words = [query["sql"].split()[0] for query in queries if table in query["sql"]]
    # What there is; the batch, locked; expired and other ones at the new addresses; and the end.
    assert words == ["SELECT", "SELECT", "DELETE", "SELECT", "UPDATE", "SELECT"]


# Beside a running bot.


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("lock", ["process", "database"])
def test_a_handler_that_runs_is_waited_for(settings: Any, lock: str) -> None:
    settings.BOTSESSIONS["BOTS"]["shop"]["LOCK"] = lock
    running, go_on = threading.Event(), threading.Event()

    async def count(update: Any, context: Any) -> None:
        context.session["n"] = context.session.get("n", 0) + 1
        running.set()
        await asyncio.to_thread(go_on.wait, 30)

    make("5", bot="shop", data={"n": 1})
    bot = talking("shop", lock, count)
    bot.start()
    try:
        assert running.wait(30)
        threading.Timer(0.3, go_on.set).start()
        assert run("rename_bot", "shop", "4711").startswith("1 session renamed")
        assert go_on.is_set()
    finally:
        go_on.set()
        bot.join(30)
    assert BotSession.objects.get().data == {"n": 2}
    assert BotSession.objects.get().bot == "4711"


@pytest.mark.django_db(transaction=True)
def test_one_that_is_busy_for_long_is_left_and_the_others_are_not(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (readdressing, holding):
        monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.2)
    running, go_on = threading.Event(), threading.Event()

    async def wait(update: Any, context: Any) -> None:
        running.set()
        await asyncio.to_thread(go_on.wait, 30)

    for key in ("4", "5", "6"):
        make(key, bot="shop")
    bot = talking("shop", "process", wait)
    bot.start()
    try:
        assert running.wait(30)
        said = run("rename_bot", "shop", "4711")
    finally:
        go_on.set()
        bot.join(30)
    assert "2 sessions renamed" in said
    assert "Session '5' of bot 'shop': It was busy for 0.2 seconds." in said
    assert run("rename_bot", "shop", "4711").startswith("1 session renamed")


def talking(alias: str, lock: str, handler: Any) -> threading.Thread:
    """Return a thread in which the user 5 talks to a bot once."""

    async def converse() -> None:
        bot = client(single, handler, raise_errors=True)
        bot.application.session_bot = alias
        bot.application.session_lock = lock
        await bot.user(id=5).send("x")

    def talk() -> None:
        asyncio.run(converse())
        close_databases()

    return threading.Thread(target=talk)
