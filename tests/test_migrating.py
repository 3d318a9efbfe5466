"""``manage.py migrate_sessions``, and the same as a part of ``sweep_sessions``."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from typing import Any
from unittest import mock

import pytest
from asgiref.sync import sync_to_async
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import TestCase, override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from msgspec.structs import replace
from telegram.ext import TypeHandler

from botsessions import (
    DatabaseStorage,
    MemoryStorage,
    enhance_storage,
    multi_session,
    session,
)
from botsessions.database import changes
from botsessions.exceptions import SessionConflict
from botsessions.maintenance import Migrate
from botsessions.management.progress import duration
from botsessions.models import BotSession
from botsessions.storages import Address, Record, WrappedStorage
from botsessions.testing import BotClient

HOUR = timedelta(hours=1)


def to_one(old: Any) -> Any:
    return {**old, "steps": [*old.get("steps", []), 1]}


async def to_two(old: Any) -> Any:
    return {**old, "steps": [*old["steps"], 2]}


STEPS = {1: to_one, 2: to_two}


@dataclass
class Texts:
    text: str


@contextmanager
def bots(**sessions: Any) -> Iterator[None]:
    """Have these bots in the settings."""
    with override_settings(
        BOTSESSIONS={"BOTS": {alias: {"SESSION": s} for alias, s in sessions.items()}}
    ):
        yield


def migrating(migrations: Any = STEPS, **options: Any) -> Any:
    return session(storage=enhance_storage(migrations=migrations), **options)


def make(key: str, data: Any = None, bot: str = "pets", **fields: Any) -> BotSession:
    data = {"name": key} if data is None else data
    return BotSession.objects.create(bot=bot, key=key, data=data, **fields)


def run(*arguments: str, command: str = "migrate_sessions", **options: Any) -> str:
    out = StringIO()
    call_command(command, *arguments, stdout=out, **options)
    return out.getvalue()


def failing(*arguments: str, **options: Any) -> tuple[str, list[str]]:
    """Return what a run that leaves sessions as they were says: in the end, and of each."""
    err = StringIO()
    with pytest.raises(CommandError) as error:
        run(*arguments, stderr=err, **options)
    return str(error.value), err.getvalue().splitlines()


def stored() -> dict[str, Any]:
    return {row.key: row.data for row in BotSession.objects.order_by("pk")}


class Migrating(TestCase):
    def test_it_brings_sessions_of_every_version_to_the_newest(self) -> None:
        make("none")
        make("one", {"steps": [1]}, version=1)
        make("two", {"steps": [1, 2]}, version=2)
        with bots(pets=migrating()):
            assert run().startswith("2 sessions migrated in 0.")
            assert stored() == {
                "none": {"name": "none", "steps": [1, 2]},
                "one": {"steps": [1, 2]},
                "two": {"steps": [1, 2]},
            }
            assert set(BotSession.objects.values_list("version", flat=True)) == {2}
            assert run().startswith("0 sessions migrated")

    def test_it_is_no_change_by_a_user(self) -> None:
        moment = timezone.now().replace(microsecond=0) - timedelta(days=100)
        ends = timezone.now().replace(microsecond=0) + HOUR
        before = make("a", updated_at=moment, created_at=moment, expires_at=ends, chat_id=7)
        timed = enhance_storage(time_to_live=90 * HOUR, renew="access", migrations=STEPS)
        with bots(pets=session(storage=timed)):
            run()
        after = BotSession.objects.get()
        assert (after.updated_at, after.created_at, after.expires_at) == (moment, moment, ends)
        assert after.revision != before.revision
        assert after.size == len('{"name":"a","steps":[1,2]}')
        assert (after.chat_id, after.version) == (7, 2)

    def test_d3_what_has_expired_is_not_migrated(self) -> None:
        make("gone", expires_at=timezone.now())
        make("lives", expires_at=timezone.now() + HOUR)
        with bots(pets=migrating()):
            assert run().startswith("1 session migrated")
        assert stored()["gone"] == {"name": "gone"}

    def test_d6_versions_are_exact(self) -> None:
        def numbered(number: str) -> Any:
            return lambda old: [*old, number]

        for number, version in enumerate([None, "1.5", "10", "10.1", "10.2", "10.25"]):
            make(f"{number}", [], version=version and Decimal(version))
        numbers = ["10", "1.5", "10.1", "10.2"]
        with bots(pets=migrating({Decimal(number): numbered(number) for number in numbers})):
            message, _ = failing()
        assert message == "1 session could not be handled: see above."
        assert list(stored().values()) == [
            ["1.5", "10", "10.1", "10.2"],
            ["10", "10.1", "10.2"],
            ["10.1", "10.2"],
            ["10.2"],
            [],
            [],
        ]

    def test_d8_data_of_a_newer_version_is_left_and_named(self) -> None:
        make("new", version=Decimal("2.5"))
        make("old")
        make("newer", bot="plain", version=1)
        with bots(pets=migrating(), plain=session()):
            message, lines = failing()
        assert message == "2 sessions could not be handled: see above."
        assert lines == [
            "Session 'new' of bot 'pets': It has version 2.5, which is newer than this code.",
            "Session 'newer' of bot 'plain': It has version 1, which is newer than this code.",
        ]
        assert BotSession.objects.get(key="new").version == Decimal("2.5")

    def test_d9_what_cannot_be_migrated_is_left_and_named_without_its_data(self) -> None:
        def fails(old: Any) -> Any:
            if "result" not in old:
                raise LookupError(f"Nothing in {old}")
            return {**old["result"], "circle": {1, 2}} if old["result"] else None

        for key, data in {
            "raises": {"secret": "swordfish"},
            "none": {"result": None},
            "no json": {"result": {"secret": "swordfish"}},
        }.items():
            make(key, data, version=1)
        before = list(BotSession.objects.order_by("pk").values())
        with bots(pets=migrating({1: to_one, 2: fails})):
            message, lines = failing()
        assert message == "3 sessions could not be handled: see above."
        migration = "Its migration from version 1 to version 2"
        migration = "Its migration from version 1 to version 2"
        unusable = "What it would be migrated to from version 1 cannot be used"
        needs_type = "which needs a declared type (data_type)"
        assert lines == [
            f"Session 'raises' of bot 'pets': {migration} raised LookupError.",
            f"Session 'none' of bot 'pets': {migration} returned None instead of the data.",
            f"Session 'no json' of bot 'pets': {unusable}: $.circle is set, {needs_type}.",
        ]
        assert list(BotSession.objects.order_by("pk").values()) == before

    def test_data_that_nobody_can_read_keeps_no_other_from_being_migrated(self) -> None:
        make("a")
        unreadable = make("b")
        make("c")
        with connection.cursor() as cursor:
            table = BotSession._meta.db_table
            sql = f"UPDATE {table} SET data = %s WHERE id = %s"  # noqa: S608
            cursor.execute(sql, ["9" * 5000, unreadable.pk])
        with bots(pets=migrating()):
            _, lines = failing()
        assert lines == ["Session 'b' of bot 'pets': Its data is no JSON that Python can read."]
        assert BotSession.objects.filter(version=2).count() == 2

    def test_with_verbosity_2_it_is_told_what_the_authors_code_raised_and_where(self) -> None:
        def to_number(old: dict[str, Any]) -> Any:
            return {"price": json.loads(old["price"])}  # The line that is to be named.

        async def to_sum(old: dict[str, Any]) -> Any:
            await asyncio.sleep(0)
            return old["price"] + 1

        make("text", {"price": "dear"})
        make("list", {"price": "[]"})
        with bots(pets=migrating({1: to_number, 2: to_sum})):
            _, lines = failing()
            assert lines[0].endswith("from no version to version 1 raised JSONDecodeError.")
            _, lines = failing(verbosity=2)
        line = inspect.getsourcelines(to_number)[1] + 1
        assert "raised JSONDecodeError. JSONDecodeError: Expecting value: line 1" in lines[0]
        assert lines[0].endswith(f" (tests/test_migrating.py, line {line}, in to_number)")
        assert "raised TypeError. TypeError: can only concatenate list" in lines[1]
        assert lines[1].endswith(", in to_sum)")

    def test_what_the_bot_could_not_read_or_store_afterwards_is_left(self) -> None:
        make("large", {"text": "x" * 200})
        make("wrong", {"text": 5})
        make("right", {"text": "five"})

        with (
            bots(pets=session(storage=enhance_storage(migrations={1: dict}), data_type=Texts)),
            mock.patch("botsessions.maintenance.migrating.max_bytes", return_value=100),
        ):
            _, lines = failing()
        assert "has 211 bytes; a session may have 100 (MAX_BYTES)" in lines[0]
        assert "$.text does not fit Texts: Expected `str`, got `int`." in lines[1]
        assert list(BotSession.objects.filter(version=1).values_list("key", flat=True)) == ["right"]

    def test_others_than_those_named_first_are_counted(self) -> None:
        for number in range(103):
            make(str(number), version=3)
        with bots(pets=migrating()):
            message, lines = failing("--batch-size", "10", verbosity=0)
            assert message == "103 sessions could not be handled: see above."
            assert len(lines) == 101
            assert lines[-1] == "And 3 others, which --verbosity 2 names."
            assert len(failing(verbosity=2)[1]) == 103

    def test_a_session_that_the_bot_changes_meanwhile_is_left_to_it(self) -> None:
        def build(builder: Any) -> Any:
            application = pets.install(builder, bot="pets").build()
            application.add_handler(TypeHandler(object, note))
            return application

        async def note(update: Any, context: Any) -> None:
            context.session["noted"] = True

        async def interrupted(old: Any) -> Any:
            if old["name"] == "42":
                changed = {"name": "changed", "steps": [1, 2]}
                row = BotSession.objects.filter(key="42")
                await row.aupdate(data=changed, version=2, revision=1)
            return to_one(old)

        pets = migrating()
        with bots(pets=migrating({1: interrupted, 2: to_two})):
            for key in ("41", "42", "43"):
                make(key)
            assert run().startswith("2 sessions migrated")
        BotClient(build=build).user(id=42).send("x")
        assert stored()["42"] == {"name": "changed", "steps": [1, 2], "noted": True}

    def test_a_handler_whose_session_is_migrated_meanwhile_goes_on(self) -> None:
        async def change(update: Any, context: Any) -> None:
            context.session["changed"] = update.message.text
            await sync_to_async(run)()
            if update.message.text == "delete":
                context.session = None

        self.talk(change, "save", "delete")
        assert stored() == {"42": {"name": "42", "steps": [1, 2], "changed": "save"}}

    def test_one_whose_session_is_migrated_and_changed_meanwhile_is_in_conflict(self) -> None:
        async def change(update: Any, context: Any) -> None:
            context.session["changed"] = True
            await sync_to_async(run)()
            row = BotSession.objects.filter(key=context.session_key)
            changed = {"name": "somebody else's", "steps": [1, 2]}
            await row.aupdate(data=changed, revision=1)

        with pytest.raises(SessionConflict):
            self.talk(change, "save")
        assert stored() == {"42": {"name": "somebody else's", "steps": [1, 2]}}

    def talk(self, handler: Any, *texts: str) -> None:
        """Have somebody in a chat of her own for each text send it; her session is an old one."""

        def build(builder: Any) -> Any:
            application = pets.install(builder, bot="pets").build()
            application.add_handler(TypeHandler(object, handler))
            return application

        pets = migrating()
        with bots(pets=pets):
            bot = BotClient(build=build)
            for number, text in enumerate(texts, 42):
                make(str(number))
                bot.user(id=number).send(text)

    def test_each_fragment_by_its_own_functions(self) -> None:
        both = multi_session(
            chat=migrating({1: lambda old: "chat"}), user=migrating({3: lambda old: "user"})
        )
        for name in ("chat", "user", "unknown"):
            make("1", bot="both", name=name)
        make("1")
        with bots(both=both, pets=migrating({1: lambda old: "pets"})):
            assert run().startswith("3 sessions migrated")
        rows = {(row.bot, row.name): (row.data, row.version) for row in BotSession.objects.all()}
        assert rows == {
            ("both", "chat"): ("chat", 1),
            ("both", "user"): ("user", 3),
            ("both", "unknown"): ({"name": "1"}, None),
            ("pets", ""): ("pets", 1),
        }

    def test_through_layers_in_any_order(self) -> None:
        class Backwards(WrappedStorage):
            """Stores text the other way round."""

            async def incoming(self, address: Address, record: Record) -> Record:
                return replace(record, value=record.value[::-1])

            def outgoing(self, record: Record) -> Record:
                return replace(record, value=record.value[::-1])

        def timed(inner: Any) -> Any:
            return enhance_storage(inner, time_to_live=HOUR)

        def shouting(inner: Any) -> Any:
            return enhance_storage(inner, migrations={1: lambda old: f"{old}!"})

        layers = (timed, shouting, Backwards)
        for first, second, third in ((0, 1, 2), (1, 0, 2), (1, 2, 0), (2, 1, 0)):
            with self.subTest(order=(first, second, third)):
                BotSession.objects.all().delete()
                make("a", "olleh")
                storage = layers[first](layers[second](layers[third](DatabaseStorage())))
                with bots(pets=session(storage=storage)):
                    run()
                row = BotSession.objects.get()
                inside = (first, second, third).index(2) > (first, second, third).index(1)
                assert row.data == ("!olleh" if inside else "olleh!")
                assert (row.version, row.expires_at) == (1, None)

    def test_only_of_a_bot_or_a_fragment(self) -> None:
        make("1")
        make("2", bot="other")
        make("3", bot="other", name="user", version=2)
        with bots(pets=migrating(), other=migrating()):
            assert run("--fragment", "user").startswith("0 sessions")
            assert run("--bot", "other").startswith("1 session ")
            assert stored()["1"] == {"name": "1"}
            with pytest.raises(CommandError, match="no bot 'typo'"):
                run("--bot", "typo")

    def test_a_limit_is_kept_and_the_next_run_does_the_rest(self) -> None:
        for number in range(7):
            make(str(number), version=3 if number == 1 else None)
        with bots(pets=migrating()):
            with pytest.raises(CommandError):
                run("--limit", "4", "--batch-size", "2")
            assert BotSession.objects.filter(version=2).count() == 4
            with pytest.raises(CommandError):
                run()
        assert BotSession.objects.filter(version=2).count() == 6

    def test_a_dry_run_runs_every_function_and_writes_nothing(self) -> None:
        def fails(old: Any) -> Any:
            seen.append(old["name"])
            return old if old["name"] != "2" else None

        seen: list[str] = []
        for number in range(4):
            make(str(number))
        before = list(BotSession.objects.values())
        out, err = StringIO(), StringIO()
        with bots(pets=migrating({1: fails})), pytest.raises(CommandError):
            call_command("migrate_sessions", "--dry-run", stdout=out, stderr=err)
        assert out.getvalue() == "3 sessions would be migrated.\n"
        assert "Session '2' of bot 'pets'" in err.getvalue()
        assert seen == ["0", "1", "2", "3"]
        assert list(BotSession.objects.values()) == before

    def test_a_plan_counts_by_version(self) -> None:
        make("a")
        for number in range(3):
            make(f"b{number}", version=Decimal("1.5"))
        make("c", version=2)
        make("d", version=30)
        make("e", bot="gone")
        make("f", expires_at=timezone.now())
        with bots(pets=migrating()):
            lines = run("--plan").splitlines()
            plan = json.loads(run("--plan", "--json"))["plan"]
            assert len(run("--plan", "--bot", "gone").splitlines()) == 2
        assert sorted(" ".join(line.split()) for line in lines) == sorted(
            [
                "bot fragment version sessions",
                "gone none 1 not declared in the settings: left as it is",
                "pets none 1 to be migrated to 2",
                "pets 1.5 3 to be migrated to 2",
                "pets 2 1 as the code has it",
                "pets 30 1 newer than the code: left as it is",
            ]
        )
        assert {
            "bot": "pets",
            "name": "",
            "version": "1.5",
            "newest": "2",
            "sessions": 3,
            "way": "migrate",
        } in plan
        assert stored()["a"] == {"name": "a"}

    def test_sessions_that_cannot_be_listed_are_named(self) -> None:
        def in_memory() -> Any:
            return session(storage=enhance_storage(MemoryStorage(), migrations=STEPS))

        with bots(pets=multi_session(cart=in_memory(), plain=session(storage=MemoryStorage()))):
            assert run().endswith(
                " Not reached: bot 'pets', fragment 'cart' (MemoryStorage cannot list its "
                "sessions).\n"
            )
            assert "Not counted: bot 'pets', fragment 'cart'" in run("--plan")
            assert len(json.loads(run("--json"))["unreached"]) == 1
            assert "Not reached" not in run("--bot", "4711", command="sweep_sessions")
            assert "Not reached" in run("--migrate", command="sweep_sessions")

    def test_json_for_machines(self) -> None:
        make("a")
        with bots(pets=migrating()):
            assert json.loads(run("--json", "--dry-run"))["migratable"] == 1
            result = json.loads(run("--json"))
        table = f"default:{BotSession._meta.db_table}"
        assert (result["migrated"], result["failed"], result["complete"]) == (1, 0, True)
        assert result["tables"] == {table: 1}

    def test_verbosity(self) -> None:
        for number in range(4):
            make(str(number))
        with bots(pets=migrating()):
            assert run("--limit", "1", verbosity=0) == ""
            lines = run("--batch-size", "2", "--limit", "2", verbosity=2).splitlines()
            assert lines[0] == f"default:{BotSession._meta.db_table}: 2 migrated"
            lines = run("--batch-size", "2", verbosity=3).splitlines()
            assert ": 1 migrated, the last 1 in 0." in lines[0]

    def test_a_batch_takes_few_statements(self) -> None:
        for number in range(20):
            make(str(number))
        with bots(pets=migrating()), CaptureQueriesContext(connection) as queries:
            list(Migrate(batch_size=10).run(BotSession, "default"))
        locks = connection.features.has_select_for_update_skip_locked
        # SQLite's is executed "10 times: UPDATE …".
        texts = [q["sql"].rpartition(" times: ")[2] for q in queries]
        words = [text.split()[0] for text in texts if "SAVEPOINT" not in text]
        batch = ["SELECT", "SELECT", "UPDATE"] if locks else ["SELECT", "UPDATE"]
        assert words == [*batch, *batch, "SELECT"]

    def test_large_sessions_are_divided_among_statements(self) -> None:
        for number in range(6):
            make(str(number), {"text": number * "x"})
        with (
            bots(pets=migrating()),
            mock.patch.object(changes, "MOST_BYTES", 50),
            CaptureQueriesContext(connection) as queries,
        ):
            assert [batch.done for batch in Migrate().run(BotSession, "default")] == [6]
        writes = [q["sql"] for q in queries if " SET " in q["sql"]]
        assert len(writes) == 3
        assert [data["text"] for data in stored().values()] == [n * "x" for n in range(6)]

    def test_the_size_of_a_batch_is_bounded(self) -> None:
        with pytest.raises(CommandError, match="'10001' is above 10000"):
            run("--batch-size", "10001")


class SweepingAndMigrating(TestCase):
    """``sweep_sessions --migrate``: one line in the crontab."""

    def setUp(self) -> None:
        long_ago = timezone.now() - timedelta(days=100)
        for number in range(3):
            make(f"gone {number}", expires_at=timezone.now())
            make(f"idle {number}", updated_at=long_ago)
            make(f"old {number}")

    def sweep(self, *arguments: str, **options: Any) -> str:
        with bots(pets=migrating()):
            return run("--migrate", *arguments, command="sweep_sessions", **options)

    def test_it_says_both_in_one_line(self) -> None:
        assert self.sweep().startswith("3 sessions deleted, 6 migrated in 0.")
        assert BotSession.objects.filter(version=2).count() == 6

    def test_what_is_swept_is_not_migrated(self) -> None:
        assert self.sweep("--idle-for", "90d").startswith("6 sessions deleted, 3 migrated in ")

    def test_a_dry_run_of_both(self) -> None:
        assert self.sweep("--dry-run") == "3 sessions would be deleted, 6 would be migrated.\n"
        result = json.loads(self.sweep("--dry-run", "--json"))
        assert (result["due"], result["migratable"]) == (3, 6)
        assert BotSession.objects.filter(version=None).count() == 9

    def test_the_limit_is_for_both_together(self) -> None:
        assert self.sweep("--limit", "2").startswith("2 sessions deleted, 0 migrated")
        assert self.sweep("--limit", "5").startswith("1 session deleted, 4 migrated")

    def test_what_cannot_be_migrated_sets_the_exit_status(self) -> None:
        make("new", version=3)
        with bots(pets=migrating()):
            message, lines = failing("--migrate", command="sweep_sessions")
        assert message == "1 session could not be handled: see above."
        assert lines[0].startswith("Session 'new' of bot 'pets': ")

    def test_without_it_nothing_is_migrated(self) -> None:
        assert run("--json", command="sweep_sessions").startswith('{"dry_run": false, "deleted": 3')
        assert not BotSession.objects.filter(version=2)


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


class OnATerminal(TestCase):
    def test_progress_is_shown_with_the_time_left_and_is_gone_in_the_end(self) -> None:
        for number in range(4):
            make(str(number))
        out, err = StringIO(), Terminal()
        with bots(pets=migrating()):
            run("--batch-size", "1", command="migrate_sessions", stderr=err)
        lines = err.getvalue().split("\r\x1b[K")
        assert lines[0] == lines[-1] == ""
        assert "1 of 4 migrated (25%), 0 s left" in lines
        assert "4 of 4 migrated (100%), 0 s left" in lines
        assert out.getvalue() == ""

    def test_it_is_not_shown_elsewhere_or_beside_lines_for_each_batch(self) -> None:
        for stderr, verbosity in ((StringIO(), 1), (Terminal(), 0), (Terminal(), 2)):
            with bots(pets=migrating()):
                run(stderr=stderr, verbosity=verbosity)
            assert stderr.getvalue() == ""

    def test_the_time_left_is_rounded(self) -> None:
        assert [duration(n) for n in (0.4, 99, 100, 6000)] == ["0 s", "99 s", "2 min", "1.7 h"]
