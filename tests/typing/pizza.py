"""The bot of the documentation, and every kind of session, for type checkers only."""

from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from telegram import Update
from telegram.ext import (
    AIORateLimiter,
    CommandHandler,
    ContextTypes,
    ExtBot,
    JobQueue,
    MessageHandler,
    filters,
)
from typing_extensions import assert_type

from botsessions import (
    Lazy,
    LazySessionContext,
    MultiSession,
    SessionApplication,
    SessionBuilder,
    SessionContext,
    lazy_session,
    multi_session,
    session,
)
from botsessions.jobs import StoredJob, stored_job
from botsessions.keys import per_user
from botsessions.steps import StepHandler
from botsessions.testing import AsyncBotClient, BotClient


@dataclass
class PizzaSession:
    pizza_count: int = 0


pizza = session(initial=PizzaSession)


async def hunger(update: Update, context: SessionContext[PizzaSession]) -> None:
    assert update.effective_chat
    await context.bot.send_message(
        update.effective_chat.id, f"Your hunger level is {context.session.pizza_count}!"
    )


async def count(update: Update, context: SessionContext[PizzaSession]) -> None:
    context.session.pizza_count += 1
    assert_type(context.session.pizza_count, int)
    assert_type(await context.get_session(), PizzaSession)


async def reset(update: Update, context: SessionContext[PizzaSession]) -> None:
    context.session = PizzaSession()
    context.session = None
    del context.session


async def remind(context: SessionContext[PizzaSession]) -> None:
    context.session.pizza_count -= 1


async def schedule(update: Update, context: SessionContext[PizzaSession]) -> None:
    assert context.job_queue
    assert context.application.job_queue
    context.job_queue.run_once(remind, 60, chat_id=1)
    context.application.job_queue.run_repeating(remind, 60, chat_id=1)
    assert_type(context.application, SessionApplication)


@stored_job
async def warn(context: SessionContext[PizzaSession]) -> None:
    context.session.pizza_count -= 1
    assert_type(warn.run_once(60, {"pizzas": 3}, name="warning"), str)
    assert_type(await warn.arun_once(timedelta(hours=1), chat=42, bot="shop"), str)


@stored_job(name="deliver", data_type=PizzaSession)
async def deliver(context: SessionContext[PizzaSession]) -> None:
    deliver.run_once(datetime.now(timezone.utc), PizzaSession(), user=None)
    deliver.cancel("tomorrow", chat=42)
    await deliver.acancel("tomorrow")


assert_type(deliver, StoredJob[PizzaSession])


async def think(update: Update, context: SessionContext[PizzaSession]) -> None:
    async with context.edit_session() as data:
        assert_type(data, PizzaSession)


async def after_error(update: object, context: SessionContext[PizzaSession]) -> None:
    await context.save_session()


async def started(application: SessionApplication) -> None:
    assert application.job_queue
    application.job_queue.run_once(remind, 60, chat_id=1)


class OwnContext(SessionContext[PizzaSession]):
    pass


class OwnApplication(SessionApplication):
    pass


def build_otherwise(builder: SessionBuilder) -> SessionApplication:
    builder = (
        builder.bot(ExtBot("1:A"))
        .context_types(ContextTypes(context=OwnContext))
        .application_class(OwnApplication)
        .job_queue(None)
        .job_queue(JobQueue[OwnContext]())
        .rate_limiter(AIORateLimiter())
        .post_init(started)
        .post_stop(started)
        .post_shutdown(started)
    )
    assert_type(builder, SessionBuilder)
    return builder.build()


def build(builder: SessionBuilder) -> SessionApplication:
    application = builder.concurrent_updates(True).build()
    application.add_handler(CommandHandler("hunger", hunger))
    application.add_handler(MessageHandler(filters.Regex("🍕"), count))
    application.add_error_handler(after_error)
    application.add_handler(CommandHandler("schedule", schedule))
    application.add_handler(CommandHandler("think", think, block=False))
    application.add_handler(CommandHandler("lazy", lazy_handler))
    application.add_handler(CommandHandler("multi", multi_handler))
    return application


