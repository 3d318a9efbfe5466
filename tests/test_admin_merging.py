"""Merging data that a bot and an operator have changed at the same time."""

from __future__ import annotations

from typing import Any

import pytest

from botsessions.admin.merging import ABSENT, Merge, Side

pytestmark = pytest.mark.once

OPENED = {"name": "Maria", "n": 1, "orders": [{"no": 1, "paid": False}, {"no": 2, "paid": False}]}


def merged(
    opened: Any, stored: Any, mine: Any, **choices: str
) -> tuple[Any, list[tuple[str, str]]]:
    merge = Merge(opened, stored, mine, {f"$.{name}": side for name, side in choices.items()})
    return merge.value, [(d.path, str(d.by)) for d in merge.differences]


def test_what_only_one_has_changed_is_taken_over() -> None:
    value, differences = merged(OPENED, {**OPENED, "n": 2}, {**OPENED, "name": "Mario"})
    assert value == {**OPENED, "n": 2, "name": "Mario"}
    assert sorted(differences) == [("$.n", "stored"), ("$.name", "mine")]


def test_of_what_both_have_changed_mine_is_taken_unless_somebody_chose() -> None:
    sides = OPENED, {**OPENED, "n": 2}, {**OPENED, "n": 3}
    assert merged(*sides) == ({**OPENED, "n": 3}, [("$.n", "both")])
    assert merged(*sides, n="stored")[0] == {**OPENED, "n": 2}
    assert merged(*sides, n="nonsense")[0] == {**OPENED, "n": 3}


def test_the_same_change_on_both_sides_is_no_difference() -> None:
    assert merged(OPENED, {"n": 5}, {"n": 5}) == ({"n": 5}, [])


def test_fields_come_and_go() -> None:
    value, differences = merged({"a": 1, "b": 2}, {"b": 2, "c": 3}, {"a": 1, "b": 2, "d": 4})
    assert value == {"b": 2, "c": 3, "d": 4}
    assert sorted(differences) == [("$.a", "stored"), ("$.c", "stored"), ("$.d", "mine")]


def test_what_one_has_removed_and_the_other_changed_is_to_be_chosen() -> None:
    merge = Merge({"a": 1}, {}, {"a": 2})
    assert (merge.differences[0].stored, merge.differences[0].by) == (ABSENT, Side.BOTH)


@pytest.mark.parametrize(
    ("opened", "stored", "mine", "value"),
    [
        ("ab", "abc", "xb", "xbc"),
        ("ab", "b", "abx", "bx"),
        ("ab", "xab", "aby", "xaby"),
        ("", "a", "", "a"),
        ("abc", "abc", "c", "c"),
        ("abcd", "acd", "abc", "ac"),
    ],
)
def test_lists_are_merged_item_by_item(opened: str, stored: str, mine: str, value: str) -> None:
    assert merged([*opened], [*stored], [*mine])[0] == [*value]


def test_items_of_lists_are_merged_too() -> None:
    stored = {**OPENED, "orders": [OPENED["orders"][0], {"no": 2, "paid": True}, {"no": 3}]}
    mine = {**OPENED, "orders": [{"no": 1, "paid": False, "gift": True}, OPENED["orders"][1]]}
    value, differences = merged(OPENED, stored, mine)
    assert value["orders"] == [mine["orders"][0], stored["orders"][1], {"no": 3}]
    assert all(by != "both" for _path, by in differences)


def test_where_both_have_added_items_one_is_chosen() -> None:
    sides = [1], [1, 2], [1, 3, 4]
    assert merged(*sides) == ([1, 3, 4], [("$[1:1]", "both")])
    assert Merge(*sides, {"$[1:1]": "stored"}).value == [1, 2]


@pytest.mark.parametrize(("one", "other"), [(1, True), (1, 1.0), (0, False), ("1", 1), ({}, [])])
def test_values_of_different_types_differ(one: Any, other: Any) -> None:
    assert Merge({"a": one}, {"a": one}, {"a": other}).differences[0].by == Side.MINE


def test_without_what_was_opened_each_difference_is_to_be_chosen() -> None:
    value, differences = merged(ABSENT, {"a": 1, "b": 1}, {"a": 2, "b": 1, "c": 3})
    assert value == {"a": 2, "b": 1, "c": 3}
    assert differences == [("$.a", "both"), ("$.c", "mine")]


def test_long_lists_take_no_long_time() -> None:
    one = [{"no": n} for n in range(20_000)]
    stored, mine = [*one, {"no": -1}], [{"no": "first"}, *one[1:]]
    assert merged(one, stored, mine)[0] == [mine[0], *one[1:], {"no": -1}]
    assert len(merged(one, [*one[::-1], 1], [*one, 2])[1]) == 20_001
