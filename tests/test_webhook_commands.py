"""``set_webhook``, ``delete_webhook`` and ``bot_info``, with a Bot API server on this computer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.urls.base import get_script_prefix, set_script_prefix

from .botapi import BotApi, refusal, serving
from .sites import SECRET, TOKEN

pytestmark = pytest.mark.once

OTHER_TOKEN = "4711002:AAEhBOweik6ad9r_QXMENQjcrGbqCr4K-bc"


@pytest.fixture
def api(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[BotApi]:
    """A server that knows the bots of the settings."""
    bot = {"SESSION": "tests.bots.notes.notes", "APPLICATION": "tests.bots.notes.build"}
    settings.ROOT_URLCONF = "tests.bots.urls"
    settings.BOTSESSIONS = {
        "BOTS": {
            "notes": bot | {"TOKEN": TOKEN, "WEBHOOK_SECRET": SECRET},
            "polling": bot | {"TOKEN": OTHER_TOKEN},
            "offline": bot,
        }
    }
    with serving() as api:
        monkeypatch.setenv("BOT_API", api.url)
        api.account(TOKEN)
        api.account(OTHER_TOKEN)
        yield api


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out, stderr=out, skip_checks=True)
    return out.getvalue()


def failing(*arguments: str, match: str) -> str:
    """Run a command that fails; return what it wrote."""
    out = StringIO()
    with pytest.raises(CommandError, match=match):
        call_command(*arguments, stdout=out, stderr=out, skip_checks=True)
    return out.getvalue()


def test_telegram_is_told_url_and_secret_of_each_bot_that_has_one(api: BotApi) -> None:
    said = run("set_webhook", "--url", "https://example.com/")
    assert said == "notes: Telegram sends updates to https://example.com/telegram/notes/\n"
    told = api.account(TOKEN).webhook
    assert told["url"] == "https://example.com/telegram/notes/"
    assert told["secret_token"] == SECRET
    assert api.account(OTHER_TOKEN).webhook["url"] == ""


def test_telegram_is_told_what_to_send_and_how(api: BotApi, settings: Any) -> None:
    account = api.account(TOKEN)
    account.say("old")
    settings.BOTSESSIONS["BOTS"]["notes"]["ALLOWED_UPDATES"] = ["message"]
    url = "https://example.com"
    run("set_webhook", "notes", "--url", url, "--drop-pending", "--max-connections", "7")
    assert json.loads(account.webhook["allowed_updates"]) == ["message"]
    assert account.webhook["max_connections"] == "7"
    assert account.pending == []
    settings.BOTSESSIONS["BOTS"]["notes"]["ALLOWED_UPDATES"] = None
    run("set_webhook", "--url", url)
    assert account.webhook["allowed_updates"] == "[]"


def test_a_webhook_is_deleted_and_the_updates_stay_unless_they_are_dropped(api: BotApi) -> None:
    account = api.account(TOKEN)
    account.webhook = {"url": "https://example.com"}
    account.pending = [{"update_id": 1}]
    said = run("delete_webhook", "notes")
    assert said == "notes: Telegram keeps updates until somebody polls.\n"
    assert account.webhook["url"] == ""
    assert account.pending
    run("delete_webhook", "notes", "--drop-pending")
    assert account.pending == []


def test_bot_info_shows_what_telegram_reports(api: BotApi) -> None:
    account = api.account(TOKEN)
    account.pending = [{"update_id": 1}, {"update_id": 2}]
    account.last_error = {
        "last_error_message": "Wrong response from the webhook: 503",
        "last_error_date": 1700000000,
    }
    account.webhook = {"url": f"https://example.com/{TOKEN}"}
    assert run("bot_info") == (
        "notes: @bot_4711001, id 4711001\n"
        "  webhook: https://example.com/4711001:[hidden]\n"
        "  pending updates: 2\n"
        "  last error: Wrong response from the webhook: 503 (2023-11-14 22:13:20 UTC)\n"
        "polling: @bot_4711002, id 4711002\n"
        "  webhook: none, it has to poll\n"
        "  pending updates: 0\n"
    )
    found = json.loads(run("bot_info", "notes", "--json"))
    assert found == {
        "bot": "notes",
        "id": 4711001,
        "username": "bot_4711001",
        "webhook": "https://example.com/4711001:[hidden]",
        "pending_updates": 2,
        "last_error": "Wrong response from the webhook: 503",
        "last_error_at": "2023-11-14T22:13:20+00:00",
        "max_connections": None,
        "allowed_updates": None,
    }


def test_a_bot_that_fails_does_not_stop_the_others_and_no_token_is_shown(api: BotApi) -> None:
    api.account(TOKEN).revoked = True
    said = failing("bot_info", match="see above")
    assert "notes: Telegram does not know the token in BOTSESSIONS['BOTS']['notes']" in said
    assert "polling: @bot_4711002" in said
    assert TOKEN.partition(":")[2] not in said


def test_telegrams_refusal_is_passed_on(api: BotApi) -> None:
    why = "Bad Request: bad webhook: HTTPS url must be provided for webhook"
    api.account(TOKEN).fail("setWebhook", refusal(400, why))
    said = failing("set_webhook", "--url", "http://example.com", match="see above")
    assert "url must be provided for webhook" in said


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["set_webhook", "polling", "--url", "https://a.b"], r"\['polling'\]\['WEBHOOK_SECRET'\]"),
        (["set_webhook", "offline", "--url", "https://a.b"], r"\['offline'\]\['TOKEN'\]"),
        (["set_webhook", "nobody", "--url", "https://a.b"], "There is no bot 'nobody'"),
        (["set_webhook"], "--url"),
        (["set_webhook", "--url", "example.com"], "'example.com' does not begin with https://"),
        (["set_webhook", "--url", "https://a.b?c"], r"'https://a.b\?c' has a \? or #"),
        (["set_webhook", "--url", "https://a.b", "--max-connections", "101"], "from 1 to 100"),
        (["bot_info", "offline"], r"\['offline'\]\['TOKEN'\]"),
    ],
)
def test_wrong_arguments_are_explained(api: BotApi, arguments: list[str], match: str) -> None:
    failing(*arguments, match=match)


@pytest.mark.parametrize(
    "path", ["telegram", "telegram/", "telegram/notes", "telegram/notes/", "telegram/polling/"]
)
def test_the_path_of_webhooks_is_not_added_twice(path: str, api: BotApi) -> None:
    url = f"https://example.com/{path}"
    match = rf"without /{path.rstrip('/')}/: /telegram/notes/ is added"
    failing("set_webhook", "--url", url, match=match)
    assert not api.account(TOKEN).webhook["url"]


def test_nor_is_what_the_project_has_in_front_of_all_paths(api: BotApi) -> None:
    before = get_script_prefix()
    set_script_prefix("/site/")
    try:
        failing("set_webhook", "--url", "https://example.com/site", match="without /site/")
        run("set_webhook", "--url", "https://example.com/proxy/")
    finally:
        set_script_prefix(before)
    assert api.account(TOKEN).webhook["url"] == "https://example.com/proxy/site/telegram/notes/"


def test_without_the_urls_set_webhook_says_what_to_add(api: BotApi, settings: Any) -> None:
    settings.ROOT_URLCONF = "project.urls"
    failing("set_webhook", "--url", "https://a.b", match=r'include\("botsessions.urls"\)')


def test_without_any_bot_they_say_so(settings: Any) -> None:
    settings.BOTSESSIONS = {"BOTS": {}}
    failing("set_webhook", "--url", "https://a.b", match="no bot with a TOKEN and a WEBHOOK_SECRET")
    failing("bot_info", match="no bot with a TOKEN")
