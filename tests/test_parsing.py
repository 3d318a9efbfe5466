"""JSON that people and programs send is read without losing anything."""

from __future__ import annotations

import pytest

from botsessions.parsing import NotJson, parsed

pytestmark = pytest.mark.once


def test_json_is_read_as_text_or_bytes() -> None:
    for text in ('{"a": [1, 2.5, null]}', b'{"a": [1, 2.5, null]}'):
        assert parsed(text) == {"a": [1, 2.5, None]}


@pytest.mark.parametrize(
    ("text", "problem", "line"),
    [
        ('{"a": 1,\n "b"}', r"Line 2, column 5: this is no JSON\.", 2),
        ('{"a": 1, "a": 1}', r"The field “a” stands there twice\.", None),
        ('[{"a": {"b": 1, "b": 2}}]', r"The field “b” stands there twice\.", None),
        ("[NaN]", r"NaN is no JSON\.", None),
        ("-Infinity", r"-Infinity is no JSON\.", None),
        ("[" * 100_000, r"nested too deeply\.", None),
        ("1" * 5000, r"A number has too many digits\.", None),
        (b'"\xff"', r"no text in UTF-8\.", None),
    ],
)
def test_what_would_be_lost_is_refused(text: str | bytes, problem: str, line: int | None) -> None:
    with pytest.raises(NotJson, match=problem) as caught:
        parsed(text)
    assert caught.value.line == line
