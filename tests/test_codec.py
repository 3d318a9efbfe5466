"""The codec: rule 9 of the design, strict JSON and declared types."""

from __future__ import annotations

import enum
import json
import math
import sys
import traceback
import uuid
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, NamedTuple

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import astuple
from typing_extensions import NotRequired, TypedDict

from botsessions.codec import Codec, checked, is_data_type, strict
from botsessions.exceptions import SessionDataError

from .strategies import strict_json

pytestmark = pytest.mark.once

PLENTY = 3 * 1024 * 1024
SECRET = "4242-secret"


class Size(enum.Enum):
    SMALL = "s"
    LARGE = "l"


class Stars(enum.IntEnum):
    ONE = 1
    FIVE = 5


@dataclass
class Topping:
    name: str
    price: Decimal = Decimal("0.50")


@dataclass
class Order:
    id: uuid.UUID
    placed_at: datetime
    day: date
    at: time
    lasts: timedelta
    total: Decimal
    size: Size
    stars: Stars
    toppings: list[Topping]
    tags: set[str]
    codes: frozenset[int]
    point: tuple[int, int]
    by_size: dict[Size, int]
    by_number: dict[int, str]
    raw: bytes
    note: str | None = None
    extra: Any = None


ORDER = Order(
    id=uuid.UUID(int=42),
    placed_at=datetime(2026, 2, 28, 12, 30, 1, 5, timezone(timedelta(hours=2))),
    day=date(2026, 2, 28),
    at=time(12, 30),
    lasts=timedelta(minutes=30, microseconds=1),
    total=Decimal("12.30"),
    size=Size.LARGE,
    stars=Stars.FIVE,
    toppings=[Topping("olives"), Topping("ham", Decimal("1.20"))],
    tags={"hot", "new"},
    codes=frozenset({1, 2}),
    point=(3, 4),
    by_size={Size.SMALL: 1},
    by_number={7: "seven"},
    raw=b"\x00\xff",
    extra={"anything": [1, None]},
)


@dataclass
class Pizza:
    count: int = 0
    toppings: list[Topping] = field(default_factory=list)
    extra: Any = None


@attrs.define
class AttrsPizza:
    count: int = 0
    toppings: list[Topping] = attrs.field(factory=list)
    extra: Any = None


class StructPizza(msgspec.Struct):
    count: int = 0
    toppings: list[Topping] = []
    extra: Any = None


class RenamedPizza(msgspec.Struct, rename="camel", tag="pizza", omit_defaults=True):
    pizza_count: int = 0
    last_order: datetime | None = None


@dataclass
class Fickle:
    """One that adds to itself what no JSON can say."""

    extra: Any = None

    def __post_init__(self) -> None:
        self.extra = object()


class TypedPizza(TypedDict):
    count: int
    toppings: NotRequired[list[Topping]]
    extra: NotRequired[Any]


class NamedPizza(NamedTuple):
    count: int = 0
    toppings: tuple[Topping, ...] = ()
    extra: Any = None


TYPES = [Pizza, AttrsPizza, StructPizza]


def encode(codec: Codec[Any], data: Any, unknown: Any = None, max_bytes: int = PLENTY) -> Any:
    return codec.encode(data, unknown or {}, max_bytes)


def fingerprint(codec: Codec[Any], data: Any) -> bytes:
    encoded = codec.encode_changed(data, None, {}, PLENTY)
    assert encoded is not None
    return encoded.fingerprint


def through_json(codec: Codec[Any], data: Any) -> Any:
    """Return what a later process reads."""
    return codec.decode(json.loads(json.dumps(encode(codec, data)))).data


def refusal(function: Any) -> SessionDataError:
    """Return the error, having checked that it shows no secret, and that it names its path."""
    with pytest.raises(SessionDataError) as caught:
        function()
    error = caught.value
    assert SECRET not in "".join(traceback.format_exception(error))
    assert str(error).startswith(error.path)
    assert str(error).endswith(".")
    return error


# Without a declared type.


@given(strict_json())
def test_strict_json_comes_back_as_it_was(value: Any) -> None:
    codec = Codec[Any]()
    encoded = encode(codec, value)
    assert encoded == value
    assert json.dumps(through_json(codec, value)) == json.dumps(value)


