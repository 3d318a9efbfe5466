"""``manage.py sweep_sessions``."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from typing import Any
from unittest import mock

import pytest
from asgiref.sync import sync_to_async
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from telegram.ext import TypeHandler

from botsessions import enhance_storage, session
from botsessions.maintenance import Sweep
from botsessions.management.commands import sweep_sessions
from botsessions.models import BotSession
from botsessions.testing import BotClient


class Sweeping(TestCase):
    def setUp(self) -> None:
        now, hour = timezone.now(), timedelta(hours=1)
        self.fresh = [self.make(f"fresh {n}", expires_at=now + hour) for n in range(3)]
        self.lasting = self.make("lasting", updated_at=now - timedelta(days=100))
        self.expired = [self.make(f"old {n}", expires_at=now - n * hour) for n in range(7)]
        self.other = self.make("old", bot="other", name="user", expires_at=now)

    def make(self, key: str, bot: str = "default", **fields: Any) -> BotSession:
        return BotSession.objects.create(bot=bot, key=key, data={}, **fields)

    def sweep(self, *arguments: str, **options: Any) -> str:
        out = StringIO()
        call_command("sweep_sessions", *arguments, stdout=out, **options)
        return out.getvalue()

    def left(self) -> set[str]:
        return set(BotSession.objects.values_list("key", flat=True))

    def test_it_deletes_what_has_expired_and_says_so_in_one_line(self) -> None:
        assert self.sweep().startswith("8 sessions deleted in 0.")
        assert self.left() == {"fresh 0", "fresh 1", "fresh 2", "lasting"}
        assert self.sweep().startswith("0 sessions deleted")

    def test_a_dry_run_counts_and_deletes_nothing(self) -> None:
        assert self.sweep("--dry-run") == "8 sessions would be deleted.\n"
        assert BotSession.objects.count() == 12

    def test_only_of_a_bot_or_a_fragment(self) -> None:
        self.make("fresh", bot="other", name="user")
        assert self.sweep("--bot", "other").startswith("1 ")
        assert self.sweep("--fragment", "user").startswith("0 ")
        assert len(self.left()) == 12

    def test_idle_sessions_go_whether_they_expire_or_not(self) -> None:
        assert self.sweep("--idle-for", "90d", "--batch-size", "2").startswith("9 ")
        assert self.left() == {"fresh 0", "fresh 1", "fresh 2"}

    def test_a_limit_is_kept(self) -> None:
        assert self.sweep("--limit", "3", "--batch-size", "2").startswith("3 ")
        assert BotSession.objects.count() == 9

    def test_each_batch_is_four_statements(self) -> None:
        with CaptureQueriesContext(connection) as queries:
            list(Sweep(batch_size=4).run(BotSession, "default"))
        words = [query["sql"].split()[0] for query in queries]
        assert words == [*["SELECT", "SELECT", "SELECT", "DELETE"] * 2, "SELECT"]

    def test_a_session_that_is_renewed_meanwhile_stays(self) -> None:
        batches = Sweep(batch_size=4).run(BotSession, "default")
        next(batches)
        BotSession.objects.filter(key="old 0").update(expires_at=timezone.now() + timedelta(days=1))
        list(batches)
        assert "old 0" in self.left()

    def test_a_handler_whose_expired_session_is_swept_meanwhile_goes_on(self) -> None:
        async def count(update: Any, context: Any) -> None:
            context.session["count"] += 1
            await sync_to_async(self.sweep)()

        def build(builder: Any) -> Any:
            hour = enhance_storage(time_to_live=timedelta(hours=1))
            declared = session(initial=lambda: {"count": 0}, storage=hour)
            application = declared.install(builder, bot="shop").build()
            application.add_handler(TypeHandler(object, count))
            return application

        self.make("42", bot="shop", expires_at=timezone.now())
        BotClient(build=build).user(id=42).send("x")
        assert BotSession.objects.get(bot="shop").data == {"count": 1}

    def test_json_for_machines(self) -> None:
        result = json.loads(self.sweep("--json"))
        table = f"default:{BotSession._meta.db_table}"
        assert (result["deleted"], result["complete"]) == (8, True)
        assert result["tables"] == {table: 8}
        assert json.loads(self.sweep("--json", "--dry-run"))["due"] == 0

    def test_verbosity(self) -> None:
        assert self.sweep(verbosity=0) == ""
        self.start_again()
        assert "4 deleted" in self.sweep("--batch-size", "4", verbosity=2)

    def start_again(self) -> None:
        BotSession.objects.all().delete()
        self.setUp()

    def test_what_ends_early_says_so_and_exits_with_75(self) -> None:
        real = sweep_sessions.Sweep.run

        def one_batch_then_a_signal(sweep: Sweep, *args: Any, **kwargs: Any) -> Any:
            for batch in real(sweep, *args, **kwargs):
                command.stop()
                yield batch

        command, out = sweep_sessions.Command(), StringIO()
        with (
            mock.patch.object(Sweep, "run", one_batch_then_a_signal),
            pytest.raises(SystemExit) as end,
        ):
            call_command(command, "--batch-size", "2", stdout=out)
        assert end.value.code == 75
        assert out.getvalue().startswith("2 sessions deleted")
        assert "run it again" in out.getvalue()

    def test_wrong_usage_is_explained(self) -> None:
        for wrong, text in (
            (["--idle-for", "90"], "90d"),
            (["--batch-size", "0"], "above 0"),
            (["--limit", "many"], "above 0"),
            (["--database", "other"], "no database 'other'"),
        ):
            with pytest.raises(CommandError, match=text):
                self.sweep(*wrong)


class Plan(TestCase):
    def test_the_index_on_the_expiry_finds_what_is_to_go(self) -> None:
        now = timezone.now()
        BotSession.objects.bulk_create(
            BotSession(
                bot="pizza", key=str(n), data={}, expires_at=now + (n - 20) * timedelta(seconds=60)
            )
            for n in range(4000)
        )
        if connection.vendor != "mysql":  # There it would commit the test's transaction.
            with connection.cursor() as cursor:
                cursor.execute(f"ANALYZE {BotSession._meta.db_table}")
        with CaptureQueriesContext(connection) as queries:
            batches = Sweep(batch_size=10).run(BotSession, "default")
            assert [batch.done for batch in batches] == [10, 10, 1]
        explain = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
        with connection.cursor() as cursor:
            cursor.execute(f"{explain} {queries[0]['sql']}")
            assert "botsession_expiry" in str(cursor.fetchall())
