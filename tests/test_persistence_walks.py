"""Whatever people do, a bot that is restarted all the time answers as one that never is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from telegram.ext import CallbackQueryHandler, CommandHandler, ConversationHandler

from botsessions.models import BotSession

from .bots import dialogues
from .harness import Store
from .plain import Plain
from .restarting import Restarting
from .test_persistence_conversations import with_store

# Of python-telegram-bot, on conversations that are not per message.
pytestmark = pytest.mark.filterwarnings("ignore:If 'per_message=")

END = ConversationHandler.END
Build = Callable[[Any], Any]
Step = tuple[str, str]
LATER = "time passes", ""

walks = settings(max_examples=25)
once = pytest.mark.once


def sending(*texts: str) -> list[Step]:
    return [("send", text) for text in texts]


def pressing(*labels: str) -> list[Step]:
    return [("press", label) for label in labels]


ORDER = sending("/order", "Rome", "large", "/cancel")
FAMILY = [*sending("/family", "Ann", "/stop", "/cancel"), *pressing("add", "done")]
COUNT = [*sending("/poll"), *pressing("up", "close")]
WORK = sending("/start", "go", "fail")
HOUSE = [
    *sending("/start", "/stop", "Ann"),
    *pressing("add", "me", "show", "bye", "parent", "back", "describe", "name", "age", "done"),
]
DEEP = [*sending("/poll"), *pressing("in", "out", "up", "again")]


def steps(*some: Step) -> Any:
    return st.lists(st.sampled_from(some), min_size=1, max_size=20)


def said(answers: Any) -> list[Any]:
    """Return what a bot did: its calls, with what a person sees of them."""
    told = [(call.method, call.parameters.get("text")) for call in answers.calls]
    return [*told, [message.buttons for message in answers.messages]]


async def outcome(doing: Callable[..., Any], *what: Any) -> Any:
    try:
        return said(await doing(*what))
    except Exception as exc:
        return type(exc)


async def compare(
    build: Build, walk: Sequence[Step], store: Any, seconds: float = 0, **options: Any
) -> None:
    """Walk with a bot of python-telegram-bot alone, and with one that is restarted at each step."""
    plain = Plain(build)
    ours = Restarting(with_store(build, store, **options))
    maria = plain.user("Maria", id=5)
    dialogues.gates["work"] = asyncio.Event()
    dialogues.gates["work"].set()
    try:
        for number, (kind, what) in enumerate(walk):
            if kind == "time passes":
                expected = await outcome(plain.conversation.let_every_job_come_due)
                found = await outcome(ours.wait, timedelta(seconds=seconds))
            else:
                expected = await outcome(getattr(maria, kind), what)
                found = await outcome(getattr(ours, kind), what)
            assert found == expected, f"{walk[: number + 1]}"
    finally:
        await plain.aclose()
        await ours.stop()


def building(*handlers: Callable[[], Any]) -> Build:
    """Return what builds a bot with new handlers each time."""

    def build(builder: Any) -> Any:
        application = builder.build()
        application.add_handlers([handler() for handler in handlers])
        return application

    return build


def everything(builder: Any) -> Any:
    """A bot with all of these conversations, which compete for updates."""
    application = dialogues.build_family(builder)
    for build in (dialogues.build_counters, dialogues.build_working, dialogues.build_ordering):
        build(Adding(application))
    return application


class Adding:
    """In place of a builder: lets functions add handlers to an application that is built."""

    def __init__(self, application: Any) -> None:
        self._application = application

    def build(self) -> Any:
        return self._application


def deep(builder: Any) -> Any:
    """Conversations in conversations, the innermost in one that can be entered anew."""
    innermost = level("c", "in", [], map_to_parent={END: "again", "again": END})
    middle = level("b", "in", [innermost], map_to_parent={END: "in"}, allow_reentry=True)
    application = builder.build()
    application.add_handlers([level("a", "up", [middle]), CommandHandler("poll", dialogues.poll)])
    return application


def level(name: str, entry: str, inner: Sequence[Any], **options: Any) -> Any:
    return ConversationHandler(
        entry_points=[CallbackQueryHandler(leading("in"), f"^{entry}$")],
        states={
            "in": [*inner, CallbackQueryHandler(leading("again"), "^up$")],
            "again": [CallbackQueryHandler(leading("in"), "^again$")],
        },
        fallbacks=[CallbackQueryHandler(leading(END), "^out$")],
        name=name,
        persistent=True,
        **options,
    )


def leading(state: object) -> Any:
    async def step(update: Any, context: Any) -> Any:
        context.user_data["steps"] = (*context.user_data.get("steps", ()), state)
        await update.callback_query.edit_message_text(
            repr(context.user_data["steps"]),
            reply_markup=dialogues.buttons("in", "out", "up", "again"),
        )
        return state

    return step


@once
@walks
@given(steps(*ORDER))
@pytest.mark.parametrize(
    "options", [{}, {"allow_reentry": True}, {"block": False}], ids=["plain", "reentry", "beside"]
)
def test_f12_questions_and_answers(options: Any, walk: list[Step]) -> None:
    build = building(lambda: dialogues.ordering(**options))
    asyncio.run(compare(build, walk, Store()))


@once
@walks
@given(steps(*FAMILY))
def test_f12_a_conversation_within_another_one(walk: list[Step]) -> None:
    asyncio.run(compare(dialogues.build_family, walk, Store()))


@once
@walks
@given(steps(*COUNT))
def test_f12_a_conversation_per_message(walk: list[Step]) -> None:
    asyncio.run(compare(dialogues.build_counters, walk, Store()))


@once
@walks
@given(steps(*DEEP))
def test_f12_three_levels_of_conversations(walk: list[Step]) -> None:
    asyncio.run(compare(deep, [("send", "/poll"), ("press", "up"), *walk], Store()))


@once
@walks
@given(steps(*ORDER, *FAMILY, *COUNT, *WORK))
def test_f12_conversations_that_compete_for_updates(walk: list[Step]) -> None:
    asyncio.run(compare(everything, walk, Store()))


@settings(max_examples=15)
@given(steps(*ORDER, LATER))
@pytest.mark.django_db(transaction=True)
def test_f12_conversations_with_a_timeout(walk: list[Step]) -> None:
    BotSession.objects.all().delete()
    asyncio.run(compare(dialogues.build_hurried, walk, None, seconds=61))


@once
@walks
@given(steps(*WORK))
def test_f12_steps_beside_others_that_may_raise(walk: list[Step]) -> None:
    asyncio.run(compare(dialogues.build_working, walk, Store()))


@settings(max_examples=15)
@given(steps(*HOUSE))
@pytest.mark.django_db(transaction=True)
def test_f12_conversations_without_names_within_each_other(walk: list[Step]) -> None:
    BotSession.objects.all().delete()
    walk = [HOUSE[0], *walk]
    asyncio.run(compare(dialogues.build_household, walk, None, all_conversations=True))