@given(strict_json())
def test_what_is_encoded_and_decoded_shares_nothing_with_its_source(value: Any) -> None:
    codec = Codec[Any]()
    value = {"a": [value], "b": {"c": {}}}
    for copy in (encode(codec, value), codec.decode(value).data):
        copy["a"].append("more")
        copy["b"]["c"]["more"] = 1
        assert "more" not in value["a"]
        assert value["b"] == {"c": {}}


def test_subclasses_become_plain_json() -> None:
    pair = namedtuple("pair", "a b")  # noqa: PYI024
    number = type("number", (float,), {})
    data = {
        "tuple": (1, (2,)),
        "named": pair(1, 2),
        "ordered": OrderedDict(b=1, a=2),
        "enum": Stars.FIVE,
        "text": type("text", (str,), {"__str__": lambda self: "changed"})("kept"),
        "number": number(1.5),
    }
    encoded = encode(Codec(), data)
    assert encoded == {
        "tuple": [1, [2]],
        "named": [1, 2],
        "ordered": {"b": 1, "a": 2},
        "enum": 5,
        "text": "kept",
        "number": 1.5,
    }
    kinds = [type(value) for value in encoded.values()]
    assert kinds == [list, list, dict, int, str, float]
    assert list(encoded["ordered"]) == ["b", "a"]


@pytest.mark.parametrize(
    ("data", "path", "problem"),
    [
        ({SECRET: {1: 2}}, None, "has a key that is int"),
        ({"a": {None: 1}}, "$.a", "has a key that is NoneType"),
        ({"a": {("x",): 1}}, "$.a", "has a key that is tuple"),
        ({"a": {f"{SECRET}\0": 1}}, "$.a", "has a key that holds a NUL or a lone surrogate"),
        ({"a": {f"{SECRET}\udfff": 1}}, "$.a", "has a key that holds a NUL or a lone surrogate"),
        ([SECRET + "\0"], "$[0]", "holds a NUL or a lone surrogate"),
        ([0, SECRET + "\ud800"], "$[1]", "holds a NUL or a lone surrogate"),
        ({"a": [{"b": math.nan}]}, "$.a[0].b", "is infinite or not a number"),
        (math.inf, "$", "is infinite or not a number"),
        ((1, -math.inf), "$[1]", "is infinite or not a number"),
        ({"a": 10**4300}, "$.a", "an integer of more than 4300 digits"),
        ({"a": -(10**4300)}, "$.a", "an integer of more than 4300 digits"),
        ({"a": {SECRET}}, "$.a", "is set, which needs a declared type"),
        ({"a": [date.max]}, "$.a[0]", "is date, which needs a declared type"),
        ({"a": SECRET.encode()}, "$.a", "is bytes, which needs a declared type"),
        ({"a": Topping(SECRET)}, "$.a", "is Topping, which needs a declared type"),
        ({"a": Decimal("4242")}, "$.a", "is Decimal, which needs a declared type"),
        ({"a": Size.SMALL}, "$.a", "is Size, which needs a declared type"),
        ({"a": object}, "$.a", "is the class object itself"),
    ],
)
def test_what_is_not_strict_json_is_refused_by_its_path(
    data: Any, path: str | None, problem: str
) -> None:
    if path is None:
        path, data = "$.a", {"a": next(iter(data.values()))}
    error = refusal(lambda: encode(Codec(), data))
    assert error.path == path
    assert problem in str(error)


@pytest.mark.parametrize("digits", [1000, 4299])
def test_a_large_integer_is_taken(digits: int) -> None:
    for value in (10**digits, -(10**digits)):
        assert through_json(Codec(), [value]) == [value]


def nested(levels: int, kind: type) -> Any:
    value: Any = SECRET
    for _ in range(levels):
        value = {"a": value} if kind is dict else kind([value])
    return value


@pytest.mark.parametrize(("kind", "step"), [(list, "[0]"), (tuple, "[0]"), (dict, ".a")])
def test_thirty_levels_are_taken_and_thirty_one_refused(kind: type, step: str) -> None:
    encode(Codec(), nested(30, kind))
    error = refusal(lambda: encode(Codec(), nested(31, kind)))
    assert error.path == "$" + 30 * step
    assert "deeper than 30 levels" in str(error)


