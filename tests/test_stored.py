"""What is known of what is stored, and the way from there to data and back."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.test import SimpleTestCase

from botsessions import MemoryStorage, session
from botsessions.exceptions import SessionDataError, SessionVersionError
from botsessions.storages import Address, Record

from .harness import Store, client

MARIA = Address("1", "", "1001")


def counting() -> dict[str, int]:
    return {"count": 0}


async def nothing(update: Any, context: Any) -> None:
    pass


class WhatIsStored(SimpleTestCase):
    async def test_d8_data_of_a_version_that_the_code_does_not_know_is_kept(
        self,
    ) -> None:
        storage, ran = MemoryStorage(), []
        await storage.write(MARIA, Record({"new": True}, Decimal(2)))

        async def work(update: Any, context: Any) -> None:
            ran.append(context.session)

        answers = await client(session(initial=counting, storage=storage), work).user().send("x")
        (error,) = answers.errors
        assert isinstance(error, SessionVersionError)
        assert "'1001' of bot '1' has version 2" in str(error)
        assert ran == []
        record = await storage.read(MARIA)
        assert record is not None
        assert (record.value, record.version) == ({"new": True}, Decimal(2))

    async def test_an_error_names_the_session(self) -> None:
        store = Store({"1001": {"count": "many"}})
        declared = session(storage=store, data_type=dict[str, int])
        answers = await client(declared, nothing).user().send("x")
        (error,) = answers.errors
        assert isinstance(error, SessionDataError)
        assert "Session '1001' of bot '1' cannot be read: $" in str(error)
