"""Python values <-> strict JSON such that they come back as what they were.

What JSON has stays as it is. Anything else becomes an object with :data:`TYPE`, which says what it
was: see :mod:`..tags`.
"""

from __future__ import annotations

import sys
from base64 import b64decode, b64encode
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum, Flag
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import telegram

from ..codec import MAX_DEPTH, SORTED, UNSTORABLE_TEXT, too_deep, unstorable
from ..datapath import ROOT, Place, path_of
from ..exceptions import SessionDataError
from ..tags import TYPE
from .attributes import attributes, attributes_of

PLAIN = frozenset([int, bool, type(None)])
"""What is the same in JSON. Not all floats are, and text may hold what databases refuse."""
FACTORIES: Mapping[str, type] = {c.__name__: c for c in (bool, dict, float, int, list, set, str)}
"""What a ``defaultdict`` may make its values by."""
REMEDY = "Keep what it is made of, or keep it elsewhere"
WITH_CONTENTS = (BaseException, bytes, dict, float, frozenset, int, list, set, str)
"""Objects of classes that derive from these hold more than their attributes."""
LARGE_FLOAT = 1e15
"""From there on PostgreSQL gives a float without a fraction back as an integer."""


def packed(value: Any, place: Place = ROOT, depth: int = 0) -> Any:
    """Return ``value`` as JSON.

    Raises:
        SessionDataError: something in it would not come back as it was.
    """
    kind = type(value)
    if kind in PLAIN:
        return value
    if kind is str:
        return value if is_plain(value) else tagged("str", value.encode("unicode_escape").decode())
    if depth > MAX_DEPTH:
        raise too_deep(path_of(place))
    if kind is list:
        return [packed(item, (place, i), depth + 1) for i, item in enumerate(value)]
    if kind is dict:
        if TYPE not in value and all(type(name) is str and is_plain(name) for name in value):
            return {name: packed(item, (place, name), depth + 1) for name, item in value.items()}
        return tagged("dict", pairs(value, place, depth))
    if kind is float:
        return value if is_plain_float(value) else tagged("float", repr(value))
    known = PACKERS.get(kind)
    if known is not None:
        return tagged(kind.__name__, known(value, place, depth + 1))
    return of_class(kind, value, place, depth + 1)


def is_plain(text: str) -> bool:
    """Whether a text is the same in every database."""
    # Most texts are printable, which is quicker to tell.
    return text.isprintable() or UNSTORABLE_TEXT.search(text) is None


def is_plain_float(value: float) -> bool:
    """Whether a number is the same in every database."""
    return -LARGE_FLOAT < value < LARGE_FLOAT and (value != 0 or repr(value) == "0.0")


def of_class(kind: Any, value: Any, place: Place, depth: int) -> Any:
    """Return a value of a class of somebody's own."""
    if isinstance(value, Enum):
        return tagged(reachable("enum", kind, place), of_enum(value, place))
    names = attributes_of(kind)
    if names is None:
        if kind == getattr(telegram, kind.__name__, None) and is_data(kind):
            return tagged(f"telegram:{kind.__name__}", value.to_dict())
        raise unstorable(
            path_of(place),
            f"is {kind.__name__}, which is not stored: only values of Python's own types, enums, "
            f"dataclasses, attrs classes and Telegram's objects are. {REMEDY}",
        )
    if isinstance(value, WITH_CONTENTS):
        raise unstorable(
            path_of(place),
            f"is {kind.__name__}, of which only the attributes would be stored, not what it holds "
            f"besides. {REMEDY}",
        )
    content = {
        name: packed(item, (place, name), depth + 1)
        for name, item in attributes(value, names).items()
    }
    return tagged(reachable("class", kind, place), content)


def is_data(kind: type[Any]) -> bool:
    """Whether objects of a class are what Telegram sends or takes."""
    return issubclass(kind, telegram.TelegramObject) and kind is not telegram.Bot


def of_enum(value: Enum, place: Place) -> str | int:
    """Return the name of a member of an enum; of combined flags, which have none, the number."""
    kind = type(value)
    if kind.__members__.get(value.name) is value:
        return value.name
    if isinstance(value, Flag):
        return int(value.value)
    raise unstorable(
        path_of(place), f"is a {kind.__name__} that would not be found by its name again. {REMEDY}"
    )


def reachable(what: str, kind: type[Any], place: Place) -> str:
    """Return the tag of a class that can be found by its name again."""
    tag = f"{what}:{kind.__module__}:{kind.__qualname__}"
    if found(tag) is not kind:
        raise unstorable(
            path_of(place),
            f"is {kind.__name__}, which is no class of a module: it would not be found again. "
            "Define it outside of functions",
        )
    return tag


def pairs(value: Mapping[Any, Any], place: Place, depth: int) -> list[Any]:
    return [
        [packed(name, place, depth + 2), packed(item, (place, str(name)), depth + 2)]
        for name, item in value.items()
    ]


def items(value: Any, place: Place, depth: int) -> list[Any]:
    return [packed(item, (place, i), depth) for i, item in enumerate(value)]


def unordered(value: Any, place: Place, depth: int) -> list[Any]:
    """Return a set's members in an order that is the same for equal sets."""
    return sorted((packed(item, place, depth) for item in value), key=SORTED.encode)


def moment(value: datetime | time, place: Place, depth: int) -> Any:
    zone = value.tzinfo
    if isinstance(zone, ZoneInfo) and zone.key:
        named: Any = zone.key
    elif type(zone) is timezone and isinstance(offset_of(zone), list):
        named = offset_of(zone)
    elif zone is None and value.fold:
        named = None
    elif zone is not None and value.utcoffset() is None:
        raise unstorable(path_of(place), "has a time zone without an offset")
    else:
        return value.isoformat()
    return [value.replace(tzinfo=None).isoformat(), named, value.fold]