@pytest.mark.parametrize("data_type", [None, Pizza])
@pytest.mark.parametrize("levels", [100, 100_000])
def test_even_much_too_deep_data_is_refused(data_type: Any, levels: int) -> None:
    data = nested(levels, list)
    error = refusal(lambda: encode(Codec(data_type), data_type(extra=data) if data_type else data))
    assert "deeper than 30 levels" in str(error)


def test_data_that_holds_itself_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    pizza = Pizza()
    pizza.extra = pizza
    for codec, data, path in (
        (Codec[Any](), circle, "$" + 30 * "[0]"),
        (Codec(Pizza), pizza, "$"),
    ):
        error = refusal(lambda c=codec, d=data: encode(c, d))
        assert "deeper than 30 levels" in str(error)
        assert error.path == path


def test_a_circle_does_not_hide_what_cannot_be_encoded() -> None:
    circle: list[Any] = [object()]
    circle.insert(0, circle)
    error = refusal(lambda: encode(Codec(Pizza), Pizza(extra=circle)))
    assert error.path == "$"


def test_size_counts_bytes_of_what_is_stored() -> None:
    data = {"name": "🍕", "unseen": None}
    size = len('{"name":"🍕","unseen":null}'.encode())
    assert encode(Codec(), data, max_bytes=size) == data
    encoded = Codec[Any]().encode_changed(data, None, {}, size)
    assert encoded is not None
    assert encoded.value == data
    for refused in (
        lambda: encode(Codec(), data, max_bytes=size - 1),
        lambda: Codec[Any]().encode_changed(data, None, {}, size - 1),
    ):
        error = refusal(refused)
        assert error.path == "$"
        assert f"{size} bytes; a session may have {size - 1} (MAX_BYTES)" in str(error)


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("a_1", "$.a_1"),
        ("größe", "$.größe"),
        ("a.b", '$["a.b"]'),
        ("", '$[""]'),
        ("größe in cm", '$["größe in cm"]'),
        ('say "🍕"', '$["say \\"🍕\\""]'),
    ],
)
def test_a_path_reads_as_one_would_write_it(key: str, path: str) -> None:
    assert refusal(lambda: checked({key: {1, 2}})).path == path


def test_a_path_can_be_printed_whatever_the_keys_are() -> None:
    error = refusal(lambda: encode(Codec(Pizza), Pizza(extra={"a \ud800": object()})))
    assert error.path == '$.extra["a \\ud800"]'
    assert str(error).encode()


# With a declared type.


def test_a_typed_session_comes_back_as_it_was() -> None:
    codec = Codec(Order)
    decoded = through_json(codec, ORDER)
    assert decoded == ORDER
    assert decoded.placed_at.utcoffset() == timedelta(hours=2)
    assert str(decoded.total) == "12.30"
    assert [type(tag) for tag in (decoded.size, decoded.stars)] == [Size, Stars]


@given(st.data())
def test_any_typed_session_comes_back_as_it_was(data: st.DataObject) -> None:
    aware = st.datetimes(timezones=st.just(timezone.utc))
    orders = st.builds(
        Order,
        placed_at=aware,
        at=st.times(),
        total=st.decimals(allow_nan=False, allow_infinity=False),
        # Hours and minutes of ISO 8601 are what msgspec writes: of a sensible length, exact.
        lasts=st.timedeltas(timedelta(days=-10_000), timedelta(days=10_000)),
        toppings=st.lists(st.builds(Topping, name=st.just("x"), price=st.just(Decimal("0.50")))),
        tags=st.sets(st.sampled_from(["hot", "new"])),
        by_number=st.dictionaries(st.integers(), st.just("x")),
        note=st.none() | st.just("x"),
        extra=strict_json(),
    )
    order = data.draw(orders)
    assert through_json(Codec(Order), order) == order


@pytest.mark.parametrize("data_type", TYPES)
def test_dataclasses_attrs_and_structs_come_back_as_they_were(data_type: Any) -> None:
    pizza = data_type(count=2, toppings=[Topping("olives")], extra={"a": [1.5, None, "x"]})
    decoded = through_json(Codec(data_type), pizza)
    assert type(decoded) is data_type
    assert decoded == pizza


