"""``manage.py run_bot`` in a process of its own, talking to a Bot API server on this computer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeAlias
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from .botapi import BROKEN, CRASH, FLOOD, LOST, Account, BotApi
from .commands import ROOT, TIMEOUT, manage
from .tables import Tables

TOKEN = "4711001:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"
OTHER_TOKEN = "4711002:AAEhBOweik6ad9r_QXMENQjcrGbqCr4K-bc"
BAD_TOKEN = "4711003:AAGW0hkQBQ7m1vXzJ5z4oZ4hQqXyDOdqn1U"
BOT = {"TOKEN": TOKEN}
Start: TypeAlias = "Callable[..., AbstractContextManager[RunBot]]"


class RunBot:
    """A running command."""

    def __init__(self, api: BotApi, process: subprocess.Popen[str], output: Path) -> None:
        self.process = process
        self._api = api
        self._output = output

    @property
    def output(self) -> str:
        return self._output.read_text()

    def wait_until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + TIMEOUT
        with self._api.changed:
            while not condition():
                assert self.process.poll() is None, f"It has ended: {self.output}"
                assert time.monotonic() < deadline, f"It never happened: {self.output}"
                self._api.changed.wait(0.05)

    def wait_until_confirmed(self, account: Account, updates: int) -> None:
        self.wait_until(lambda: len(account.confirmed) >= updates)

    def wait_until_fetched(self, account: Account, updates: int) -> None:
        """Wait until the bot has so many updates: it asks for more."""
        self.wait_until(lambda: len(account.fetched) == updates)
        polls = len(account.polls)
        self.wait_until(lambda: len(account.polls) > polls)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(TIMEOUT)


@pytest.fixture
def account(api: BotApi) -> Account:
    return api.account(TOKEN)


@pytest.fixture
def start(api: BotApi, table: Tables, tmp_path: Path) -> Start:
    """A function that runs the command while its result is entered."""

    @contextmanager
    def start(*arguments: str, bots: Any = None, **environment: str) -> Iterator[RunBot]:
        output = tmp_path / f"output-{uuid4().hex}"
        environment = {
            "DJANGO_SETTINGS_MODULE": "tests.bots.settings",
            "BOTSESSIONS_DATABASE_NAME": table.name,
            "BOTS": json.dumps(bots or {"notes": BOT}),
            "BOT_API": api.url,
            **environment,
        }
        with output.open("w") as stdout:
            process = manage("run_bot", *arguments, env=os.environ | environment, stdout=stdout)
            try:
                yield RunBot(api, process, output)
            finally:
                process.kill()
                process.wait()

    return start


def test_updates_are_handled_and_stored_and_the_next_process_goes_on(
    start: Start, account: Account, table: Tables
) -> None:
    account.say("one")
    account.say("two")
    with start() as bot:
        bot.wait_until(lambda: account.texts == ["Noted: one", "Noted: two"])
        account.press(account.sent[-1]["message_id"], "forget")
        bot.wait_until(
            lambda: account.messages[account.sent[-1]["message_id"]]["text"] == "Forgotten"
        )
        assert bot.end() == 0
        assert account.pending == [], bot.output
    assert table.texts() == ["one"]
    account.say("three")
    with start() as bot:
        bot.wait_until(lambda: account.texts[-1] == "Noted: three")
        assert bot.end() == 0
    assert table.texts() == ["one", "three"]
    assert account.pending == []


@pytest.mark.once
def test_it_says_who_polls_and_calls_the_hooks_in_ptbs_order(
    start: Start, account: Account
) -> None:
    with start() as bot:
        bot.wait_until(lambda: "polls" in bot.output and account.polls)
        assert bot.end() == 0
        assert bot.output.splitlines() == [
            "post_init",
            "notes: @bot_4711001 polls Telegram.",
            "Stopping when what has begun is finished; a second signal ends it at once.",
            "post_stop",
            "post_shutdown",
        ]


@pytest.mark.once
def test_it_refuses_to_poll_while_a_webhook_is_set_unless_told_to(
    start: Start, account: Account, table: Tables
) -> None:
    account.webhook = {"url": f"https://example.com/{TOKEN}"}
    with start() as bot:
        assert bot.process.wait(TIMEOUT) == 1
        assert "notes: Telegram sends its updates to https://example.com/4711001:[hidden]" in (
            bot.output
        )
        assert "manage.py delete_webhook notes" in bot.output
    assert account.webhook["url"]
    assert account.polls == []
    account.webhook = {"url": "http://127.0.0.1:1/"}
    account.say("one")
    with start("--delete-webhook") as bot:
        bot.wait_until(lambda: not account.pending)
        assert bot.end() == 0
    assert table.texts() == ["one"]


@pytest.mark.once
@pytest.mark.parametrize("allowed", [["message", "poll"], None])
def test_telegram_is_told_which_updates_to_send(
    allowed: list[str] | None, start: Start, account: Account
) -> None:
    with start("notes", bots={"notes": BOT | {"ALLOWED_UPDATES": allowed}}) as bot:
        bot.wait_until(lambda: account.polls)
        assert bot.end() == 0
    assert json.loads(account.polls[0]["allowed_updates"]) == (allowed or [])


def test_a_process_killed_between_updates_leaves_no_confirmed_one_unstored(
    start: Start, account: Account, table: Tables
) -> None:
    update = account.say("one")
    with start() as bot:
        bot.wait_until(lambda: update in account.confirmed)
        bot.end(signal.SIGKILL)
        assert table.texts() == ["one"]
    account.say("two")
    with start() as bot:
        bot.wait_until(lambda: not account.pending)
        bot.end(signal.SIGKILL)
    assert table.texts() == ["one", "two"]


def test_what_a_killed_process_was_handling_is_handled_by_the_next(
    start: Start, account: Account, table: Tables
) -> None:
    with account.hold("sendMessage") as hold, start() as bot:
        account.say("one")
        bot.wait_until(lambda: hold.calls)
        account.say("two")  # It waits for the first one's session key.
        bot.wait_until_fetched(account, 2)
        assert account.confirmed == []
        bot.end(signal.SIGKILL)
        assert table.texts() == []
    with start() as bot:
        bot.wait_until(lambda: not account.pending)
        assert bot.end() == 0
    assert table.texts() == ["one", "two"]


def test_whenever_it_is_killed_every_confirmed_update_is_stored(
    start: Start, account: Account, table: Tables
) -> None:
    chats = [5, 6, 7]
    updates = {
        account.say(f"{chat}: {n}", chat): (chat, f"{chat}: {n}")
        for n in range(60)
        for chat in chats
    }
    for confirmed in (30, 100):
        with start() as bot:
            bot.wait_until_confirmed(account, confirmed)
            bot.end(signal.SIGKILL)
        stored = {chat: table.texts(chat) for chat in chats}
        for number in account.confirmed:
            chat, text = updates[number]
            assert text in stored[chat], bot.output
    with start() as bot:
        bot.wait_until(lambda: not account.pending)
        assert bot.end() == 0
    for chat in chats:
        # What was stored but not yet confirmed has been handled twice.
        assert list(dict.fromkeys(table.texts(chat))) == [f"{chat}: {n}" for n in range(60)]


@pytest.mark.once
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_it_finish_what_it_has_begun(
    number: signal.Signals, start: Start, account: Account, table: Tables
) -> None:
    with account.hold("sendMessage") as hold, start() as bot:
        account.say("one")
        bot.wait_until(lambda: hold.calls)
        account.say("two")  # It waits for the first one's session key.
        bot.wait_until_fetched(account, 2)
        bot.process.send_signal(number)
        bot.wait_until(lambda: "Stopping" in bot.output)
        account.say("three")
        account.release(hold)
        assert bot.process.wait(TIMEOUT) == 0
    assert table.texts() == ["one", "two"]
    assert [update["message"]["text"] for update in account.pending] == ["three"]


@pytest.mark.once
def test_a_second_signal_ends_it_at_once(start: Start, account: Account, table: Tables) -> None:
    with account.hold("sendMessage") as hold, start() as bot:
        account.say("one")
        bot.wait_until(lambda: hold.calls)
        bot.process.send_signal(signal.SIGINT)
        bot.wait_until(lambda: "Stopping" in bot.output)
        assert bot.end() == -signal.SIGTERM
        assert table.texts() == []
    with start() as bot:
        bot.wait_until(lambda: not account.pending)
        assert bot.end() == 0
    assert table.texts() == ["one"]


@pytest.mark.once
def test_a_handler_can_stop_its_bot(start: Start, account: Account, table: Tables) -> None:
    account.say("/leave")
    with start() as bot:
        assert bot.process.wait(TIMEOUT) == 0
        assert "post_stop" in bot.output
    assert table.texts() == ["left"]
    assert account.pending == []


@pytest.mark.once
def test_a_slow_handler_does_not_keep_others_waiting(
    start: Start, account: Account, table: Tables
) -> None:
    with account.hold("sendMessage", chat_id="6") as hold, start() as bot:
        account.say("slow", 6)
        bot.wait_until(lambda: hold.calls)
        account.say("one")
        bot.wait_until(lambda: table.texts() == ["one"])
        account.say("two")
        bot.wait_until(lambda: table.texts() == ["one", "two"])
        assert len(account.pending) == 3
        account.release(hold)
        bot.wait_until(lambda: not account.pending)
        assert bot.end() == 0
    assert table.texts(6) == ["slow"]


@pytest.mark.once
@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({}, "Telegram does not know the token in BOTSESSIONS['BOTS']['other']['TOKEN']"),
        ({"APPLICATION": "tests.bots.notes.build_crashing"}, "RuntimeError: Never starts with"),
        ({"APPLICATION": "tests.bots.notes.build_unreachable"}, "NetworkError"),
        (
            {"APPLICATION": "tests.bots.notes.build_nothing"},
            "APPLICATION of bot 'other' returned NoneType",
        ),
    ],
)
def test_a_bot_that_fails_does_not_stop_the_others(
    other: dict[str, str], says: str, start: Start, api: BotApi, account: Account, table: Tables
) -> None:
    if other:
        api.account(OTHER_TOKEN)
    with start(bots={"notes": BOT, "other": {"TOKEN": OTHER_TOKEN} | other}) as bot:
        bot.wait_until(lambda: f"other: {says}" in bot.output)
        account.say("one")
        bot.wait_until(lambda: not account.pending)
        assert bot.end() == 1
        assert "AAE" not in bot.output
    assert table.texts() == ["one"]


@pytest.mark.once
def test_several_bots_run_side_by_side(start: Start, api: BotApi, table: Tables) -> None:
    accounts = {"notes": api.account(TOKEN), "other": api.account(OTHER_TOKEN)}
    with start(bots={"notes": BOT, "other": {"TOKEN": OTHER_TOKEN}, "offline": {}}) as bot:
        for alias, account in accounts.items():
            account.say(alias)
        bot.wait_until(lambda: not any(account.pending for account in accounts.values()))
        assert bot.end() == 0
    for alias in accounts:
        assert table.texts(bot=alias) == [alias]


@pytest.mark.once
def test_a_bot_whose_token_is_revoked_ends(start: Start, account: Account, table: Tables) -> None:
    with start() as bot:
        account.say("one")
        bot.wait_until(lambda: not account.pending)
        account.revoked = True
        account.say("two")
        assert bot.process.wait(TIMEOUT) == 1
        assert "BOTSESSIONS['BOTS']['notes']['TOKEN']" in bot.output
        assert "post_shutdown" in bot.output


@pytest.mark.once
def test_it_goes_on_after_trouble_with_telegram(
    start: Start, account: Account, table: Tables
) -> None:
    with start() as bot:
        for trouble in (FLOOD, CRASH, BROKEN, LOST):
            account.fail("getUpdates", trouble)
            account.say(str(trouble.status))
            bot.wait_until(lambda: account.failed and not account.pending)
        for trouble in (FLOOD, CRASH, BROKEN, LOST):
            account.fail("sendMessage", trouble)
            account.say("not noted")
            bot.wait_until(lambda: account.failed and not account.pending)
        account.say("noted")
        bot.wait_until(lambda: not account.pending)
        assert bot.end() == 0
    assert table.texts() == ["429", "500", "0", "1", "noted"]


@pytest.mark.once
def test_two_processes_with_one_token_name_the_cause_in_a_line(
    start: Start, account: Account
) -> None:
    with start() as one, start() as other:

        def is_told() -> bool:
            return all("polls with the same TOKEN" in bot.output for bot in (one, other))

        one.wait_until(is_told)
        polls = len(account.polls)
        one.wait_until(lambda: len(account.polls) > polls + 4)
        for bot in (one, other):
            assert bot.output.count("Bot 'notes' does not get all of its updates") == 1
            assert "Traceback" not in bot.output


@pytest.mark.once
def test_a_webhook_that_is_set_meanwhile_is_named_in_a_line_and_error_handlers_hear_of_it(
    start: Start, account: Account
) -> None:
    with start(bots={"notes": BOT | {"APPLICATION": "tests.bots.notes.build_reporting"}}) as bot:
        bot.wait_until(lambda: account.polls)
        account.webhook = {"url": "http://127.0.0.1:1/"}
        account.say("wake up")
        bot.wait_until(lambda: "manage.py delete_webhook notes" in bot.output)
        bot.wait_until(lambda: "reported: Conflict" in bot.output)


@pytest.mark.once
def test_no_log_shows_a_token(
    start: Start, api: BotApi, account: Account, table: Tables, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    other = api.account(OTHER_TOKEN)
    bots = {"notes": BOT, "other": {"TOKEN": OTHER_TOKEN}, "bad": {"TOKEN": BAD_TOKEN}}
    for trouble in (FLOOD, CRASH, BROKEN):
        account.fail("sendMessage", trouble)
    with start(bots=bots, LOG=str(log)) as bot:
        for text in ("/fail", "429", "500", "broken", "fine"):
            account.say(text)
        account.fail("getUpdates", CRASH)
        bot.wait_until(lambda: account.failed and not account.pending)
        other.revoked = True
        other.say("wake up")
        bot.wait_until(lambda: "other: Telegram does not know" in bot.output)
        assert bot.end() == 1
        shown = log.read_text() + bot.output
    for token in (TOKEN, OTHER_TOKEN, BAD_TOKEN):
        number, _, secret = token.partition(":")
        assert secret not in shown
        assert f"/bot{number}:[hidden]/getMe" in shown
    assert f"RuntimeError: This bot has the token {TOKEN[:7]}:[hidden]" in shown


@pytest.mark.once
def test_under_debug_it_starts_anew_when_the_code_has_changed(
    start: Start, account: Account, table: Tables, tmp_path: Path
) -> None:
    module = tmp_path / "changing.py"
    module.write_text("from tests.bots.notes import build\n")
    bots = {"notes": BOT | {"APPLICATION": "changing.build"}}
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    with (
        account.hold("sendMessage") as hold,
        start(bots=bots, DJANGO_DEBUG="1", PYTHONPATH=path) as bot,
    ):
        account.say("one")
        bot.wait_until(lambda: hold.calls)
        bot.wait_until(lambda: touched(module) and "Stopping" in bot.output)
        account.release(hold)
        bot.wait_until(lambda: bot.output.count("polls") == 2)
        assert bot.output.count("post_shutdown") == 1
        account.say("two")
        bot.wait_until(lambda: not account.pending)
        assert bot.end() == 0
        assert bot.output.count("post_shutdown") == 2
    assert table.texts() == ["one", "two"]


@pytest.mark.once
def test_under_debug_it_ends_when_every_bot_has_failed(start: Start, table: Tables) -> None:
    crashing = BOT | {"APPLICATION": "tests.bots.notes.build_nothing"}
    with start(bots={"one": crashing, "other": BOT}, DJANGO_DEBUG="1") as bot:
        assert bot.process.wait(TIMEOUT) == 1
        assert "other: Telegram does not know the token" in bot.output
        assert "Not every bot ran: see above." in bot.output


@pytest.mark.once
def test_under_debug_it_ends_when_a_handler_has_stopped_its_bot(
    start: Start, account: Account, table: Tables
) -> None:
    account.say("/leave")
    with start(DJANGO_DEBUG="1") as bot:
        assert bot.process.wait(TIMEOUT) == 0
    assert table.texts() == ["left"]


def touched(file: Path) -> bool:
    """Make a file newer by a second."""
    changed = file.stat().st_mtime + 1
    os.utime(file, (changed, changed))
    return True


TOKENLESS = {"shop": {"TOKEN": ""}, "help": {}}
WITH_WEBHOOK = {"shop": {"TOKEN": TOKEN, "WEBHOOK_SECRET": "secret"}}
ELSEWHERE = {"shop": {"TOKEN": TOKEN, "FREE_STORAGE": True}}


@pytest.mark.once
@pytest.mark.parametrize(
    ("bots", "aliases", "says"),
    [
        (TOKENLESS, ["shop"], r"set BOTSESSIONS\['BOTS'\]\['shop'\]\['TOKEN'\]"),
        (TOKENLESS, [], r"\['shop'\]\['TOKEN'\] or BOTSESSIONS\['BOTS'\]\['help'\]\['TOKEN'\]"),
        (TOKENLESS, ["shopp"], r"no bot 'shopp'.*'shop'"),
        (ELSEWHERE, [], "declares no bot with an APPLICATION"),
        (WITH_WEBHOOK, [], "no bot without a WEBHOOK_SECRET"),
        ({}, [], r"BOTSESSIONS\['BOTS'\] declares no bot\.$"),
    ],
)
def test_without_a_bot_to_run_it_says_what_to_set(
    bots: dict[str, Any], aliases: list[str], says: str
) -> None:
    with override_settings(BOTSESSIONS={"BOTS": bots}), pytest.raises(CommandError, match=says):
        call_command("run_bot", *aliases)
