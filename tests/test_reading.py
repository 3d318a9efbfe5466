"""Reading the data of stored sessions, whatever somebody has stored."""

from __future__ import annotations

from typing import Any

import pytest

from botsessions import session
from botsessions.models import BotSession
from botsessions.reading import (
    READABLE_DEPTH,
    UNKNOWN,
    UNREADABLE,
    data_of,
    is_readable,
    json_of,
    strictly,
    text_of,
    value_of,
    with_text,
)

from .sessions import make


@pytest.mark.django_db
def test_data_is_loaded_as_text_and_read_from_that() -> None:
    make(1, {"pizza": ["🍕", 1.5]})
    found = with_text(BotSession.objects.all()).get()
    assert "data" in found.get_deferred_fields()
    assert value_of(text_of(found)) == data_of(found) == json_of(found) == {"pizza": ["🍕", 1.5]}


@pytest.mark.django_db
def test_large_data_is_left_where_it_is() -> None:
    make(1, "x" * 8)  # With its quotes it has ten bytes.
    for most, data in ((9, UNKNOWN), (10, "x" * 8)):
        assert data_of(with_text(BotSession.objects.all(), most).get()) == data
    assert data_of(BotSession.objects.get()) is UNKNOWN


@pytest.mark.once
@pytest.mark.parametrize("text", ["{", "[" * 100_000, "1" * 5000])
def test_what_python_cannot_read_is_said_to_be_unreadable(text: str) -> None:
    assert value_of(text) is UNREADABLE


@pytest.mark.once
@pytest.mark.parametrize("levels", [READABLE_DEPTH - 1, READABLE_DEPTH + 1])
def test_nor_is_what_is_nested_too_deeply_to_be_walked_through(levels: int) -> None:
    for begin, end in ("[]", ('{"a":', "}")):
        text = begin * levels + "1" + end * levels
        assert (value_of(text) is UNREADABLE) is (levels > READABLE_DEPTH)


@pytest.mark.once
@pytest.mark.parametrize("value", ["\ud800", float("nan"), {"a": ["\udfff"]}])
def test_what_others_cannot_read_is_shown_to_no_machine(value: Any) -> None:
    assert strictly(value) is UNREADABLE
    assert strictly({"a": [1, None]}) == {"a": [1, None]}


@pytest.mark.once
def test_a_bot_reads_what_fits_its_type() -> None:
    fragment = session(data_type=dict[str, int]).fragments[""]
    texts = ['{"count": 1}', '{"count": "many"}', "{", "5"]
    assert [is_readable(text, fragment) for text in texts] == [True, False, False, False]
