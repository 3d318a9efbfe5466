"""A bot that notes each update that it has handled, and talks to nobody."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from telegram import Update
from telegram.ext import TypeHandler

from botsessions import SessionApplication, SessionBuilder, SessionContext, session


@dataclass
class Handled:
    updates: list[int] = field(default_factory=list)


handled = session(initial=Handled)


async def note(update: Update, context: SessionContext[Handled]) -> None:
    context.session.updates.append(update.update_id)


def build(builder: SessionBuilder) -> SessionApplication:
    application = builder.base_url(f"{os.environ['BOT_API']}/bot").concurrent_updates(True).build()
    application.add_handler(TypeHandler(Update, note))
    return application
