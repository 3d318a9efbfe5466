"""Places in data, as errors and pages write them."""

from __future__ import annotations

import pytest

from botsessions.datapath import ROOT, Place, path_of


@pytest.mark.parametrize(
    ("place", "path"),
    [
        (ROOT, "$"),
        ((ROOT, "orders"), "$.orders"),
        (((ROOT, "orders"), 0), "$.orders[0]"),
        ((ROOT, "größe"), "$.größe"),
        ((ROOT, "a.b"), '$["a.b"]'),
        ((ROOT, '"'), r'$["\""]'),
        ((ROOT, ""), '$[""]'),
        ((ROOT, "\ud800"), r'$["\ud800"]'),
    ],
)
def test_a_place_is_written_as_the_way_to_it(place: Place, path: str) -> None:
    assert path_of(place) == path
