"""``manage.py check``: rule G1."""

from __future__ import annotations

import re
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.conf import settings
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import ConnectionHandler
from django.test import SimpleTestCase, TestCase, override_settings

from botsessions import (
    DatabaseStorage,
    SessionApplication,
    enhance_storage,
    lazy_session,
    multi_session,
    session,
)
from botsessions.checks import check_databases, check_settings
from botsessions.checks.databases import of_database, used_databases
from botsessions.keys import per_chat, per_user
from botsessions.persistence import BotPersistence
from botsessions.storages import CacheStorage

from .caches import LOCAL_MEMORY
from .harness import Store

pytestmark = pytest.mark.once

pizza = session(initial=dict, storage=Store())
lazy = lazy_session(initial=dict, storage=Store())
multi = multi_session(pizza=pizza, lazy=lazy)
not_callable = "text"


def build(builder: Any) -> SessionApplication:
    raise NotImplementedError


def enhance(storage: Any) -> Any:
    return session(storage=enhance_storage(storage, time_to_live=timedelta(days=1)))


def kept_nowhere() -> BotPersistence:
    return BotPersistence(storage=DatabaseStorage(using="nodb"))


PIZZA = {"SESSION": "tests.test_checks.pizza", "APPLICATION": "tests.test_checks.build"}

