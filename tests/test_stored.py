"""What is known of what is stored, and the way from there to data and back."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from django.test import SimpleTestCase

from botsessions import MemoryStorage, enhance_storage, session
from botsessions.exceptions import SessionDataError, SessionVersionError
from botsessions.records import Move
from botsessions.storages import ANY, About, Address, Record
from botsessions.stored import Stored

from .harness import Store, client

pytestmark = pytest.mark.once

MARIA = Address("1", "", "1001")


def counting() -> dict[str, int]:
    return {"count": 0}


async def nothing(update: Any, context: Any) -> None:
    pass


class Refused(SimpleTestCase):
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


class Known(SimpleTestCase):
    """What a write has to name, and whether there is anything to be written."""

    async def test_what_was_never_read_is_replaced_whatever_it_is(self) -> None:
        stored = stored_in(Store())
        assert stored.revision is ANY
        assert stored.deletion() == Record(None, revision=ANY)
        change = stored.change({"count": 1})
        assert change is not None
        assert change.revision is ANY

    async def test_what_is_overwritten_is_replaced_or_deleted_without_a_look_at_it(self) -> None:
        stored = stored_in(Store())
        stored.overwrite()
        assert stored.is_known
        assert stored.deletion() == Record(None, revision=ANY)
        change = stored.change({"count": 1})
        assert change is not None
        assert change.revision is ANY

    async def test_where_nothing_was_found_nothing_may_be_there(self) -> None:
        stored = stored_in(Store())
        assert await stored.accept(None) is None
        assert stored.is_known
        assert stored.revision is None
        assert stored.deletion() is None

    async def test_what_has_expired_is_deleted_by_nobody_but_keeps_its_revision(self) -> None:
        stored = stored_in(Store())
        assert await stored.accept(Record(None, revision=5, expired={"count": 1})) is None
        assert stored.deletion() is None
        assert stored.revision == 5
        assert await stored.revision_now() is None

    async def test_a_deletion_leaves_nothing_known_of_what_was_there(self) -> None:
        stored = stored_in(Store(), data_type=Pizza)
        await stored.accept(Record({"count": 1, "more": 2}, revision=5))
        assert stored.deletion() == Record(None, revision=5)
        stored.written(Record(None, revision=5), None)
        assert (stored.revision, stored.deletion()) == (None, None)
        change = stored.change(Pizza(1))
        assert change is not None
        assert change.value == {"count": 1}

    async def test_what_was_written_is_compared_with_from_then_on(self) -> None:
        stored = stored_in(Store())
        await stored.accept(Record({"count": 1}, revision=5))
        assert stored.change({"count": 1}) is None
        change = stored.change({"count": 2})
        assert change == Record({"count": 2}, revision=5, about=About(chat_id=42))
        stored.written(change, 6)
        assert stored.change({"count": 2}) is None
        assert stored.revision == 6
        assert stored.change({"count": 1}) is not None

    async def test_fields_that_the_type_does_not_know_are_written_back(self) -> None:
        stored = stored_in(Store(), data_type=Pizza)
        data = await stored.accept(Record({"count": 1, "more": 2}, revision=5))
        assert data == Pizza(1)
        assert stored.change(data) is None
        change = stored.change(Pizza(2))
        assert change is not None
        assert change.value == {"count": 2, "more": 2}

    async def test_data_taken_for_stored_is_written_only_once_it_differs(self) -> None:
        stored = stored_in(Store())
        await stored.accept(None)
        stored.take_for_stored({"count": 0})
        assert stored.change({"count": 0}) is None
        assert stored.change({"count": 1}) is not None
        stored.take_for_stored(None)

    async def test_what_cannot_be_stored_names_the_session_and_the_place(self) -> None:
        stored = stored_in(Store())
        with pytest.raises(SessionDataError, match="'1001' of bot '1' cannot be stored") as caught:
            stored.change({"tags": {"a"}})
        assert caught.value.path == "$.tags"


class Migrated(SimpleTestCase):
    async def test_a9_what_was_migrated_is_to_be_written_though_it_is_as_it_was_shown(self) -> None:
        stored = stored_in(enhance_storage(Store(), migrations={1: lambda data: data}))
        assert await stored.accept(Record({"count": 1}, revision=5)) == {"count": 1}
        assert stored.change({"count": 1}) is not None

    async def test_one_that_was_migrated_where_it_is_stored_is_no_conflict(self) -> None:
        store = Store()
        layered = enhance_storage(store, migrations={1: lambda data: {"count": data}})
        stored = stored_in(layered)
        read = Record(1, revision=await store.write(MARIA, Record(1)))
        assert await stored.accept(read) == {"count": 1}
        migrated = await store.write(MARIA, Record({"count": 1}, Decimal(1), revision=ANY))
        assert await stored.revision_now() == migrated
        await store.write(MARIA, Record({"count": 2}, Decimal(1), revision=ANY))
        assert await stored.revision_now() == read.revision
        await store.delete(MARIA, ANY)
        assert await stored.revision_now() == read.revision


class Moved(SimpleTestCase):
    async def test_f7_it_goes_on_under_the_new_key_and_its_revision(self) -> None:
        store = Store({"1001": {"count": 1}})
        stored, target = stored_in(store), MARIA._replace(key="-100")
        await stored.accept(await store.read(MARIA))
        await store.move([Move(MARIA, "-100", About())])
        await stored.follow(target)
        found = await store.read(target)
        assert found is not None
        assert (stored.address, stored.revision) == (target, found.revision)


@dataclass
class Pizza:
    count: int = 0


def stored_in(storage: Any, **options: Any) -> Stored[Any]:
    fragment = session(storage=storage, **options).fragments[""]
    return Stored(fragment, MARIA, lambda: About(chat_id=42))
