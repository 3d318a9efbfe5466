"""What an update costs: statements on the database storage, counted."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from telegram.ext import CommandHandler

from botsessions import enhance_storage, lazy_session, multi_session, session
from botsessions.models import BotSession
from botsessions.testing import BotClient


def counting() -> dict[str, int]:
    return {"count": 0}


async def count(update: Any, context: Any) -> None:
    context.session["count"] += 1


async def look(update: Any, context: Any) -> None:
    assert context.session is not None


async def lazy_count(update: Any, context: Any) -> None:
    (await context.session)["count"] += 1


async def start_over(update: Any, context: Any) -> None:
    context.session = counting()


async def delete(update: Any, context: Any) -> None:
    context.session = None


async def count_both(update: Any, context: Any) -> None:
    context.session.a["count"] += 1
    context.session.b["count"] += 1


class Statements(TestCase):
    def statements(
        self, declared: Any, handler: Any, *, text: str = "/go", expires_at: datetime | None = None
    ) -> list[str]:
        """Return the first words of the statements of an update of a chat with stored data."""
        for name in declared.fragments:
            BotSession.objects.update_or_create(
                bot="1",
                name=name,
                key="42",
                defaults={"data": {"count": 5}, "expires_at": expires_at},
            )
        return self.statements_of(declared, handler, text)

    def statements_of(self, declared: Any, handler: Any, text: str) -> list[str]:
        def build(builder: Any) -> Any:
            application = declared.install(builder).build()
            application.add_handler(CommandHandler("go", handler))
            return application

        maria = BotClient(build=build).user(id=42)
        with CaptureQueriesContext(connection) as captured:
            maria.send(text)
        return [query["sql"].split()[0] for query in captured.captured_queries]

    def test_an_update_that_no_handler_takes_costs_none(self) -> None:
        assert self.statements(session(initial=counting), count, text="Hello") == []

    def test_a_lazy_session_that_nobody_asks_for_costs_none(self) -> None:
        assert self.statements(lazy_session(initial=counting), look) == []

    def test_a_strict_session_that_is_not_changed_costs_one(self) -> None:
        assert self.statements(session(initial=counting), look) == ["SELECT"]

    def test_a_change_costs_two_without_a_transaction_around_them(self) -> None:
        assert self.statements(session(initial=counting), count) == ["SELECT", "UPDATE"]
        assert self.statements(lazy_session(initial=counting), lazy_count) == ["SELECT", "UPDATE"]

    def test_a_lazy_session_that_is_assigned_costs_one(self) -> None:
        assert self.statements(lazy_session(initial=counting), start_over) == ["INSERT"]

    def test_a_deletion_costs_one(self) -> None:
        assert self.statements(session(initial=counting), delete) == ["SELECT", "DELETE"]

    def test_a_new_session_costs_two(self) -> None:
        statements = self.statements_of(session(initial=counting), count, "/go")
        assert statements == ["SELECT", "INSERT"]

    def test_the_fragments_of_a_multi_session_are_loaded_by_one_statement(self) -> None:
        part = session(initial=counting)
        statements = self.statements(multi_session(a=part, b=part), look)
        assert statements == ["SELECT"]

    def test_a_renewal_costs_one(self) -> None:
        """Rules D1 and D2: what is stored has no expiry yet."""
        for renew in ("change", "access"):
            storage = enhance_storage(time_to_live=timedelta(days=1), renew=renew)
            declared = session(initial=counting, storage=storage)
            assert self.statements(declared, look) == ["SELECT", "UPDATE"]
            assert self.statements_of(declared, look, "/go") == ["SELECT"]

    def test_what_has_expired_costs_no_more_if_nobody_wants_to_hear_of_it(self) -> None:
        storage = enhance_storage(time_to_live=timedelta(days=1))
        strict = session(initial=counting, storage=storage)
        assert self.expired(strict, count) == ["SELECT", "UPDATE"]
        lazy = lazy_session(initial=counting, storage=storage)
        assert self.expired(lazy, start_over) == ["INSERT"]

    def test_what_has_expired_costs_a_deletion_and_another_look_if_it_is_told(self) -> None:
        storage = enhance_storage(on_expire=lambda key, data: None)
        strict = session(initial=counting, storage=storage)
        assert self.expired(strict, count) == ["SELECT", "DELETE", "SELECT", "INSERT"]
        assert self.statements(strict, count) == ["SELECT", "UPDATE"]

    def test_an_assignment_without_a_read_looks_first_if_an_expiry_would_be_told(self) -> None:
        storage = enhance_storage(on_expire=lambda key, data: None)
        lazy = lazy_session(initial=counting, storage=storage)
        assert self.statements(lazy, start_over) == ["SELECT", "INSERT"]
        assert self.expired(lazy, start_over) == ["SELECT", "DELETE", "INSERT"]

    def expired(self, declared: Any, handler: Any) -> list[str]:
        """Return the first words of the statements of an update after a timeout."""
        return self.statements(declared, handler, expires_at=timezone.now())

    def test_starting_a_bot_reads_no_sessions(self) -> None:
        assert self.statements_of(session(initial=counting), count, "Hello") == []
