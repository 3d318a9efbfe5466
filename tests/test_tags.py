"""How values that JSON has not are written in it."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from typing import Any

import pytest

from botsessions.persistence.packing import packed
from botsessions.tags import depth_of_pairs

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("value", "depth"),
    [
        ({5: 1}, 2),
        (OrderedDict(a=1), 2),
        (Counter(a=1), 2),
        (defaultdict(int, a=1), 3),
        ({"a": 1}, 0),
        (("a", 1), 0),
    ],
)
def test_of_a_mapping_it_is_known_where_its_names_are(value: Any, depth: int) -> None:
    stored = packed(value)
    assert depth_of_pairs(stored) == depth
    for _ in range(depth and depth - 1):
        stored = (stored["value"] if isinstance(stored, dict) else stored)[-1]
    if depth:
        assert isinstance(stored, list)
        assert len(stored) == 2


@pytest.mark.parametrize("tag", [None, 5, [], {}, "no tag"])
def test_an_object_that_an_author_has_made_is_none(tag: Any) -> None:
    assert depth_of_pairs({"__type__": tag}) == 0
