"""Python data <-> strict JSON, typed.

Strict is what every database gives back as it was: string keys, finite numbers, text without NUL
and lone surrogates, at most 30 levels deep.
"""

from __future__ import annotations

import math
import re
from dataclasses import is_dataclass
from typing import Any, Generic, TypeVar

import msgspec
import msgspec.inspect

from .datapath import ROOT, Place, path_of, step
from .exceptions import SessionDataError
from .offsets import time_with_seconds
from .records import DECODER, ENCODER, Json

T = TypeVar("T")

MAX_DEPTH = 30
UNSTORABLE_TEXT = re.compile("[\0\ud800-\udfff]")
PLACE_TOLD = re.compile(r" - at (?:`key` in )?`(\$[^`]*)`\Z")
"""In msgspec's messages: where it is."""
SORTED = msgspec.json.Encoder(order="sorted")
NUL = rb"\u0000"
OFFSET_WITH_SECONDS = (
    "is a time whose zone is not whole minutes from UTC, and would come back as another one: store "
    "moment.astimezone(timezone.utc)"
)
MAX_DIGITS = 4300
"""Of an integer: what Python reads back by default (``sys.set_int_max_str_digits``)."""


class Decoded(msgspec.Struct, frozen=True):
    """Stored JSON as Python data."""

    data: Any
    unknown: dict[str, Json]
    """Top-level fields that the type does not know."""
    fingerprint: bytes | None
    """A text that is the same for equal data; ``None`` for data that is no JSON."""


class Encoded(msgspec.Struct, frozen=True):
    """Python data as JSON to be stored."""

    value: Json
    fingerprint: bytes
    """A text that is the same for equal data."""


class Codec(Generic[T]):
    """Encodes and decodes the data of one session.

    Args:
        data_type: what stored JSON is decoded into; ``None`` leaves it as it is.

    Raises:
        TypeError: ``msgspec`` cannot handle the type.
    """

    def __init__(self, data_type: type[T] | None = None) -> None:
        self.data_type = data_type
        self._fields = frozenset[str]() if data_type is None else field_names(data_type)

    @property
    def is_known(self) -> bool:
        """Whether ``msgspec`` can encode and decode the type itself, if not all that is in it."""
        if self.data_type is None:
            return True
        return not isinstance(msgspec.inspect.type_info(self.data_type), msgspec.inspect.CustomType)

    def encode(self, data: T, unknown: dict[str, Json], max_bytes: int) -> Json:
        """Return ``data`` and the unknown fields as JSON that shares nothing with them.

        Raises:
            SessionDataError: it is not strict JSON, or too much, or does not fit the type.
        """
        return self._completed(data, strict(self._builtins(data)), unknown, max_bytes)

    def encode_stored(self, value: Json, max_bytes: int) -> Json:
        """Return what was stored elsewhere, to be stored here.

        Raises:
            SessionDataError: as :meth:`encode`.
        """
        return self.encode(value, {}, max_bytes)  # type: ignore[arg-type]

    def encode_changed(
        self, data: T, stored: bytes | None, unknown: dict[str, Json], max_bytes: int
    ) -> Encoded | None:
        """Do the same, unless the fingerprint is that of what is ``stored``.

        Raises:
            SessionDataError: as :meth:`encode`.
        """
        value: Json = strict(data if self.data_type is None else self._builtins(data))
        fingerprint = SORTED.encode(value)
        if fingerprint == stored:
            return None
        if self.data_type is None:
            if len(fingerprint) > max_bytes:
                raise too_large(len(fingerprint), max_bytes)
            return Encoded(value, fingerprint)
        return Encoded(self._completed(data, value, unknown, max_bytes), fingerprint)

    def decode(self, value: Json) -> Decoded:
        """Return stored JSON as Python data that shares nothing with it.

        Raises:
            SessionDataError: it does not fit the declared type.
        """
        value = strict(value)
        if self.data_type is None:
            return Decoded(value, {}, SORTED.encode(value))
        unknown: dict[str, Json] = {}
        if self._fields and isinstance(value, dict):
            unknown = {name: value[name] for name in value if name not in self._fields}
            value = {name: value[name] for name in value if name in self._fields}
        data = self._convert(value)
        try:
            fingerprint = SORTED.encode(strict(self._builtins(data)))
        except SessionDataError:
            return Decoded(data, unknown, None)
        return Decoded(data, unknown, fingerprint)

    def _completed(self, data: T, value: Json, unknown: dict[str, Json], max_bytes: int) -> Json:
        known = value
        if unknown and isinstance(value, dict):
            value = {**strict(unknown), **value}
        encoded = ENCODER.encode(value)
        if self.data_type is not None:
            back = self._convert(known)
            # What is the same moment is equal, whatever its offset.
            if data != back and (place := time_with_seconds(data, encoded)) is not None:
                raise unstorable(path_of(place), OFFSET_WITH_SECONDS)
            self._refuse_loss(data, back)
        refuse_longer(encoded, max_bytes)
        return value

    def _refuse_loss(self, data: T, back: T) -> None:
        """Raise SessionDataError if data must not come back as this."""

    def _builtins(self, data: T) -> Any:
        if self.data_type is None:
            return data
        try:
            return msgspec.to_builtins(data, str_keys=True, order="deterministic")
        except RecursionError:
            raise too_deep("$") from None
        except (TypeError, ValueError):
            raise unencodable(data) from None

    def _convert(self, value: Any) -> T:
        try:
            return msgspec.convert(value, self.data_type, str_keys=True)
        except msgspec.ValidationError as exc:
            raise misfit(exc, self.data_type) from None


