"""JSON as a tree that folds, in HTML alone."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple
from urllib.parse import quote

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext, ngettext
from msgspec.inspect import Type

from ..codec import MAX_DEPTH
from ..datapath import step
from ..figures.numbers import grouped
from ..masking import rewritten
from .declared_types import name_of, part_of
from .moments import moment
from .plain import plain, visible

OPEN_LEVELS = 2
LONG_TEXT = 200
"""Longer text is folded, and shows its beginning only."""
MANY_ITEMS = 50
"""More items of one list or object are folded into groups of so many."""
MAX_NODES = 2000
"""Of a page: what comes after that is counted only."""
MAX_TEXT = 100_000
MASKED = object()
"""Stands for what is not shown."""
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)")


def tree(value: Any, masked: Collection[str] = ()) -> SafeString:
    """Return JSON as nested, foldable HTML.

    Args:
        masked: names of fields whose values are not shown, at any depth.
    """
    return Tree(masked).whole(value)


class Parts(NamedTuple):
    """What is to be known of a container to show its parts."""

    path: str
    declared: Type | None
    depth: int


class Tree:
    """A tree under construction, which counts its nodes.

    Args:
        masked: names of fields whose values are not shown, at any depth.
        edit_url: where a single value can be edited, but for its path.
    """

    def __init__(self, masked: Collection[str], edit_url: str = "") -> None:
        self._masked, self._edit_url = masked, edit_url
        self._left = MAX_NODES
        self._is_cut = False

    @property
    def bounds(self) -> str:
        """What is shown of a value that is not shown whole; empty for others."""
        if not self._is_cut:
            return ""
        text = gettext("Only in the first {values} values, and {letters} characters of each.")
        return text.format(values=grouped(MAX_NODES), letters=grouped(MAX_TEXT))

    def whole(self, value: Any, declared: Type | None = None) -> SafeString:
        """Return all of it, of the declared type."""
        if self._masked:
            try:
                value = rewritten(value, self._masked, field=lambda hidden, place: MASKED)
            except RecursionError:  # Nobody can tell what of it is to be hidden.
                value = MASKED
        return self.node(None, value, "$", declared)

    def node(
        self, name: Any, value: Any, path: str, declared: Type | None, depth: int = 0
    ) -> SafeString:
        self._left -= 1
        if value is MASKED:
            return leaf(self._label(name), "bs-masked", gettext("hidden"))
        if isinstance(value, (dict, list)) and value:
            return self._branch(self._label(name), value, path, declared, depth)
        if isinstance(value, str) and len(value) > LONG_TEXT:
            self._is_cut |= len(value) > MAX_TEXT
            return folded_text(self._label(name), value, path, self._editor(path))
        link = format_html("{}{}", self._label(name), self._editor(path))
        return leaf(link, f"bs-{kind(value)}", scalar(value), path, after(value, declared))

    def _label(self, name: Any) -> SafeString:
        if name is None:
            return mark_safe("")
        shown = visible(str(name)) if name != "" else '""'
        return format_html('<span class="bs-name">{}</span>', shown)

    def _editor(self, path: str) -> SafeString:
        """Return a link to where a value is edited; the style sheet says where it stands."""
        if not self._edit_url:
            return mark_safe("")
        return format_html(
            '<a class="bs-edit-one" href="{}?path={}" aria-label="{}">✎</a>',
            self._edit_url,
            quote(plain(path)),
            gettext("Edit {path}").format(path=visible(path)),
        )

    def _branch(
        self, label: SafeString, value: Any, path: str, declared: Type | None, depth: int
    ) -> SafeString:
        if depth >= MAX_DEPTH:
            self._is_cut = True
            return leaf(label, "bs-more", gettext("nested too deeply to be shown"))
        return format_html(
            '<details class="bs-node"{}><summary data-path="{}">{}<span class="bs-count">{}</span>'
            "</summary>{}</details>",
            mark_safe(" open") if depth < OPEN_LEVELS and len(value) <= MANY_ITEMS else "",
            visible(path),
            label,
            length(value),
            self._children(value, Parts(path, declared, depth + 1)),
        )

    def _children(self, value: Any, parts: Parts) -> SafeString:
        pairs = iter(value.items() if isinstance(value, dict) else enumerate(value))
        if len(value) <= MANY_ITEMS:
            return self._list(pairs, len(value), parts)
        return format_html_join(
            "", "{}", ((group,) for group in self._groups(pairs, len(value), parts))
        )

    def _groups(self, pairs: Iterator[Any], count: int, parts: Parts) -> Iterator[SafeString]:
        for start in range(0, count, MANY_ITEMS):
            if self._left <= 0:
                yield self._left_out(count - start)
                return
            end = min(start + MANY_ITEMS, count)
            yield format_html(
                '<details class="bs-node bs-group"><summary>{} – {}</summary>{}</details>',
                start,
                end - 1,
                self._list(islice(pairs, MANY_ITEMS), end - start, parts),
            )

    def _list(self, pairs: Iterator[Any], count: int, parts: Parts) -> SafeString:
        return format_html(
            "<ul>{}</ul>", format_html_join("", "<li>{}</li>", self._items(pairs, count, parts))
        )

    def _items(self, pairs: Iterator[Any], count: int, parts: Parts) -> Iterator[tuple[SafeString]]:
        for shown, (name, value) in enumerate(pairs):
            if self._left <= 0:
                yield (self._left_out(count - shown),)
                return
            path, declared = parts.path + step(name), part_of(parts.declared, name)
            yield (self.node(name, value, path, declared, parts.depth),)

    def _left_out(self, count: int) -> SafeString:
        self._is_cut = True
        text = ngettext("{n} more is not shown", "{n} more are not shown", count).format(n=count)
        return leaf(mark_safe(""), "bs-more", text)


def leaf(
    label: SafeString, kind: str, text: str, path: str = "", after: SafeString | str = ""
) -> SafeString:
    return format_html(
        '<div class="bs-leaf"{}>{}<span class="{}">{}</span>{}</div>',
        format_html(' data-path="{}"', visible(path)) if path else "",
        label,
        kind,
        text,
        after,
    )


def after(value: Any, declared: Type | None) -> SafeString | str:
    """Return what explains a value: when that is, and the type that is declared."""
    texts = []
    if isinstance(value, str) and MOMENT.fullmatch(value):
        with suppress(ValueError):
            texts.append(moment(datetime.fromisoformat(value.replace("Z", "+00:00"))))
    if named := name_of(declared):
        texts.append(named)
    joined = format_html_join(" · ", "{}", ((text,) for text in texts))
    return format_html(' <span class="bs-note">{}</span>', joined) if texts else ""


def folded_text(label: SafeString, text: str, path: str, editor: SafeString) -> SafeString:
    count = ngettext("{n} character", "{n} characters", len(text)).format(n=len(text))
    cut = text[:MAX_TEXT] + ("…" if len(text) > MAX_TEXT else "")
    shown = visible(cut)
    exact = "" if shown == cut else format_html(' data-exact="{}"', json.dumps(cut))
    return format_html(
        '<details class="bs-node"><summary data-path="{}">{}<span class="bs-text">{}…</span> '
        '<span class="bs-count">{}</span></summary><pre class="bs-long"{}>{}</pre>{}</details>',
        visible(path),
        label,
        visible(text[:80]),
        count,
        exact,
        shown,
        editor,
    )


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
