"""Mistakes that type checkers must find: each line with ``expect an error`` has one."""

from dataclasses import dataclass

from telegram import Update

from botsessions import Lazy, LazySessionContext, SessionContext


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
