"""An update's way through the reception: claimed by one process, handled, noted."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, TypeAlias

import pytest
from django.db import connections
from django.test import Client
from telegram.ext import MessageHandler, filters

from botsessions import lazy_session, session
from botsessions.bots import get_bot
from botsessions.exceptions import SessionConflict
from botsessions.models import BotSession, BotSessionLease, HandledUpdate
from botsessions.webhook import home, reception
from botsessions.webhook.delivery import SECRET_HEADER

from .botapi import serving
from .sites import SECRET, TOKEN
from .test_database_faults import locked

pytestmark = [pytest.mark.django_db(transaction=True)]

HOUR = 3600 * 1000
Bot: TypeAlias = "Callable[..., list[str]]"


@pytest.fixture
def bot(settings: Any) -> Iterator[Bot]:
    """A function that declares the bot; it returns what its handlers and error handlers note."""
    home.forget_stopped_home()  # That of an earlier test.
    settings.ROOT_URLCONF = "tests.bots.urls"
    with serving() as api:
        api.account(TOKEN)

        def bot(handle: Any, declared: Any = None) -> list[str]:
            noted: list[str] = []

            async def handler(update: Any, context: Any) -> None:
                noted.append(update.message.text)
                await handle(context)

            async def report(update: Any, context: Any) -> None:
                is_conflict = isinstance(context.error, SessionConflict)
                noted.append("conflict" if is_conflict else str(context.error))

            def build(builder: Any) -> Any:
                application = builder.base_url(f"{api.url}/bot").build()
                application.add_handler(MessageHandler(filters.TEXT, handler))
                application.add_error_handler(report)
                return application

            settings.BOTSESSIONS = {
                "BOTS": {
                    "notes": {
                        "TOKEN": TOKEN,
                        "WEBHOOK_SECRET": SECRET,
                        "SESSION": declared or session(initial=lambda: {"count": 0}),
                        "APPLICATION": build,
                    }
                }
            }
            return noted

        yield bot
        home.stop_and_wait()


async def count(context: Any) -> None:
    context.session["count"] += 1


async def look(context: Any) -> None:
    assert context.session == {"count": 0}


async def do_nothing(context: Any) -> None:
    pass


def content_of(number: int, **content: Any) -> dict[str, Any]:
    person = {"id": 5, "type": "private", "is_bot": False, "first_name": "Maria"}
    message = {"message_id": 1, "date": 1, "chat": person, "from": person, "text": "one"}
    return {"update_id": number, **(content or {"message": message})}


def deliver(number: int = 1001, **content: Any) -> int:
    """Deliver an update; return the status of the answer."""
    data = json.dumps(content_of(number, **content))
    headers: Any = {SECRET_HEADER: SECRET}
    kind = "application/json"
    return Client().post("/telegram/notes/", data, content_type=kind, headers=headers).status_code


def claimed_by_another(seconds: float) -> None:
    until = round((time.time() + seconds) * 1000)
    HandledUpdate.objects.create(bot="notes", update_id=1001, claim=7, claimed_until=until)


def test_e11_an_update_is_handled_once_however_often_it_is_delivered(bot: Bot) -> None:
    noted = bot(count)
    assert [deliver() for _ in range(3)] == [200, 200, 200]
    assert noted == ["one"]
    assert BotSession.objects.get().data == {"count": 1}


@pytest.mark.parametrize("handle", [look, do_nothing])
def test_one_that_changes_nothing_is_handled_once_too(handle: Any, bot: Bot) -> None:
    noted = bot(handle)
    assert [deliver(), deliver()] == [200, 200]
    assert noted == ["one"]
    assert HandledUpdate.objects.get().handled_at is not None


def test_one_that_changes_nothing_and_cannot_be_noted_is_not_delivered_again(bot: Bot) -> None:
    name = HandledUpdate._meta.db_table

    def rename(old: str, new: str) -> None:
        with closing(connections["default"]) as own, own.schema_editor(atomic=False) as editor:
            editor.alter_db_table(HandledUpdate, old, new)

    async def lose_the_table(context: Any) -> None:
        await asyncio.to_thread(rename, name, "elsewhere")

    noted = bot(lose_the_table)
    try:
        assert deliver() == 200
    finally:
        rename("elsewhere", name)
    assert noted == ["one"]


@pytest.mark.parametrize(
    "declared",
    [lazy_session(initial=dict), session(get_session_key=lambda update: None)],
    ids=["lazy", "without a key"],
)
def test_one_whose_session_is_not_read_is_handled_once_too(declared: Any, bot: Bot) -> None:
    noted = bot(do_nothing, declared)
    assert [deliver(), deliver()] == [200, 200]
    assert noted == ["one"]


def test_one_that_no_handler_takes_leaves_no_trace(bot: Bot) -> None:
    noted = bot(count)
    assert deliver(unknown={}) == 200
    assert noted == []
    assert not HandledUpdate.objects.exists()


def test_one_that_another_process_handles_waits_for_that_and_nobody_hears_of_it(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reception, "PATIENCE_SECONDS", 0.3)
    noted = bot(count)
    claimed_by_another(60)
    assert deliver() == 503
    assert noted == []
    HandledUpdate.objects.update(handled_at=round(time.time() * 1000))
    assert deliver() == 200
    assert noted == []


def test_when_the_other_process_has_died_it_is_handled(bot: Bot) -> None:
    noted = bot(count)
    claimed_by_another(0.5)
    assert deliver() == 200
    assert noted == ["one"]


def test_e11_what_was_handled_long_ago_under_the_same_number_was_another_update(bot: Bot) -> None:
    noted = bot(count)
    claimed_by_another(-25 * 3600)
    HandledUpdate.objects.update(handled_at=round(time.time() * 1000) - 25 * HOUR)
    assert deliver() == 200
    assert noted == ["one"]


def test_e11_a_process_that_was_cut_off_saves_nothing_and_telegram_delivers_again(
    bot: Bot,
) -> None:
    async def be_suspended(context: Any) -> None:
        await count(context)
        if len(noted) == 1:
            await HandledUpdate.objects.aupdate(claim=7, claimed_until=0)

    noted = bot(be_suspended)
    assert deliver() == 503
    assert noted == ["one", "conflict"]
    assert not BotSession.objects.exists()
    assert deliver() == 200
    assert noted == ["one", "conflict", "one"]
    assert BotSession.objects.get().data == {"count": 1}


@pytest.mark.parametrize("stops", [False, True], ids=["abruptly", "while it stops"])
def test_one_whose_event_loop_ends_before_its_handler_is_handled_when_it_comes_again(
    stops: bool, bot: Bot
) -> None:
    begun = asyncio.Event()

    async def count_later(context: Any) -> None:
        if not begun.is_set():
            begun.set()
            await asyncio.sleep(60)
        await count(context)

    noted = bot(count_later)

    async def main() -> None:
        here = home.home_here()
        here.reception.begin(get_bot("notes"), content_of(1001))
        await begun.wait()
        if stops:
            here.stop()
            await asyncio.sleep(0.1)

    asyncio.run(main())  # Which cancels all tasks in the end.
    home.forget_stopped_home()
    assert deliver() == 200
    assert noted == ["one", "one"]
    assert BotSession.objects.get().data == {"count": 1}


def test_an_error_in_a_handler_is_no_reason_to_deliver_again(bot: Bot) -> None:
    async def fail(context: Any) -> None:
        await count(context)
        raise RuntimeError("The handler raised.")

    noted = bot(fail)
    assert [deliver(), deliver()] == [200, 200]
    assert noted == ["one", "The handler raised."]
    assert not BotSession.objects.exists()


def test_one_whose_key_stays_locked_is_delivered_again(bot: Bot, settings: Any) -> None:
    noted = bot(count)
    assert deliver() == 200
    settings.BOTSESSIONS = {**settings.BOTSESSIONS, "RETRY_SECONDS": 0.3}
    with locked(BotSessionLease):
        assert deliver(1002) == 503
    settings.BOTSESSIONS = {**settings.BOTSESSIONS, "RETRY_SECONDS": 30}
    assert deliver(1002) == 200
    assert [text for text in noted if "locked" not in text] == ["one", "one"]
    assert BotSession.objects.get().data == {"count": 2}


def test_a_forgotten_migrate_is_told_in_a_line_and_telegram_delivers_again(
    bot: Bot, caplog: pytest.LogCaptureFixture
) -> None:
    noted = bot(count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BotSession._meta, "db_table", "botsessions_nowhere")
        assert deliver() == 503
    (record,) = (record for record in caplog.records if record.name.startswith("botsessions"))
    assert "'notes' cannot be started: DATABASES['default']" in record.getMessage()
    assert record.getMessage().endswith("run manage.py migrate.")
    assert record.exc_info is None
    assert (deliver(), noted) == (200, ["one"])
