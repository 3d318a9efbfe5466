"""What an author's code raised is told with the place in that code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from botsessions.causes import told
from botsessions.records import loads

HERE = str(Path(__file__).relative_to(Path.cwd()))


def raised_by(function: Callable[[], Any]) -> str:
    with pytest.raises(Exception) as caught:  # noqa: PT011 (whatever it is)
        function()
    return told(caught.value)


def broken() -> None:
    raise ValueError("no\n  such  drink")


def test_message_and_place_are_told_in_one_line() -> None:
    line = broken.__code__.co_firstlineno + 1
    text = f"ValueError: no such drink ({HERE}, line {line}, in broken)"
    assert raised_by(lambda: broken()) == text


def test_it_is_the_authors_not_one_of_what_that_calls() -> None:
    def of_a_library() -> None:
        json.loads("{")

    def of_ours() -> None:
        loads("{")

    for function in (of_a_library, of_ours):
        line = function.__code__.co_firstlineno + 1
        assert raised_by(function).endswith(f"({HERE}, line {line}, in {function.__name__})")


def test_a_mistake_in_the_syntax_says_itself_where_it_is() -> None:
    text = raised_by(lambda: compile("a b", "bot.py", "exec"))
    assert text.startswith("SyntaxError: invalid syntax")
    assert text.endswith("(bot.py, line 1)")


def test_what_was_never_raised_has_no_place() -> None:
    assert told(KeyError("x")) == "KeyError: 'x'"
