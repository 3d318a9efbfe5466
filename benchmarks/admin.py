"""How long the admin's pages take at 2,000,000 sessions, against 20,000, on PostgreSQL.

It makes a database of its own, as the local PostgreSQL's client finds it (``PGHOST`` and so on),
fills it, asks for each page as a member of staff would, and drops it. In the table the newest
sessions are another bot's than the oldest, expired ones are old, and few are behind: an order that
is bad for pages by primary key.

    python benchmarks/admin.py [--rows 2000000]
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DATABASE = "botsessions_admin_benchmark"

os.environ |= {
    "DJANGO_SETTINGS_MODULE": "project.settings",
    "BOTSESSIONS_DATABASE": "postgresql",
    "BOTSESSIONS_DATABASE_NAME": DATABASE,
    "DJANGO_DEBUG": "0",
    "DJANGO_ALLOWED_HOSTS": "testserver",
}
sys.path.insert(0, str(ROOT))

SMALL = 20_000
REPEATS = 20
MOST_MILLISECONDS, MOST_TIMES = 40.0, 1.5

FILL = """
INSERT INTO botsessions_botsession
    (bot, name, key, data, version, revision, size, expires_at, created_at, updated_at,
     chat_id, user_id, chat_type, title)
SELECT
    CASE WHEN n <= {rows} / 2 THEN 'old' ELSE 'new' END,
    CASE WHEN n % 3 = 0 THEN 'user' ELSE '' END,
    (10000000 + n)::text,
    jsonb_build_object('pizza_count', n, 'notes', repeat('pizza ', 30)),
    CASE WHEN n % 20000 = 3 THEN 1 ELSE 2 END,
    n, 220,
    CASE WHEN n <= {rows} / 10 THEN now() - interval '1 day'
         WHEN n % 100 = 7 THEN now() + interval '2 hours'
         WHEN n % 2 = 0 THEN now() + interval '30 days' END,
    now() - interval '90 days', now() - n % 86400 * interval '1 second',
    10000000 + n, CASE WHEN n % 3 = 0 THEN n END, 'private',
    (ARRAY['Maria', 'Pizza lovers', 'Jürgen', 'Team'])[1 + n % 4] || ' ' || n
FROM generate_series(1, {rows}) AS n
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    rows = parser.parse_args().rows
    subprocess.run(["createdb", DATABASE], check=True)  # noqa: S603, S607
    try:
        measure(rows)
    finally:
        from django.db import connections  # noqa: PLC0415

        connections.close_all()
        subprocess.run(["dropdb", "--force", DATABASE], check=True)  # noqa: S603, S607


def measure(rows: int) -> None:
    import django  # noqa: PLC0415

    django.setup()
    from django.core.management import call_command  # noqa: PLC0415

    declare()
    call_command("migrate", verbosity=0)
    client = staff()
    small = times(client, SMALL)
    large = times(client, rows)
    small = dict(zip(large, small.values(), strict=True))  # Their searches differ.
    print(f"{'page':34} {'statements':>10} {SMALL:>10,} {rows:>10,} ms")
    slow = 0
    for name, (milliseconds, statements) in large.items():
        limit = max(MOST_MILLISECONDS, MOST_TIMES * small[name][0])
        bad = milliseconds > limit or statements > 8
        slow += bad
        mark = "  over the limit" if bad else ""
        print(f"{name:34} {statements:10} {small[name][0]:10.1f} {milliseconds:10.1f}{mark}")
    sys.exit(f"{slow} pages are over the limit." if slow else 0)


def declare() -> None:
    """Let two bots have sessions of two fragments, with versions."""
    from django.conf import settings  # noqa: PLC0415

    from botsessions import enhance_storage, multi_session, session  # noqa: PLC0415
    from botsessions.sessions import MultiSession, Session  # noqa: PLC0415

    def declared() -> Session[Any]:
        return session(storage=enhance_storage(migrations={2: lambda old: old}))

    both = MultiSession({"user": declared()})
    both.fragments = {**both.fragments, "": declared().fragment}
    assert multi_session
    bot = {"SESSION": both, "APPLICATION": print}
    settings.BOTSESSIONS = {"BOTS": {"old": bot, "new": bot, "empty": bot}}


def staff() -> Any:
    from django.contrib.auth.models import Permission, User  # noqa: PLC0415
    from django.test import Client  # noqa: PLC0415

    user = User.objects.create_user("staff", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="botsessions"))
    client = Client()
    client.force_login(user)
    return client


def times(client: Any, rows: int) -> dict[str, tuple[float, int]]:
    """Fill the table; return the least milliseconds and the statements of each page."""
    from django.db import connection  # noqa: PLC0415
    from django.test.utils import CaptureQueriesContext  # noqa: PLC0415

    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE botsessions_botsession RESTART IDENTITY")
        cursor.execute(FILL.format(rows=rows))
        cursor.execute("VACUUM (ANALYZE) botsessions_botsession")
    found = {}
    for name, path in pages(rows).items():
        taken = []
        for _ in range(REPEATS):
            started = time.perf_counter()
            response = client.get(path)
            taken.append(1000 * (time.perf_counter() - started))
            assert response.status_code == 200, (name, response)
        with CaptureQueriesContext(connection) as queries:
            client.get(path)
        found[name] = min(taken), len(queries)
    return found


def pages(rows: int) -> dict[str, str]:
    listed = "/admin/botsessions/botsession/"
    middle = rows // 2
    filters = [
        *("state=live", "state=soon", "state=expired"),
        *("bot=old", "bot=new", "bot=empty", "fragment=user", "fragment=-"),
        *("version=behind", "version=current", "version=newer"),
        *("bot=old&version=behind", "bot=old&state=soon", "state=expired&fragment=user"),
    ]
    searches = [
        *(str(10_000_000 + middle), f"1000{middle}"[:6], "1", "Maria", "maria 12", "Team 77"),
        "nobody",
    ]
    return {
        "list": listed,
        "older": f"{listed}?p=older-{middle}",
        "newer": f"{listed}?p=newer-{middle}",
        "oldest": f"{listed}?p=oldest",
        **{f"filter {query}": f"{listed}?{query}" for query in filters},
        **{f"search {text!r}": f"{listed}?q={text}" for text in searches},
        "filter and search": f"{listed}?bot=old&q=Maria",
        "of one chat": f"{listed}?of=chat:{10_000_000 + middle}",
        "of one user": f"{listed}?of=user:{middle}",
        "session": f"{listed}{middle}/change/",
        "edit": f"{listed}{middle}/edit/",
    }


if __name__ == "__main__":
    main()