WRONG: list[tuple[str, Any, str, str]] = [
    ("settings that are no dict", ["pizza"], "E001", "BOTSESSIONS is not a dict"),
    ("no settings at all", None, "E001", "BOTSESSIONS is not a dict"),
    ("an empty list of settings", [], "E001", "BOTSESSIONS is not a dict"),
    ("no bots at all", {"BOTS": None}, "E001", "['BOTS'] is not a dict of bots"),
    ("an empty list of bots", {"BOTS": []}, "E001", "['BOTS'] is not a dict of bots"),
    ("bots that are no dict", {"BOTS": [PIZZA]}, "E001", "['BOTS'] is not a dict of bots"),
    ("a bot that is no dict", {"BOTS": {"a": "pizza"}}, "E001", "['BOTS']['a'] is not a dict"),
    ("an unknown setting", {"MAX_BITES": 3}, "E002", "unknown setting 'MAX_BITES'"),
    ("a token that is no text", {"BOTS": {"a": {**PIZZA, "TOKEN": 7}}}, "E013", "['TOKEN'] is not"),
    (
        "a token with a line end",
        {"BOTS": {"a": {**PIZZA, "TOKEN": "1:A\n"}}},
        "E013",
        "['a']['TOKEN'] has blanks, a line end, or",
    ),
    ("a token with a blank", {"BOTS": {"a": {**PIZZA, "TOKEN": " 1:A"}}}, "E013", "has blanks"),
    (
        "one token for two bots",
        {"BOTS": {alias: {**PIZZA, "TOKEN": "1:A"} for alias in ("a", "b")}},
        "W009",
        "one TOKEN for several bots: 'a', 'b'.",
    ),
    (
        "a table that there is not",
        {"BOTS": {"a": {**PIZZA, "SESSION": session(storage=DatabaseStorage(model="shop.Nope"))}}},
        "E017",
        "['a']['SESSION'] cannot be stored: DatabaseStorage(model='shop.Nope'): No installed app",
    ),
    (
        "a table that is not for sessions",
        {"BOTS": {"a": {**PIZZA, "SESSION": session(storage=DatabaseStorage(model="auth.User"))}}},
        "E017",
        "['a']['SESSION'] cannot be stored: model must be a subclass of AbstractBotSession",
    ),
    (
        "a database that there is not",
        {"BOTS": {"a": {**PIZZA, "SESSION": enhance(DatabaseStorage(using="nodb"))}}},
        "E017",
        "['a']['SESSION'] cannot be stored: settings.DATABASES has no 'nodb'",
    ),
    (
        "a persistence in a database that there is not",
        {"BOTS": {"a": {**PIZZA, "PERSISTENCE": kept_nowhere}}},
        "E017",
        "['a']['PERSISTENCE'] cannot be stored: settings.DATABASES has no 'nodb'",
    ),
    (
        "an unknown setting of a bot",
        {"BOTS": {"a": {**PIZZA, "TOKEM": "1:A"}}},
        "E002",
        "['a'] has an unknown setting 'TOKEM'",
    ),
    ("a size that is no number", {"MAX_BYTES": "3 MB"}, "E003", "MAX_BYTES"),
    ("a size that is a bool", {"MAX_BYTES": True}, "E003", "MAX_BYTES"),
    ("a size of nothing", {"MAX_BYTES": 0}, "E003", "MAX_BYTES"),
    ("retries that are no number", {"RETRY_SECONDS": "30 s"}, "E015", "RETRY_SECONDS"),
    ("retries of no time", {"RETRY_SECONDS": 0}, "E015", "RETRY_SECONDS"),
    ("one name instead of many", {"MASKED_FIELDS": "phone"}, "E004", "MASKED_FIELDS"),
    ("names that are no text", {"MASKED_FIELDS": [1]}, "E004", "MASKED_FIELDS"),
    ("a short token for metrics", {"METRICS_TOKEN": "secret"}, "E040", "METRICS_TOKEN"),
    ("a token for metrics that is no text", {"METRICS_TOKEN": 1}, "E040", "METRICS_TOKEN"),
    (
        "a token for metrics with a line end",
        {"METRICS_TOKEN": f"{'x' * 16}\n"},
        "E040",
        "without blanks or line ends at its ends",
    ),
    ("an empty alias", {"BOTS": {"": PIZZA}}, "E005", "at most 64 characters"),
    ("a long alias", {"BOTS": {"a" * 65: PIZZA}}, "E005", "at most 64 characters"),
    ("an alias that ends with a blank", {"BOTS": {"shop ": PIZZA}}, "E005", "blanks at its ends"),
    ("an alias that is no text", {"BOTS": {1: PIZZA}}, "E005", "at most 64 characters"),
    (
        "a missing session",
        {"BOTS": {"a": {"APPLICATION": PIZZA["APPLICATION"]}}},
        "E006",
        "['a']['SESSION'] is missing",
    ),
    (
        "a session that does not import",
        {"BOTS": {"a": {**PIZZA, "SESSION": "shop.bot.pizza"}}},
        "E006",
        "No module named 'shop'",
    ),
    (
        "a session that is not in its module",
        {"BOTS": {"a": {**PIZZA, "SESSION": "tests.test_checks.pizzza"}}},
        "E006",
        "pizzza",
    ),
    (
        "a session that is none",
        {"BOTS": {"a": {**PIZZA, "SESSION": "tests.test_checks.build"}}},
        "E006",
        "['a']['SESSION'] is no session",
    ),
    (
        "a missing application",
        {"BOTS": {"a": {"SESSION": PIZZA["SESSION"]}}},
        "E007",
        "['a']['APPLICATION'] is missing",
    ),
    (
        "an application that does not import",
        {"BOTS": {"a": {**PIZZA, "APPLICATION": "shop.bot.build"}}},
        "E007",
        "No module named 'shop'",
    ),
    (
        "an application that is no function",
        {"BOTS": {"a": {**PIZZA, "APPLICATION": "tests.test_checks.not_callable"}}},
        "E007",
        "['a']['APPLICATION'] is not a function",
    ),
    ("an unknown lock", {"BOTS": {"a": {**PIZZA, "LOCK": "redis"}}}, "E008", "'redis'"),
    (
        "a webhook's secret with the lock of one process",
        {"BOTS": {"a": {**PIZZA, "WEBHOOK_SECRET": "s3cret", "LOCK": "process"}}},
        "E009",
        "WEBHOOK_SECRET together with LOCK='process'",
    ),
    (
        "one kind of update instead of many",
        {"BOTS": {"a": {**PIZZA, "ALLOWED_UPDATES": "message"}}},
        "E010",
        "ALLOWED_UPDATES",
    ),
    (
        "a misspelt kind of update",
        {"BOTS": {"a": {**PIZZA, "ALLOWED_UPDATES": ["message", "calback_query"]}}},
        "E010",
        "python-telegram-bot does not know: calback_query.",
    ),
    (
        "a session's path of a dot",
        {"BOTS": {"a": {**PIZZA, "SESSION": ".pizza"}}},
        "E006",
        "['SESSION']: '.pizza' is no dotted path",
    ),
    (
        "an application that takes no builder",
        {"BOTS": {"a": {**PIZZA, "APPLICATION": lambda: None}}},
        "E007",
        "['APPLICATION'] cannot be called with a builder: too many positional arguments",
    ),
    (
        "a persistence in place of a function that returns one",
        {"BOTS": {"a": {**PIZZA, "PERSISTENCE": BotPersistence()}}},
        "E016",
        "['PERSISTENCE'] cannot be called: it is BotPersistence",
    ),
    (
        "a function with arguments in place of one that returns a persistence",
        {"BOTS": {"a": {**PIZZA, "PERSISTENCE": lambda bot: None}}},
        "E016",
        "['PERSISTENCE'] cannot be called: missing a required argument: 'bot'",
    ),
    (
        "a function that forgets to return a persistence",
        {"BOTS": {"a": {**PIZZA, "PERSISTENCE": lambda: None}}},
        "E016",
        "['PERSISTENCE'] gives NoneType, which is no BotPersistence",
    ),
    ("limits that are no dict", {"FREE_STORAGE": 64}, "E030", "['FREE_STORAGE'] is not a dict"),
    ("a limit of nothing", {"FREE_STORAGE": {"MAX_SESSIONS": 0}}, "E030", "MAX_SESSIONS"),
    (
        "keys that are longer than a session's",
        {"FREE_STORAGE": {"MAX_KEY_LENGTH": 256}},
        "E030",
        "more than the 255",
    ),
    (
        "an unknown limit",
        {"FREE_STORAGE": {"MAX_LOGINS": 1}},
        "E002",
        "['FREE_STORAGE'] has an unknown setting 'MAX_LOGINS'",
    ),
    (
        "a bot with its own limits",
        {"BOTS": {"a": {**PIZZA, "FREE_STORAGE": {"MAX_SESSIONS": 1}}}},
        "E031",
        "['a']['FREE_STORAGE'] is neither",
    ),
    (
        "half a bot that is elsewhere",
        {"BOTS": {"a": {"SESSION": PIZZA["SESSION"], "FREE_STORAGE": True}}},
        "E007",
        "['a']['APPLICATION'] is missing",
    ),
]

