"""A unit of work: what it saves without its key, what it leaves behind, and when keys are free."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any
from unittest import mock

from django.db import connection, transaction
from django.test import SimpleTestCase, TestCase, TransactionTestCase
from telegram.ext import TypeHandler

from botsessions import session
from botsessions.exceptions import (
    SessionLockTimeout,
)
from botsessions.locks import process_lock
from botsessions.models import BotSession, BotSessionLease
from botsessions.sources import FromKey
from botsessions.storages import Address
from botsessions.testing import BotClient
from botsessions.unit import Unit, current

from .harness import Store, client, text

MARIA = Address("1", "", "1001")


def counting() -> dict[str, int]:
    return {"count": 0}


def beside(callback: Any) -> Any:
    return TypeHandler(object, callback, block=False)


class WhomItBelongsTo(TestCase):
    def test_it_is_known_from_a_handler_that_runs_beside(self) -> None:
        async def work(update: Any, context: Any) -> None:
            context.session["count"] += 1

        def build(builder: Any) -> Any:
            application = session(initial=counting).install(builder).build()
            application.add_handler(beside(work))
            return application

        BotClient(build=build).user("Maria Rossi", id=42).send("x")
        row = BotSession.objects.get()
        assert (row.chat_id, row.chat_type, row.title) == (42, "private", "Maria Rossi")


class WhatIsLeft(SimpleTestCase):
    async def test_nothing_of_an_update_waits_for_the_garbage_collector(self) -> None:
        units = []

        async def work(update: Any, context: Any) -> None:
            context.session["count"] += 1
            units.append(weakref.ref(current.get()))

        bot = client(session(initial=counting, storage=Store()), work)
        gc.disable()
        self.addCleanup(gc.enable)
        await bot.application.initialize()
        await bot.application.process_update(text(bot.user()))
        (unit,) = units
        assert unit() is None


class CrossingTransactions(TransactionTestCase):
    def test_two_that_edit_each_others_keys_get_an_error_not_a_deadlock(self) -> None:
        if connection.vendor == "sqlite":
            self.skipTest("SQLite has one writing transaction at a time.")
        declared = session(initial=counting)
        declared.installed("shop")
        both, outcomes = threading.Barrier(2), []

        def view(mine: str, other: str) -> None:
            try:
                with transaction.atomic():
                    with declared.edit(mine) as data:
                        data["count"] += 1
                    both.wait(5)
                    with declared.edit(other) as data:
                        data["count"] += 1
                outcomes.append("done")
            except SessionLockTimeout:
                outcomes.append("refused")
            finally:
                connection.close()

        threads = [threading.Thread(target=view, args=pair) for pair in (("a", "b"), ("b", "a"))]
        with mock.patch("botsessions.holding.WITHIN_SECONDS", 0.5):
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(10)
        assert "refused" in outcomes
        assert not process_lock().busy


class GivingBack(TransactionTestCase):
    async def test_what_changes_nothing_gives_its_key_back_before_the_next_has_its_turn(
        self,
    ) -> None:
        counter = session(initial=counting)
        for _ in range(2):
            unit = Unit(counter.fragments, "bot", FromKey("1001"), lock="database")
            await unit.open()
            assert [row.holder > 0 async for row in BotSessionLease.objects.all()] == [True]
            await unit.save(last=True)
            assert [row.holder > 0 async for row in BotSessionLease.objects.all()] == [False]
            unit.close()
        assert not process_lock().busy
