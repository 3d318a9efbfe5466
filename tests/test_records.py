"""What every storage speaks: addresses, records, revisions."""

from __future__ import annotations

import asyncio
import math
import os
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from botsessions.exceptions import SessionConflict
from botsessions.records import (
    ANY,
    REVISIONS_AT_ONCE,
    About,
    Address,
    Move,
    Record,
    all_of,
    awaited,
    conflict,
    dumps,
    loads,
    new_revision,
    plain,
)

pytestmark = pytest.mark.once

NOW = datetime(2030, 1, 1, tzinfo=timezone.utc)
ADDRESS = Address("pizza", "", "42")


def test_an_address_reads_as_people_say_it() -> None:
    assert str(ADDRESS) == "'42' of bot 'pizza'"
    assert str(ADDRESS._replace(name="user")) == "'42' of fragment 'user' of bot 'pizza'"
    assert "Session '42' of bot 'pizza' was changed" in str(conflict(ADDRESS))
    assert isinstance(conflict(ADDRESS), SessionConflict)


def test_a_moves_target_differs_in_the_key_only() -> None:
    assert Move(ADDRESS, "43", About()).target == Address("pizza", "", "43")


def test_d3_from_its_expiry_on_a_record_has_no_value_and_says_what_it_was() -> None:
    about = About(chat_id=-9)
    record = Record({"a": 1}, Decimal(2), NOW, 7, about)
    assert record.live(NOW - timedelta(microseconds=1)) is record
    for late in (NOW, NOW + timedelta(days=1)):
        assert record.live(late) == Record(None, revision=7, about=about, expired={"a": 1})
    assert Record(1).live(NOW) == Record(1)


def test_of_whom_a_session_belongs_to_the_latest_that_is_known_counts() -> None:
    before = About(chat_id=-9, title="Pizza")
    assert About(title="Pasta").over(before) == About(chat_id=-9, title="Pasta")
    assert About().over(before) == before
    assert before.over(None) == before
    assert About(user_id=0, title=None).known() == {"user_id": 0}


def test_revisions_fit_into_every_database_and_none_comes_again() -> None:
    found = [new_revision() for _ in range(10 * REVISIONS_AT_ONCE)]
    assert len(set(found)) == len(found)
    assert all(0 <= revision < 2**63 for revision in found)
    assert max(found) > 2**60


def test_g5_a_forked_child_draws_revisions_of_its_own() -> None:
    new_revision()  # There are others in store now.
    reads, writes = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writes, str(new_revision()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writes)
    with os.fdopen(reads) as pipe:
        of_child = int(pipe.read())
    assert of_child not in {new_revision() for _ in range(REVISIONS_AT_ONCE)}


def test_any_is_no_revision_that_a_row_can_have() -> None:
    assert ANY not in (None, 0, 1)


def test_text_of_json_is_short_and_what_others_have_stored_is_read() -> None:
    assert dumps({"pizza": ["🍕", 1.5]}) == '{"pizza":["🍕",1.5]}'
    assert loads('{"pizza":["🍕",1.5]}') == {"pizza": ["🍕", 1.5]}
    found: Any = loads("[NaN]")
    assert math.isnan(found[0])
    with pytest.raises(ValueError, match="Expecting"):
        loads("[")
    with pytest.raises(ValueError, match="nested too deeply"):
        loads("[" * 5000 + "]" * 5000)


def test_d6_equal_versions_read_the_same() -> None:
    assert [str(plain(Decimal(n))) for n in ("10.10", "1E+1", "1.000", "0.5")] == [
        *("10.1", "10", "1", "0.5")
    ]


class Asked:
    """A storage's methods, of every kind."""

    async def coroutine(self, number: int) -> int:
        return number

    def ordinary(self, number: int) -> int:
        return number

    def later(self, number: int) -> Any:
        return self.coroutine(number)


def test_methods_are_awaited_of_whatever_kind_they_are() -> None:
    async def ask(name: str) -> Any:
        return await awaited(getattr(Asked(), name), 5)

    assert [asyncio.run(ask(name)) for name in ("coroutine", "ordinary", "later")] == [5, 5, 5]


def test_of_several_all_come_to_their_end_before_the_first_error_is_raised() -> None:
    done = []

    async def work(number: int) -> int:
        await asyncio.sleep(0)
        done.append(number)
        if number in (1, 2):
            raise ValueError(number)
        return number

    async def main(*numbers: int) -> list[int]:
        return await all_of(work(number) for number in numbers)

    assert asyncio.run(main()) == []
    assert asyncio.run(main(0)) == [0]
    assert asyncio.run(main(3, 4)) == [3, 4]
    done.clear()
    with pytest.raises(ValueError, match="1"):
        asyncio.run(main(0, 1, 2, 3))
    assert done == [0, 1, 2, 3]
