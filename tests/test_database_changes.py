"""Changes of sessions, and which of them one statement makes."""

from __future__ import annotations

import pytest

from botsessions.database import changes
from botsessions.database.changes import Change, Group, Kind
from botsessions.storages import ANY, Address, Record

pytestmark = pytest.mark.once

HERE = Address("pizza", "", "42")


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        (Record(1, revision=5), Kind.UPDATE),
        (Record(1), Kind.INSERT),
        (Record(1, revision=ANY), Kind.REPLACE),
        (Record(None, revision=5), Kind.DELETE),
        (Record(None, revision=ANY), Kind.DELETE_ANY),
        (Record(0, revision=5), Kind.UPDATE),
    ],
)
def test_value_and_revision_say_what_makes_a_change(record: Record, kind: Kind) -> None:
    change = Change(HERE, record, 7)
    assert change.kind is kind
    deletes = record.value is None
    assert change.outcome == (None if deletes else 7)
    assert change.data == (b"" if deletes else str(record.value).encode())


@pytest.mark.parametrize(
    ("record", "stored", "is_made", "is_refused"),
    [
        (Record(1, revision=5), Record(1, revision=7), True, True),
        (Record(1, revision=5), Record(1, revision=5), False, False),
        (Record(1, revision=5), Record(1, revision=6), False, True),
        (Record(1, revision=5), None, False, True),
        (Record(1), None, False, False),
        (Record(1), Record(1, revision=7), True, True),
        (Record(1, revision=ANY), None, False, False),
        (Record(1, revision=ANY), Record(1, revision=7), True, False),
        (Record(None, revision=5), None, True, False),
        (Record(None, revision=5), Record(1, revision=5), False, False),
        (Record(None, revision=5), Record(1, revision=6), False, True),
        (Record(None, revision=ANY), Record(1, revision=6), False, False),
    ],
)
def test_what_is_stored_tells_whether_it_was_made_or_would_be_refused(
    record: Record, stored: Record | None, is_made: bool, is_refused: bool
) -> None:
    change = Change(HERE, record, 7)
    assert change.is_made(stored) is is_made
    assert change.is_refused(stored) is is_refused


def test_a_group_is_limited_in_rows_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "MOST_ROWS", 3)
    monkeypatch.setattr(changes, "MOST_BYTES", 100)
    many, large = Group(), Group()
    for number in range(3):
        assert not many.is_full
        many.add(Change(HERE, Record(1, revision=number), 10 + number), {"data": 1})
    assert many.is_full
    large.add(Change(HERE, Record("x" * 98, revision=5), 7), {})
    assert large.size == 100
    assert large.is_full


def test_a_group_knows_which_of_its_changes_were_made() -> None:
    group = Group()
    one, other = (Change(HERE, Record(1, revision=5), revision) for revision in (7, 8))
    for change in (one, other):
        group.add(change, {"data": change.data})
    assert group.addresses == [(*HERE, 5)] * 2
    assert group.rows == [{"data": b"1"}] * 2
    assert group.landed([(8,), (99,)]) == {other}
