"""How values that JSON has not are written in it: ``{"__type__": "tuple", "value": [1, 2]}``."""

from __future__ import annotations

from typing import Any

TYPE = "__type__"
PAIRS = {"dict": 2, "OrderedDict": 2, "Counter": 2, "defaultdict": 3}
"""How deep in the value of a mapping each name is with what belongs to it, in a list of both."""


def depth_of_pairs(value: dict[str, Any]) -> int:
    """Return how deep in an object are such lists; 0 if it is written as other objects are."""
    tag = value.get(TYPE)
    return PAIRS.get(tag, 0) if isinstance(tag, str) else 0
