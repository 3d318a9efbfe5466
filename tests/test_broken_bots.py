"""A bot that is broken keeps nobody from looking after the others, and is told by its setting."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.test import Client

from botsessions import enhance_storage, session
from botsessions.bots import Bot
from botsessions.models import BotSession

from . import everywhere
from .sessions import LIST, make, url

pytestmark = pytest.mark.django_db(transaction=True)
SETTING = "BOTSESSIONS['BOTS']['shop']"
BROKEN = {
    "cannot be found": ({"SESSION": "nowhere.session"}, "No module named 'nowhere'"),
    "raises": (
        {"SESSION": "tests.bots.raising.bot"},
        "NameError: name 'no_such_name' is not defined (tests/bots/raising.py, line 3",
    ),
    "is no session": ({"SESSION": "builtins.print"}, "is no session: declare it with session()"),
    "has a broken persistence": (
        {"SESSION": session(), "PERSISTENCE": "tests.bots.raising.bot"},
        "NameError",
    ),
    "has a persistence that raises": (
        {"SESSION": session(), "PERSISTENCE": lambda: [].nothing},  # type: ignore[attr-defined]
        "AttributeError: 'list' object has no attribute 'nothing' (tests/test_broken_bots.py",
    ),
    "has no session": ({}, "is missing"),
}
LISTS = ["", "?state=unreadable", "?version=behind", "?bot=-", "?sort=-expires", "overview/"]
PAGES = ["change", "edit", "past", "recent", "history", "data"]
OPERATIONS = ["expire", "extend", "reset", "migrate", "export", "delete_selected", "forget_user"]
COMMANDS = [
    ("sweep_sessions", "--migrate"),
    ("migrate_sessions",),
    ("migrate_sessions", "--plan"),
    ("migrate_sessions", "--bot", "cafe"),
    ("export_sessions", "--fragment", "x"),
    ("export_user", "5"),
    ("forget_user", "5", "--noinput"),
    ("import_sessions", "jsonl", "nowhere.jsonl", "--bot", "shop"),
    ("rename_bot", "cafe", "shop"),
    ("rename_fragment", "old", "", "--bot", "shop"),
    ("rekey_sessions", "per_user", "--bot", "shop"),
]


@pytest.fixture(params=BROKEN)
def problem(request: pytest.FixtureRequest, settings: Any) -> str:
    settings.ROOT_URLCONF = everywhere.URLS
    broken, problem = BROKEN[request.param]
    works = session(initial=dict, storage=enhance_storage(migrations={2: lambda old: old}))
    settings.BOTSESSIONS = {
        "BOTS": {
            "shop": {**broken, "APPLICATION": print},
            "cafe": {"SESSION": works, "APPLICATION": print},
        }
    }
    return problem


def test_all_pages_open(admin_client: Client, problem: str) -> None:
    rows = [make(key, bot=bot, user_id=5) for key, bot in enumerate(("shop", "cafe"))]
    paths = [LIST + query for query in LISTS]
    paths += [f"{LIST}action/{name}/" for name in OPERATIONS]
    paths += [url(page, row) for page in PAGES for row in rows]
    paths += [url("operation", row, name) for name in OPERATIONS for row in rows]
    paths += ["/api/sessions/", "/api/sessions/?version=behind", "/metrics/"]
    for path in paths:
        assert admin_client.get(path).status_code in (200, 302), path
    shop = rows[0]
    asked = admin_client.get(url("operation", shop, "forget_user"), follow=True)
    for answer in (asked, admin_client.get(url("change", shop))):
        text = answer.content.decode().replace("&#x27;", "'")
        assert SETTING in text
        assert problem in text
    assert BotSession.objects.count() == 2


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_names_the_setting(problem: str, command: tuple[str, ...]) -> None:
    make(1, bot="cafe", user_id=5)
    with pytest.raises(CommandError) as caught:
        call_command(*command, stdout=StringIO(), stderr=StringIO())
    assert SETTING in str(caught.value)
    assert problem in str(caught.value)


def test_a_module_that_is_no_python_is_told_by_its_own_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "unfinished.py").write_text("pizza = (\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImproperlyConfigured, match=r"\(unfinished\.py, line 1\)\.$"):
        _ = Bot("shop", {"SESSION": "unfinished.pizza"}).session