CORRECT: list[tuple[str, Any]] = [
    ("no settings", {}),
    ("no bots", {"BOTS": {}}),
    ("a small bot", {"BOTS": {"a": PIZZA}}),
    ("objects instead of paths", {"BOTS": {"a": {"SESSION": multi, "APPLICATION": build}}}),
    (
        "all settings that are of use",
        {
            "BOTS": {
                "shop": {
                    **PIZZA,
                    "TOKEN": "1:A",
                    "ALLOWED_UPDATES": ["message", "callback_query"],
                    "LOCK": "database",
                },
                "webhook": {**PIZZA, "WEBHOOK_SECRET": "s"},
                "offline": {**PIZZA, "TOKEN": None, "LOCK": "process", "ALLOWED_UPDATES": None},
                "x" * 64: {**PIZZA, "SESSION": "tests.test_checks.lazy"},
                "elsewhere": {"TOKEN": "2:B", "FREE_STORAGE": True},
                "both": {**PIZZA, "TOKEN": "3:C", "FREE_STORAGE": True},
            },
            "FREE_STORAGE": {"MAX_KEY_LENGTH": 255, "MAX_SESSIONS": 10**6},
            "MAX_BYTES": 1000,
            "MASKED_FIELDS": {"phone", "address"},
        },
    ),
]


