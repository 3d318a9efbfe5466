"""What addresses, forms and notes say, which anybody may write as they like."""

from __future__ import annotations

import re
from datetime import MAXYEAR, MINYEAR
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Field, Model

from ..records import MAX_ID

LOOKUPS = {"exact", "gt", "gte", "lt", "lte", "in", "isnull"}
"""How lists compare, beside the parts of dates. Of Django's others some take any text, and the
database refuses it."""
NUMBER = re.compile(r"-?[0-9]{1,19}")
NUMBERS = re.compile(r"-?[0-9]+")
TEXTS = {"bot", "name", "key"}
"""Columns in which so many digits as one likes are no number."""
YEARS = {"year", "iso_year"}
A_YEAR = range(MINYEAR + 1, MAXYEAR)
"""In every time zone."""


def number(text: str | None) -> int | None:
    """Return a whole number, ``None`` for anything that no database has as one."""
    found = int(text) if text and NUMBER.fullmatch(text) else None
    return None if found is None or abs(found) > MAX_ID else found


def primary_key(model: type[Model], text: str) -> Any:
    """Return the primary key that a text says, ``None`` for anything that no row has."""
    field: Any = model._meta.pk
    try:
        key = field.to_python(text)
        field.run_validators(key)
    except ValidationError:
        return None
    return key


def may_narrow(lookup: str, value: str, hidden: str) -> bool:
    """Whether a list may be narrowed like this.

    Args:
        hidden: a field of which nobody may be told what is in it.
    """
    column, *hows = lookup.split("__")
    others = Field.get_lookups().keys() - LOOKUPS
    if column == hidden or not others.isdisjoint(hows) or "\0" in value:
        return False
    if column in TEXTS:
        return True
    numbers = [number(part) for part in value.split(",") if NUMBERS.fullmatch(part)]
    return None not in numbers and (YEARS.isdisjoint(hows) or all(n in A_YEAR for n in numbers))