def test_typed_dicts_come_back_as_they_were() -> None:
    codec = Codec(TypedPizza)
    full: TypedPizza = {"count": 2, "toppings": [Topping("olives")], "extra": {"a": 1}}
    for pizza in ({"count": 2}, full):
        assert through_json(codec, pizza) == pizza


def test_renamed_and_tagged_structs_come_back_as_they_were() -> None:
    codec = Codec(RenamedPizza)
    pizza = RenamedPizza(3, datetime(2026, 2, 28, tzinfo=timezone.utc))
    encoded = encode(codec, pizza)
    assert encoded == {"type": "pizza", "pizzaCount": 3, "lastOrder": "2026-02-28T00:00:00Z"}
    assert through_json(codec, pizza) == pizza
    assert through_json(codec, RenamedPizza()) == RenamedPizza()


def test_named_tuples_come_back_as_they_were_from_lists() -> None:
    @dataclass
    class Menu:
        best: NamedPizza

    pizza = NamedPizza(2, (Topping("olives"),))
    assert encode(Codec(NamedPizza), pizza) == [2, [{"name": "olives", "price": "0.50"}], None]
    for codec, data in (Codec(NamedPizza), pizza), (Codec(Menu), Menu(pizza)):
        decoded = through_json(codec, data)
        assert (decoded, type(decoded)) == (data, type(data))
        stored = codec.decode(encode(codec, data)).fingerprint
        assert codec.encode_changed(data, stored, {}, PLENTY) is None


def test_a_named_tuple_may_get_further_fields_at_its_end_and_loses_none_without_a_word() -> None:
    codec = Codec(NamedPizza)
    assert codec.decode([2]).data == NamedPizza(2)
    error = refusal(lambda: codec.decode([2, [], None, SECRET]))
    assert "$ does not fit NamedPizza: Expected `array` of length 0 to 3, got 4" in str(error)
    assert "add a migration" in str(error)


@pytest.mark.parametrize(
    ("data_type", "data"),
    [(dict[str, Topping], {"a": Topping("x")}), (list[Size], [Size.SMALL]), (set[int], {1, 2})],
)
def test_a_type_without_fields_will_do(data_type: Any, data: Any) -> None:
    assert through_json(Codec(data_type), data) == data


def test_a_type_that_is_left_to_others_is_not_known() -> None:
    class Own:
        pass

    for data_type in (None, Pizza, dict[str, int], list[Own]):
        assert Codec(data_type).is_known is True
    assert Codec(Own).is_known is False


def test_a_type_that_msgspec_cannot_handle_is_refused_at_once() -> None:
    with pytest.raises(TypeError):
        Codec(list[Pizza | Topping])


@pytest.mark.parametrize("data_type", TYPES)
def test_what_is_decoded_into_a_type_shares_nothing_with_its_source(data_type: Any) -> None:
    value = {"extra": {"a": []}, "unknown": {"b": []}}
    decoded = Codec(data_type).decode(value)
    decoded.data.extra["a"].append("more")
    decoded.unknown["unknown"]["b"].append("more")
    assert value == {"extra": {"a": []}, "unknown": {"b": []}}


@pytest.mark.parametrize("data_type", [*TYPES, TypedPizza])
def test_fields_that_the_type_does_not_know_are_kept(data_type: Any) -> None:
    codec = Codec(data_type)
    value = {"count": 2, "from_the_future": {"a": [1]}, "from_the_past": None}
    data, unknown, _ = astuple(codec.decode(value))
    assert unknown == {"from_the_future": {"a": [1]}, "from_the_past": None}
    encoded = encode(codec, data, unknown)
    assert value.items() <= encoded.items()
    encoded["from_the_future"]["a"].append("more")
    assert unknown["from_the_future"] == {"a": [1]}


def test_kept_fields_count_for_the_size() -> None:
    with pytest.raises(SessionDataError, match="MAX_BYTES"):
        encode(Codec(Pizza), Pizza(), {"unknown": "x" * 100}, max_bytes=100)


def test_untyped_data_has_no_unknown_fields() -> None:
    decoded = Codec().decode({"a": 1})
    assert (decoded.data, decoded.unknown) == ({"a": 1}, {})


