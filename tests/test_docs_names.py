"""What the documentation names in ``code`` exists: in this package, on the page, or elsewhere."""

from __future__ import annotations

import ast
import asyncio
import builtins
import dataclasses
import importlib
import pkgutil
import re
import textwrap
import typing
from functools import cache
from pathlib import Path
from typing import Any

import django.conf.global_settings
import django.db.models
import django.db.transaction
import django.test
import msgspec
import pytest
import telegram
import telegram.ext
from asgiref import sync

import botsessions

from .test_docs import PAGES, ROOT

pytestmark = pytest.mark.once

FENCED = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
PYTHON = re.compile(r"^ *```python\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
NAME = re.compile(r"[A-Za-z_][\w.]*")
ARGUMENTS = re.compile(r"\([^()]*\)")
IN_FILE = re.compile(r"((?:`[^`\n]+`(?:,\s+|\s+and\s+)?)+)\s+in\s+\[[^\]]*\]\(([^)#\s]+\.py)\)")
"""Like "`read` and `write` in [base.py](../botsessions/base.py)"."""

OF_OTHERS: list[Any] = [
    *(builtins, asyncio, dataclasses, typing, msgspec, sync, telegram, telegram.ext),
    *(django, django.conf.global_settings, django.db.models, django.db.models.QuerySet),
    *(django.db.transaction, django.test, telegram.Update, telegram.Bot, telegram.ext.JobQueue),
    *(telegram.ext.Application, telegram.ext.ApplicationBuilder, telegram.ext.CallbackContext),
    *(telegram.ext.BasePersistence, telegram.ext.ConversationHandler, telegram.error),
]
"""Modules and classes of others whose names the pages use."""
ELSEWHERE = {
    *("ctx", "enhanceStorage", "freeStorage", "getSessionKey", "lazySession", "rootUrl"),  # grammY
    *("TimeoutStopSec", "proxy_read_timeout", "stop_grace_period"),  # systemd, nginx, Docker
    *("ATOMIC_REQUESTS", "MAX_ENTRIES"),  # in Django's DATABASES and CACHES
    *("LoginRequiredMiddleware", "ProtocolTypeRouter", "REST_FRAMEWORK"),
    *("BEGIN", "SELECT", "max_allowed_packet"),  # SQL, MariaDB
    *("change_botsession", "delete_botsession", "view_botsession"),  # Django's permissions
    *("export_botsession", "view_contents_botsession", "view_incident"),
    *("my_bot", "my_bot_chat_data", "shop", "bot", "old_key", "file_id"),  # made up
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_in_the_text_exist(page: Path) -> None:
    text = page.read_text()
    known = ELSEWHERE | of_others() | ours() | on_page(text)
    assert [span for span in CODE.findall(FENCED.sub("", text)) if not exists(span, known)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_are_in_the_file_that_they_are_said_to_be_in(page: Path) -> None:
    for spans, file in IN_FILE.findall(page.read_text()):
        found = names_in(ast.parse((page.parent / file).read_text()))
        assert set(CODE.findall(spans)) <= found, file


def test_names_that_do_not_exist_are_found() -> None:
    known = ELSEWHERE | of_others() | ours()
    for lie in (
        *("_in_scope", "process_eror()", "SessionKontext", "max_bites", "context.sessoin"),
        *("botsessions.keys.per_cat", "ProcessLock.sweep()", "manage_py", "pizza.edit(chat=1).dat"),
    ):
        assert not exists(lie, known), lie
    for name in ("edit(chat=f(1))", "botsessions.keys.per_chat()", "context.session", "kept", "⅓"):
        assert exists(name, known), name


def exists(span: str, known: set[str]) -> bool:
    """Whether what stands in backquotes names something that there is, or is no name."""
    plain = span
    while ARGUMENTS.search(plain):
        plain = ARGUMENTS.sub("", plain)
    if not NAME.fullmatch(plain):
        return True
    first, *attributes = plain.removeprefix("botsessions_").split(".")  # Of tables and metrics.
    if first == "botsessions":
        return resolves(plain) or plain in ours()
    if first in classes():
        return any(has(cls, attributes) for cls in classes()[first])
    is_word = plain == span and plain.islower() and plain.isalpha()
    return is_word or {first, *attributes} <= known


def resolves(dotted: str) -> bool:
    """Whether a dotted name can be imported."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        try:
            module = importlib.import_module(".".join(parts[:length]))
        except ImportError:
            continue
        return has(module, parts[length:])
    return False


def has(thing: Any, attributes: list[str]) -> bool:
    for attribute in attributes:
        if not hasattr(thing, attribute):
            return False
        thing = getattr(thing, attribute)
    return True


def names_in(tree: ast.AST) -> set[str]:
    """Return all names, and all text, since settings and fields are text."""
    found = {
        value
        for node in ast.walk(tree)
        for field in ("name", "id", "attr", "arg", "value")
        if isinstance(value := getattr(node, field, None), str)
    }
    return found | {part for name in found for part in name.split(".")}


def on_page(text: str) -> set[str]:
    blocks = map(textwrap.dedent, PYTHON.findall(text))
    return {name for block in blocks for name in names_in(ast.parse(block))}


@cache
def ours() -> set[str]:
    files = [file for top in ("botsessions", "project") for file in (ROOT / top).rglob("*.py")]
    names = {name for file in files for name in names_in(ast.parse(file.read_text()))}
    return names | {file.stem for file in files} | {"manage", "py"}


@cache
def of_others() -> set[str]:
    return {name for thing in OF_OTHERS for name in (thing.__name__, *dir(thing))}


@cache
def classes() -> dict[str, list[type]]:
    """Return this package's classes by name."""
    found: dict[str, list[type]] = {}
    for module in pkgutil.walk_packages(botsessions.__path__, "botsessions."):
        if ".commands." in module.name or ".migrations." in module.name:
            continue
        for name, thing in vars(importlib.import_module(module.name)).items():
            if isinstance(thing, type) and thing.__module__ == module.name:
                found.setdefault(name, []).append(thing)
    return found
