"""JSON as a tree that folds, in HTML alone."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from itertools import islice
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext, ngettext

from ..codec import MAX_DEPTH
from .plain import visible

OPEN_LEVELS = 2
LONG_TEXT = 200
"""Longer text is folded, and shows its beginning only."""
MANY_ITEMS = 50
"""More items of one list or object are folded into groups of so many."""
MAX_NODES = 2000
"""Of a page: what comes after that is counted only."""
MAX_TEXT = 100_000


def tree(value: Any, masked: Collection[str] = ()) -> SafeString:
    """Return JSON as nested, foldable HTML.

    Args:
        masked: names of fields whose values are not shown, at any depth.
    """
    return Tree(masked).node("", value, 0)


class Tree:
    """A tree under construction, which counts its nodes."""

    def __init__(self, masked: Collection[str]) -> None:
        self._masked = masked
        self._left = MAX_NODES

    def node(self, name: Any, value: Any, depth: int) -> SafeString:
        self._left -= 1
        label = self._label(name)
        if isinstance(name, str) and name in self._masked:
            return leaf(label, "bs-masked", gettext("hidden"))
        if isinstance(value, (dict, list)) and value:
            return self._branch(label, value, depth)
        if isinstance(value, str) and len(value) > LONG_TEXT:
            return folded_text(label, value)
        return leaf(label, f"bs-{kind(value)}", scalar(value))

    def _label(self, name: Any) -> SafeString:
        if name == "":
            return mark_safe("")
        return format_html('<span class="bs-name">{}</span>', visible(str(name)))

    def _branch(self, label: SafeString, value: Any, depth: int) -> SafeString:
        if depth >= MAX_DEPTH:
            return leaf(label, "bs-more", gettext("nested too deeply to be shown"))
        return format_html(
            '<details class="bs-node"{}><summary>{}<span class="bs-count">{}</span></summary>'
            "{}</details>",
            mark_safe(" open") if depth < OPEN_LEVELS and len(value) <= MANY_ITEMS else "",
            label,
            length(value),
            self._children(value, depth + 1),
        )

    def _children(self, value: Any, depth: int) -> SafeString:
        pairs = iter(value.items() if isinstance(value, dict) else enumerate(value))
        if len(value) <= MANY_ITEMS:
            return self._list(pairs, len(value), depth)
        return format_html_join(
            "", "{}", ((group,) for group in self._groups(pairs, len(value), depth))
        )

    def _groups(self, pairs: Iterator[Any], count: int, depth: int) -> Iterator[SafeString]:
        for start in range(0, count, MANY_ITEMS):
            if self._left <= 0:
                yield left_out(count - start)
                return
            end = min(start + MANY_ITEMS, count)
            yield format_html(
                '<details class="bs-node bs-group"><summary>{} – {}</summary>{}</details>',
                start,
                end - 1,
                self._list(islice(pairs, MANY_ITEMS), end - start, depth),
            )

    def _list(self, pairs: Iterator[Any], count: int, depth: int) -> SafeString:
        return format_html(
            "<ul>{}</ul>", format_html_join("", "<li>{}</li>", self._items(pairs, count, depth))
        )

    def _items(self, pairs: Iterator[Any], count: int, depth: int) -> Iterator[tuple[SafeString]]:
        for shown, (name, value) in enumerate(pairs):
            if self._left <= 0:
                yield (left_out(count - shown),)
                return
            yield (self.node(name, value, depth),)


def leaf(label: SafeString, kind: str, text: str) -> SafeString:
    return format_html('<div class="bs-leaf">{}<span class="{}">{}</span></div>', label, kind, text)


def folded_text(label: SafeString, text: str) -> SafeString:
    count = ngettext("{n} character", "{n} characters", len(text)).format(n=len(text))
    return format_html(
        '<details class="bs-node"><summary>{}<span class="bs-text">{}…</span> '
        '<span class="bs-count">{}</span></summary><pre class="bs-long">{}</pre></details>',
        label,
        visible(text[:80]),
        count,
        visible(text[:MAX_TEXT]) + ("…" if len(text) > MAX_TEXT else ""),
    )


def left_out(count: int) -> SafeString:
    text = ngettext("{n} more is not shown", "{n} more are not shown", count).format(n=count)
    return leaf(mark_safe(""), "bs-more", text)


def length(value: Any) -> str:
    count = len(value)
    if isinstance(value, dict):
        return ngettext("{n} field", "{n} fields", count).format(n=count)
    return ngettext("{n} item", "{n} items", count).format(n=count)


def kind(value: Any) -> str:
    if isinstance(value, str):
        return "text"
    if value is None or isinstance(value, bool):
        return "word"
    return "empty" if isinstance(value, (dict, list)) else "number"


def scalar(value: Any) -> str:
    return visible(json.dumps(value, ensure_ascii=False))
