"""What user_data and its like may hold: it comes back as it was, or is refused with its path."""

from __future__ import annotations

import enum
import math
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import cached_property
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from telegram import (
    Bot,
    BotCommandScopeChat,
    Chat,
    ChatMemberOwner,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InlineQueryResultArticle,
    InputTextMessageContent,
    ReactionTypeEmoji,
    ReplyKeyboardMarkup,
    ReplyKeyboardRemove,
    User,
)

from botsessions.codec import Codec
from botsessions.exceptions import SessionDataError
from botsessions.persistence.values import TypedCodec, ValueCodec

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


class Crust(msgspec.Struct):
    thickness: float


class Point(NamedTuple):
    x: int
    y: int


class Right(enum.Flag):
    READ = 1
    WRITE = 2


class Mode(enum.IntFlag):
    READ = 1
    WRITE = 2


class Nameless(enum.Enum):
    ONE = 1

    @classmethod
    def _missing_(cls, value: object) -> Nameless:
        made = object.__new__(cls)
        made._name_, made._value_ = str(value), value
        return made


@dataclass
class Cart:
    items: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.total = 0

    @cached_property
    def lock(self) -> Any:
        return object()


T = TypeVar("T")


@dataclass
class Box(Generic[T]):
    content: T


class Corner(Point):
    pass


@dataclass
class Named(list[int]):
    name: str = ""


class Noted(dict[str, Any]):
    count = 0

    def __init__(self, **entries: Any) -> None:
        super().__init__(**entries)
        Noted.count += 1
        self.number = Noted.count
        self.root = self

    @cached_property
    def connection(self) -> Any:
        return object()


@dataclass
class Loose:
    some: list = field(default_factory=list)  # type: ignore[type-arg]
    of: dict = field(default_factory=dict)  # type: ignore[type-arg]
    any: Any = None
    price: float = 0
    since: datetime | None = None
    prices: dict[int, tuple[int, str]] = field(default_factory=dict)
    steps: set[Step] = field(default_factory=set)
    cart: Cart | None = None


@dataclass(frozen=True, eq=False)
class Item:
    """It is equal only to itself."""

    number: int


@dataclass
class Shelf:
    items: set[Item]


@dataclass
class Opened:
    """It holds more than what is stored."""

    cart: Cart = field(default_factory=Cart)
    name: str = ""

    def __post_init__(self) -> None:
        self.lock = object()
        self.cart.owner = self  # type: ignore[attr-defined]


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
    -0.0,
    1e16,
    1e300,
    5e-324,
    1.0,
    1 + 2j,
    datetime(2026, 10, 25, 2, 30, fold=1),  # noqa: DTZ001
    time(2, 30, fold=1),
    timezone(timedelta(hours=1), "CET"),
    timezone(timedelta(hours=1)),
    datetime(2026, 5, 1, tzinfo=timezone(timedelta(hours=1), "CET")),
    Right.READ,
    Right.READ | Right.WRITE,
    Right(0),
    Mode.READ | Mode.WRITE,
    InlineKeyboardMarkup([[InlineKeyboardButton("x", callback_data="1")]]),
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
    Chat(-100, "supergroup", api_kwargs={"new": 1}),
    Box[int](5),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    codec = ValueCodec()
    stored = codec.encode({"value": value}, {}, LIMIT)
    found = codec.decode(stored).data["value"]
    assert found == value
    assert type(found) is type(value)
    assert repr(found) == repr(value) or isinstance(value, (set, frozenset, Pizza))
    assert getattr(found, "fold", 0) == getattr(value, "fold", 0)


@pytest.mark.parametrize(
    "value",
    [
        {Item(3)},
        frozenset([(Item(3), Item(4))]),
        {Item(3): "a", Item(3): {"b": Item(4)}, 5: "c"},
        {(Item(3), 1): Item(3)},
        {math.nan, 1},
        {math.nan: 1, "a": 2},
        OrderedDict([(Item(3), "a")]),
    ],
)
def test_what_is_equal_only_to_itself_comes_back(value: Any) -> None:
    codec = ValueCodec()
    stored = codec.encode({"value": value}, {}, LIMIT)
    found = codec.decode(stored).data
    assert repr(sorted(found["value"], key=repr)) == repr(sorted(value, key=repr))
    assert codec.encode(found, {}, LIMIT) == stored


def test_what_is_equal_only_to_itself_comes_back_in_a_declared_type() -> None:
    codec = TypedCodec(Shelf)
    stored = codec.encode(Shelf({Item(3)}), {}, LIMIT)
    assert {item.number for item in codec.decode(stored).data.items} == {3}


@pytest.mark.parametrize(
    "value",
    [
        ReactionTypeEmoji("👍"),
        ReplyKeyboardRemove(),
        ChatMemberOwner(User(5, "Maria", False), False),
        BotCommandScopeChat(5),
    ],
    ids=lambda value: type(value).__name__,
)
def test_objects_of_telegram_that_tell_their_kind_come_back(value: Any) -> None:
    codec = ValueCodec()
    found = codec.decode(codec.encode({"value": value}, {}, LIMIT)).data["value"]
    assert type(found) is type(value)
    assert found.to_dict() == value.to_dict()


def test_what_objects_were_given_besides_their_fields_comes_back() -> None:
    cart, corner, codec = Cart([1]), Corner(1, 2), ValueCodec()
    cart.total, corner.radius = 5, 0.5  # type: ignore[attr-defined]
    assert cart.lock
    before = codec.encode_changed({"cart": Cart([1])}, None, {}, LIMIT)
    assert before is not None
    changed = codec.encode_changed({"cart": cart, "at": corner}, before.fingerprint, {}, LIMIT)
    assert changed is not None
    found = codec.decode(changed.value).data
    assert vars(found["cart"]) == {"items": [1], "total": 5}
    assert (found["at"], vars(found["at"])) == (corner, {"radius": 0.5})


