"""The documentation's Python examples run, in the order in which they are read.

The blocks of a page are one module, which can also be imported under the names of the files that
blocks begin with (``# shop/bot.py``). ``BOTSESSIONS`` is in force from where it is set. Tests are
run. Blocks in HTML comments, which readers do not see, check what the examples above them do.
"""

from __future__ import annotations

import itertools
import re
import sys
import unittest
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from telegram.ext import ApplicationBuilder, BaseHandler

from botsessions.checks import check_settings
from botsessions.sessions import Declaration
from botsessions.testing import BotClient, Person

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\S+)\.py\n")
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]+)?\)")

EXTRAS = {
    "context.job_queue.": "django-botsessions[jobs]",
    "conversation_timeout": "django-botsessions[jobs]",
    "arbitrary_callback_data(": "python-telegram-bot[callback-data]",
    'include("botsessions.api.urls")': "django-botsessions[api]",
    'include("botsessions.metrics.urls")': "django-botsessions[metrics]",
}
"""What does not work without further packages."""

user_ids = itertools.count(1_000_001)


# A TestCase, as some examples are, closes the connection in the end.
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_run(
    page: Path, settings: Any, monkeypatch: pytest.MonkeyPatch, django_db_blocker: Any
) -> None:
    module = ModuleType(f"examples_of_{page.stem}")
    names = vars(module)
    names["person"] = person
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for file, code in blocks(page):
        if file:
            monkeypatch.setitem(sys.modules, file.replace("/", "."), module)
        exec(code, names)  # noqa: S102 (our own pages)
        if "BOTSESSIONS" in names:
            settings.BOTSESSIONS = names.pop("BOTSESSIONS")
            assert check_settings(None) == []
        run_tests(names, django_db_blocker)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_say_what_has_to_be_installed_for_them(page: Path) -> None:
    text = page.read_text()
    for example, extra in EXTRAS.items():
        assert example not in text or extra in text, example


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text()):
        if "://" not in target:
            linked = page.parent / target
            assert linked.exists(), target
            assert not anchor or anchor in anchors(linked), target + anchor


def blocks(page: Path) -> Iterator[tuple[str, Any]]:
    """Yield file name and code of each block; errors show the page's own lines."""
    text = page.read_text()
    for block in BLOCK.finditer(text):
        above = "\n" * text.count("\n", 0, block.start(1))
        file = FILE.match(block[1])
        yield file[1] if file else "", compile(above + block[1], page, "exec")


def run_tests(names: dict[str, Any], blocker: Any) -> None:
    """Run the tests that a block has defined, as pytest would, and forget them."""
    for name in list(names):
        if name.startswith("test_"):
            test = names.pop(name)
            marks = {mark.name for mark in getattr(test, "pytestmark", ())}
            with nullcontext() if "django_db" in marks else blocker.block():
                test()
        elif name.endswith("Tests"):
            result = unittest.TestResult()
            unittest.defaultTestLoader.loadTestsFromTestCase(names.pop(name)).run(result)
            problems = [text for _, text in result.errors + result.failures]
            assert result.testsRun
            assert not problems, "".join(problems)


def person(
    session: Declaration, *handlers: BaseHandler[Any, Any, Any], on_error: Any = None
) -> Person[Any, Any]:
    """Return somebody new in a private chat with a bot that has this session and these handlers."""

    def build(builder: ApplicationBuilder[Any, Any, Any, Any, Any, Any]) -> Any:
        application = session.install(builder).build()
        application.add_handlers(handlers)
        if on_error is not None:
            application.add_error_handler(on_error)
        return application

    return BotClient(build=build).user("Maria", id=next(user_ids))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {"#" + re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
