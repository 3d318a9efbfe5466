"""Sessions in memory: what they keep beyond the contract, which is in ``test_storages.py``."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import SimpleTestCase

from botsessions.exceptions import SessionConflict
from botsessions.records import Move, utcnow
from botsessions.storages import About, Address, MemoryStorage, Record

pytestmark = pytest.mark.once

ADDRESS = Address("pizza", "", "42")
OTHER = Address("pizza", "", "43")


class WhomASessionBelongsTo(SimpleTestCase):
    async def test_what_a_write_does_not_know_about_whom_it_is_stays(self) -> None:
        storage, about = MemoryStorage(), About(chat_id=42, title="Pizza")
        revision = await storage.write(ADDRESS, Record(1, about=about))
        await storage.write(ADDRESS, Record(2, revision=revision))
        record = await storage.read(ADDRESS)
        assert record is not None
        assert record.about == about

    async def test_those_of_a_chat_are_found_of_the_bot_only(self) -> None:
        storage, about = MemoryStorage(), About(chat_id=-9)
        await storage.write(ADDRESS, Record(1, about=about))
        await storage.write(OTHER, Record(1, about=About(chat_id=-8)))
        await storage.write(ADDRESS._replace(bot="pasta"), Record(1, about=about))
        assert await storage.of_chat("pizza", -9) == {ADDRESS: about}


class Values(SimpleTestCase):
    async def test_a14_nobody_holds_an_object_that_is_stored(self) -> None:
        storage, data = MemoryStorage(), {"pets": ["cat"]}
        await storage.write(ADDRESS, Record(data))
        data["pets"].append("dog")
        found: Any = await storage.read(ADDRESS)
        found.value["pets"].append("fish")
        assert (await storage.read(ADDRESS)).value == {"pets": ["cat"]}

    async def test_of_many_changes_all_are_made_or_none(self) -> None:
        storage = MemoryStorage()
        await storage.write(ADDRESS, Record(1))
        with pytest.raises(SessionConflict, match="'42' of bot 'pizza'"):
            await storage.write_many([(OTHER, Record(2)), (ADDRESS, Record(2))])
        assert await storage.read_many([OTHER]) == {}


class Moving(SimpleTestCase):
    async def test_f7_a_session_moves_with_a_new_revision_unless_something_is_there(self) -> None:
        storage = MemoryStorage()
        revision = await storage.write(ADDRESS, Record(1, about=About(chat_id=-9, title="Pizza")))
        move = Move(ADDRESS, "43", About(chat_id=-100))
        assert await storage.move([move]) == 1
        found = await storage.read(OTHER)
        assert found is not None
        assert (found.value, found.about) == (1, About(chat_id=-100, title="Pizza"))
        assert found.revision != revision
        assert await storage.read(ADDRESS) is None
        await storage.write(ADDRESS, Record(2))
        assert await storage.move([move]) == 0
        assert (await storage.read(OTHER)).value == 1

    async def test_d3_what_has_expired_does_not_move_and_is_not_in_the_way(self) -> None:
        storage, gone = MemoryStorage(), utcnow() - timedelta(seconds=1)
        await storage.write(ADDRESS, Record(1, expires_at=gone))
        move = Move(ADDRESS, "43", About())
        assert await storage.move([move]) == 0
        back = Move(OTHER, "42", About())
        await storage.write(OTHER, Record(2))
        assert await storage.move([back]) == 1
        assert (await storage.read(ADDRESS)).value == 2
