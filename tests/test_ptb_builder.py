"""Putting a session into a builder of python-telegram-bot: rules A16 and G2."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import SimpleTestCase
from telegram.ext import (
    Application,
    ApplicationBuilder,
    CallbackContext,
    ContextTypes,
    JobQueue,
    TypeHandler,
)
from telegram.warnings import PTBUserWarning

from botsessions import (
    LazySessionContext,
    SessionApplication,
    SessionBuilder,
    SessionContext,
    lazy_session,
    multi_session,
    session,
)
from botsessions.ptb import SessionJobQueue
from botsessions.storages import Address
from botsessions.testing import AsyncBotClient

from .harness import Store, client

pytestmark = pytest.mark.once


class OwnContext(SessionContext[Any]):
    @property
    def shout(self) -> str:
        return "own!"


class OwnApplication(SessionApplication):
    def __init__(self, *, motto: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.motto = motto


class OwnJobQueue(SessionJobQueue):
    pass


class ForeignContext(CallbackContext[Any, Any, Any, Any]):
    pass


class ForeignApplication(Application[Any, Any, Any, Any, Any, Any]):
    pass


class ForeignJobQueue(JobQueue[Any]):
    pass


class OwnBuilder(ApplicationBuilder[Any, Any, Any, Any, Any, Any]):
    built = 0

    def build(self) -> Any:
        OwnBuilder.built += 1
        return super().build()

    def in_a_hurry(self) -> OwnBuilder:
        return self.concurrent_updates(True)


class Chats(dict[Any, Any]):
    pass


class Users(dict[Any, Any]):
    pass


class Bots(dict[Any, Any]):
    pass


def builder() -> Any:
    return Application.builder().token("1:OFFLINE")


def declared() -> Any:
    return session(initial=dict, storage=Store())


class InstalledSessions(SimpleTestCase):
    def test_the_builder_that_install_returns_is_the_one_it_was_given(self) -> None:
        plain = builder()
        installed = declared().install(plain)
        assert installed is plain
        assert isinstance(installed, SessionBuilder)

    def test_the_application_context_and_job_queue_have_sessions(self) -> None:
        shop = declared()
        application = shop.install(builder()).build()
        assert isinstance(application, SessionApplication)
        assert application.session is shop
        assert application.context_types.context is SessionContext
        assert isinstance(application.job_queue, SessionJobQueue)

    def test_a_lazy_session_has_a_lazy_context(self) -> None:
        lazy = lazy_session(initial=dict, storage=Store())
        assert lazy.install(builder()).build().context_types.context is LazySessionContext
        multi = multi_session(lazy=lazy)
        assert multi.install(builder()).build().context_types.context is SessionContext

    def test_classes_of_ones_own_that_derive_from_ours_are_kept(self) -> None:
        queue = OwnJobQueue()
        plain = (
            builder()
            .context_types(ContextTypes(context=OwnContext))
            .application_class(OwnApplication, {"motto": "more pizza"})
            .job_queue(queue)
        )
        application = declared().install(plain).build()
        assert isinstance(application, OwnApplication)
        assert application.motto == "more pizza"
        assert application.context_types.context is OwnContext
        assert application.job_queue is queue

    async def test_a_context_class_of_ones_own_has_the_session(self) -> None:
        seen = []

        async def note(update: Any, context: OwnContext) -> None:
            seen.append((context.shout, context.session))

        types = ContextTypes(context=OwnContext)
        bot = client(declared(), note, builder=lambda b: b.context_types(types))
        await bot.user().send("x")
        assert seen == [("own!", {})]

    def test_a16_an_earlier_context_types_keeps_its_data_classes(self) -> None:
        types = ContextTypes(chat_data=Chats, user_data=Users, bot_data=Bots)
        application = declared().install(builder().context_types(types)).build()
        assert application.context_types.context is SessionContext
        assert isinstance(application.chat_data[1], Chats)
        assert isinstance(application.user_data[1], Users)
        assert isinstance(application.bot_data, Bots)

    def test_no_job_queue_stays_none(self) -> None:
        for plain in (
            declared().install(builder().job_queue(None)),
            declared().install(builder()).job_queue(None),
        ):
            application = plain.build()
            with pytest.warns(PTBUserWarning, match="No `JobQueue`"):
                assert application.job_queue is None

    def test_later_calls_that_keep_the_session_are_fine(self) -> None:
        application = (
            declared()
            .install(builder())
            .context_types(ContextTypes(context=OwnContext, chat_data=Chats))
            .job_queue(OwnJobQueue())
            .concurrent_updates(True)
            .build()
        )
        assert application.context_types.context is OwnContext

    def test_a_builder_class_of_ones_own_keeps_its_methods_and_its_build(self) -> None:
        plain = OwnBuilder().token("1:OFFLINE")
        installed: Any = declared().install(plain)
        assert installed is plain
        assert isinstance(installed, OwnBuilder)
        application = installed.in_a_hurry().build()
        assert OwnBuilder.built == 1
        assert application.concurrent_updates > 1
        assert isinstance(application, SessionApplication)

    def test_a_session_may_be_installed_in_several_bots(self) -> None:
        shop = declared()
        for token in ("1:OFFLINE", "2:OFFLINE"):
            shop.install(Application.builder().token(token)).build()
        with pytest.raises(ImproperlyConfigured, match=r"bot=….*1, 2"):
            shop.get("5")


class StoredUnder(SimpleTestCase):
    async def test_sessions_are_stored_under_the_bots_numeric_id(self) -> None:
        store = Store()
        await client(session(initial=dict, storage=store), look).user().send("x")
        assert [*store.records] == [Address("1", "", "1001")]

    async def test_sessions_are_stored_under_the_alias_that_was_given(self) -> None:
        store = Store()

        def build(plain: Any) -> Any:
            application = shop.install(plain, bot="shop").build()
            application.add_handler(TypeHandler(object, look))
            return application

        shop = session(initial=dict, storage=store)
        await AsyncBotClient(build=build).user().send("x")
        assert [*store.records] == [Address("shop", "", "1001")]
        assert await shop.aget("1001", bot="shop") == {}
        assert await shop.aget("1001") == {}


class RefusedBuilders(SimpleTestCase):
    def test_a16_two_sessions_on_one_builder_are_refused(self) -> None:
        plain = declared().install(builder())
        with pytest.raises(ImproperlyConfigured, match=r"has a session already.*multi_session"):
            declared().install(plain)

    def test_a16_a_foreign_context_class_is_refused_by_name(self) -> None:
        plain = builder().context_types(ContextTypes(context=ForeignContext))
        with pytest.raises(ImproperlyConfigured, match=r"context_types\(\).*ForeignContext"):
            declared().install(plain)

    def test_a16_a_foreign_application_class_is_refused_by_name(self) -> None:
        plain = builder().application_class(ForeignApplication)
        with pytest.raises(
            ImproperlyConfigured, match=r"application_class\(\).*ForeignApplication"
        ):
            declared().install(plain)

    def test_a16_a_foreign_job_queue_is_refused_by_name(self) -> None:
        plain = builder().job_queue(ForeignJobQueue())
        with pytest.raises(ImproperlyConfigured, match=r"job_queue\(\).*ForeignJobQueue"):
            declared().install(plain)

    def test_a16_a_builder_that_was_refused_is_left_as_it_was(self) -> None:
        plain = builder().job_queue(ForeignJobQueue())
        with pytest.raises(ImproperlyConfigured):
            declared().install(plain)
        declared().install(plain.job_queue(None)).build()

    def test_a16_a_context_class_that_was_replaced_later_is_found_at_build(self) -> None:
        for types in (ContextTypes(), ContextTypes(context=ForeignContext)):
            installed = declared().install(builder()).context_types(types)
            with pytest.raises(ImproperlyConfigured, match=r"context_types\(\)"):
                installed.build()

    def test_a16_an_application_class_that_was_replaced_later_is_found_at_build(self) -> None:
        installed = declared().install(builder()).application_class(ForeignApplication)
        with pytest.raises(ImproperlyConfigured, match=r"application_class\(\).*Foreign"):
            installed.build()

    def test_an_application_class_that_derives_from_ours_may_come_later(self) -> None:
        pizza = declared()
        application = pizza.install(builder()).application_class(OwnApplication).build()
        assert isinstance(application, OwnApplication)
        assert application.session is pizza

    def test_a16_a_job_queue_that_was_replaced_later_is_found_at_build(self) -> None:
        installed = declared().install(builder()).job_queue(JobQueue())
        with pytest.raises(ImproperlyConfigured, match=r"job_queue\(\).*JobQueue"):
            installed.build()

    def test_a16_a_builder_class_of_ones_own_checks_itself_too(self) -> None:
        installed = (
            declared().install(OwnBuilder().token("1:OFFLINE")).context_types(ContextTypes())
        )
        with pytest.raises(ImproperlyConfigured, match=r"context_types\(\)"):
            installed.build()

    def test_an_unknown_lock_is_refused(self) -> None:
        with pytest.raises(ImproperlyConfigured, match="'redis'"):
            declared().install(builder(), lock="redis")


class WithoutJobQueue(SimpleTestCase):
    def test_g2_everything_but_jobs_works_and_the_warning_is_python_telegram_bots(self) -> None:
        script = """
            import asyncio, sys, warnings
            sys.modules["apscheduler"] = None
            from telegram.ext import TypeHandler
            from botsessions import MemoryStorage, session
            from botsessions.testing import AsyncBotClient

            async def count(update, context):
                context.session["count"] += 1
                assert context.job_queue is None

            def build(builder):
                application = session(
                    initial=lambda: {"count": 0}, storage=MemoryStorage()
                ).install(builder).build()
                application.add_handler(TypeHandler(object, count))
                return application

            async def main():
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always")
                    bot = AsyncBotClient(build=build)
                    maria = bot.user()
                    await maria.send("x")
                    print(await maria.session)
                    await bot.aclose()
                for warning in caught:
                    print(warning.category.__name__, str(warning.message))

            asyncio.run(main())
        """
        result = subprocess.run(  # noqa: S603
            [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.stderr == ""
        session_line, *warned = result.stdout.splitlines()
        assert session_line == "{'count': 1}"
        assert len(warned) == 1
        assert warned[0].startswith("PTBUserWarning No `JobQueue` set up.")


async def look(update: Any, context: Any) -> None:
    assert context.session == {}
