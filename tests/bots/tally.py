"""A bot that notes each update that it has handled, and talks to nobody.

``PAUSE`` is how many seconds it takes for that, ``LEASE_SECONDS`` how long a process may say
nothing before others take over what it holds.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field

from telegram import Update
from telegram.ext import TypeHandler

from botsessions import SessionApplication, SessionBuilder, SessionContext, session
from botsessions.database import claims, leases_table

PAUSE = float(os.environ.get("PAUSE", "0"))

if seconds := os.environ.get("LEASE_SECONDS"):
    leases_table.LEASE_SECONDS = claims.CLAIM_SECONDS = float(seconds)


@dataclass
class Handled:
    updates: list[int] = field(default_factory=list)


handled = session(initial=Handled)


async def note(update: Update, context: SessionContext[Handled]) -> None:
    seen = list(context.session.updates)
    await asyncio.sleep(PAUSE)
    context.session.updates = [*seen, update.update_id]


def build(builder: SessionBuilder) -> SessionApplication:
    application = builder.base_url(f"{os.environ['BOT_API']}/bot").concurrent_updates(True).build()
    application.add_handler(TypeHandler(Update, note))
    return application
