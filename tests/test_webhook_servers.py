"""Webhooks served by uvicorn and gunicorn, in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeAlias
from uuid import uuid4

import pytest

from botsessions.webhook.delivery import MAX_UPDATE_BYTES
from project.settings import DATABASE

from . import servers
from .botapi import CRASH, SECRET_HEADER, Account, BotApi, post
from .commands import ROOT, TIMEOUT, manage, output
from .sites import BOT, SECRET, SERVERS, TOKEN, Site, served
from .tables import Tables

OTHER_TOKEN = "4711002:AAEhBOweik6ad9r_QXMENQjcrGbqCr4K-bc"
OTHER = BOT | {"TOKEN": OTHER_TOKEN, "WEBHOOK_SECRET": "another"}
TWO_WORKERS = ("--workers", "2")
LOAD = ("--seconds", "3", "--rate", "20", "--chats", "100")
MANY_AT_ONCE = {"gunicorn": ("--threads", "8")}
"""What lets a worker take several requests at the same moment where it would not."""
Serve: TypeAlias = "Callable[..., AbstractContextManager[Site]]"

FORKING = """
import json, os, sys
import django
django.setup()
from django.test import Client

updates, secret = json.loads(sys.argv[1]), sys.argv[2]

def send(update):
    headers = {"X-Telegram-Bot-Api-Secret-Token": secret}
    response = Client().post(
        "/telegram/notes/", update, content_type="application/json", headers=headers
    )
    print(response.status_code, flush=True)

send(updates[0])
sys.stdout.flush()
if child := os.fork():
    assert os.waitpid(child, 0)[1] == 0
    send(updates[2])
else:
    send(updates[1])
