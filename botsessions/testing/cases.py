"""What the contract of storages is tried with."""

from __future__ import annotations

import itertools

from ..records import Json

NESTED: Json = "the innermost"
for _ in range(15):
    NESTED = {"down": [NESTED]}

VALUES: dict[str, Json] = {
    "an object": {"pizza_count": 24, "toppings": ["olives", "capers"], "address": {"zip": "01067"}},
    "an empty object": {},
    "a list": [1, "two", None, [3]],
    "an empty list": [],
    "empty containers inside others": {"a": {}, "b": [[], {}]},
    "null inside others": {"a": None, "b": [None]},
    "text": "Hello",
    "an empty text": "",
    "text in many scripts": "żółć, пицца, 寿司, فلافل, e\u0301 and é",
    "emoji": {"🍕": "👩‍👩‍👧‍👦🇩🇪\U0001f9d1\U0001f3fd\u200d\U0001f373"},
    "text that databases and formats are fond of": "'\"\\%_%s{}$1;--\r\n\t\x01\x7f\u2028<!-- &amp;",
    "keys of all sorts": {
        "": 1,
        " ": 2,
        "a.b": 3,
        "$set": 4,
        "a'\"\\b": 5,
        "ключ": 6,
        "A": 7,
        "a": 8,
    },
    "text that looks like JSON": '{"a": [1, null]}',
    "zero": 0,
    "true": True,
    "false": False,
    "numbers that look like truth": [0, 1, False, True],
    "integers": [-1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63), 2**64, 10**40],
    "floats": [0.1, -2.5, 1e15, 1e16, 1.5e-9, 123456789.123456789, 3.141592653589793],
    "thirty levels": NESTED,
    "what looks packed": {"__d": {"pizza_count": 1}, "v": 3, "e": 0},
    "what looks packed twice": {"__d": {"__d": 1}},
    "a long text": "🍕 and pasta, " * 5000,
    "many items": {f"item {number}": number for number in range(1000)},
}

SIMILAR_KEYS = """
42 -42 042 42.0 4200 abc Abc ABC äbc ab_ ab% a/bc a%2Fbc a%252Fbc a:bc a\\bc ../abc *
a_bc a-bc a.bc a'bc a"bc a+bc a|bc a#bc
straße strasse ı i İ ﬁ fi пицца 🍕 🍣
"""

KEYS = [
    *SIMILAR_KEYS.split(),
    "a\u0308bc",
    "a bc",
    "a\nbc",
    "'; --",
    "k" * 254,
    "k" * 255,
    *(char * length + end for char in "kя🍕" for length in (62, 126, 254) for end in ("1", "2")),
    "🍕" * 255,
]

ADDRESSES = [
    *itertools.product(("a", "A", "a:b", "a/b"), ("", "b", "b:c", "b/c"), ("c", "b:c", "b/c")),
    ("", "", "a"),
    ("", "a", "a"),
    ("a%3Ab", "", "c"),
    *(("", "я" * 64, "я" * 254 + end) for end in ("1", "2")),
]

NEIGHBOURS = [
    *[
        ("", "", key)
        for key in ("4", "420", "421", "142", "42/7", "42:7", "42.7", "42 7", "4_", "%", "4125")
    ],
    *[("", "2", "42"), ("", "other", "42"), ("1", "", "42"), ("", "", "42*"), ("", "", "[42]")],
]
"""Bots' endings, names and keys that begin or end like, or match, the key 42."""

PATTERNS = ["4__", "4%", "4?", "4*", "4.", "4[0-9]", "\\42", ".*"]
"""Keys that match others where they are taken for patterns."""

VERSIONS = ["0", "1", "10", "10.1", "1.5", "-1", "0.000001", "0.1", "123456789.123456", "999999999"]
