"""The types that a bot's author has declared for a session's data, as people read them."""

from __future__ import annotations

from typing import Any

import msgspec.inspect
from msgspec.inspect import AnyType, DictType, NoneType, TupleType, Type, UnionType

from ..codec import Codec


def declared_type(codec: Codec[Any]) -> Type | None:
    """Return what is declared of all data, ``None`` where nothing is."""
    if codec.data_type is None or not codec.is_known:
        return None
    return msgspec.inspect.type_info(codec.data_type)


def part_of(whole: Type | None, name: str | int) -> Type | None:
    """Return what is declared of a part of an object or a list."""
    if isinstance(whole, UnionType):
        return next(filter(None, (part_of(one, name) for one in whole.types)), None)
    if isinstance(whole, TupleType):
        within = isinstance(name, int) and name < len(whole.item_types)
        return whole.item_types[int(name)] if within else None
    if isinstance(whole, DictType):
        return whole.value_type
    for field in getattr(whole, "fields", ()):
        if field.encode_name == name:
            found: Type = field.type
            return found
    return getattr(whole, "item_type", None)


def name_of(declared: Type | None) -> str:
    """Return the name of a type as in Python, empty for one that allows everything."""
    if declared is None or isinstance(declared, AnyType):
        return ""
    if isinstance(declared, UnionType):
        return " | ".join(filter(None, map(name_of, declared.types)))
    if isinstance(declared, NoneType):
        return "None"
    if named := getattr(declared, "cls", None):
        return str(named.__name__)
    return type(declared).__name__.removesuffix("Type").lower()
