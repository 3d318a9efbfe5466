"""A bot that counts in python-telegram-bot's ``user_data`` and ``chat_data``, both.

Options: ``kept``, by what: ``"botsessions"``, ``"pickle"`` (PicklePersistence, saved each time) or
``"django"`` (python-telegram-bot-django-persistence, at its default interval); ``stored``, of how
many chats there is data from the start.
"""

from __future__ import annotations

import asyncio
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import django
from django.conf import settings

from benchmarks.protocol import OPTIONS, serve

KEPT = OPTIONS["kept"]
CHATS_STORED = range(1, OPTIONS.get("stored", 0) + 1)
LIBRARY = "python_telegram_bot_django_persistence"

if KEPT == "django":
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, LIBRARY]
django.setup()

from asgiref.sync import sync_to_async  # noqa: E402 (once Django is set up)
from django.core.management import call_command  # noqa: E402
from telegram.ext import (  # noqa: E402
    MessageHandler,
    PersistenceInput,
    PicklePersistence,
    filters,
)

from benchmarks.programs import updates  # noqa: E402
from botsessions import multi_session  # noqa: E402
from botsessions.management.process import tune  # noqa: E402
from botsessions.models import BotSession  # noqa: E402
from botsessions.persistence import BotPersistence  # noqa: E402
from botsessions.testing.offline import OfflineBuilder, OfflineTelegram  # noqa: E402

STORED = PersistenceInput(bot_data=False, callback_data=False)


async def main() -> None:
    builder, versions = OfflineBuilder(OfflineTelegram()).job_queue(None), {}
    saves_each = KEPT == "pickle"
    if KEPT == "botsessions":
        builder = multi_session().install(builder.persistence(BotPersistence(STORED)))
    elif saves_each:
        builder = builder.persistence(await pickled())
    else:
        builder = builder.persistence(await sync_to_async(of_django)())
        versions["python-telegram-bot-django-persistence"] = metadata.version(LIBRARY)
    application = builder.build()
    application.add_handler(MessageHandler(filters.TEXT, count))
    if KEPT == "botsessions":
        for chat in CHATS_STORED:
            application.user_data[chat]["count"] = application.chat_data[chat]["count"] = 0

    async def handle(update: Any) -> None:
        await application.process_update(update)
        if saves_each:
            await application.update_persistence()

    async def counted() -> int:
        if KEPT == "botsessions":
            return await sync_to_async(count_rows)()
        return sum(data["count"] for data in application.chat_data.values())

    async with application:
        await application.start()
        tune()  # As run_bot does.
        await serve(versions, updates.message, handle, counted)
        await application.stop()


async def pickled() -> PicklePersistence[Any, Any, Any]:
    """Return a persistence whose file holds the data of all chats."""
    path = Path(tempfile.mkdtemp()) / "data.pickle"
    before = PicklePersistence[Any, Any, Any](path, store_data=STORED)
    before.user_data = {chat: {"count": 0} for chat in CHATS_STORED}
    before.chat_data = {chat: {"count": 0} for chat in CHATS_STORED}
    await before.flush()
    return PicklePersistence(path, store_data=STORED)


def of_django() -> Any:
    from python_telegram_bot_django_persistence.persistence import (  # noqa: PLC0415
        DjangoPersistence,
    )

    call_command("migrate", LIBRARY, verbosity=0)
    return DjangoPersistence(store_data=STORED)


async def count(update: Any, context: Any) -> None:
    for data in (context.user_data, context.chat_data):
        data["count"] = data.get("count", 0) + 1


def count_rows() -> int:
    rows = BotSession.objects.filter(name="ptb:chat_data")
    return sum(data["count"] for data in rows.values_list("data", flat=True))


if __name__ == "__main__":
    asyncio.run(main())
