"""What objects are made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from functools import cached_property, lru_cache
from typing import Any

import msgspec
from django.utils.functional import cached_property as django_cached_property

CACHED = (cached_property, django_cached_property)


@lru_cache(maxsize=1024)
def attributes_of(kind: Any) -> tuple[str, ...] | None:
    """Return what an object is made of, ``None`` if its class does not say that."""
    if is_dataclass(kind):
        return tuple(field.name for field in fields(kind))
    if issubclass(kind, msgspec.Struct):
        return tuple(kind.__struct_fields__)
    if hasattr(kind, "__attrs_attrs__"):
        return tuple(attribute.name for attribute in kind.__attrs_attrs__)
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return tuple(kind._fields)
    return None


def attributes(value: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return the attributes of these names, and those that an object was given besides.

    What is cached is not among them: it is made anew. Nor is what Python notes there itself.
    """
    found = {name: getattr(value, name) for name in names if hasattr(value, name)}
    for name, item in getattr(value, "__dict__", {}).items():
        is_cached = isinstance(getattr(type(value), name, None), CACHED)
        if name not in found and not is_cached and not name.startswith("__"):
            found[name] = item
    return found
