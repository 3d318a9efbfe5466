"""What a program that is measured answers: a line of JSON on stdout for each on stdin.

At its start it says ``{"versions": {name: version}}``. Then it is asked to
``{"prepare": [chat, …]}``, to make an update of each chat; to ``{"run": in_flight}``, to handle
them, so many at a time; and for ``{"counted": null}``, the sum of what is stored. A program that
fails ends. Other languages speak the same; here is Python's side, for whatever environment.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from benchmarks.memory import resident_memory

OPTIONS: dict[str, Any] = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
"""What the row says about how the program is to work."""


async def serve(
    versions: dict[str, str],
    update: Callable[[int], Any],
    handle: Callable[[Any], Awaitable[object]],
    counted: Callable[[], Awaitable[int]],
) -> None:
    """Do what is asked until the input ends.

    Args:
        update: makes an update of a chat.
        handle: handles it; when it returns, the change is stored.
        counted: adds up what is stored for all chats.
    """
    answer({"versions": {"Python": sys.version.split()[0], **versions}})
    prepared: list[Any] = []
    while line := await asyncio.to_thread(sys.stdin.readline):
        asked = json.loads(line)
        if "prepare" in asked:
            prepared.clear()  # So that there are never two lots in memory.
            prepared += [update(chat) for chat in asked["prepare"]]
            answer({"prepared": len(prepared)})
        elif "run" in asked:
            answer(await run(handle, prepared, asked["run"]))
        else:
            answer({"counted": await counted()})


async def run(
    handle: Callable[[Any], Awaitable[object]], updates: Sequence[Any], in_flight: int
) -> dict[str, float]:
    """Handle ``updates`` and tell how long it took, and how much of the processors' time."""
    waiting = iter(updates)

    async def work() -> None:
        for update in waiting:
            await handle(update)

    # A bot has no thousands of updates that wait ready made, for the collector to look through.
    gc.collect()
    gc.freeze()
    begin, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(work() for _ in range(in_flight)))
    taken = {
        "seconds": time.perf_counter() - begin,
        "cpu": time.process_time() - cpu,
        "memory": resident_memory(),
    }
    gc.unfreeze()
    return taken


def answer(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)