"""

each_way = pytest.mark.parametrize("server", ["uvicorn", "gunicorn", "middleware"])
each_server = pytest.mark.parametrize("server", [name for name in SERVERS if "middleware" in name])


@pytest.fixture
def account(api: BotApi) -> Account:
    return api.account(TOKEN)


@pytest.fixture
def tables(tmp_path: Path, django_db_blocker: Any) -> Iterator[Tables]:
    name = str(tmp_path / "db.sqlite3") if DATABASE == "sqlite" else f"webhook_{uuid4().hex}"
    with django_db_blocker.unblock(), Tables(name).made() as tables:
        yield tables


@pytest.fixture
def serve(api: BotApi, tmp_path: Path, request: pytest.FixtureRequest) -> Serve:
    """A function that serves the site while its result is entered."""

    @contextmanager
    def serve(server: str, *arguments: str, bots: Any = None, **environment: str) -> Iterator[Site]:
        if "DATABASE" not in environment:
            environment["BOTSESSIONS_DATABASE_NAME"] = request.getfixturevalue("tables").name
        log = tmp_path / f"output-{uuid4().hex}"
        with served(api, log, server, *arguments, bots=bots or {"notes": BOT}, **environment) as s:
            yield s

    return serve


def update(number: int = 1001, text: str = "one", chat: int = 5) -> dict[str, Any]:
    """Return an update, to be sent by hand."""
    sender = {"id": chat, "is_bot": False, "first_name": "Maria"}
    place = {"id": chat, "type": "private", "first_name": "Maria"}
    message = {"message_id": number, "date": 1, "from": sender, "chat": place, "text": text}
    return {"update_id": number, "message": message}


def send(site: Site, body: bytes, alias: str = "notes", secret: str = SECRET) -> int:
    """Send a body; return the status of the answer."""
    return post(site.webhook(alias), body, {SECRET_HEADER: secret})


@each_way
def test_whichever_worker_gets_an_update_it_is_handled_and_stored(
    server: str, serve: Serve, account: Account, tables: Tables
) -> None:
    chats = range(5, 25)
    with serve(server, *TWO_WORKERS) as site:
        site.set_webhook(account)
        for chat in chats:
            account.say(f"Hello from {chat}", chat)
        site.wait_until(lambda: not account.pending)
        assert {status for _, status in account.deliveries} == {200}, site.output
    for chat in chats:
        assert tables.texts(chat) == [f"Hello from {chat}"]


@pytest.mark.once
@pytest.mark.parametrize("server", ["uvicorn", "gunicorn"])
def test_the_application_begins_at_the_first_update_and_ends_in_ptbs_order(
    server: str, serve: Serve, account: Account
) -> None:
    with serve(server) as site:
        assert "post_init" not in site.output
        site.set_webhook(account)
        account.say("one")
        site.wait_until(lambda: not account.pending)
        site.end()
        assert site.output.split() == ["post_init", "post_stop", "post_shutdown"]


@pytest.mark.once
@each_way
def test_at_sigterm_what_has_begun_is_finished_and_answered(
    server: str, serve: Serve, account: Account, tables: Tables
) -> None:
    with account.hold("sendMessage") as hold, serve(server, *MANY_AT_ONCE.get(server, ())) as site:
        site.set_webhook(account)
        account.say("one")
        site.wait_until(lambda: hold.calls)
        site.process.send_signal(signal.SIGTERM)
        threading.Timer(0.5, account.release, [hold]).start()
        site.process.wait(TIMEOUT)
        assert site.output.split() == ["post_init", "post_stop", "post_shutdown"]
    assert [status for _, status in account.deliveries] == [200]
    assert tables.texts() == ["one"]


@pytest.mark.once
@each_server
def test_whatever_server_has_the_middleware_it_finishes_and_answers_at_sigterm(
    server: str, serve: Serve, account: Account, tables: Tables
) -> None:
    with account.hold("sendMessage") as hold, serve(server) as site:
        if "no lifespan" not in server and "daphne" not in server:
            site.wait_until(lambda: "post_init" in site.output)
        site.set_webhook(account)
        account.say("one", 5)
        account.say("two", 6)
        site.wait_until(lambda: hold.calls == 2)
        site.process.send_signal(signal.SIGTERM)
        threading.Timer(0.5, account.release, [hold]).start()
        site.process.wait(TIMEOUT)
        words = [word for word in site.output.split() if word.startswith("post_")]
        assert words == ["post_init", "post_stop", "post_shutdown"]
    assert [status for _, status in account.deliveries] == [200, 200]
    assert [tables.texts(5), tables.texts(6)] == [["one"], ["two"]]


@pytest.mark.once
@each_way
def test_handlers_that_do_not_block_are_finished_after_the_answer(
    server: str, serve: Serve, account: Account, tables: Tables
) -> None:
    bots = {"notes": BOT | {"APPLICATION": "tests.bots.notes.build_non_blocking"}}
    with account.hold("sendMessage") as hold, serve(server, bots=bots) as site:
        site.set_webhook(account)
        account.say("one")
        site.wait_until(lambda: hold.calls and not account.pending)
        site.process.send_signal(signal.SIGTERM)
        threading.Timer(0.5, account.release, [hold]).start()
        site.process.wait(TIMEOUT)
        assert site.output.split() == ["post_init", "post_stop", "post_shutdown"]
    assert tables.texts() == ["one"]


@pytest.mark.once
@each_way
def test_what_is_not_telegrams_is_refused(
    server: str, serve: Serve, account: Account, tables: Tables
) -> None:
    good = json.dumps(update()).encode()
    with serve(server, bots={"notes": BOT, "other": OTHER, "polling": {"TOKEN": TOKEN}}) as site:
        assert send(site, good, secret="") == 403
        assert send(site, good, secret=SECRET[:-1]) == 403
        assert send(site, good, "other") == 403
        assert send(site, good, "polling") == 404
        assert send(site, good, "nobody") == 404
        assert send(site, b" " * (MAX_UPDATE_BYTES + 1)) in (413, 0)  # 0: it hung up.
        for broken in (
            b"",
            b"{",
            b"\xff",
            b"[" * 100_000,
            b"[]",
            b'{"update_id": 1, "message": 7}',
        ):
            assert send(site, broken) == 400
        assert send(site, good) == 200
    assert tables.texts() == ["one"]


@each_way
def test_an_update_that_is_delivered_again_is_not_handled_again(
    server: str, serve: Serve, account: Account, tables: Tables
) -> None:
    with account.hold("sendMessage") as hold, serve(server, *TWO_WORKERS) as site:
        site.set_webhook(account)
        account.say("one")
        site.wait_until(lambda: hold.calls)
        for _ in range(3):  # While it is being handled,
            account.repeat(account.pending[0])
        again = account.pending[0]
        threading.Timer(0.5, account.release, [hold]).start()
        site.wait_until(lambda: len(account.deliveries) == 4)
        for _ in range(4):  # and afterwards.
            account.repeat(again)
        site.wait_until(lambda: len(account.deliveries) == 8)
        assert {status for _, status in account.deliveries} == {200}
    with serve(server) as site:
        site.set_webhook(account)
        assert send(site, json.dumps(again).encode()) == 200
    assert tables.texts() == ["one"]
    assert account.texts == ["Noted: one"]


@each_way
def test_what_a_killed_worker_was_handling_is_handled_by_another(
    server: str, serve: Serve, account: Account, tables: Tables
) -> None:
    with account.hold("sendMessage") as hold, serve(server, *TWO_WORKERS) as site:
        site.set_webhook(account)
        account.say("one")
        site.wait_until(lambda: hold.calls)
        site.kill_workers()
        account.release(hold)
        site.wait_until(lambda: not account.pending)
    assert tables.texts() == ["one"]
    assert account.deliveries[0][1] != 200
    assert account.deliveries[-1][1] == 200


@pytest.mark.once
@pytest.mark.parametrize("server", ["gunicorn", "middleware, gunicorn"])
def test_a_preloaded_application_has_an_event_loop_in_each_worker(
    server: str, serve: Serve, account: Account, tables: Tables
) -> None:
    with serve(server, *TWO_WORKERS, "--preload") as site:
        site.set_webhook(account)
        for chat in range(5, 25):
            account.say("one", chat)
        site.wait_until(lambda: not account.pending)
        assert site.end() == 0
        words = site.output.split()
        assert words.count("post_init") == words.count("post_shutdown") >= 1
    assert [tables.texts(chat) for chat in range(5, 25)] == [["one"]] * 20


@pytest.mark.once
def test_g5_a_process_that_forks_after_first_use_has_bots_of_its_own(
    api: BotApi, account: Account, tables: Tables
) -> None:
    environment = {
        "DJANGO_SETTINGS_MODULE": "tests.bots.settings",
        "DJANGO_ALLOWED_HOSTS": "testserver",
        "BOTSESSIONS_DATABASE_NAME": tables.name,
        "BOTS": json.dumps({"notes": BOT}),
        "BOT_API": api.url,
    }
    updates = [update(number, text) for number, text in enumerate(["one", "two", "three"])]
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-W", "error", "-c", FORKING, json.dumps(updates), SECRET],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == [
        *("post_init", "200"),
        *("post_init", "200", "post_stop", "post_shutdown"),
        *("200", "post_stop", "post_shutdown"),
    ]
    assert tables.texts() == ["one", "two", "three"]


@pytest.mark.once
@pytest.mark.parametrize("name", ["postgresql", "mariadb"])
def test_while_the_database_is_stopped_telegram_keeps_the_updates(
    name: str, serve: Serve, account: Account, django_db_blocker: Any
) -> None:
    servers.needed(name)
    with (
        servers.running(name) as server,
        django_db_blocker.unblock(),
        Tables("", server).made() as tables,
        serve(
            "uvicorn",
            BOTSESSIONS_DATABASE=name,
            DATABASE=json.dumps(server.database),
            RETRY_SECONDS="0.5",
        ) as site,
    ):
        site.set_webhook(account)
        account.say("one")
        site.wait_until(lambda: not account.pending)
        tables.connection.close()
        server.stop()
        number = account.say("two")
        site.wait_until(lambda: account.answers(number))
        assert account.answers(number)[0] == 503
        server.start()
        site.wait_until(lambda: not account.pending)
        assert tables.texts() == ["one", "two"]


@pytest.mark.once
def test_a_bot_that_does_not_reach_telegram_leaves_the_site_up_and_starts_later(
    serve: Serve, api: BotApi, account: Account, tables: Tables
) -> None:
    other = api.account(OTHER_TOKEN)
    account.fail("getMe", CRASH)
    with serve("uvicorn", bots={"notes": BOT, "other": OTHER}) as site:
        site.set_webhook(other, "other", "another")
        site.set_webhook(account)
        number = account.say("one")
        other.say("two")
        site.wait_until(lambda: not account.pending and not other.pending)
        assert account.answers(number) == [503, 200]
        assert "Bot 'notes' cannot be started: NetworkError: Internal Server Error" in site.output
    assert tables.texts(bot="notes") == ["one"]
    assert tables.texts(bot="other") == ["two"]


@pytest.mark.once
@each_way
def test_a_handler_cannot_stop_its_bot(
    server: str, serve: Serve, account: Account, tables: Tables
) -> None:
    with serve(server) as site:
        site.set_webhook(account)
        account.say("/leave")
        site.wait_until(lambda: not account.pending)
        account.say("one")
        site.wait_until(lambda: not account.pending)
        assert "the web server decides when it stops" in site.output
    assert tables.texts() == ["left", "one"]


@pytest.mark.once
@each_way
def test_no_log_shows_a_token_or_a_secret(
    server: str, serve: Serve, account: Account, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with serve(server, LOG=str(log)) as site:
        site.set_webhook(account)
        account.say("/fail")
        account.say("one")
        site.wait_until(lambda: not account.pending)
        assert site.end() in (0, -signal.SIGTERM)
        shown = log.read_text() + site.output
    assert TOKEN.partition(":")[2] not in shown
    assert SECRET not in shown
    assert "/bot4711001:[hidden]/getMe" in shown


@pytest.mark.once
def test_jobs_of_the_start_run_in_one_worker_and_in_another_when_that_is_killed(
    serve: Serve, account: Account
) -> None:
    bots = {"notes": BOT | {"APPLICATION": "tests.bots.notes.build_with_jobs"}}
    with (
        serve("gunicorn", "--workers", "1", bots=bots) as first,
        serve("gunicorn", "--workers", "1", bots=bots) as second,
    ):

        def ticks(site: Site) -> int:
            return account.texts.count(f"tick of {site.workers[0]}")

        for site, number in ((first, 1), (second, 2)):
            assert send(site, json.dumps(update(number)).encode()) == 200
        first.wait_until(lambda: ticks(first) >= 3)
        assert not ticks(second)
        os.kill(first.workers[0], signal.SIGKILL)
        second.wait_until(lambda: ticks(second) >= 3)


@pytest.mark.once
def test_a_job_of_a_handler_runs_in_the_worker_that_scheduled_it(
    serve: Serve, account: Account
) -> None:
    bots = {"notes": BOT | {"APPLICATION": "tests.bots.notes.build_with_jobs"}}
    with serve("uvicorn", bots=bots) as first, serve("uvicorn", bots=bots) as second:
        for site, chat in ((first, 5), (second, 6)):
            site.set_webhook(account)
            account.say("/remind", chat)
            site.wait_until(lambda: not account.pending)
        second.wait_until(lambda: account.texts.count("Remember!") == 2)


@pytest.mark.once
def test_the_command_sets_the_webhook_that_the_site_serves(
    serve: Serve, account: Account, api: BotApi, tables: Tables
) -> None:
    with serve("uvicorn") as site:
        environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "tests.bots.settings",
            "BOTS": json.dumps({"notes": BOT}),
            "BOT_API": api.url,
        }
        said = output(manage("set_webhook", "--url", site.url, env=environment))
        assert said == f"notes: Telegram sends updates to {site.webhook()}\n"
        account.say("one")
        site.wait_until(lambda: not account.pending)
    assert tables.texts() == ["one"]


@each_way
def test_under_load_no_update_is_lost_or_handled_twice(server: str) -> None:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "benchmarks.webhook", "--server", server, *LOAD],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["sent"] == 80
    assert (outcome["lost"], outcome["twice"], outcome["failed"]) == (0, 0, 0)