@pytest.mark.parametrize("data_type", TYPES)
@pytest.mark.parametrize(
    ("fields", "path", "problem"),
    [
        ({"count": SECRET}, "$.count", "does not fit {name}: Expected `int`, got `str`"),
        ({"toppings": [{"name": "x"}, {"name": 1}]}, "$.toppings[1].name", "Expected `str`"),
        ({"toppings": [{}]}, "$.toppings[0]", "missing required field `name`"),
        ({"toppings": [{"name": "x", "price": SECRET}]}, "$.toppings[0].price", "Unexpected value"),
    ],
)
def test_stored_data_that_does_not_fit_the_type_is_refused_by_its_path(
    data_type: Any, fields: Any, path: str, problem: str
) -> None:
    error = refusal(lambda: Codec(data_type).decode(fields))
    assert error.path == path
    assert problem.format(name=data_type.__name__) in str(error)
    assert "add a migration" in str(error)


@pytest.mark.parametrize(
    ("data_type", "value", "path"),
    [
        (dict[str, Size], {"a": f"{SECRET} - at `$.b`"}, "$[...]"),
        (Size, f"{SECRET} - at `$.{SECRET}`", "$"),
        (list[Size], [f"{SECRET} - at `$.{SECRET}` - at `$[9]`"], "$[0]"),
        (dict[int, int], {SECRET: 1}, "$"),
        (dict[str, int], {SECRET: "x"}, "$[...]"),
        (Pizza, SECRET, "$"),
        (Pizza, [SECRET], "$"),
    ],
)
def test_no_stored_value_gets_into_the_message_or_the_path(
    data_type: Any, value: Any, path: str
) -> None:
    assert refusal(lambda: Codec(data_type).decode(value)).path == path


def test_what_a_check_of_the_type_says_about_a_value_is_not_shown() -> None:
    @dataclass
    class Checked:
        name: str

        def __post_init__(self) -> None:
            raise ValueError(f"{self.name} is no name")

    error = refusal(lambda: Codec(Checked).decode({"name": SECRET}))
    assert str(error) == (
        "$ does not fit Checked: Unexpected value. Mend the data or the type, or add a migration."
    )


def test_a_type_without_a_name_is_named_as_it_is_written() -> None:
    error = refusal(lambda: Codec[Any](int | str).decode([]))
    assert "does not fit int | str: Expected `int | str`" in str(error)


@pytest.mark.parametrize("data_type", TYPES)
@pytest.mark.parametrize(
    ("fields", "path", "problem"),
    [
        ({"count": SECRET}, "$.count", "Expected `int`"),
        ({"toppings": [Topping(4242)]}, "$.toppings[0].name", "Expected `str`"),  # type: ignore[arg-type]
        ({"extra": {"a": [math.nan]}}, "$.extra.a[0]", "not a number"),
        ({"extra": {"a": SECRET + "\0"}}, "$.extra.a", "NUL"),
        ({"extra": [{"a": [object()]}]}, "$.extra[0].a[0]", "is object, which msgspec does not"),
        ({"extra": {"a": object}}, "$.extra.a", "is the class object itself"),
        ({"toppings": [Topping("x", object())]}, "$.toppings[0].price", "is object"),  # type: ignore[arg-type]
        ({"extra": {(1, 2): SECRET}}, "$.extra", "is dict"),
    ],
)
def test_typed_data_that_cannot_be_stored_is_refused_by_its_path(
    data_type: Any, fields: Any, path: str, problem: str
) -> None:
    error = refusal(lambda: encode(Codec(data_type), data_type(**fields)))
    assert error.path == path
    assert problem in str(error)


def test_another_object_than_the_declared_one_is_refused() -> None:
    for data in (42, SECRET, [SECRET], {"toppings": SECRET}):
        refusal(lambda data=data: encode(Codec(Pizza), data))
    refusal(lambda: encode(Codec(Pizza), object()))


# Fingerprints.


def reordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: reordered(value[name]) for name in reversed(value)}
    return [reordered(item) for item in value] if isinstance(value, list) else value


@given(strict_json())
def test_equal_data_in_other_order_has_the_same_fingerprint(value: Any) -> None:
    codec = Codec[Any]()
    assert fingerprint(codec, value) == fingerprint(codec, reordered(value))
    assert fingerprint(codec, value) == fingerprint(codec, through_json(codec, value))