def is_data_type(thing: object) -> bool:
    """Whether ``thing`` is a class whose fields say what stored JSON is decoded into."""
    return isinstance(thing, type) and (
        is_dataclass(thing)
        or issubclass(thing, msgspec.Struct)
        or hasattr(thing, "__attrs_attrs__")
        or is_typed_dict(thing)
        or (issubclass(thing, tuple) and hasattr(thing, "_fields"))
    )


def is_typed_dict(thing: type) -> bool:
    # typing.is_typeddict() does not know those of typing_extensions.
    return issubclass(thing, dict) and hasattr(thing, "__total__")


def field_names(data_type: Any) -> frozenset[str]:
    """Return the names of a type's fields as they stand in JSON, if it has any."""
    fields = getattr(msgspec.inspect.type_info(data_type), "fields", ())
    return frozenset(field.encode_name for field in fields)


def strict(value: Any) -> Any:
    """Return a deep copy of ``value`` in plain JSON types: tuples become lists.

    Raises:
        SessionDataError: something in it is not strict JSON.
    """
    try:
        encoded = ENCODER.encode(value)
        copy = DECODER.decode(encoded)
        # What JSON cannot say comes back as something else, or is refused.
        if copy == value and encoded.find(NUL) < 0 and is_shallow(encoded):
            return copy
    except Exception:
        return checked(value)  # Which tells what is wrong.
    return checked(value)


def is_shallow(encoded: bytes) -> bool:
    """Whether JSON is certain not to be nested too deep."""
    if len(encoded) <= 2 * MAX_DEPTH:
        return True
    lines = msgspec.json.format(encoded, indent=1)  # Each is indented by its level.
    return lines.find(b"\n" + b" " * MAX_DEPTH) < 0


def checked(value: Any, place: Place = ROOT, depth: int = 0) -> Any:
    """Do the same as :func:`strict`, value by value."""
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return text(value, place)
    if isinstance(value, int):
        return integer(value, place)
    if isinstance(value, float):
        return finite(value, place)
    if depth >= MAX_DEPTH:
        raise too_deep(path_of(place))
    if isinstance(value, (list, tuple)):
        return [checked(item, (place, i), depth + 1) for i, item in enumerate(value)]
    if isinstance(value, dict):
        return {
            text(name, place, "has a key that"): checked(item, (place, name), depth + 1)
            for name, item in value.items()
        }
    raise unstorable(path_of(place), f"is {needed(value)}")


