"""Workers that count in sessions, to be killed: ``python -m tests.bots.counting``.

For each line on its standard input it forks a worker and prints its process id. A worker counts
until it is killed or as many updates have been handled as are wanted, and appends the keys of each
that was to a file of all workers.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

import django
from django.conf import settings


def main() -> None:
    config = json.loads(os.environ["COUNTING_BOT"])
    settings.configure(
        DATABASES={"default": config["database"]},
        INSTALLED_APPS=["botsessions"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
    )
    django.setup()
    from botsessions.database import leases_table  # noqa: PLC0415
    from tests import harness  # noqa: F401, PLC0415 (so that workers need not import it)

    leases_table.LEASE_SECONDS = config["lease_seconds"]
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # Nobody asks what has become of a worker.
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            asyncio.run(work(config))
            os._exit(0)
        print(pid, flush=True)  # noqa: T201


async def work(config: Any) -> None:
    from tests.harness import client  # noqa: PLC0415

    random.seed()
    log = os.open(config["log"], os.O_RDWR | os.O_APPEND)
    bot = client(declared(), count)
    maria = bot.user()
    while os.fstat(log).st_size < config["wanted"] * LINE:
        keys = random.choices(range(config["keys"]), k=2)  # noqa: S311
        answers = await maria.send(f"{keys[0]} {keys[1]}", wait=False)
        for error in answers.errors:
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
        if not answers.errors:
            os.write(log, b"%03d %03d\n" % tuple(keys))


LINE = 8
"""Bytes that tell of an update."""


def declared() -> Any:
    """Return a session of two fragments, whose keys are the two words of a message."""
    from botsessions import multi_session, session  # noqa: PLC0415

    def part(number: int) -> Any:
        return session(
            initial=lambda: {"count": 0},
            get_session_key=lambda update: update.message.text.split()[number],
        )

    counters = multi_session(a=part(0), b=part(1))
    install = counters.install
    counters.install = lambda builder: install(builder, lock="database")  # type: ignore[method-assign]
    return counters


async def count(update: Any, context: Any) -> None:
    for fragment in (context.session.a, context.session.b):
        before = fragment["count"]
        await asyncio.sleep(0.001)
        fragment["count"] = before + 1


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    main()