class Checks(SimpleTestCase):
    databases = {"default"}  # noqa: RUF012 (checks of the models ask what it can)

    def test_g1_no_mistake_ends_the_other_checks(self) -> None:
        for name, wrong, _, _ in WRONG:
            with self.subTest(name), override_settings(BOTSESSIONS=wrong):
                check_databases(None)

    def test_g1_each_mistake_is_found_once_under_its_id_and_named(self) -> None:
        for name, wrong, check_id, text in WRONG:
            with self.subTest(name), override_settings(BOTSESSIONS=wrong):
                (message,) = check_settings(None)
                assert message.id == f"botsessions.{check_id}"
                assert text in message.msg
                assert message.msg.endswith(".")

    def test_g1_a_message_never_shows_a_secret(self) -> None:
        bot = {**PIZZA, "TOKEN": "1:T0KEN", "WEBHOOK_SECRET": "s3cret", "LOCK": "process", "X": 1}
        with override_settings(BOTSESSIONS={"BOTS": {"a": bot}}):
            texts = [str(message) for message in check_settings(None)]
        assert len(texts) == 2
        assert not any("T0KEN" in text or "s3cret" in text for text in texts)

    def test_g1_several_mistakes_are_all_found(self) -> None:
        wrong = {"MAX_BYTES": 0, "COLOUR": "red", "BOTS": {"a": {"LOCK": "redis"}, "b": {}}}
        with override_settings(BOTSESSIONS=wrong):
            found = sorted(str(message.id)[-4:] for message in check_settings(None))
        assert found == ["E002", "E003", "E006", "E006", "E007", "E007", "E008"]

    def test_g1_an_unknown_setting_names_the_known_ones(self) -> None:
        with override_settings(BOTSESSIONS={"MAX_BITES": 3}):
            (message,) = check_settings(None)
        assert "MAX_BYTES" in str(message.hint)

    def test_g1_correct_settings_are_passed_in_silence(self) -> None:
        for name, correct in CORRECT:
            with self.subTest(name), override_settings(BOTSESSIONS=correct):
                assert check_settings(None) == []

    def test_g1_a_project_without_our_setting_is_passed_in_silence(self) -> None:
        with override_settings():
            del settings.BOTSESSIONS
            assert check_settings(None) == []

    def test_every_check_is_documented_under_its_id(self) -> None:
        page = Path(settings.BASE_DIR) / "docs" / "settings.md"
        documented = set(re.findall(r"botsessions\.([EW]\d+)", page.read_text()))
        of_databases = {"E011", "W001", "W002", "W003", "W004"}
        others = {"E012", "E016", "E014", "W005", "W006", "W007", "W008"}
        assert documented == {check_id for _, _, check_id, _ in WRONG} | of_databases | others

    def test_a_webhooks_secret_has_to_be_one_that_telegram_takes(self) -> None:
        for secret in ("s3cret!", "é", "x" * 257, 7):
            bot = {**PIZZA, "WEBHOOK_SECRET": secret}
            with override_settings(BOTSESSIONS={"BOTS": {"a": bot}}):
                found = {m.id: m.msg for m in check_settings(None)}
            assert "['a']['WEBHOOK_SECRET'] is not 1 to 256 characters" in found["botsessions.E012"]
            assert str(secret) not in found["botsessions.E012"].replace("256", "")


def for_all(update: Any) -> str:
    """The same key for every update."""
    return "all"


def by_text(update: Any) -> str:
    return str(update.effective_message.text)


class KeysForAll:
    key = "all"

    def looking(self, update: Any) -> str:
        return f"{self.key} {update.update_id}"

    def not_looking(self, update: Any) -> str:
        return self.key

    def __call__(self, update: Any) -> str:
        return "all"


class CommonKeys(SimpleTestCase):
    def warnings(self, *key_functions: Any, multi: bool = True, lazy: bool = False) -> list[str]:
        kind = lazy_session if lazy else session
        parts = {f"f{n}": kind(get_session_key=f) for n, f in enumerate(key_functions)}
        declared = multi_session(**parts) if multi else parts["f0"]
        bot = {"SESSION": declared, "APPLICATION": build}
        with override_settings(BOTSESSIONS={"BOTS": {"a": bot}}):
            found = check_settings(None)
        assert {message.id for message in found} <= {"botsessions.W005"}
        return [message.msg for message in found]

    def test_no_update_holds_a_lazy_one(self) -> None:
        assert self.warnings(lambda update: "all", lazy=True) == []

    def test_a_fragment_with_one_key_for_all_updates_is_told(self) -> None:
        async def later(update: Any) -> str:
            return "all"

        functions = [for_all, lambda update: "all", later, KeysForAll().not_looking]
        assert len(self.warnings(*functions)) == len(functions)
        (message,) = self.warnings(per_chat, for_all)
        assert "['a']['SESSION']: the key function of fragment 'f1' does not look at the" in message

    def test_others_are_not(self) -> None:
        def in_a_comprehension(update: Any) -> str:
            return "/".join(str(part) for part in (update.update_id, "x"))

        assert self.warnings(per_chat, per_user, by_text, KeysForAll().looking) == []
        assert self.warnings(in_a_comprehension, lambda update: None, lambda *args: "all") == []
        assert self.warnings(for_all, multi=False) == []


