"""The bot of the documentation, and every kind of session, for type checkers only."""

from collections.abc import Awaitable
from dataclasses import dataclass

from telegram import Update
from telegram.ext import CommandHandler, MessageHandler, filters
from typing_extensions import assert_type

from botsessions import (
    Lazy,
    LazySessionContext,
    SessionApplication,
    SessionBuilder,
    SessionContext,
    lazy_session,
    multi_session,
    session,
)
from botsessions.keys import per_user
from botsessions.testing import BotClient


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


def build(builder: SessionBuilder) -> SessionApplication:
    application = builder.concurrent_updates(True).build()
    application.add_handler(CommandHandler("hunger", hunger))
    application.add_handler(MessageHandler(filters.Regex("🍕"), count))
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


class ShopSession:
    chat: PizzaSession
    user: Lazy[PizzaSession]


shop = multi_session(
    chat=session(initial=PizzaSession),
    user=lazy_session(initial=PizzaSession, get_session_key=per_user),
)


async def multi_handler(update: Update, context: SessionContext[ShopSession]) -> None:
    assert_type(context.session.chat.pizza_count, int)
    assert_type((await context.session.user).pizza_count, int)
    context.session.chat = PizzaSession()
    context.session.user = PizzaSession()
    user: Awaitable[PizzaSession] = context.session.user
    await user


def view() -> None:
    with pizza.edit(chat=424242) as data:
        assert_type(data, PizzaSession)
        data.pizza_count = 0
    found = pizza.get("424242")
    assert_type(found, PizzaSession | None)
    pizza.delete(chat=424242)
    with shop.user.edit(user=5) as anything:
        anything.pizza_count = 1


async def async_view() -> None:
    async with pizza.aedit(chat=424242) as data:
        assert_type(data, PizzaSession)
    assert_type(await pizza.aget(chat=424242), PizzaSession | None)


def test() -> None:
    maria = BotClient().user("Maria")
    maria.send("🍕")
    assert maria.send("/hunger").text == "Your hunger level is 1!"
    assert maria.session.pizza_count == 1
