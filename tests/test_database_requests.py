"""What units of work ask of a database: how much it is, and what it is done under."""

from __future__ import annotations

import pytest

from botsessions.database.changes import Change
from botsessions.database.claims import Claim
from botsessions.database.lease import Ending, Lease
from botsessions.database.requests import Extension, Note, Read, Write
from botsessions.database.sessions_table import Table
from botsessions.models import BotSession
from botsessions.storages import ANY, Address, Record

pytestmark = pytest.mark.once

HERE, THERE = Address("pizza", "", "42"), Address("pizza", "", "43")
TABLE = Table(BotSession, "default")


def change(value: object, address: Address = HERE, **fields: object) -> Change:
    return Change(address, Record(value, **fields), 7)  # type: ignore[arg-type]


def lease() -> Lease:
    return Lease("default", [HERE, THERE])


def test_a_write_is_as_large_as_its_data_and_keeps_others_from_its_addresses() -> None:
    write = Write({TABLE: [change("x" * 98), change(None, THERE)]})
    assert write.size == 100
    assert write.written == {HERE, THERE}
    assert list(write.addresses) == [HERE, THERE]
    assert not write.replaces
    assert Write({TABLE: [change(1), change(1, THERE, revision=ANY)]}).replaces


def test_a_read_is_as_large_as_what_is_usually_found() -> None:
    table = Table(BotSession, "default")
    table.usual_size = 500
    one, two = Read({table: [HERE]}), Read({table: [HERE, THERE]})
    assert (one.size, two.size) == (500, 1000)
    assert list(two.addresses) == [HERE, THERE]
    assert not two.written


def test_what_is_done_under_rights_is_about_their_sessions() -> None:
    ours, claim = lease(), Claim("pizza", 7)
    assert list(Read({}, ours, claim).rights) == [ours, claim]
    assert list(Write({}, ours).rights) == [ours]
    assert list(Write({}, None, Ending.KEPT, claim).rights) == [claim]
    assert not Read({}).rights
    assert list(Read({}, ours).addresses) == list(Write({}, ours).addresses) == [HERE, THERE]
    assert list(Read({}, None, claim).addresses) == []
    assert list(Note(claim).addresses) == [Address("pizza", "", "7")]
    extension = Extension(TABLE, HERE, Record(None, revision=5))
    assert list(extension.written) == list(extension.addresses) == [HERE]


@pytest.mark.parametrize("is_last", [False, True])
def test_the_last_write_ends_the_claim(is_last: bool) -> None:
    claim = Claim("pizza", 7)
    Write({}, None, Ending.KEPT, claim, is_last).note_made(())
    assert claim.is_over is is_last


@pytest.mark.parametrize(
    ("ending", "kept_for_another", "held", "is_over", "handed_on"),
    [
        (Ending.KEPT, False, True, False, False),
        (Ending.GIVEN_BACK, False, False, True, False),
        (Ending.HANDED_ON, True, True, False, True),
        (Ending.HANDED_ON, False, False, True, False),
    ],
)
def test_what_becomes_of_the_lease_is_noted(
    ending: Ending, kept_for_another: bool, held: bool, is_over: bool, handed_on: bool
) -> None:
    ours = lease()
    ours.held = True
    write = Write({}, ours, ending)
    write.note_made(None)  # Nobody knows.
    assert (ours.held, ours.is_over, ours.handed_on) == (True, False, False)
    write.note_made([ours] if kept_for_another else ())
    assert (ours.held, ours.is_over, ours.handed_on) == (held, is_over, handed_on)
