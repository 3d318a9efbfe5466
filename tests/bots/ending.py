"""A bot of python-telegram-bot's own ``run_polling()`` whose jobs, tasks or handlers end it.

``python -m tests.bots.ending URL WHERE WHAT PLAIN``: what raises, where, and whether the bot has no
session. It prints what is called while it ends.
"""

from __future__ import annotations

import builtins
import sys
from typing import Any

from telegram.ext import ApplicationBuilder, TypeHandler

from botsessions import MemoryStorage, session

TOKEN = "4711001:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"


def main(url: str, where: str, what: str, plain: str) -> None:
    error = getattr(builtins, what)

    async def fail(*args: Any) -> None:
        raise error

    async def begin(application: Any) -> None:
        if where == "job":
            application.job_queue.run_once(fail, 0, chat_id=5)
        elif where == "job by hand":
            job = application.job_queue.run_once(fail, 3600, chat_id=5)
            application.job_queue.run_once(lambda context: job.run(application), 0)

    async def stopped(application: Any) -> None:
        print("post_stop")  # noqa: T201

    async def shut_down(application: Any) -> None:
        print("post_shutdown")  # noqa: T201

    async def task(update: Any, context: Any) -> None:
        context.application.create_task(fail(), update=update)

    builder: Any = ApplicationBuilder()
    if plain != "plain":
        builder = session(initial=dict, storage=MemoryStorage()).install(builder, bot="1")
    builder.token(TOKEN).base_url(f"{url}/bot").post_init(begin)
    application = builder.post_stop(stopped).post_shutdown(shut_down).build()
    if where in ("task", "handler"):
        application.add_handler(TypeHandler(object, task if where == "task" else fail))
    try:
        application.run_polling(poll_interval=0, timeout=0)
    except BaseException as exc:
        print(type(exc).__name__)  # noqa: T201
    print("stopped" if not application.running else "running")  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
