"""Places in data, and how errors and pages write them: ``$.orders[0].name``."""

from __future__ import annotations

import json
import re
from typing import TypeAlias

Place: TypeAlias = "tuple[()] | tuple[Place, str | int]"
"""In JSON: the place of a container, and the key or index there; the root is empty."""

ROOT: Place = ()
PLAIN_NAME = re.compile(r"\w+")


def path_of(place: Place) -> str:
    """Return the text of a place, which nobody needs where nothing is wrong."""
    path = ""
    while place:
        place, name = place
        path = step(name) + path
    return f"${path}"


def step(name: str | int) -> str:
    """Return what leads from a container to a part of it: ``.name``, ``["a.b"]`` or ``[0]``."""
    if isinstance(name, int):
        return f"[{name}]"
    if PLAIN_NAME.fullmatch(name):
        return f".{name}"
    return f"[{json.dumps(name, ensure_ascii=False)}]".encode("utf-8", "backslashreplace").decode()
