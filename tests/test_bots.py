"""``settings.BOTSESSIONS``, and scripts without settings."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import SimpleTestCase, override_settings
from telegram.ext import DictPersistence

from botsessions import session
from botsessions.bots import Bot, all_bots, get_bot
from botsessions.conf import max_bytes
from botsessions.exceptions import SessionDataError
from botsessions.ptb import build_application
from botsessions.testing import AsyncBotClient, BotClient

from .harness import Store, client

pytestmark = pytest.mark.once

pizza = session(initial=dict, storage=Store())
tea = session(initial=dict, storage=Store())


def build(builder: Any) -> Any:
    return builder.build()


def build_nothing(builder: Any) -> None:
    builder.build()


HERE = "tests.test_bots"
PIZZA = {"SESSION": f"{HERE}.pizza", "APPLICATION": f"{HERE}.build"}


class Settings(SimpleTestCase):
    def test_they_are_read_when_asked_for(self) -> None:
        for aliases in (["a"], ["b", "c"]):
            with override_settings(BOTSESSIONS={"BOTS": dict.fromkeys(aliases, PIZZA)}):
                assert list(all_bots()) == aliases
            with override_settings(BOTSESSIONS={"MAX_BYTES": len(aliases)}):
                assert max_bytes() == len(aliases)
        with override_settings(BOTSESSIONS={}):
            assert all_bots() == {}
            assert max_bytes() == 3 * 1024 * 1024

    async def test_max_bytes_counts_at_the_next_save(self) -> None:
        async def grow(update: Any, context: Any) -> None:
            context.session = "x" * 20

        store = Store()
        maria = client(session(storage=store), grow).user()
        with override_settings(BOTSESSIONS={"MAX_BYTES": 10}):
            (error,) = (await maria.send("x")).errors
        assert isinstance(error, SessionDataError)
        assert store.values == {}
        assert (await maria.send("x")).errors == []
        assert store.values == {"1001": "x" * 20}

    def test_what_a_bot_names_is_imported_when_it_is_asked_for(self) -> None:
        bot = Bot("a", {"SESSION": "no.such.session", "APPLICATION": f"{HERE}.build"})
        assert bot.application is build
        with pytest.raises(ImproperlyConfigured, match=r"\['a'\]\['SESSION'\].*No module"):
            _ = bot.session

    def test_what_a_bot_does_not_name_is_an_error_that_says_where(self) -> None:
        with pytest.raises(ImproperlyConfigured, match=r"\['a'\]\['APPLICATION'\] is missing"):
            _ = Bot("a", {}).application

    def test_a_bot_may_name_objects_instead_of_paths(self) -> None:
        bot = Bot("a", {"SESSION": pizza, "APPLICATION": build})
        assert (bot.session, bot.application) == (pizza, build)

    def test_a_bot_with_a_webhook_has_the_lock_of_the_database_unless_it_says_otherwise(
        self,
    ) -> None:
        assert Bot("a", {}).lock == "process"
        assert Bot("a", {"WEBHOOK_SECRET": "s"}).lock == "database"
        assert Bot("a", {"WEBHOOK_SECRET": "s", "LOCK": "process"}).lock == "process"
        assert Bot("a", {"LOCK": "database"}).lock == "database"

    def test_an_empty_token_is_none(self) -> None:
        assert Bot("a", {"TOKEN": ""}).token is None
        assert Bot("a", {}).token is None
        assert Bot("a", {"TOKEN": "1:A"}).token == "1:A"


class ChoosingABot(SimpleTestCase):
    def test_the_only_bot_needs_no_name(self) -> None:
        with override_settings(BOTSESSIONS={"BOTS": {"shop": PIZZA}}):
            assert get_bot().alias == "shop"
            assert get_bot("shop").alias == "shop"

    def test_of_several_bots_one_has_to_be_named(self) -> None:
        with override_settings(BOTSESSIONS={"BOTS": {"shop": PIZZA, "staff": PIZZA}}):
            assert get_bot("staff").alias == "staff"
            with pytest.raises(ImproperlyConfigured, match=r"Name a bot.*'shop', 'staff'"):
                get_bot()

    def test_a_bot_that_only_keeps_its_sessions_here_is_none_to_choose_from(self) -> None:
        bots = {"shop": PIZZA, "elsewhere": {"TOKEN": "7:A", "FREE_STORAGE": True}}
        with override_settings(BOTSESSIONS={"BOTS": bots}):
            assert get_bot().alias == "shop"
            assert get_bot("elsewhere").alias == "elsewhere"
            assert BotClient().application.session_bot == "shop"
        with override_settings(BOTSESSIONS={"BOTS": {"elsewhere": bots["elsewhere"]}}):
            assert get_bot().alias == "elsewhere"

    def test_an_unknown_bot_is_an_error_that_names_the_known_ones(self) -> None:
        with (
            override_settings(BOTSESSIONS={"BOTS": {"shop": PIZZA}}),
            pytest.raises(ImproperlyConfigured, match=r"no bot 'shoop'.*'shop'"),
        ):
            get_bot("shoop")
        with (
            override_settings(BOTSESSIONS={}),
            pytest.raises(ImproperlyConfigured, match="none"),
        ):
            get_bot()

    def test_a_session_finds_the_bot_that_has_it(self) -> None:
        with override_settings(
            BOTSESSIONS={"BOTS": {"shop": PIZZA, "cafe": {**PIZZA, "SESSION": f"{HERE}.tea"}}}
        ):
            assert pizza.alias(None) == "shop"
            assert tea.alias(None) == "cafe"
            assert tea.alias("shop") == "shop"
            with pytest.raises(ImproperlyConfigured, match="no bot 'bar'"):
                tea.alias("bar")

    def test_a_session_of_several_bots_wants_one_of_them_named(self) -> None:
        with override_settings(BOTSESSIONS={"BOTS": {"shop": PIZZA, "cafe": PIZZA}}):
            with pytest.raises(ImproperlyConfigured, match="cafe, shop"):
                pizza.get("1")
            assert pizza.get("1", bot="shop") is None

    def test_a_session_of_no_bot_says_what_to_do(self) -> None:
        with (
            override_settings(BOTSESSIONS={}),
            pytest.raises(ImproperlyConfigured, match=r"SESSION of BOTSESSIONS.*install"),
        ):
            session(initial=dict, storage=Store()).get("1")


class BuildingABot(SimpleTestCase):
    def test_its_function_gets_a_builder_with_session_and_token(self) -> None:
        application = build_application(Bot("shop", {**PIZZA, "TOKEN": "7:SECRET"}))
        assert application.session is pizza
        assert application.session_bot == "shop"
        assert application.bot.token == "7:SECRET"

    def test_a_function_that_returns_no_application_is_refused(self) -> None:
        bot = Bot("shop", {**PIZZA, "TOKEN": "7:SECRET", "APPLICATION": build_nothing})
        with pytest.raises(ImproperlyConfigured, match="'shop' returned NoneType"):
            build_application(bot)

    def test_a_function_that_returns_no_persistence_is_refused(self) -> None:
        for given in (None, DictPersistence()):
            bot = Bot(
                "shop", {**PIZZA, "TOKEN": "7:SECRET", "PERSISTENCE": lambda given=given: given}
            )
            with pytest.raises(ImproperlyConfigured, match=" which is no BotPersistence"):
                build_application(bot)

    async def test_a_client_takes_the_bot_that_is_named(self) -> None:
        bots = {"shop": PIZZA, "cafe": {**PIZZA, "SESSION": f"{HERE}.tea"}}
        with override_settings(BOTSESSIONS={"BOTS": bots}):
            assert AsyncBotClient("cafe").application.session is tea
            with pytest.raises(ImproperlyConfigured, match="Name a bot"):
                AsyncBotClient()


class Scripts(SimpleTestCase):
    def test_importing_needs_no_ready_apps_and_no_settings(self) -> None:
        assert run_script("import botsessions; print(botsessions.session)").startswith("<function")

    def test_an_update_is_handled_without_any_settings(self) -> None:
        script = """
            import asyncio
            from telegram import Chat, Message, Update
            from telegram.ext import Application, TypeHandler
            from telegram.request import HTTPXRequest
            from botsessions import MemoryStorage, session

            pizza = session(initial=dict, storage=MemoryStorage())

            async def count(update, context):
                context.session["count"] = context.session.get("count", 0) + 1

            async def main():
                application = pizza.install(Application.builder().token("1:A")).build()
                application.add_handler(TypeHandler(Update, count))
                application._initialized = True  # Its bot would ask Telegram who it is.
                message = Message(1, None, Chat(5, "private"))
                for number in range(3):
                    await application.process_update(Update(number, message))
                async with pizza.aedit(chat=5) as data:
                    data["count"] += 10
                print(await pizza.aget("5"))

            asyncio.run(main())
            with pizza.edit("5") as data:
                data["count"] += 100
            print(pizza.get("5"))
            pizza.delete("5")
            print(pizza.get("5"))
        """
        assert run_script(script).splitlines() == ["{'count': 13}", "{'count': 113}", "None"]

    def test_a_bot_is_tested_without_any_settings(self) -> None:
        script = """
            from telegram.ext import TypeHandler
            from botsessions import MemoryStorage, session
            from botsessions.testing import BotClient

            pizza = session(initial=dict, storage=MemoryStorage())

            async def count(update, context):
                context.session["count"] = 1
                await update.effective_message.reply_text("counted")

            def build(builder):
                application = pizza.install(builder).build()
                application.add_handler(TypeHandler(object, count))
                return application

            maria = BotClient(build=build).user()
            print(maria.send("x").text, maria.session)
        """
        assert run_script(script) == "counted {'count': 1}\n"

    def test_the_database_without_settings_is_djangos_error(self) -> None:
        script = """
            from django.core.exceptions import ImproperlyConfigured
            from botsessions import session

            pizza = session(initial=dict)
            try:
                pizza.get("1", bot="x")
            except ImproperlyConfigured as exc:
                print(exc)
        """
        assert "declares none" in run_script(script)


def run_script(script: str) -> str:
    """Run a script in a process without Django settings and return what it printed."""
    environment = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
    result = subprocess.run(  # noqa: S603
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stderr == ""
    return result.stdout
