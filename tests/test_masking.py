"""Hiding fields of sessions, and saving data in which they are hidden."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botsessions.exceptions import SessionDataError
from botsessions.masking import mask, unmask
from botsessions.persistence.packing import packed

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


@pytest.mark.parametrize(
    "kept",
    [
        {5: "maria", "pin": "1234", ("a", "b"): [{5: {"pin": "1234"}}]},
        OrderedDict(pin="1234", name="maria"),
        defaultdict(list, pin=["1234"]),
        Counter(pin=1234),
        {"cart": OrderedDict(card=("1234",))},
    ],
)
def test_fields_of_what_a_persistence_keeps_are_masked_whatever_holds_them(kept: Any) -> None:
    stored = packed(kept)
    masked = mask(stored, NAMES)
    assert "1234" not in str(masked)
    assert "[masked: $" in str(masked)
    assert unmask(masked, stored, NAMES) == stored


def test_what_is_no_field_of_a_mapping_is_shown() -> None:
    for kept in (["pin", "1234"], ("pin", "1234"), {"pin"}, {5: ["pin", "1234"]}):
        assert mask(packed(kept), NAMES) == packed(kept)


def test_masks_that_were_left_are_what_is_stored() -> None:
    assert unmask(mask(STORED, NAMES), STORED, NAMES) == STORED


def test_a_mask_can_be_replaced_moved_and_removed() -> None:
    edited = mask(STORED, NAMES)
    edited["pin"] = 1
    edited["pets"] = edited["pets"][1:]
    del edited["card"]
    assert unmask(edited, STORED, NAMES) == {"pin": 1, "pets": [{"pin": "b"}]}


def test_fields_whose_names_hold_dots_and_brackets_keep_their_own_secrets() -> None:
    stored = {
        "a.b": {"pin": "A"},
        "a": {"b": {"pin": "B"}, "[0]": {"pin": "C"}},
        "a[0]": {"pin": "D"},
        'a"]["b': {"pin": "E"},
        "a\ud800]": [{"pin": "F"}],
    }
    assert unmask(mask(stored, NAMES), stored, NAMES) == stored
    masked: Any = mask(stored, NAMES)
    assert masked["a.b"]["pin"] == '[masked: $["a.b"].pin]'


parts = st.sampled_from(["a", "b", "a.b", "[0]", "a[0]", '"', "pin", ".pin", "]", "\ud800"])
parts |= st.sampled_from(["__type__", "value", "dict", "defaultdict"])
texts = parts | st.sampled_from(["[masked: $.pin]", "[masked: $.a.pin]", "[masked: $[0].pin]"])


@given(
    st.recursive(
        texts | st.integers(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(parts, inner, max_size=4),
        max_leaves=12,
    )
)
def test_what_is_saved_as_it_was_shown_stays_as_it_was_stored(stored: Any) -> None:
    assert unmask(mask(stored, NAMES), stored, NAMES) == stored


def test_text_that_somebody_wrote_is_text_even_if_it_reads_like_a_mask() -> None:
    for text in ("[masked: $.pin]", "[masked: $.nothing]", "[masked: $]"):
        stored = {"name": text, "pin": 1, "pets": [{"name": text}]}
        edited: Any = mask(stored, NAMES)
        edited["pets"].insert(0, {"name": "Rex"})
        assert unmask(edited, stored, NAMES) == {**stored, "pets": edited["pets"]}
        assert unmask({"name": text}, {}, NAMES) == {"name": text}


@pytest.mark.parametrize(
    ("edited", "path"),
    [
        ({"name": "[masked: $.pin]"}, "$.name"),
        ({"pets": ["[masked: $.pin]"]}, "$.pets[0]"),
        ({"my name": "[masked: $.pin]"}, '$["my name"]'),
        ({"card": {"old": "[masked: $.card]"}}, "$.card.old"),
        ({"pin": "[masked: $.pets[7].pin]"}, "$.pin"),
    ],
)
def test_a_mask_never_shows_what_it_hides(edited: object, path: str) -> None:
    with pytest.raises(SessionDataError) as error:
        unmask(edited, STORED, NAMES)
    assert error.value.path == path
    assert "1234" not in str(error.value)