def offset_of(zone: timezone) -> Any:
    """Return a zone's offset in seconds, with its name if it was given one."""
    offset, name = zone.utcoffset(None), zone.tzname(None)
    seconds = offset.total_seconds()
    return seconds if name == timezone(offset).tzname(None) else [seconds, name]


def default_dict(value: Any, place: Place, depth: int) -> Any:
    factory = value.default_factory
    name = None if factory is None else getattr(factory, "__name__", "")
    if name is not None and FACTORIES.get(name) is not factory:
        raise unstorable(
            path_of(place),
            f"is a defaultdict by a function of its own; it may be by {', '.join(FACTORIES)}",
        )
    return [name, pairs(value, place, depth)]


def as_text(value: Any, place: Place, depth: int) -> str:
    return str(value)


PACKERS: Mapping[type[Any], Callable[[Any, Place, int], Any]] = {
    tuple: items,
    set: unordered,
    frozenset: unordered,
    deque: lambda value, place, depth: [value.maxlen, items(value, place, depth)],
    OrderedDict: pairs,
    Counter: pairs,
    defaultdict: default_dict,
    bytes: lambda value, place, depth: b64encode(value).decode(),
    datetime: moment,
    time: moment,
    date: lambda value, place, depth: value.isoformat(),
    timedelta: lambda value, place, depth: [value.days, value.seconds, value.microseconds],
    timezone: lambda value, place, depth: offset_of(value),
    ZoneInfo: lambda value, place, depth: value.key,
    Decimal: as_text,
    UUID: as_text,
    complex: as_text,
}


def tagged(tag: str, content: Any) -> dict[str, Any]:
    return {TYPE: tag, "value": content}


class Way(NamedTuple):
    """Where a value is among those that are being unpacked, and the bot of Telegram's objects."""

    place: Place
    bot: telegram.Bot | None


def unpacked(value: Any, bot: telegram.Bot | None = None, place: Place = ROOT) -> Any:
    """Return what :func:`packed` has made JSON of."""
    if isinstance(value, list):
        return [unpacked(item, bot, (place, i)) for i, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if TYPE not in value:
        return {name: unpacked(item, bot, (place, name)) for name, item in value.items()}
    tag = value[TYPE]
    try:
        return restored(tag, value["value"], Way(place, bot))
    except SessionDataError:
        raise
    except Exception as exc:
        raise unstorable(
            path_of(place), f"is no value of type {tag}: {type(exc).__name__}"
        ) from None


def restored(tag: str, content: Any, way: Way) -> Any:
    what, _, name = tag.partition(":")
    if what == "telegram":
        kind: Any = getattr(telegram, name)
        return kind.de_json(content, way.bot)
    if name:
        kind = found(tag)
        if kind is None:
            raise unstorable(
                path_of(way.place),
                f"is of type {name.replace(':', '.')}, which the code does not have (any more, or "
                "not yet imported)",
            )
        if what == "enum":
            return kind[content] if isinstance(content, str) else kind(content)
        return made(kind, content, way)
    return UNPACKERS[tag](unpacked(content, way.bot, way.place))


def made(kind: Any, content: Mapping[str, Any], way: Way) -> Any:
    """Return an object with these attributes. No code of its class is run."""
    given = {name: unpacked(item, way.bot, (way.place, name)) for name, item in content.items()}
    if issubclass(kind, tuple):
        value = kind._make([given.pop(name) for name in kind._fields])
        given = given if hasattr(value, "__dict__") else {}
    elif issubclass(kind, msgspec.Struct):
        value = kind(**{name: given.pop(name) for name in kind.__struct_fields__ if name in given})
    else:
        value = kind.__new__(kind)
    for name, item in given.items():
        object.__setattr__(value, name, item)
    return value


def found(tag: str) -> Any:
    """Return the class of a tag; ``None`` if the running code has none.

    Nothing is imported: what is stored must not decide which code runs.
    """
    what, module, name = tag.split(":", 2)
    thing: Any = sys.modules.get(module)
    for part in name.split("."):
        thing = getattr(thing, part, None)
    if not isinstance(thing, type):
        return None
    is_one = issubclass(thing, Enum) if what == "enum" else attributes_of(thing) is not None
    return thing if is_one else None


def to_moment(kind: Any, content: Any) -> Any:
    if isinstance(content, str):
        return kind.fromisoformat(content)
    text, zone, fold = content
    return kind.fromisoformat(text).replace(tzinfo=zone and to_zone(zone), fold=fold)


def to_zone(content: Any) -> tzinfo:
    if isinstance(content, str):
        return ZoneInfo(content)
    seconds, *name = content if isinstance(content, list) else [content]
    return timezone(timedelta(seconds=seconds), *name)


UNPACKERS: Mapping[str, Callable[[Any], Any]] = {
    "str": lambda content: content.encode().decode("unicode_escape"),
    "dict": dict,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "deque": lambda content: deque(content[1], content[0]),
    "OrderedDict": OrderedDict,
    "Counter": lambda content: Counter(dict(content)),
    "defaultdict": lambda c: defaultdict(None if c[0] is None else FACTORIES[c[0]], c[1]),
    "bytes": b64decode,
    "datetime": lambda content: to_moment(datetime, content),
    "time": lambda content: to_moment(time, content),
    "date": date.fromisoformat,
    "timedelta": lambda content: timedelta(*content),
    "timezone": to_zone,
    "ZoneInfo": ZoneInfo,
    "Decimal": Decimal,
    "UUID": UUID,
    "complex": complex,
    "float": float,
}
