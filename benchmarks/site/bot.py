"""A bot that counts each chat's messages, and calls nobody."""

from __future__ import annotations

from typing import Any

from telegram.ext import MessageHandler, filters

from botsessions import session
from botsessions.testing.offline import OfflineTelegram

counted = session(initial=lambda: {"count": 0})


async def count(update: Any, context: Any) -> None:
    context.session["count"] += 1


def build(builder: Any) -> Any:
    builder.request(OfflineTelegram()).get_updates_request(OfflineTelegram())
    application = builder.concurrent_updates(True).job_queue(None).build()
    application.add_handler(MessageHandler(filters.TEXT, count))
    return application
