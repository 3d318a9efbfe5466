"""Going back to what data was, in the object that its users have in hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from botsessions.snapshots import Undo, copy_of, restored

pytestmark = pytest.mark.once


@dataclass
class Plain:
    pets: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Frozen:
    pets: list[str] = field(default_factory=list)


class Slots(msgspec.Struct, frozen=True):
    pets: list[str] = msgspec.field(default_factory=list)


def plain_dict() -> dict[str, Any]:
    return {"pets": []}


@pytest.mark.parametrize("make", [plain_dict, Plain, Frozen, Slots])
def test_the_same_object_has_what_it_had(make: Any) -> None:
    data = make()
    before = copy_of(data)
    pets = data["pets"] if isinstance(data, dict) else data.pets
    pets.append("cat")
    assert data != before
    assert restored(data, before) is data
    assert data == make()


def test_fields_that_came_meanwhile_go() -> None:
    data, thing = {"a": 1}, Plain()
    before, thing_before = copy_of(data), copy_of(thing)
    data["b"] = 2
    thing.more = 3  # type: ignore[attr-defined]
    restored(data, before)
    restored(thing, thing_before)
    assert data == {"a": 1}
    assert vars(thing) == {"pets": []}


def test_a_list_keeps_its_identity() -> None:
    data = [1, 2]
    before = copy_of(data)
    data.pop()
    assert restored(data, before) is data
    assert data == [1, 2]


def test_what_cannot_be_changed_in_its_place_is_replaced_by_what_it_was() -> None:
    assert restored(5, 4) == 4
    assert restored({"a": 1}, None) is None
    before = frozenset([1])
    assert restored(frozenset([2]), before) is before


def test_what_cannot_be_copied_stays_itself() -> None:
    generator = (n for n in ())
    assert copy_of(generator) is generator
    assert restored(generator, generator) is generator


class Counter:
    def __init__(self) -> None:
        self.count = 0

    def snapshot(self) -> int:
        return self.count

    def restore(self, before: int) -> None:
        self.count = before


def test_undo_undoes_for_all_what_a_block_that_raises_has_done() -> None:
    one, other = Counter(), Counter()
    with Undo([one, other]):
        one.count = other.count = 1
    assert (one.count, other.count) == (1, 1)
    with pytest.raises(ValueError, match="broken"), Undo([one, other]):
        one.count = other.count = 2
        raise ValueError("broken")
    assert (one.count, other.count) == (1, 1)
