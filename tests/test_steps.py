"""Steps: handlers chosen by what the session holds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from telegram import InlineKeyboardButton, InlineKeyboardMarkup
from telegram.ext import (
    ApplicationHandlerStop,
    CallbackQueryHandler,
    CommandHandler,
    ConversationHandler,
    Defaults,
    MessageHandler,
    filters,
)

from botsessions import lazy_session, multi_session, session
from botsessions.exceptions import SessionStorageError
from botsessions.keys import per_user
from botsessions.steps import StepHandler
from botsessions.testing import BotClient

from .harness import Store

pytestmark = pytest.mark.once

WORDS = filters.TEXT & ~filters.COMMAND


@dataclass
class Order:
    step: str = ""
    name: str = ""
    log: list[str] = field(default_factory=list)


def at(step: str, *handlers: Any) -> StepHandler[Order]:
    return StepHandler[Order](lambda data: data.step == step, *handlers)


def going(step: str) -> Callable[[Any, Any], Awaitable[None]]:
    """Return a callback that notes what it was given, and goes to another step."""

    async def callback(update: Any, context: Any) -> None:
        data = await context.get_session()
        data.log.append(f"{data.step}: {update.effective_message.text}")
        data.step = step

    return callback


async def echo(update: Any, context: Any) -> None:
    await update.effective_message.reply_text(f"? {update.effective_message.text}")


def chat(
    *handlers: Any, declared: Any = None, raise_errors: bool | None = None, **groups: Any
) -> BotClient:
    """Return a client of a bot with all these handlers in one group, and others in later ones."""

    def build(builder: Any) -> Any:
        defaults = groups.pop("defaults", None)
        if defaults is not None:
            builder.defaults(defaults)
        application = (declared or session(initial=Order, storage=Store())).install(builder).build()
        application.add_handlers(handlers)
        for number, name in enumerate(groups, start=1):
            application.add_handler(groups[name], number)
        return application

    return BotClient(build=build, raise_errors=raise_errors)


SHOP = (
    CommandHandler("order", going("name")),
    at("name", MessageHandler(WORDS, going("address"))),
    at("address", CommandHandler("back", going("name")), MessageHandler(WORDS, going(""))),
    MessageHandler(filters.TEXT, echo),
)


def test_a_dialogue_goes_on_where_the_session_says() -> None:
    maria = chat(*SHOP).user()
    for words in ("/order", "Maria", "/back", "Maria R.", "Via Roma 1"):
        assert not maria.send(words).messages
    assert maria.session.log == [
        *(": /order", "name: Maria", "address: /back", "name: Maria R.", "address: Via Roma 1")
    ]


def test_what_no_step_takes_goes_to_the_next_handlers_of_the_group() -> None:
    maria = chat(*SHOP).user()
    assert maria.send("Hello").text == "? Hello"
    maria.send("/order")
    assert maria.send("/back").text == "? /back"
    maria.send("Maria")
    assert not maria.send("/back").messages


def test_later_groups_get_it_whether_or_not_a_step_has_taken_it() -> None:
    async def count(update: Any, context: Any) -> None:
        seen.append(update.message.text)

    seen: list[str] = []
    bot = chat(*SHOP[:-1], later=MessageHandler(filters.TEXT, count))
    bot.user().send("Hello")
    bot.user().send("/order")
    assert seen == ["Hello", "/order"]


def test_the_session_is_loaded_once_and_saved_once() -> None:
    store = Store()
    maria = chat(*SHOP, declared=session(initial=Order, storage=store)).user()
    maria.send("/order")
    store.calls.clear()
    maria.send("Maria")
    assert store.operations == ["read", "write"]
    store.calls.clear()
    maria.send("/unknown")
    assert store.operations == ["read"]


def test_a17_what_no_handler_of_a_step_takes_costs_no_call() -> None:
    store = Store()
    bot = chat(*SHOP[1:3], declared=session(initial=Order, storage=store))
    bot.user().send(sticker={**dict.fromkeys(("file_id", "file_unique_id"), "1"), **STICKER})
    assert store.calls == []


STICKER = {"type": "regular", "width": 1, "height": 1, "is_animated": False, "is_video": False}


def test_buttons_belong_to_a_step_like_messages() -> None:
    async def offer(update: Any, context: Any) -> None:
        button = InlineKeyboardButton("Yes", callback_data="yes")
        await update.message.reply_text("Sure?", reply_markup=InlineKeyboardMarkup([[button]]))
        context.session.step = "sure"

    async def late(update: Any, context: Any) -> None:
        await update.callback_query.answer("Too late.")

    maria = chat(
        CommandHandler("order", offer),
        at("sure", CallbackQueryHandler(going("done"), "yes")),
        CallbackQueryHandler(late),
    ).user()
    maria.send("/order")
    assert not maria.press("Yes").calls
    assert maria.session.step == "done"
    (call,) = maria.press("Yes").calls
    assert call.parameters["text"] == "Too late."


def test_a_command_of_a_step_has_its_arguments() -> None:
    async def add(update: Any, context: Any) -> None:
        context.session.log += context.args

    maria = chat(at("", CommandHandler("add", add))).user()
    maria.send("/add olives ham")
    assert maria.session.log == ["olives", "ham"]


@pytest.mark.parametrize("declare", [session, lazy_session])
def test_strict_and_lazy_sessions_alike(declare: Any) -> None:
    declared = declare(initial=Order, storage=Store())
    maria = chat(*SHOP, declared=declared).user()
    maria.send("/order")
    maria.send("Maria")
    assert maria.session.step == "address"


def test_a_lazy_session_is_read_only_if_a_handler_of_a_step_takes_the_update() -> None:
    store = Store()
    bot = chat(*SHOP, declared=lazy_session(initial=Order, storage=store))
    bot.user().send("/unknown")
    assert store.calls == []


def test_a_condition_may_look_at_the_fragments_of_a_multi_session_and_await() -> None:
    async def is_regular(data: Any) -> bool:
        user = await data.user
        return data.chat.step == "name" and user.step == "regular"

    async def come_in(update: Any, context: Any) -> None:
        context.session.chat.step = "name"
        (await context.session.user).step = update.message.text.removeprefix("/")

    async def greet(update: Any, context: Any) -> None:
        await update.message.reply_text("Welcome back!")

    declared = multi_session(
        chat=session(initial=Order, storage=Store()),
        user=lazy_session(initial=Order, storage=Store(), get_session_key=per_user),
    )
    maria = chat(
        CommandHandler(["regular", "new"], come_in),
        StepHandler[Any](is_regular, MessageHandler(WORDS, greet)),
        MessageHandler(WORDS, echo),
        declared=declared,
    ).user()
    maria.send("/regular")
    assert maria.send("Hi").text == "Welcome back!"
    maria.send("/new")
    assert maria.send("Hi").text == "? Hi"


@pytest.mark.parametrize(
    "declared",
    [
        session(initial=Order, storage=Store(), get_session_key=lambda update: None),
        session(data_type=Order, storage=Store()),
        lazy_session(data_type=Order, storage=Store()),
    ],
    ids=["no key", "nothing stored", "nothing stored, lazy"],
)
def test_without_data_there_is_no_step(declared: Any) -> None:
    async def never(data: Any) -> bool:
        raise AssertionError

    step = StepHandler[Any](never, MessageHandler(WORDS, going("")))
    maria = chat(step, MessageHandler(WORDS, echo), declared=declared).user()
    assert maria.send("Hello").text == "? Hello"


@pytest.mark.parametrize("defaults", [None, Defaults(block=False)])
def test_the_chat_goes_on_beside_a_handler_of_a_step_that_does_not_block(defaults: Any) -> None:
    async def slow(update: Any, context: Any) -> None:
        order.append("slow began")
        async with context.edit_session() as data:
            data.log.append("slow")

    async def note(update: Any, context: Any) -> None:
        order.append("next group")

    order: list[str] = []
    block = {} if defaults else {"block": False}
    maria = chat(
        at("other", MessageHandler(WORDS, echo)),
        at("", MessageHandler(WORDS, slow, **block)),
        defaults=defaults,
        later=MessageHandler(WORDS, note, block=True),
    ).user()
    maria.send("x")
    assert order == ["next group", "slow began"]
    assert maria.session.log == ["slow"]


def test_a_step_can_stop_all_further_groups() -> None:
    async def stop(update: Any, context: Any) -> None:
        context.session.step = "stopped"
        raise ApplicationHandlerStop

    maria = chat(at("", MessageHandler(WORDS, stop)), later=MessageHandler(WORDS, echo)).user()
    assert not maria.send("x").messages
    assert maria.session.step == "stopped"


def test_an_error_in_a_step_or_in_its_condition_is_one_of_the_update() -> None:
    async def fail(update: Any, context: Any) -> None:
        context.session.step = "never"
        raise ValueError("in the handler")

    def condition(data: Order) -> bool:
        raise ValueError("in the condition")

    for handler in (
        at("", MessageHandler(WORDS, fail)),
        StepHandler(condition, MessageHandler(WORDS, echo)),
    ):
        maria = chat(handler, MessageHandler(WORDS, echo), raise_errors=False).user()
        answers = maria.send("x")
        assert [type(error) for error in answers.errors] == [ValueError]
        assert not answers.messages
        assert maria.session is None


def test_a12_a_session_that_cannot_be_loaded_is_no_step_but_an_error() -> None:
    store = Store()
    store.fails["read"] = SessionStorageError("down")
    bot = chat(*SHOP, declared=session(initial=Order, storage=store), raise_errors=False)
    answers = bot.user().send("Hello")
    assert answers.errors == [store.fails["read"]]
    assert not answers.messages


def test_a_dialogue_goes_on_after_a_restart() -> None:
    declared = session(initial=Order, storage=Store())
    for words in ("/order", "Maria", "Via Roma 1"):
        maria = chat(*SHOP, declared=declared).user(id=7)
        maria.send(words)
    assert maria.session.log == [": /order", "name: Maria", "address: Via Roma 1"]


def test_a_bot_may_have_a_thousand_steps() -> None:
    steps = [at(str(number), MessageHandler(WORDS, going(""))) for number in range(1000)]
    maria = chat(*steps, MessageHandler(WORDS, echo)).user()
    assert maria.send("Hello").text == "? Hello"


def test_in_a_conversation_what_its_handler_returns_is_the_next_state() -> None:
    async def ask(update: Any, context: Any) -> int:
        context.session.step = "name"
        return 1

    async def end(update: Any, context: Any) -> int:
        await echo(update, context)
        return ConversationHandler.END

    conversation: ConversationHandler[Any] = ConversationHandler(
        [CommandHandler("order", ask)], {1: [at("name", MessageHandler(WORDS, end))]}, []
    )
    maria = chat(conversation).user()
    maria.send("/order")
    assert maria.send("Maria").text == "? Maria"
    assert not maria.send("Maria").messages


def callback(update: Any, context: Any) -> None:
    """Be no handler."""


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("address", MessageHandler(WORDS, echo)), "'address' is no condition"),
        ((MessageHandler(WORDS, echo), bool), r"MessageHandler\[callback=echo\] is no condition"),
        ((bool,), "needs handlers"),
        ((bool, [MessageHandler(WORDS, echo)]), "is no handler"),
        ((bool, callback), "is no handler"),
        ((bool, at("", MessageHandler(WORDS, echo))), "holds no other"),
    ],
)
def test_mistakes_are_explained(arguments: Any, problem: str) -> None:
    with pytest.raises(TypeError, match=problem):
        StepHandler(*arguments)