class Caches(SimpleTestCase):
    def test_a_cache_that_is_none_is_an_error(self) -> None:
        dummy = {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}
        bot = {"SESSION": session(storage=CacheStorage("bots")), "APPLICATION": build}
        for cache, problem in (
            ({}, "settings.CACHES has no 'bots'"),
            ({"bots": dummy}, "CACHES['bots'] is a DummyCache, which stores nothing"),
        ):
            with override_settings(BOTSESSIONS={"BOTS": {"a": bot}}, CACHES=LOCAL_MEMORY | cache):
                (message,) = check_settings(None)
            assert message.id == "botsessions.E014"
            assert problem in message.msg
        with override_settings(
            BOTSESSIONS={"BOTS": {"a": bot}},
            CACHES=LOCAL_MEMORY | {"bots": LOCAL_MEMORY["default"]},
        ):
            assert check_settings(None) == []


class Databases(SimpleTestCase):
    def messages(self, **settings: Any) -> list[str]:
        database = ConnectionHandler({"default": settings})["default"]
        return [str(message.id).removeprefix("botsessions.") for message in of_database(database)]

    def test_g1_options_that_hurt_a_bot_are_found(self) -> None:
        sqlite = {"ENGINE": "django.db.backends.sqlite3", "NAME": "file.sqlite3"}
        log = {"init_command": "PRAGMA journal_mode = WAL;"}
        assert self.messages(**sqlite) == ["W002", "W003"]
        assert self.messages(**sqlite, OPTIONS={"transaction_mode": "IMMEDIATE"}) == ["W003"]
        assert self.messages(**sqlite, OPTIONS={"transaction_mode": "IMMEDIATE", **log}) == []
        assert self.messages(**{**sqlite, "NAME": ":memory:"}) == ["W001"]
        assert self.messages(**sqlite, AUTOCOMMIT=False)[0] == "E011"

    def test_g1_a_pool_of_one_connection_is_found(self) -> None:
        for pool, found in [
            ({"max_size": 1}, ["W004"]),
            ({"min_size": 1}, ["W004"]),
            ({"min_size": 1, "max_size": 2}, []),
            ({}, []),
            (True, []),
        ]:
            postgresql = {"ENGINE": "django.db.backends.postgresql", "OPTIONS": {"pool": pool}}
            assert self.messages(**postgresql) == found

    def test_a_charset_without_emoji_is_found(self) -> None:
        for charset, found in ({"latin1": ["W007"], "utf8mb4": [], None: []}).items():
            database = mock.Mock(vendor="mysql", alias="default")
            database.settings_dict = {"OPTIONS": {"charset": charset} if charset else {}}
            assert [m.id.removeprefix("botsessions.") for m in of_database(database)] == found

    def test_g1_only_databases_of_sessions_are_looked_at(self) -> None:
        with override_settings(BOTSESSIONS={"BOTS": {"shop": {"SESSION": session()}}}):
            assert used_databases() == {"default"}
        for bots in (
            {},
            {"shop": PIZZA},
            {"shop": {**PIZZA, "SESSION": "no.where"}},
            {"shop": {"SESSION": "os.sep"}},
        ):
            with override_settings(BOTSESSIONS={"BOTS": bots}):
                assert used_databases() == set()


class Project(TestCase):
    # Django's own checks ask the database what it can do.
    def test_g1_manage_py_check_runs_them(self) -> None:
        with (
            override_settings(BOTSESSIONS={"COLOUR": "red"}),
            pytest.raises(SystemCheckError, match=r"botsessions\.E002"),
        ):
            call_command("check", stdout=StringIO(), stderr=StringIO())

    def test_g1_this_project_is_clean(self) -> None:
        assert [message for message in run_checks() if "botsessions" in str(message.id)] == []
