"""Hiding fields of sessions, and saving data in which they are hidden."""

from __future__ import annotations

import pytest

from botsessions.exceptions import SessionDataError
from botsessions.masking import mask, unmask

pytestmark = pytest.mark.once

NAMES = frozenset({"pin", "card"})
STORED = {"pin": 1234, "pets": [{"pin": "a", "name": "Rex"}, {"pin": "b"}], "card": {"n": [1]}}


def test_fields_are_masked_at_any_depth() -> None:
    masked = mask(STORED, NAMES)
    assert masked == {
        "pin": "[masked: $.pin]",
        "pets": [
            {"pin": "[masked: $.pets[0].pin]", "name": "Rex"},
            {"pin": "[masked: $.pets[1].pin]"},
        ],
        "card": "[masked: $.card]",
    }
    assert mask(STORED, ()) is STORED


def test_masks_that_were_left_are_what_is_stored() -> None:
    assert unmask(mask(STORED, NAMES), STORED, NAMES) == STORED


def test_a_mask_can_be_replaced_moved_and_removed() -> None:
    edited = mask(STORED, NAMES)
    edited["pin"] = 1
    edited["pets"] = edited["pets"][1:]
    del edited["card"]
    assert unmask(edited, STORED, NAMES) == {"pin": 1, "pets": [{"pin": "b"}]}


@pytest.mark.parametrize(
    ("edited", "path"),
    [
        ({"name": "[masked: $.pin]"}, "$.name"),
        ({"pets": ["[masked: $.pin]"]}, "$.pets[0]"),
        ({"pin": "[masked: $.pets[7].pin]"}, "$.pin"),
    ],
)
def test_a_mask_never_shows_what_it_hides(edited: object, path: str) -> None:
    with pytest.raises(SessionDataError) as error:
        unmask(edited, STORED, NAMES)
    assert error.value.path == path
    assert "1234" not in str(error.value)