def test_an_attribute_of_a_dict_that_is_the_root_is_refused_unless_a_new_one_has_it() -> None:
    codec, data = ValueCodec(Noted), Noted()
    data["a"] = 1
    assert data.connection
    assert codec.encode(data, {}, LIMIT) == {"a": 1}
    data.other = "changed"  # type: ignore[attr-defined]
    with pytest.raises(SessionDataError, match=r"\$\.other is an attribute of Noted"):
        codec.encode(data, {}, LIMIT)


def test_a_dict_that_is_the_root_is_made_once_to_know_its_attributes() -> None:
    codec, data = ValueCodec(Noted), Noted(a=1)
    first = codec.encode_changed(data, None, {}, LIMIT)
    assert first is not None
    count = Noted.count
    assert codec.encode_changed(data, first.fingerprint, {}, LIMIT) is None
    assert Noted.count == count


def test_what_is_plain_costs_no_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botsessions.persistence.values.difference", None)
    assert ValueCodec().encode({"a": [1, 2.5, "x"]}, {}, LIMIT) == {"a": [1, 2.5, "x"]}


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
        (Nameless(5), "is a Nameless that would not be found by its name again"),
        (Named("ham"), "is Named, of which only the attributes would be stored"),
        (ReplyKeyboardMarkup([["ham"]]), r"keyboard\[0\]\[0\] would not come back as it was"),
        (InlineKeyboardButton("x", callback_data=("ham", 1)), "callback_data would not come back"),
        (
            InlineQueryResultArticle("1", "ham", InputTextMessageContent("x")),
            "input_message_content would not come back as it was",
        ),
        (Bot("5:abc"), "is Bot, which is not stored"),
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


@pytest.mark.parametrize(
    "changes",
    [
        {"some": [1, "x"], "of": {"a": [1]}, "any": {"b": None}, "price": 2},
        {"since": datetime(2026, 5, 1, tzinfo=timezone.utc), "prices": {1: (2, "x")}},
        {"steps": {Step.NAME}, "cart": Cart([1])},
    ],
)
def test_a_declared_type_comes_back_as_it_was(changes: Any) -> None:
    codec, data = TypedCodec(Loose), Loose(**changes)
    encoded = codec.encode_changed(data, None, {}, LIMIT)
    assert encoded is not None
    assert encoded.value == Codec(Loose).encode(data, {}, LIMIT)
    assert codec.decode(encoded.value).data == data
    assert codec.encode_changed(data, encoded.fingerprint, {}, LIMIT) is None
    assert codec.encode_stored(encoded.value, LIMIT) == codec.encode(data, {}, LIMIT)


@pytest.mark.parametrize(
    ("name", "value", "path"),
    [
        ("some", [(1, 2)], r"\$\.some\[0\]"),
        ("some", [datetime(2026, 5, 1, tzinfo=timezone.utc)], r"\$\.some\[0\]"),
        ("some", [{1, 2}], r"\$\.some\[0\]"),
        ("of", {1: 2}, r"\$\.of\[1\]"),
        ("of", {enum.Enum("Local", "A")["A"]: 2}, r'\$\.of\["Local\.A"\]'),
        ("of", {"a": (1, 2)}, r"\$\.of\.a"),
        ("of", defaultdict(int, a=1), r"\$\.of"),
        ("any", (1, 2), r"\$\.any"),
        ("any", Topping("ham"), r"\$\.any"),
    ],
)
def test_what_a_declared_type_does_not_tell_is_refused(name: str, value: Any, path: str) -> None:
    data = Loose()
    fingerprint = TypedCodec(Loose).decode({}).fingerprint
    setattr(data, name, value)
    for encode in (
        lambda codec: codec.encode_changed(data, fingerprint, {}, LIMIT),
        lambda codec: codec.encode(data, {}, LIMIT),
    ):
        with pytest.raises(SessionDataError, match=f"^{path} would not come back .* in Loose"):
            encode(TypedCodec(Loose))


def test_what_a_declared_type_holds_besides_its_fields_is_not_stored() -> None:
    codec = TypedCodec(Opened)
    decoded = codec.decode({})
    assert codec.encode_changed(decoded.data, decoded.fingerprint, {}, LIMIT) is None
    decoded.data.name = "Maria"
    encoded = codec.encode_changed(decoded.data, decoded.fingerprint, {}, LIMIT)
    assert encoded is not None
    assert encoded.value == {"cart": {"items": []}, "name": "Maria"}
    assert codec.encode(decoded.data, {}, LIMIT) == encoded.value


def test_a_declared_type_that_has_not_changed_costs_no_second_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codec = TypedCodec(Loose)
    decoded = codec.decode({"some": [1]})
    monkeypatch.setattr("botsessions.persistence.values.difference", None)
    monkeypatch.setattr("msgspec.convert", None)
    assert codec.encode_changed(decoded.data, decoded.fingerprint, {}, LIMIT) is None


def test_fields_that_a_declared_type_does_not_know_are_kept() -> None:
    decoded = TypedCodec(Loose).decode({"gone": 1, "price": 2})
    value = TypedCodec(Loose).encode(decoded.data, decoded.unknown, LIMIT)
    assert value["gone"] == 1  # type: ignore[call-overload,index]


def test_what_contains_itself_is_too_deep() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(SessionDataError, match="nested deeper"):
        ValueCodec().encode({"loop": loop}, {}, LIMIT)
