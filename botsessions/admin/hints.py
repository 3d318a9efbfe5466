"""What filters know of indexes that answer them."""

from __future__ import annotations

from typing import Any, TypeAlias

from django.db.models import Q

Hint: TypeAlias = "tuple[list[Q], list[str]]"
"""Conditions of which one holds, each answered by an index, and the order of those indexes."""


def hint_of(filters: list[Any]) -> Hint | None:
    """Return the first hint that a filter gives."""
    return next(filter(None, (getattr(one, "hint", None) for one in filters)), None)
