"""Sweep, migrate and import many sessions, and set the time beside that of the plain way to do it.

    BOTSESSIONS_DATABASE=postgresql python -m benchmarks.maintenance [--rows 1000000]

It needs PostgreSQL, makes a database of its own, removes it at the end, and prints a table in
Markdown. Both ways take turns, so that what else the machine does slows both down alike. Memory is
that of both together, once it is warm.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

import django

from .databases import database
from .memory import resident_memory

EXPIRED_OF = 5
"""Every fifth session has expired."""
BATCH = 1000
COMPARED = 100
"""Batches of each way to migrate."""
IMPORTED = 100_000
"""Sessions, by each way."""
WARM_AFTER = 20
"""Batches, until allocators and caches have what they need."""


@dataclass
class Timed:
    """What doing something in batches has cost."""

    done: int = 0
    seconds: list[float] = field(default_factory=list)
    """Of each batch."""

    def of(self, batches: Iterator[int]) -> Iterator[None]:
        while True:
            begin = time.perf_counter()
            done = next(batches, 0)
            if not done:
                return
            self.seconds.append(time.perf_counter() - begin)
            self.done += done
            yield

    @property
    def rate(self) -> float:
        return self.done / sum(self.seconds)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def longest(self) -> float:
        return max(self.seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    django.setup()
    from django.conf import settings  # noqa: PLC0415 (once Django is set up)
    from django.db import connection  # noqa: PLC0415

    if connection.vendor != "postgresql":
        sys.exit("It compares with PostgreSQL's own DELETE: set BOTSESSIONS_DATABASE=postgresql.")
    settings.DEBUG = False
    settings.BOTSESSIONS = {"BOTS": {"pets": {"SESSION": declared()}}}
    with database("maintenance"):
        print(machine(), end="\n\n")
        print("| work | sessions | speed | median batch | longest | memory growth |")
        print("| --- | --- | --- | --- | --- | --- |", flush=True)
        fill(options.rows)
        show("plain batched DELETE", "sweep", delete(), sweep())
        show("bulk_update loop", "migrate", bulk_update(COMPARED), migrate(COMPARED))
        show("", "migrate all the others", iter(()), migrate())
        with exported(IMPORTED) as path:
            show("bulk_create loop", "import", bulk_create(path), imported(path))


def declared() -> Any:
    from botsessions import enhance_storage, session  # noqa: PLC0415

    return session(storage=enhance_storage(migrations={1: give_species, 2: count_legs}))


def give_species(old: Any) -> Any:
    pets = [{"name": name, "species": "cat"} for name in old.pop("pet_names")]
    return {**old, "pets": pets}


def count_legs(old: Any) -> Any:
    return {**old, "pets": [{**pet, "legs": 4} for pet in old["pets"]]}


def show(plain_name: str, name: str, plain: Iterator[int], ours: Iterator[int]) -> None:
    """Do both, a batch of one after a batch of the other, and show the lines of the table."""
    results = Timed(), Timed()
    warm = resident_memory()
    for number, _ in enumerate(zip_longest(results[0].of(plain), results[1].of(ours))):
        if number == WARM_AFTER:
            warm = resident_memory()
    growth = f"{resident_memory() - warm:.1f} MB"
    for label, result in zip((plain_name, name), results, strict=True):
        if label and result.done:
            ratio = f"{result.rate / results[0].rate:.2f}" if plain_name else ""
            batches = f"{result.median * 1000:.0f} ms | {result.longest * 1000:.0f} ms"
            print(f"| {label} | {result.done:,} | {ratio} | {batches} | {growth} |", flush=True)


def fill(rows: int) -> None:
    """Store sessions without a version, every fifth expired."""
    from django.db import connection  # noqa: PLC0415

    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE botsessions_botsession RESTART IDENTITY")
        cursor.execute(
            """
            INSERT INTO botsessions_botsession (bot, name, key, data, revision, size, expires_at,
                created_at, updated_at, chat_id, user_id, chat_type, title)
            SELECT 'pets', '', n::text,
                jsonb_build_object('count', n, 'language', 'en', 'pet_names',
                    '["Rex", "Tom"]'::jsonb),
                (random() * 9e18)::bigint, 60,
                now() + ((CASE WHEN n %% %s = 0 THEN -1 ELSE 1 END)
                    * (1 + n::bigint * 7919 %% 1000003)) * interval '1 second',
                now(), now(), n, n, 'private', 'Person ' || n
            FROM generate_series(1, %s) n
            """,
            [EXPIRED_OF, rows],
        )
        cursor.execute("VACUUM ANALYZE botsessions_botsession")
        cursor.execute("CHECKPOINT")


def delete() -> Iterator[int]:
    """Delete what has expired, as one would in SQL."""
    from django.db import connection  # noqa: PLC0415

    statement = """
        DELETE FROM botsessions_botsession WHERE id IN (
            SELECT id FROM botsessions_botsession WHERE expires_at <= %s
            ORDER BY expires_at LIMIT %s)
    """
    now = datetime.now(timezone.utc)
    deleted = BATCH
    while deleted:
        with connection.cursor() as cursor:
            cursor.execute(statement, [now, BATCH])
            deleted = cursor.rowcount
        yield deleted


def sweep() -> Iterator[int]:
    from botsessions.maintenance import Sweep  # noqa: PLC0415
    from botsessions.models import BotSession  # noqa: PLC0415

    for batch in Sweep(batch_size=BATCH).run(BotSession, "default"):
        yield batch.done


def bulk_update(batches: int) -> Iterator[int]:
    """Migrate as one would with the ORM; nobody's changes are looked at."""
    from django.db.models import Q  # noqa: PLC0415
    from django.utils import timezone  # noqa: PLC0415

    from botsessions.models import BotSession  # noqa: PLC0415

    lasting = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
    sessions = BotSession.objects.filter(lasting, version=None).order_by("pk")
    last = 0
    for _ in range(batches):
        batch = list(sessions.filter(pk__gt=last)[:BATCH])
        if not batch:
            return
        for row in batch:
            row.data = count_legs(give_species(row.data))
            row.version = 2
        BotSession.objects.bulk_update(batch, ["data", "version"])
        last = batch[-1].pk
        yield len(batch)


