"""How many saves PostgreSQL makes in the row's own page, without a touch on any index.

    BOTSESSIONS_DATABASE=postgresql python -m benchmarks.in_place [--rows 2000000]

It makes a database of its own, fills it as ``benchmarks.pages`` does, lets some thousand chats save
again and again, as a bot's updates do, and removes the database.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from .databases import database
from .pages import FILL, declare, rows_wanted

CHATS = 5_000
SAVES = 10
"""Of each chat."""
TOGETHER = 64
TURNS = {"first": False, "later": False, "that renew a timeout": True}
"""The first have to make room in pages that are full. A timeout is in an index."""
SETTLED_SECONDS = 3.0
"""After so long PostgreSQL's statistics know of all."""


def main() -> None:
    rows = rows_wanted(__doc__)
    from django.db import connection  # noqa: PLC0415 (once Django is set up)

    declare()
    with database("in_place"):
        with connection.cursor() as cursor:
            cursor.execute(FILL.format(rows=rows))
            cursor.execute("VACUUM (ANALYZE) botsessions_botsession")
        for name, expires in TURNS.items():
            before = counted(connection)
            asyncio.run(save(chats(rows), rows, expires))
            time.sleep(SETTLED_SECONDS)
            updates, in_place = (
                now - then for now, then in zip(counted(connection), before, strict=True)
            )
            print(f"{updates:,} saves, {name}: {in_place / updates:.1%} in place")


def chats(rows: int) -> list[int]:
    """Return the numbers of some chats whose sessions do not expire."""
    chance = random.Random(7)  # noqa: S311 (the same ones each time)
    lasting = [n for n in range(rows // 10 + 1, rows, 2) if n % 3 and n % 100 != 7]
    return chance.sample(lasting, min(CHATS, len(lasting)))


async def save(numbers: list[int], rows: int, expires: bool) -> None:
    from botsessions import DatabaseStorage  # noqa: PLC0415 (once Django is set up)
    from botsessions.database.connections import close_databases  # noqa: PLC0415

    storage = DatabaseStorage()
    for turn in range(SAVES):
        for some in parts(numbers):
            await storage.write_many([change(n, rows, turn, expires) for n in some])
    close_databases()


def parts(numbers: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(numbers), TOGETHER):
        yield numbers[start : start + TOGETHER]


def change(number: int, rows: int, turn: int, expires: bool) -> Any:
    from botsessions.records import ANY, Address, Json, Record  # noqa: PLC0415

    at = datetime.now(timezone.utc) + timedelta(days=30) if expires else None
    bot = "old" if number <= rows // 2 else "new"
    data: Json = {"pizza_count": turn, "notes": "pizza " * 30}
    return Address(bot, "", str(10_000_000 + number)), Record(data, Decimal(2), at, ANY)


def counted(connection: Any) -> tuple[int, int]:
    """Return how many updates there were, and how many of them in place."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = %s",
            ["botsessions_botsession"],
        )
        updates, in_place = cursor.fetchone()
    return updates, in_place


if __name__ == "__main__":
    main()
