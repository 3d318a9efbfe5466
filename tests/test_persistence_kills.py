"""Conversations whose workers are killed at random: everybody gets to the end, answers right.

``TALKERS`` is how many people talk to the bot, ``KILLS`` how many workers are hurt.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import httpx
import pytest

from .botapi import SECRET_HEADER, BotApi
from .commands import manage, output
from .servers import wait_until
from .sites import SECRET, TOKEN
from .tables import Tables
from .test_run_bot import Start, start  # noqa: F401 (a fixture)
from .test_webhook_kills import KILLS, LIMIT, PATIENCE, Workers

TALKERS = int(os.environ.get("TALKERS", "12"))
AT_ONCE = 12
PARLEY = {"SESSION": None, "APPLICATION": "tests.bots.parley.build", "PERSISTENCE": True}


def said_by(person: int) -> list[str]:
    """Return all that somebody does, in order; what begins with ``:`` is a button's message."""
    answers = [f"{field}-{person}" for field in ("name", "city", "size", "note")]
    members = [text for n in range(2) for text in ("add", f"member-{person}-{n}")]
    buttons = [":1 up", ":2 up", ":1 up", ":2 close", ":1 close"]
    return ["/order", *answers, "/family", *members, "done", *buttons]


def results_of(person: int) -> dict[str, Any]:
    """Return what is to be stored in the end."""
    answers = {field: f"{field}-{person}" for field in ("name", "city", "size", "note")}
    return {
        "chat": {"orders": [answers], "family": [f"member-{person}-{n}" for n in range(2)]},
        "closed": [2, 1],
    }


def content(number: int, person: int, text: str) -> dict[str, Any]:
    who = {"id": person, "is_bot": False, "first_name": "Maria", "type": "private"}
    message: dict[str, Any] = {"message_id": number, "date": 1, "from": who, "chat": who}
    if text.startswith(":"):
        message_id, data = text[1:].split()
        message |= {"message_id": int(message_id), "text": "-"}
        query = {"id": "1", "from": who, "message": message, "chat_instance": "1", "data": data}
        return {"update_id": number, "callback_query": query}
    message["text"] = text
    if text.startswith("/"):
        message["entities"] = [{"type": "bot_command", "offset": 0, "length": len(text)}]
    return {"update_id": number, "message": message}


@pytest.fixture
def api(api: BotApi) -> BotApi:
    api.account(TOKEN)
    return api


@pytest.mark.parametrize("server", ["gunicorn", "middleware"])
def test_f12_whoever_is_killed_everybody_gets_to_the_end(
    server: str, tmp_path: Path, api: BotApi, table: Tables
) -> None:
    with Workers(api, tmp_path / "said", server, table.name, PARLEY).running() as workers:
        asyncio.run(talk(workers))
        output = workers.output
    assert stored(table) == {person: results_of(person) for person in range(1, TALKERS + 1)}, output


async def talk(workers: Workers) -> None:
    """Let everybody say all of it, each update to any worker until it is answered by 200."""
    people, numbers, answered = iter(range(1, TALKERS + 1)), iter(range(1, 10**6)), 0
    total = sum(len(said_by(person)) for person in range(TALKERS))

    async with httpx.AsyncClient(headers={SECRET_HEADER: SECRET}, timeout=PATIENCE) as client:

        async def work() -> None:
            nonlocal answered
            for person in people:
                for text in said_by(person):
                    update = content(next(numbers), person, text)
                    while not await is_handled(update):  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
                    answered += 1

        async def is_handled(update: dict[str, Any]) -> bool:
            site = random.choice(workers.sites)  # noqa: S311
            with suppress(httpx.TransportError):
                return (await client.post(site.webhook(), json=update)).is_success
            return False

        async def hurt() -> None:
            for done in range(KILLS):
                while answered < (done + 1) * total // (KILLS + 1):  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
                await asyncio.to_thread(workers.suspend if done % 2 else workers.kill)

        await asyncio.wait_for(
            asyncio.gather(hurt(), *(work() for _ in range(AT_ONCE))), LIMIT + total
        )