def needed(value: Any) -> str:
    """Return what a value is, and what it needs to be stored."""
    if isinstance(value, type):
        return f"the class {value.__name__} itself, not an object of it"
    name = type(value).__name__
    try:
        msgspec.to_builtins(value)
    except Exception:
        return f"{name}, which msgspec does not encode; a dataclass it does"
    return f"{name}, which needs a declared type (data_type)"


def text(value: Any, place: Place, subject: str = "is text that") -> str:
    if type(value) is str and value.isascii() and "\0" not in value:  # Nearly always.
        return value
    if not isinstance(value, str):
        problem = f"{subject} is {type(value).__name__}; JSON's keys are text"
        raise unstorable(path_of(place), problem)
    if UNSTORABLE_TEXT.search(value):
        raise unstorable(path_of(place), f"{subject} holds a NUL or a lone surrogate")
    return str.__str__(value)


def integer(value: int, place: Place) -> int:
    # 3 bits are less than a decimal digit.
    if value.bit_length() > MAX_DIGITS * 3 and abs(value) >= 10**MAX_DIGITS:
        raise unstorable(path_of(place), f"is an integer of more than {MAX_DIGITS} digits")
    return int(value)


def finite(value: float, place: Place) -> float:
    if not math.isfinite(value):
        raise unstorable(path_of(place), "is infinite or not a number")
    return float(value)


def refuse_longer(encoded: bytes, max_bytes: int) -> None:
    """Raise SessionDataError for JSON of more than ``max_bytes`` bytes."""
    if len(encoded) > max_bytes:
        raise too_large(len(encoded), max_bytes)


def too_large(size: int, max_bytes: int) -> SessionDataError:
    return unstorable("$", f"has {size} bytes; a session may have {max_bytes} (MAX_BYTES)")


def unstorable(path: str, problem: str) -> SessionDataError:
    return SessionDataError(f"{path} {problem}.", path=path)


def too_deep(path: str) -> SessionDataError:
    return unstorable(path, f"is nested deeper than {MAX_DEPTH} levels")


def misfit(error: msgspec.ValidationError, data_type: Any) -> SessionDataError:
    # msgspec's message may show the value, but not where it says what it expected.
    message = str(error)
    place = PLACE_TOLD.search(message)
    problem, path = (message[: place.start()], place[1]) if place else (message, "$")
    if not problem.startswith(("Expected `", "Object missing required field")):
        problem = "Unexpected value"
    return SessionDataError(
        f"{path} does not fit {type_name(data_type)}: {problem}. "
        "Mend the data or the type, or add a migration.",
        path=path,
    )


def unencodable(data: Any) -> SessionDataError:
    path, part = culprit(data)
    return SessionDataError(f"{path} is {needed(part)}.", path=path)


def culprit(data: Any, path: str = "$", depth: int = 0) -> tuple[str, Any]:
    """Return the innermost part of ``data`` that cannot be encoded, and where it is."""
    for name, part in parts(data) if depth < MAX_DEPTH else ():
        try:
            msgspec.to_builtins(part, str_keys=True)
        except Exception:
            return culprit(part, path + name, depth + 1)
    return path, data


def parts(data: Any) -> list[tuple[str, Any]]:
    if isinstance(data, dict):
        return [(step(str(name)), part) for name, part in data.items()]
    if isinstance(data, (list, tuple)):
        return [(step(i), part) for i, part in enumerate(data)]
    names = field_names(type(data)) if hasattr(type(data), "__annotations__") else ()
    return [(f".{name}", getattr(data, name)) for name in names if hasattr(data, name)]


def type_name(data_type: Any) -> str:
    return getattr(data_type, "__name__", str(data_type))
