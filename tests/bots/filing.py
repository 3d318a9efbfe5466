"""Who changes files of sessions, to be killed: ``python -m tests.bots.filing DIRECTORY DYING``.

It counts ``n`` up in the session ``42`` and prints each number once that is written. ``DYING`` is
the function of :mod:`os` at whose call, once the first number is written, the process kills itself;
``never`` counts on until somebody else does.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from botsessions.storages import Address, FileStorage, Record

ADDRESS = Address("pizza", "", "42")
FILLING = 50_000


def main(path: str, dying: str) -> None:
    storage = FileStorage(path)
    if dying != "never":
        count(storage)
        setattr(os, dying, die)
        if dying == "replace":  # Of which pathlib has a copy in Python 3.10.
            Path.replace = die  # type: ignore[method-assign, assignment]
    while True:
        count(storage)


def count(storage: FileStorage) -> None:
    record = asyncio.run(storage.read(ADDRESS))
    old: Any = record.value if record else {"n": 0}
    new = {"n": old["n"] + 1, "filling": str(old["n"] + 1) * FILLING}
    asyncio.run(storage.write(ADDRESS, Record(new, revision=record and record.revision)))
    print(new["n"], flush=True)  # noqa: T201


def die(*args: object, **kwargs: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
