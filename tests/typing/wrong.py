"""Mistakes that type checkers must find: each line with ``expect an error`` has one."""

from dataclasses import dataclass

from telegram import Update
from telegram.ext import TypeHandler

from botsessions import (
    Lazy,
    LazySessionContext,
    MultiSession,
    SessionApplication,
    SessionBuilder,
    SessionContext,
    session,
)
from botsessions.jobs import stored_job
from botsessions.steps import StepHandler
from botsessions.testing import BotClient


@dataclass
class PizzaSession:
    pizza_count: int = 0


class ShopSession:
    chat: PizzaSession
    user: Lazy[PizzaSession]


async def strict(update: Update, context: SessionContext[PizzaSession]) -> None:
    context.session.pizza_count = "many"  # expect an error
    context.session.toppings  # expect an error
    context.session = 5  # expect an error


async def lazy(update: Update, context: LazySessionContext[PizzaSession]) -> None:
    context.session.pizza_count  # expect an error
    (await context.session).pizza_count = "many"  # expect an error
    context.session = 5  # expect an error


async def multi(update: Update, context: SessionContext[ShopSession]) -> None:
    context.session.chat.pizza_count = "many"  # expect an error
    context.session.user.pizza_count  # expect an error
    (await context.session.user).pizza_count = "many"  # expect an error
    context.session.user = 5  # expect an error


class Shop(MultiSession):
    cart = session(initial=PizzaSession)


shop = Shop()


async def job(context: SessionContext[PizzaSession]) -> None: ...


async def started(application: SessionApplication, more: int) -> None: ...


def no_coroutine(context: SessionContext[PizzaSession]) -> None: ...


async def schedule(update: Update, context: SessionContext[PizzaSession]) -> None:
    assert context.job_queue
    context.job_queue.run_once(job)  # expect an error
    context.job_queue.run_once(no_coroutine, 5)  # expect an error
    async with context.edit_session() as data:
        data.pizza_count = "many"  # expect an error


@stored_job(data_type=PizzaSession)
async def stored(context: SessionContext[PizzaSession]) -> None: ...


def store() -> None:
    stored.run_once("10", PizzaSession())  # expect an error
    stored.run_once(10, "many")  # expect an error
    stored.run_once(10, chat="5")  # expect an error
    stored_job(no_coroutine)  # expect an error


def is_hungry(data: PizzaSession) -> bool:
    return not data.pizza_count


def steps() -> None:
    take = TypeHandler(Update, strict)
    StepHandler[PizzaSession](lambda data: data.toppings, take)  # expect an error
    StepHandler[ShopSession](is_hungry, take)  # expect an error
    StepHandler(is_hungry, strict)  # expect an error


def build(builder: SessionBuilder) -> SessionApplication:
    return builder.post_init(started)  # expect an error


def view() -> None:
    with shop.cart.edit(user=5) as data:
        data.pizza_count = "many"  # expect an error
    BotClient[PizzaSession]().user().session.toppings  # expect an error