def test_f12_run_bot_is_killed_at_random_and_everybody_gets_to_the_end(
    api: BotApi,
    table: Tables,
    start: Start,  # noqa: F811
) -> None:
    account = api.account(TOKEN)
    bots = {"notes": {"TOKEN": TOKEN, **PARLEY}}
    updates = [
        content(0, person, text)
        for step in range(len(said_by(1)))
        for person in range(1, TALKERS + 1)
        for text in [said_by(person)[step]]
    ]
    for update in updates:
        del update["update_id"]
        account.deliver(**update)
    for turn in range(KILLS + 1):
        polls = len(account.polls)
        with start(bots=bots, PAUSE="0.01") as bot:
            bot.wait_until(lambda polls=polls: len(account.polls) > polls)  # type: ignore[misc]
            left = len(updates) * (KILLS - turn) // (KILLS + 1)
            bot.wait_until(lambda left=left: len(account.pending) <= left)  # type: ignore[misc]
            if turn == KILLS:
                bot.wait_until(lambda: "polls" in bot.output)
                assert bot.end() == 0
    # What has begun a conversation that ended just before the kill does so once more.
    found = {person: unrepeated(results) for person, results in stored(table).items()}
    assert found == {person: results_of(person) for person in range(1, TALKERS + 1)}


def unrepeated(results: dict[str, Any]) -> dict[str, Any]:
    """Return results with what is in a list twice once."""
    orders = results["chat"]["orders"]
    some = {**results["chat"], "orders": [o for i, o in enumerate(orders) if o not in orders[:i]]}
    return {"chat": some, "closed": list(dict.fromkeys(results["closed"]))}


@pytest.mark.parametrize("command", ["run_bot", "sweep_sessions"])
def test_f12_a_timeout_that_comes_due_while_nothing_runs_is_told_once(
    command: str,
    api: BotApi,
    table: Tables,
    start: Start,  # noqa: F811
) -> None:
    account = api.account(TOKEN)
    hurried = {"APPLICATION": "tests.bots.parley.build_hurried", "PERSISTENCE": True}
    bots = {"notes": {"TOKEN": TOKEN, "SESSION": None, **hurried}}
    account.say("/order")
    account.say("Maria")
    with start(bots=bots) as bot:
        bot.wait_until_confirmed(account, 2)  # What it has not confirmed it would be sent again.
    assert account.texts == ["Name?", "City?"]
    wait_until(lambda: is_over(table), lambda: "Its time is not over.")
    table.make_late()
    if command == "sweep_sessions":
        environment = {
            "DJANGO_SETTINGS_MODULE": "tests.bots.settings",
            "BOTSESSIONS_DATABASE_NAME": table.name,
            "BOTS": json.dumps(bots),
            "BOT_API": api.url,
        }
        for _ in range(2):
            output(manage("sweep_sessions", env=os.environ | environment))
        assert account.texts.count("Too late, Maria.") == 1
    for _ in range(2):
        with start(bots=bots) as bot:
            bot.wait_until(lambda: "Too late, Maria." in account.texts and not is_over(table))
            bot.wait_until(lambda: "polls" in bot.output)
            assert bot.end() == 0
    assert account.texts.count("Too late, Maria.") == 1


def is_over(tables: Tables) -> bool:
    """Whether there is a conversation whose time is over."""
    with tables.connection.cursor() as cursor:
        cursor.execute(
            "SELECT expires_at FROM botsessions_botsession WHERE name = 'ptb:conversation:ordering'"
        )
        found = cursor.fetchone()
    if found is None:
        return False
    over = found[0] if isinstance(found[0], datetime) else datetime.fromisoformat(found[0])
    return over.replace(tzinfo=over.tzinfo or timezone.utc) < datetime.now(timezone.utc)


def stored(tables: Tables) -> dict[int, dict[str, Any]]:
    """Return what is stored for each person; conversations are over."""
    with tables.connection.cursor() as cursor:
        key = tables.connection.ops.quote_name("key")
        cursor.execute(f"SELECT name, {key}, data FROM botsessions_botsession")  # noqa: S608
        rows = cursor.fetchall()
    found: dict[int, dict[str, Any]] = {}
    for name, key, data in rows:
        assert name in ("ptb:user_data", "ptb:chat_data"), (name, key, data)
        person = found.setdefault(int(key), {})
        content = json.loads(data) if isinstance(data, str) else data
        if name == "ptb:chat_data":
            person["chat"] = content
        else:
            person["closed"] = content["closed"]
    return found
