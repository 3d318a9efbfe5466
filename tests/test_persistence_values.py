"""What user_data and its like may hold: it comes back as it was, or is refused with its path."""

from __future__ import annotations

import enum
import math
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from telegram import Chat, User

from botsessions.exceptions import SessionDataError
from botsessions.persistence.values import ValueCodec

pytestmark = pytest.mark.once

LIMIT = 10**6


class Size(enum.Enum):
    SMALL = 1
    LARGE = (2, 3)


class Step(enum.IntEnum):
    NAME = 0


@dataclass
class Topping:
    name: str
    price: Decimal = Decimal("1.5")


@dataclass(frozen=True)
class Pizza:
    size: Size
    toppings: set[str] = field(default_factory=set)
    extra: Topping | None = None

    def __post_init__(self) -> None:
        if self.size is Size.SMALL:
            raise ValueError("This is not run when it is read.")


class Point(NamedTuple):
    x: int
    y: int


class Crust(msgspec.Struct):
    thickness: float


class Unknown:
    pass


class Own:
    def __init__(self) -> None:
        self.clicks: dict[int, int] = {}


class OwnDict(dict[str, Any]):
    pass


VALUES = [
    {1: "one", (2, "b"): "two", None: 0, False: "no"},
    {"__type__": "a name like any other"},
    (1, (2, [3, {4}])),
    {1, "a", (2, 3)},
    frozenset([frozenset([1])]),
    b"\x00\xff",
    "\0 and \\x00 and \\u0000",
    "a lone \ud83d, two alone \ud83d\ude00, and \U0001f355\n",
    {"\0": 1, "\ud83d": {"\x01": "\x02"}},
    datetime(2026, 5, 1, 12, 30, 0, 5),  # noqa: DTZ001
    datetime(2026, 5, 1, 12, 30, tzinfo=timezone.utc),
    datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Rome"), fold=1),
    time(12, 30, tzinfo=timezone(timedelta(hours=2))),
    date(2026, 5, 1),
    timedelta(days=-1, microseconds=3),
    Decimal("1.10"),
    UUID(int=5),
    math.inf,
    1 + 2j,
    Size.LARGE,
    Step.NAME,
    Topping("ham"),
    Pizza(Size.LARGE, {"ham", "olives"}, Topping("cheese", Decimal(2))),
    Point(1, 2),
    Crust(0.5),
    deque([1, 2], maxlen=2),
    OrderedDict([("b", 1), ("a", 2)]),
    Counter("abca"),
    defaultdict(list, {1: [2]}),
    User(5, "Maria", False, username="maria"),
    Chat(-100, "supergroup", title="Pizza"),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    codec = ValueCodec()
    stored = codec.encode({"value": value}, {}, LIMIT)
    found = codec.decode(stored).data["value"]
    assert found == value
    assert type(found) is type(value)
    assert repr(found) == repr(value) or isinstance(value, (set, frozenset, Pizza))


def test_an_object_is_made_without_running_its_code() -> None:
    stored = ValueCodec().encode({"pizza": Pizza(Size.LARGE)}, {}, LIMIT)
    stored["pizza"]["value"]["size"]["value"] = "SMALL"  # type: ignore[call-overload,index]
    assert ValueCodec().decode(stored).data["pizza"].size is Size.SMALL


@given(
    st.recursive(
        st.one_of(
            *(st.none(), st.booleans(), st.integers(), st.binary(), st.decimals(allow_nan=False)),
            st.floats(allow_nan=False),
            st.text(st.characters(exclude_categories=[])),
            st.datetimes(),
        ),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.tuples(inner, inner),
            st.dictionaries(
                st.one_of(st.integers(), st.text(st.characters(exclude_categories=[]), max_size=2)),
                inner,
                max_size=3,
            ),
        ),
        max_leaves=8,
    )
)
def test_whatever_is_encoded_is_decoded_to_the_same(value: Any) -> None:
    codec = ValueCodec()
    try:
        encoded = codec.encode_changed({"value": value}, None, {}, LIMIT)
    except SessionDataError:  # It is too deep.
        return
    assert encoded is not None
    decoded = codec.decode(encoded.value)
    assert decoded.data == {"value": value}
    assert codec.encode_changed(decoded.data, decoded.fingerprint, {}, LIMIT) is None


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (Unknown(), "is Unknown, which is not stored"),
        (open, "is builtin_function_or_method"),
        (defaultdict(lambda: 1), "is a defaultdict by a function of its own"),
        (dataclass(type("Local", (), {"__annotations__": {}}))(), "no class of a module"),
    ],
)
def test_what_would_not_come_back_is_refused_with_its_path(value: Any, told: str) -> None:
    with pytest.raises(SessionDataError, match=told) as raised:
        ValueCodec().encode({"cart": {7: [value]}}, {}, LIMIT)
    assert raised.value.path.startswith("$.cart")


def test_a_class_that_is_gone_is_told_with_the_path() -> None:
    stored = ValueCodec().encode({"a": [Size.LARGE]}, {}, LIMIT)
    stored["a"][0]["__type__"] = "enum:shop.gone:Size"  # type: ignore[call-overload,index]
    with pytest.raises(SessionDataError, match=r"\$\.a\[0\] is of type shop\.gone\.Size") as raised:
        ValueCodec().decode(stored)
    assert "LARGE" not in str(raised.value)


@pytest.mark.parametrize("name", ["os:system", "builtins:exec", "pathlib:Path", "os.path:join"])
def test_what_is_stored_does_not_name_code_to_run(name: str) -> None:
    for what in ("enum", "class"):
        with pytest.raises(SessionDataError):
            ValueCodec().decode({"a": {"__type__": f"{what}:{name}", "value": {}}})


def test_plain_data_is_stored_as_it_stands() -> None:
    data = {"step": "name", "sizes": [1, 2.5, None, True], "of": {"a": {}}}
    assert ValueCodec().encode(data, {}, LIMIT) == data


def test_a_class_of_the_authors_own_is_the_root() -> None:
    own = Own()
    own.clicks[5] = 1
    codec = ValueCodec(Own)
    found = codec.decode(codec.encode(own, {}, LIMIT)).data
    assert type(found) is Own
    assert found.clicks == {5: 1}
    dicts = ValueCodec(OwnDict)
    assert type(dicts.decode(dicts.encode(OwnDict(a=1), {}, LIMIT)).data) is OwnDict


def test_what_contains_itself_is_too_deep() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(SessionDataError, match="nested deeper"):
        ValueCodec().encode({"loop": loop}, {}, LIMIT)