lazy = lazy_session(initial=PizzaSession)


async def lazy_handler(update: Update, context: LazySessionContext[PizzaSession]) -> None:
    data = await context.session
    assert_type(data, PizzaSession)
    assert_type((await context.session).pizza_count, int)
    assert_type((await context.get_session()).pizza_count, int)
    context.session = PizzaSession()

    async def later() -> PizzaSession:
        return PizzaSession()

    context.session = later()
    async with context.edit_session() as held:
        assert_type(held, PizzaSession)


class ShopSession:
    chat: PizzaSession
    user: Lazy[PizzaSession]


shop = multi_session(
    chat=session(initial=PizzaSession),
    user=lazy_session(initial=PizzaSession, get_session_key=per_user),
)


class Shop(MultiSession):
    chat = session(initial=PizzaSession)
    user = lazy_session(initial=PizzaSession, get_session_key=per_user)


typed_shop = Shop()


async def multi_handler(update: Update, context: SessionContext[ShopSession]) -> None:
    assert_type(context.session.chat.pizza_count, int)
    assert_type((await context.session.user).pizza_count, int)
    context.session.chat = PizzaSession()
    context.session.user = PizzaSession()
    user: Awaitable[PizzaSession] = context.session.user
    await user


def is_hungry(data: PizzaSession) -> bool:
    return not data.pizza_count


async def is_really_hungry(data: PizzaSession) -> bool:
    return is_hungry(data)


async def own_handler(update: Update, context: OwnContext) -> None: ...


def add_steps(application: SessionApplication) -> None:
    text = filters.TEXT
    application.add_handlers(
        [
            StepHandler(is_hungry, MessageHandler(text, count)),
            StepHandler(is_really_hungry, MessageHandler(text, count), CommandHandler("x", reset)),
            StepHandler(is_hungry, MessageHandler(text, lazy_handler)),
            StepHandler(is_hungry, MessageHandler(text, own_handler)),
            StepHandler(lambda data: data.pizza_count > 3, MessageHandler(text, count)),
            StepHandler(lambda data: data.pizza_count > 3, MessageHandler(text, lazy_handler)),
            StepHandler[PizzaSession](
                lambda d: d.pizza_count > 3, MessageHandler(text, own_handler)
            ),
            StepHandler[ShopSession](
                lambda data: data.chat.pizza_count > 3, MessageHandler(text, multi_handler)
            ),
        ]
    )


def view() -> None:
    with pizza.edit(chat=424242) as data:
        assert_type(data, PizzaSession)
        data.pizza_count = 0
    found = pizza.get("424242")
    assert_type(found, PizzaSession | None)
    pizza.delete(chat=424242)
    with shop.user.edit(user=5) as anything:
        anything.pizza_count = 1
    with typed_shop.user.edit(user=5) as user:
        assert_type(user, PizzaSession)
    assert_type(typed_shop.chat.get(chat=7), PizzaSession | None)


notes = session(initial=dict)
steps = lazy_session(initial=list)


def view_of_plain_data() -> None:
    with notes.edit(chat=424242) as note:
        assert_type(note, dict[str, Any])
    assert_type(steps.get(chat=424242), list[Any] | None)


async def async_view() -> None:
    async with pizza.aedit(chat=424242) as data:
        assert_type(data, PizzaSession)
    assert_type(await pizza.aget(chat=424242), PizzaSession | None)


def test() -> None:
    maria = BotClient().user("Maria")
    maria.send("🍕")
    assert maria.send("/hunger").text == "Your hunger level is 1!"
    assert maria.session.pizza_count == 1
    tom = BotClient[PizzaSession | None]().user("Tom")
    assert_type(tom.session, PizzaSession | None)


async def async_test() -> None:
    async with AsyncBotClient[PizzaSession]() as client:
        assert_type(await client.user().session, PizzaSession)