@given(strict_json(), strict_json())
def test_different_data_has_different_fingerprints(one: Any, other: Any) -> None:
    codec = Codec[Any]()
    if fingerprint(codec, one) == fingerprint(codec, other):
        assert one == other


def test_a_nested_change_changes_the_fingerprint_and_undoing_it_restores_it() -> None:
    pizza = Pizza(toppings=[Topping("olives")])
    for codec, data, inner in (
        (Codec(Pizza), pizza, pizza.toppings[0].__dict__),
        (Codec(), {"a": [nest := {"name": "olives"}]}, nest),
    ):
        before = fingerprint(codec, data)
        inner["name"] = "capers"
        assert fingerprint(codec, data) != before
        inner["name"] = "olives"
        assert fingerprint(codec, data) == before


def test_sets_have_one_fingerprint_whatever_their_order() -> None:
    codec = Codec(set[str])
    names = [f"topping {number}" for number in range(100)]
    others = names[::-1]
    assert fingerprint(codec, set(names)) == fingerprint(codec, set(others))


@given(strict_json())
def test_what_was_read_has_the_fingerprint_of_what_would_be_written(value: Any) -> None:
    codec = Codec[Any]()
    assert codec.decode(value).fingerprint == fingerprint(codec, value)


@pytest.mark.parametrize("data_type", [*TYPES, TypedPizza])
def test_what_was_read_and_not_changed_is_not_encoded_again(data_type: Any) -> None:
    codec = Codec(data_type)
    data, unknown, stored = astuple(
        codec.decode({"toppings": [], "count": 2, "from_the_future": 1})
    )
    assert codec.encode_changed(data, stored, unknown, PLENTY) is None
    encoded = codec.encode_changed(data, b"another", unknown, PLENTY)
    assert encoded is not None
    assert encoded.value["from_the_future"] == 1
    assert encoded.fingerprint == stored


def test_what_cannot_be_written_again_has_no_fingerprint() -> None:
    decoded = Codec(Fickle).decode({"from_the_future": 1})
    assert decoded.fingerprint is None
    assert isinstance(decoded.data, Fickle)
    assert decoded.unknown == {"from_the_future": 1}


@pytest.mark.parametrize("data_type", [None, *TYPES])
def test_data_that_did_not_change_may_be_too_large(data_type: Any) -> None:
    codec = Codec(data_type)
    data, unknown, stored = astuple(codec.decode({"extra": "x" * 100}))
    assert codec.encode_changed(data, stored, unknown, 100) is None
    with pytest.raises(SessionDataError, match="MAX_BYTES"):
        codec.encode_changed(data, None, unknown, 100)


# Types that name what JSON is decoded into.


@pytest.mark.parametrize("data_type", [*TYPES, TypedPizza, RenamedPizza, NamedPizza])
def test_classes_with_fields_are_data_types(data_type: Any) -> None:
    assert is_data_type(data_type)


@pytest.mark.parametrize(
    "thing", [dict, list, tuple, int, Size, Pizza(), lambda: Pizza(), None, sys]
)
def test_functions_and_plain_classes_are_no_data_types(thing: Any) -> None:
    assert not is_data_type(thing)


ODD = (
    st.sampled_from([Size.SMALL, Stars.FIVE, math.nan, -math.inf, -0.0, 2**64, 10**4000, b"raw"])
    | st.text(st.sampled_from("a\0\ud800\\u{}[]ü"))
    | st.decimals()
    | st.dates()
    | st.uuids()
    | st.sets(st.integers())
)


@given(
    st.recursive(
        strict_json() | ODD,
        lambda inner: (
            st.lists(inner)
            | st.tuples(inner, inner)
            | st.dictionaries(st.text() | st.integers() | st.booleans() | st.none(), inner)
        ),
    ),
    st.integers(0, 32),
)
def test_data_is_copied_as_if_it_was_looked_at_value_by_value(data: Any, depth: int) -> None:
    for _ in range(depth):
        data = [data] if depth % 2 else {"in": data}

    def outcome(copy: Callable[[Any], Any]) -> str:
        try:
            return repr(copy(data))  # Which shows types, too.
        except SessionDataError as exc:
            return str(exc)

    assert outcome(strict) == outcome(checked)
