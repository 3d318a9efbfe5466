"""Paths like ``$.orders[0].paid``: what stands there, and in which line of a text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

STEP = re.compile(r'\.(\w+)|\[(\d+)\]|\[("(?:[^"\\]|\\.)*")\]')
SPACE = re.compile(r"[ \t\r\n]*")


def steps_of(path: str) -> list[str | int]:
    """Return the names and numbers that a path leads along, as far as it can be read."""
    return [name for name, _end in steps(path)]


def steps(path: str) -> Iterator[tuple[str | int, int]]:
    place = 1 if path.startswith("$") else len(path)
    while found := STEP.match(path, place):
        name, number, quoted = found.groups()
        place = found.end()
        try:
            step = int(number) if number else json.loads(quoted) if quoted else name
        except ValueError:  # A wrong escape, say.
            return
        yield step, place


def whole_path(path: str) -> list[str | int] | None:
    """Return the same, ``None`` for a text that is no path."""
    found = [*steps(path)]
    end = found[-1][1] if found else 1
    return [name for name, _end in found] if end == len(path) else None


def value_at(data: Any, path: list[str | int]) -> Any:
    """Return what stands somewhere in data.

    Raises:
        LookupError: there is nothing.
    """
    for name in path:
        if not isinstance(data, list if isinstance(name, int) else dict):
            raise LookupError
        data = data[name]  # type: ignore[index]
    return data


def with_value(data: Any, path: list[str | int], value: Any) -> Any:
    """Return a copy of data with another value somewhere; it shares all that is not on the way."""
    if not path:
        return value
    name, *rest = path
    copy = data.copy()
    copy[name] = with_value(data[name], rest, value)
    return copy


def line_of(text: str, path: str) -> int | None:
    """Return the number of the line in which a path leads to in JSON, ``None`` for no path.

    Args:
        path: what comes behind it is ignored, so it may be an error's message.
    """
    if not path.startswith("$"):
        return None
    place = start_of(text, 0)
    for name in steps_of(path):
        found = part_of(text, place, name)
        if found is None:
            break
        place = found
    return text.count("\n", 0, place) + 1


def part_of(text: str, place: int, name: str | int) -> int | None:
    """Return where a part of an object or a list begins."""
    if text[place : place + 1] != ("[" if isinstance(name, int) else "{"):
        return None
    decoder, number, place = json.JSONDecoder(), 0, start_of(text, place + 1)
    while text[place : place + 1] not in ("]", "}", ""):
        key: str | int = number
        if not isinstance(name, int):
            key, end = scanstring(text, place + 1)
            place = start_of(text, start_of(text, end) + 1)
        if key == name:
            return place
        _value, end = decoder.raw_decode(text, place)
        place, number = start_of(text, end), number + 1
        if text[place : place + 1] == ",":
            place = start_of(text, place + 1)
    return None


def start_of(text: str, place: int) -> int:
    """Return where the next thing begins that is no space."""
    found = SPACE.match(text, place)
    return found.end() if found else place
