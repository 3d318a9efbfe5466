"""user_data, chat_data and bot_data are read with the session and saved with it (F12)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.test import SimpleTestCase, TestCase, TransactionTestCase, override_settings
from telegram import Bot
from telegram.ext import (
    Application,
    CommandHandler,
    ContextTypes,
    DictPersistence,
    MessageHandler,
    PersistenceInput,
    filters,
)

from botsessions import SessionContext, multi_session, session
from botsessions.exceptions import SessionConflict, SessionDataError, SessionError
from botsessions.keys import per_user
from botsessions.models import BotSession
from botsessions.persistence import BotPersistence
from botsessions.ptb import SessionApplication
from botsessions.testing import AsyncBotClient, BotClient
from botsessions.testing.offline import OfflineTelegram

from .harness import Store, client, running, text
from .sessions import LIST, url
from .statements import noted_statements

WORDS = filters.TEXT & ~filters.COMMAND


def kept(store: Any = None, **options: Any) -> Callable[[Any], Any]:
    """Return what gives a builder a persistence."""

    def builder(plain: Any) -> Any:
        return plain.persistence(BotPersistence(storage=store or Store(), **options))

    return builder


async def count(update: Any, context: Any) -> None:
    for data in (context.user_data, context.chat_data, context.bot_data):
        data[1] = data.get(1, 0) + 1


async def look(update: Any, context: Any) -> None:
    data = [dict(d) for d in (context.user_data, context.chat_data, context.bot_data)]
    await update.effective_message.reply_text(str(data))


class Kept(SimpleTestCase):
    async def test_f12_data_is_there_after_a_restart(self) -> None:
        store = Store()
        for turn in range(3):
            bot = client(multi_session(), count, look, builder=kept(store))
            maria = bot.user("Maria", id=5)
            group = bot.supergroup("Friends", id=-100)
            answer = await maria.in_chat(group).send("x")
            assert answer.text == f"[{{1: {turn + 1}}}, {{1: {turn + 1}}}, {{1: {turn + 1}}}]"

    async def test_f12_what_nobody_changed_is_not_written(self) -> None:
        store = Store()
        bot = client(multi_session(), look, builder=kept(store))
        maria = bot.user("Maria", id=5)
        await maria.send("x")
        assert store.operations == ["read"] * 4  # bot_data before the start, too.

    async def test_a17_an_update_that_nobody_takes_costs_nothing(self) -> None:
        store = Store()
        bot = client(multi_session(), CommandHandler("look", look), builder=kept(store))
        maria = bot.user("Maria", id=5)
        await maria.send("/look")
        store.calls.clear()
        await maria.send("x")
        assert store.calls == []

    async def test_f12_what_a_handler_that_raised_has_changed_is_not_saved(self) -> None:
        store = Store()

        async def fail(update: Any, context: Any) -> None:
            context.user_data["a"] = 1
            raise ValueError

        seen: list[Any] = []

        async def error(update: Any, context: Any) -> None:
            seen.append(dict(context.user_data))

        bot = client(multi_session(), fail, errors=error, builder=kept(store))
        await bot.user("Maria").send("x")
        assert seen == [{"a": 1}]
        assert "write" not in store.operations

    async def test_a18_what_it_has_saved_before_stays(self) -> None:
        store = Store()

        async def fail(update: Any, context: Any) -> None:
            context.user_data["a"] = 1
            await context.save_session()
            context.user_data["b"] = 2
            raise ValueError

        bot = client(multi_session(), fail, builder=kept(store))
        await bot.user("Maria", id=5).send("x")
        assert store.values == {"5": {"a": 1}}

    async def test_f12_what_cannot_be_kept_is_refused_with_its_path(self) -> None:
        store = Store()

        async def put(update: Any, context: Any) -> None:
            context.chat_data["ok"] = 1
            context.user_data["a"] = [object()]

        errors: list[Any] = []

        async def error(update: Any, context: Any) -> None:
            errors.append(context.error)

        bot = client(multi_session(), put, errors=error, builder=kept(store))
        await bot.user("Maria").send("x")
        (raised,) = errors
        assert isinstance(raised, SessionDataError)
        assert raised.path == "$.a[0]"
        assert "write" not in store.operations

    async def test_f12_types_of_context_types_are_decoded_into(self) -> None:
        store, types = Store(), ContextTypes(context=SessionContext, user_data=Profile)

        async def visit(update: Any, context: Any) -> None:
            context.user_data.places.append(context.user_data.language)

        for _ in range(2):
            bot = client(
                multi_session(),
                visit,
                builder=lambda b: kept(store)(b.context_types(types)),
            )
            await bot.user("Maria", id=5).send("x")
        assert store.values["5"] == {"language": "en", "places": ["en", "en"]}

    async def test_f12_only_what_store_data_names_is_kept(self) -> None:
        store = Store()
        only_chats = PersistenceInput(user_data=False, bot_data=False, callback_data=False)
        bot = client(multi_session(), count, builder=kept(store, store_data=only_chats))
        maria = bot.user("Maria", id=5)
        await maria.in_chat(bot.supergroup("Friends", id=-100)).send("x")
        assert list(store.values) == ["-100"]
        assert bot.application.user_data[5] == {1: 1}
        assert bot.application.bot_data == {1: 1}

    async def test_f12_a_plain_bot_has_no_callback_data_to_keep(self) -> None:
        telegram = OfflineTelegram()
        plain = Bot("1:x", request=telegram, get_updates_request=telegram)
        builder = multi_session().install(Application.builder().bot(plain))
        no_buttons = PersistenceInput(callback_data=False)
        application = builder.persistence(BotPersistence(no_buttons, storage=Store())).build()
        async with application:
            assert application.bot is plain

    async def test_f12_nobody_elses_data_is_in_memory(self) -> None:
        seen: list[Any] = []

        async def others(update: Any, context: Any) -> None:
            for look_up in (lambda d: d[99], lambda d: d.get(99), lambda d: 99 in d, len, list):
                for data in (context.application.user_data, context.application.chat_data):
                    with pytest.raises(SessionError) as raised:
                        look_up(data)
                    seen.append(str(raised.value))

        bot = client(multi_session(), others, builder=kept(), raise_errors=True)
        await bot.user("Maria").send("x")
        assert "edit_user_data" in seen[0]
        assert seen[4] == seen[2] == seen[0]
        assert "BotSession.objects.filter(bot=…, name='ptb:user_data')" in seen[6]

    async def test_f12_what_a_persistence_reads_at_once_elsewhere_is_refused(self) -> None:
        bot = client(multi_session(), look, builder=kept())
        persistence: Any = bot.application.persistence
        for name in ("user_data", "chat_data", "bot_data", "callback_data"):
            with pytest.raises(SessionError, match=f"not in memory.* name='ptb:{name}'"):
                await getattr(persistence, f"get_{name}")()
        with pytest.raises(SessionError, match="name='ptb:conversation:ordering'"):
            await persistence.get_conversations("ordering")

    async def test_f12_data_can_be_dropped(self) -> None:
        store = Store()

        async def drop(update: Any, context: Any) -> None:
            context.application.drop_user_data(update.effective_user.id)

        async def again(update: Any, context: Any) -> None:
            if "again" in update.effective_message.text:
                context.user_data["new"] = 1

        bot = client(
            multi_session(),
            MessageHandler(filters.Regex("count"), count),
            MessageHandler(filters.Regex("drop"), drop),
            again,
            builder=kept(store),
        )
        maria = bot.user("Maria", id=5).in_chat(bot.supergroup("Friends", id=-100))
        await maria.send("count")
        await maria.send("drop")
        assert "5" not in store.values
        await maria.send("drop again")
        assert store.values["5"] == {"new": 1}

    async def test_f12_others_data_can_be_dropped(self) -> None:
        store = Store()

        async def drop(update: Any, context: Any) -> None:
            context.application.drop_user_data(77)
            context.application.drop_chat_data(-77)

        bot = client(multi_session(), drop, builder=kept(store), raise_errors=True)
        async with bot.application as application:
            persistence: Any = application.persistence
            await persistence.update_user_data(77, {"a": 1})
            await persistence.update_chat_data(-77, {"a": 1})
        assert store.values == {"77": {"a": 1}, "-77": {"a": 1}}
        await bot.user("Maria", id=5).send("x")
        assert store.values == {}

    @pytest.mark.filterwarnings("ignore:Tasks created via")
    async def test_f12_data_can_be_dropped_outside_of_updates(self) -> None:
        store = Store()
        bot = client(multi_session(), look, builder=kept(store))
        async with bot.application as application:
            await application.persistence.update_user_data(77, {"a": 1})  # type: ignore[union-attr]
            application.drop_user_data(77)
            await application.update_persistence()
            assert store.values == {}
            await application.persistence.update_user_data(77, {"a": 1})  # type: ignore[union-attr]
            application.drop_user_data(77)
        assert store.values == {}

    async def test_f12_an_error_of_such_a_drop_is_told(self) -> None:
        store, errors = Store(), []

        async def drop(update: Any, context: Any) -> None:
            await context.application.persistence.update_user_data(77, {"a": 1})
            store.fails["delete"] = OSError("gone")
            context.application.drop_user_data(77)

        async def error(update: Any, context: Any) -> None:
            errors.append(str(context.error))

        bot = client(multi_session(), drop, errors=error, builder=kept(store))
        await bot.user("Maria", id=5).send("x")
        assert errors == ["gone"]

    async def test_f12_others_data_is_changed_with_its_key_held(self) -> None:
        store = Store()

        async def greet(update: Any, context: Any) -> None:
            persistence = context.application.persistence
            async with persistence.edit_user_data(77) as data:
                data["greeted_by"] = update.effective_user.id
            async with persistence.edit_user_data(5) as own:
                assert own is context.user_data
                own["greets"] = 77

        bot = client(multi_session(), greet, builder=kept(store), raise_errors=True)
        await bot.user("Maria", id=5).send("x")
        assert store.values["77"] == {"greeted_by": 5}
        assert store.values["5"] == {"greets": 77}

    async def test_f12_jobs_have_the_data_of_their_chat_and_user(self) -> None:
        store = Store()

        async def job(context: Any) -> None:
            context.user_data["job"] = context.chat_data["job"] = context.bot_data["job"] = 1

        bot = client(multi_session(), count, builder=kept(store))
        bot.user("Maria")
        async with running(bot) as application:
            made = application.job_queue.run_once(job, 3600, chat_id=-100, user_id=5)
            await made.run(application)
        assert store.values == {"5": {"job": 1}, "-100": {"job": 1}, "bot": {"job": 1}}

    async def test_f12_updates_of_the_bots_own_have_the_data_of_whom_their_context_names(
        self,
    ) -> None:
        store = Store()

        async def pay(update: Any, context: Any) -> None:
            if isinstance(update, Payment):
                context.user_data.setdefault("paid", []).append(update.amount)
                context.session["last"] = update.amount
                await asyncio.sleep(0)
            else:
                await update.message.reply_text(f"{context.user_data} {context.session}")

        sessions = session(initial=dict, get_session_key=per_user, storage=Store())
        types = ContextTypes(context=PaymentContext)
        bot = client(
            sessions,
            pay,
            builder=lambda b: kept(store)(b.context_types(types).concurrent_updates(True)),
            raise_errors=True,
        )
        await asyncio.gather(*(bot.feed(Payment(5, amount)) for amount in (1, 2)))
        await bot.feed(Payment(6, 3))
        answer = await bot.user("Maria", id=5).send("x")
        assert answer.text == "{'paid': [1, 2]} {'last': 2}"

    async def test_f12_what_post_init_puts_into_bot_data_is_kept(self) -> None:
        store = Store()
        for turn in ("first", "second"):
            bot = client(multi_session(), look, builder=kept(store))
            maria = bot.user("Maria", id=5)
            async with bot.application as application:
                application.bot_data[turn] = 1
                await application.start()
                await application.stop()
                await application.process_update(text(maria))
        assert store.values["bot"] == {"first": 1, "second": 1}

    async def test_f12_bot_data_can_be_replaced(self) -> None:
        store = Store()

        async def replace(update: Any, context: Any) -> None:
            context.application.bot_data = {"of": "an update"}

        bot = client(multi_session(), replace, builder=kept(store), raise_errors=True)
        maria = bot.user("Maria", id=5)
        async with bot.application as application:
            application.bot_data = {"of": "the start"}
            await application.start()
            await application.stop()
            assert store.values["bot"] == {"of": "the start"}
            await application.process_update(text(maria))
            assert store.values["bot"] == {"of": "an update"}

    async def test_f12_what_is_there_before_the_start_is_kept_where_nothing_is(self) -> None:
        store = Store()
        types = ContextTypes(SessionContext, user_data=Profile)
        for language in ("it", "de"):
            bot = client(
                multi_session(), look, builder=lambda b: kept(store)(b.context_types(types))
            )
            bot.application._user_data[5] = Profile(language)
            async with bot.application:
                pass
        assert store.values["5"]["language"] == "it"

    async def test_b2_it_is_read_with_the_session_and_written_with_it(self) -> None:
        store, sizes = Store(), []

        async def note(addresses: Any, then: Any = store.read_many) -> Any:
            sizes.append(len(addresses))
            return await then(addresses)

        async def change(update: Any, context: Any) -> None:
            context.session["a"] = context.user_data["a"] = 1

        store.read_many = note  # type: ignore[method-assign,assignment]
        bot = client(session(initial=dict, storage=store), change, builder=kept(store))
        maria = bot.user("Maria", id=5)
        await maria.send("x")
        assert sizes == [1, 4]  # bot_data before the start; then the session, too.

    async def test_e1_two_updates_of_a_user_in_two_chats_see_each_others_changes(self) -> None:
        store = Store()

        async def slowly(update: Any, context: Any) -> None:
            before = context.user_data.get("n", 0)
            await asyncio.sleep(0)
            context.user_data["n"] = before + 1

        bot = client(
            multi_session(), slowly, builder=lambda b: kept(store)(b.concurrent_updates(True))
        )
        maria = bot.user("Maria", id=5)
        chats = [maria.in_chat(bot.supergroup("A", id=-100 - n)) for n in range(8)]
        await asyncio.gather(*(chat.send("x") for chat in chats))
        assert store.values["5"] == {"n": 8}

    async def test_e2_bot_data_holds_nobody_up_and_a_lost_change_is_a_conflict(self) -> None:
        store, begun, go, errors = Store(), asyncio.Event(), asyncio.Event(), []

        async def change(update: Any, context: Any) -> None:
            context.bot_data["n"] = context.bot_data.get("n", 0) + 1
            if update.effective_user.id == 5:
                begun.set()
                await go.wait()

        async def error(update: Any, context: Any) -> None:
            errors.append(context.error)

        bot = client(multi_session(), change, errors=error, builder=kept(store))
        first = asyncio.create_task(bot.user("Maria", id=5).send("x"))
        await begun.wait()
        await bot.user("Tom", id=6).send("x")
        go.set()
        await first
        assert [type(e) for e in errors] == [SessionConflict]
        assert store.values["bot"] == {"n": 1}

    async def test_f12_bot_data_that_many_change_is_edited(self) -> None:
        store = Store()

        async def change(update: Any, context: Any) -> None:
            async with context.application.persistence.edit_bot_data() as data:
                data["n"] = data.get("n", 0) + 1
                await asyncio.sleep(0)
            assert context.bot_data["n"] == data["n"]

        bot = client(
            multi_session(),
            change,
            builder=lambda b: kept(store)(b.concurrent_updates(True)),
            raise_errors=True,
        )
        people = [bot.user(f"P{n}") for n in range(8)]
        await asyncio.gather(*(person.send("x") for person in people))
        assert store.values["bot"] == {"n": 8}

    async def test_f12_in_an_error_handler_the_edit_alone_is_saved(self) -> None:
        store = Store()

        async def fail(update: Any, context: Any) -> None:
            context.user_data["a"] = context.bot_data["a"] = 1
            raise ValueError

        async def error(update: Any, context: Any) -> None:
            async with context.application.persistence.edit_bot_data() as bot_data:
                bot_data["errors"] = bot_data.get("errors", 0) + 1
            assert context.bot_data == bot_data

        bot = client(multi_session(), fail, errors=error, builder=kept(store))
        for _ in range(2):
            await bot.user("Maria", id=5).send("x")
        assert store.values == {"bot": {"errors": 2}}

    async def test_b5_a_session_does_not_show_what_is_kept(self) -> None:
        fragments = multi_session(a=session(initial=dict, storage=Store()))
        seen: list[Any] = []

        async def see(update: Any, context: Any) -> None:
            seen.append(context.session_key)
            with pytest.raises(AttributeError, match="it has a"):
                getattr(context.session, "ptb:user_data")
            context.session = None

        bot = client(fragments, count, see, builder=kept(), raise_errors=True)
        await bot.user("Maria", id=5).send("x")
        assert seen == [{"a": "5"}]

    async def test_f7_chat_data_moves_with_a_group_that_becomes_a_supergroup(self) -> None:
        store = Store()

        async def migrate(update: Any, context: Any) -> None:
            context.application.migrate_chat_data(message=update.message)

        bot = client(
            multi_session(),
            MessageHandler(filters.StatusUpdate.MIGRATE, migrate),
            MessageHandler(WORDS, count),
            builder=kept(store),
            raise_errors=True,
        )
        maria = bot.user("Maria", id=5)
        group = bot.group("Friends", id=-7)
        await maria.in_chat(group).send("x")
        await maria.in_chat(group).send(migrate_to_chat_id=-1007)
        assert store.values["-1007"] == {1: 1} or "-7" not in store.values

    async def test_f7_chat_data_moves_as_the_bot_says(self) -> None:
        """As where Telegram tells of the supergroup by an error only."""
        store = Store()

        async def migrate(update: Any, context: Any) -> None:
            application = context.application
            application.migrate_chat_data(old_chat_id=-7, new_chat_id=update.effective_chat.id)
            with pytest.raises(ValueError, match="old_chat_id and new_chat_id"):
                application.migrate_chat_data(old_chat_id=-7)

        async def note(update: Any, context: Any) -> None:
            context.chat_data["text"] = update.message.text

        bot = client(
            multi_session(),
            MessageHandler(filters.Regex("migrate"), migrate),
            MessageHandler(filters.Regex("note"), note),
            builder=kept(store),
            raise_errors=True,
        )
        maria = bot.user("Maria", id=5)
        there = maria.in_chat(bot.supergroup("Friends", id=-1007))
        await there.send("note there")
        await maria.in_chat(bot.group("Friends", id=-7)).send("note here")
        for _ in range(2):  # The second time there is nothing left to move.
            await there.send("migrate")
            assert store.values == {"-1007": {"text": "note here"}}

    async def test_a16_without_a_session_the_remedy_is_told(self) -> None:
        application = Application.builder().token("1:a").persistence(BotPersistence()).build()
        with pytest.raises(ImproperlyConfigured, match="needs an application with a session"):
            await application.persistence.get_user_data()  # type: ignore[union-attr]

    def test_f12_a_persistence_belongs_to_one_bot(self) -> None:
        persistence = BotPersistence(storage=Store())
        for alias in ("a", "a"):
            builder = Application.builder().token("1:a").persistence(persistence)
            multi_session().install(builder, bot=alias).build()
        builder = Application.builder().token("1:a").persistence(persistence)
        with pytest.raises(ImproperlyConfigured, match="belongs to one bot"):
            multi_session().install(builder, bot="b").build()

    async def test_e5_memory_does_not_grow_with_chats(self) -> None:
        bot = client(multi_session(), count, builder=kept())
        for n in range(20):
            await bot.user(f"P{n}").send("x")
        application = bot.application
        assert isinstance(application, SessionApplication)
        assert not application._user_ids_to_be_updated_in_persistence
        assert not application._chat_ids_to_be_updated_in_persistence
        assert repr(application.user_data) == "<user_data of the running update>"


@dataclass
class Payment:
    user_id: int
    amount: int


class PaymentContext(SessionContext[Any]):
    @classmethod
    def from_update(cls, update: Any, application: Any) -> Any:
        if isinstance(update, Payment):
            return cls(application=application, user_id=update.user_id)
        return super().from_update(update, application)


@dataclass
class Profile:
    language: str = "en"
    places: list[str] = field(default_factory=list)


def build(builder: Any) -> Any:
    application = builder.build()
    application.add_handler(MessageHandler(WORDS, count))
    application.add_handler(CommandHandler("look", look))
    return application


SETTINGS = {"BOTS": {"shop": {"APPLICATION": build, "PERSISTENCE": True}}}


@override_settings(BOTSESSIONS=SETTINGS)
class OfSettings(TestCase):
    def test_f12_one_setting_keeps_the_data_of_a_bot(self) -> None:
        for turn in range(2):
            maria = BotClient("shop").user("Maria", id=5)
            maria.send("x")
            assert maria.send("/look").text == str([{1: turn + 1}] * 3)
        rows = BotSession.objects.order_by("name").values_list("bot", "name", "key", "user_id")
        assert list(rows) == [
            ("shop", "ptb:bot_data", "bot", None),
            ("shop", "ptb:chat_data", "5", None),
            ("shop", "ptb:user_data", "5", 5),
        ]

    def test_f12_a_bot_that_goes_on_with_its_own_persistence_is_told(self) -> None:
        def build(builder: Any) -> Any:
            return builder.persistence(DictPersistence()).build()

        declared = {"BOTS": {"shop": {"APPLICATION": build, "PERSISTENCE": True}}}
        with (
            override_settings(BOTSESSIONS=declared),
            pytest.raises(ImproperlyConfigured, match=r"'shop' .* DictPersistence: leave"),
        ):
            BotClient("shop")

    def test_f12_a_person_is_forgotten_with_it(self) -> None:
        BotClient("shop").user("Maria", id=5).send("x")
        call_command("forget_user", "5", "--no-input", verbosity=0)
        assert [row.name for row in BotSession.objects.all()] == ["ptb:bot_data"]

    def test_g1_the_check_is_silent_or_tells(self) -> None:
        call_command("check")
        for wrong in ("nowhere.persistence", "builtins.dict", "os.getcwd"):
            bots = {"shop": {"APPLICATION": build, "PERSISTENCE": wrong}}
            with (
                override_settings(BOTSESSIONS={"BOTS": bots}),
                self.assertRaisesMessage(Exception, "botsessions.E016"),
            ):
                call_command("check")


class Statements(TransactionTestCase):
    async def _statements(self, lock: str, declared: Any, builder: Any, change: Any) -> list[str]:
        def build(plain: Any) -> Any:
            application = builder(declared.install(plain, lock=lock)).build()
            application.add_handler(MessageHandler(filters.ALL, change))
            return application

        bot = AsyncBotClient(build=build, raise_errors=True)
        maria = bot.user("Maria", id=5)
        await maria.send("x")
        with noted_statements(lambda text: text.split()[0]) as made:
            await maria.send("x")
        await bot.conversation.close()
        return made

    async def test_f12_it_costs_no_statement_more_than_a_session(self) -> None:
        fragments = {
            "chat": session(initial=dict),
            "user": session(initial=dict, get_session_key=per_user),
            "bot": session(initial=dict, get_session_key=lambda update: f"bot{update and 1}"),
        }

        async def several(update: Any, context: Any) -> None:
            for name in fragments:
                data = getattr(context.session, name)
                data["n"] = data.get("n", 0) + 1

        for lock in ("process", "database"):
            sessions = await self._statements(
                lock, multi_session(**fragments), lambda b: b, several
            )
            kept = await self._statements(
                lock, multi_session(), lambda b: b.persistence(BotPersistence()), count
            )
            assert len(kept) <= len(sessions), lock
            assert [kept.count("SELECT"), kept[0]] == [sessions.count("SELECT"), sessions[0]]


@override_settings(BOTSESSIONS=SETTINGS)
class Elsewhere(TestCase):
    def test_f12_what_is_exported_is_imported_as_it_was(self) -> None:
        maria = BotClient("shop").user("Maria", id=5)
        maria.send("x")
        with TemporaryDirectory() as directory:
            path = str(Path(directory) / "shop.jsonl")
            call_command("export_sessions", "--output", path, verbosity=0)
            before = list(BotSession.objects.order_by("name").values_list("name", "key", "data"))
            BotSession.objects.all().delete()
            call_command("import_sessions", "jsonl", path, verbosity=0)
        assert before == list(
            BotSession.objects.order_by("name").values_list("name", "key", "data")
        )
        assert maria.send("/look").text == str([{1: 1}] * 3)

    def test_f12_staff_see_it_and_change_it_in_the_admin(self) -> None:
        BotClient("shop").user("Maria", id=5).send("x")
        self.client.force_login(User.objects.create_superuser("boss"))
        row = BotSession.objects.get(name="ptb:user_data")
        assert "ptb:user_data" in self.client.get(LIST).content.decode()
        page = self.client.get(url("change", row)).content.decode()
        assert "__type__" in page
