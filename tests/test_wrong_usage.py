"""Commands whose arguments are misspelt, empty (as an unset variable is) or too large."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import CommandError, call_command

from botsessions import session
from botsessions.models import BotSession

from .sessions import make
from .sites import SECRET, TOKEN

pytestmark = [pytest.mark.django_db, pytest.mark.once]

counting = session(initial=dict)
URL = ("--url", "https://example.com")


@pytest.fixture(autouse=True)
def stored(settings: Any) -> Any:
    """A session of the shop, not changed for long, and one of a bot that is gone."""
    shop = {"TOKEN": TOKEN, "WEBHOOK_SECRET": SECRET, "SESSION": counting, "APPLICATION": print}
    settings.BOTSESSIONS = {"BOTS": {"shop": shop}}
    make("5", bot="shop", user_id=5)
    make("5", bot="gone", user_id=5)
    yield
    assert BotSession.objects.count() == 2


@pytest.mark.parametrize("bot", ["shpo", ""])
@pytest.mark.parametrize(
    "command",
    [
        ["export_sessions", "--bot"],
        ["export_user", "5", "--bot"],
        ["forget_user", "5", "--noinput", "--bot"],
        ["import_sessions", "jsonl", "-", "--bot"],
        ["migrate_sessions", "--bot"],
        ["migrate_sessions", "--plan", "--bot"],
        ["rekey_sessions", "per_user", "--bot"],
        ["rename_bot", "gone"],
        ["rename_fragment", "a", "b", "--bot"],
        ["sweep_sessions", "--idle-for", "1s", "--bot"],
        ["bot_info"],
        ["delete_webhook"],
        ["run_bot"],
        ["set_webhook", *URL],
    ],
    ids=" ".join,
)
def test_a_bot_that_there_is_not_is_named_instead_of_nothing_being_done(
    command: list[str], bot: str
) -> None:
    with pytest.raises(CommandError, match=f"There is no bot '{bot}'.* declares 'shop'"):
        call_command(*command, bot)


@pytest.mark.parametrize(
    "command", [["export_sessions"], ["migrate_sessions"], ["sweep_sessions", "--idle-for", "1s"]]
)
def test_so_is_a_fragment(command: list[str]) -> None:
    with pytest.raises(CommandError, match="There is no fragment 'crat', and no session of such"):
        call_command(*command, "--fragment", "crat")


@pytest.mark.parametrize(
    "command",
    [
        ["export_sessions"],
        ["export_user", "5"],
        ["forget_user", "5", "--noinput"],
        ["migrate_sessions"],
        ["rename_bot", "gone", "shop"],
        ["sweep_sessions"],
    ],
    ids=" ".join,
)
def test_so_is_a_database(command: list[str]) -> None:
    with pytest.raises(CommandError, match="There is no database '' in DATABASES"):
        call_command(*command, "--database", "")


@pytest.mark.parametrize("bots", [True, False])
@pytest.mark.parametrize(
    "command",
    [
        ["export_sessions", "--bot", "\udcff"],
        ["export_sessions", "--fragment", "\udcff"],
        ["export_user", "5", "--bot", "\udcff"],
        ["forget_user", "5", "--noinput", "--bot", "\udcff"],
        ["import_sessions", "jsonl", "-", "--fragment", "\udcff"],
        ["migrate_sessions", "--bot", "\udcff"],
        ["migrate_sessions", "--plan", "--fragment", "\udcff"],
        ["rename_bot", "\udcff", "shop"],
        ["rename_fragment", "\udcff", ""],
        ["sweep_sessions", "--bot", "\udcff"],
        ["sweep_sessions", "--fragment", "\0"],
    ],
    ids=repr,
)
def test_a_name_that_no_database_takes_is_named(
    command: list[str], bots: bool, settings: Any
) -> None:
    """The shell's ``$'\\xff'`` is a lone surrogate in Python."""
    if not bots:
        settings.BOTSESSIONS = {}
    with pytest.raises(CommandError, match=r"There is no '\\(udcff|x00)': a name has .* no NUL"):
        call_command(*command)


def test_a_bot_that_has_left_the_settings_has_its_sessions_still(capsys: Any) -> None:
    call_command("export_user", "5", "--bot", "gone")
    assert '"bot": "gone"' in capsys.readouterr().out
    call_command("sweep_sessions", "--bot", "4711")  # It has none, and needs no settings.


def test_without_bots_in_the_settings_they_may_have_any_names(settings: Any) -> None:
    settings.BOTSESSIONS = {}
    call_command("sweep_sessions", "--bot", "installed", "--fragment", "cart")


@pytest.mark.parametrize("command", [["export_user", "5"], ["forget_user", "5", "--noinput"]])
def test_wrong_settings_are_told_without_a_traceback(command: list[str], settings: Any) -> None:
    settings.BOTSESSIONS = {"BOTS": {"shop": {"SESSION": "shop.nowhere"}}}
    with pytest.raises(CommandError, match=r"BOTSESSIONS\['BOTS'\]\['shop'\]\['SESSION'\]"):
        call_command(*command)


@pytest.mark.parametrize("length", ["0d", "9999999999d", "2000000d", "9" * 5000 + "d"])
def test_no_sweep_is_for_sessions_that_were_idle_for_no_time_or_for_ever(length: str) -> None:
    with pytest.raises(CommandError, match="is not from a second to a century"):
        call_command("sweep_sessions", "--idle-for", length)


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (["rekey_sessions", "."], "There is no key function"),
        (["rekey_sessions", "..keys"], "There is no key function"),
        (["rekey_sessions", "os.path"], "os.path is no key function"),
        (["rekey_sessions", "builtins.int"], "builtins.int is no key function"),
        (["rename_bot", "gone", "9" * 65], "a name has at most 64 characters"),
        (["rename_fragment", "", "ptb:conversation:" + "x" * 64], "a name has at most 64"),
        (["sweep_sessions", "--bot", "9" * 65], "a name has at most 64 characters"),
        (["rename_fragment", "nope", "x"], """Bot 'shop' has a single session: NEW is ""."""),
        (["import_sessions", "grammy-free", "x"], "must begin with https://"),
    ],
    ids=lambda part: " ".join(part)[:30] if isinstance(part, list) else "",
)
def test_what_cannot_be_meant_is_told_without_a_traceback(command: list[str], problem: str) -> None:
    with pytest.raises(CommandError, match=problem):
        call_command(*command)