def migrate(batches: int | None = None) -> Iterator[int]:
    from botsessions.maintenance import Migrate  # noqa: PLC0415
    from botsessions.models import BotSession  # noqa: PLC0415

    for batch in islice(Migrate(batch_size=BATCH).run(BotSession, "default"), batches):
        assert not batch.failures
        yield batch.done


@contextmanager
def exported(count: int) -> Iterator[Path]:
    """Write a file as ``export_sessions`` does."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "sessions.jsonl"
        with path.open("w") as file:
            for number in range(count):
                data = {"count": number, "language": "en", "pet_names": ["Rex", "Tom"]}
                session = {"bot": "pets", "fragment": "", "key": f"import {number}", "data": data}
                about = {"chat_id": number, "title": f"Person {number}", "chat_type": "private"}
                file.write(json.dumps({**session, **about}) + "\n")
        yield path


def bulk_create(path: Path) -> Iterator[int]:
    """Import as one would with the ORM; nobody looks at what is there, nor at the data."""
    from botsessions.models import BotSession  # noqa: PLC0415

    with path.open() as file:
        while lines := [json.loads(line) for line in islice(file, BATCH)]:
            rows = [BotSession(name=row.pop("fragment"), **row | {"bot": "plain"}) for row in lines]
            BotSession.objects.bulk_create(rows, ignore_conflicts=True)
            yield len(rows)


def imported(path: Path) -> Iterator[int]:
    from botsessions.maintenance.importing import Import  # noqa: PLC0415
    from botsessions.maintenance.origins import JsonLines  # noqa: PLC0415

    for batch in Import(JsonLines(str(path)), batch_size=BATCH).run():
        assert not batch.failures
        yield batch.done


def machine() -> str:
    from django.db import connection  # noqa: PLC0415

    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        (version,) = cursor.fetchone()
    return (
        f"{datetime.now(timezone.utc):%Y-%m-%d}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, Django {django.__version__}, "
        f"PostgreSQL {version.split()[0]}"
    )


if __name__ == "__main__":
    main()
