"""How long the admin's pages, the API's and metrics take at 2,000,000 sessions, against 20,000.

    BOTSESSIONS_DATABASE=postgresql python -m benchmarks.pages [--rows 2000000]

It makes a database of its own, fills it, asks for each page as a member of staff would, exports
half of the sessions, and removes the database. In the table the newest sessions are another bot's
than the oldest, expired ones are old, and few are behind: an order that is bad for pages by primary
key. There are as many incidents as are kept, and a tenth of the sessions was changed by hand.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from base64 import b64encode
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlencode

import django

from .databases import database
from .memory import resident_memory

ADMIN = "/admin/botsessions/botsession/"
INCIDENTS = "/admin/botsessions/incident/"
API = "/api/sessions/"
METRICS = "/metrics/"

SMALL = 20_000
REPEATS = 20
MOST_MORE_MILLISECONDS = 40.0
MOST_MILLISECONDS = {"overview": 100.0, "figures": 100.0, "figures as JSON": 100.0}
"""Of pages that count; the others may take so much longer than with few sessions."""
MOST_STATEMENTS = {ADMIN: 8, INCIDENTS: 8, API: 6, METRICS: 10}
MOST_STATEMENTS_OF = {"overview": 10}
"""Those that find out whose request it is included."""
EXPORTED = 10
"""So often the memory is looked at while sessions are exported."""

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
    n, (100 - 120 * ln(0.0001 + n::bigint * 7919 % 9973 / 9973.0))::int
       + CASE WHEN n % 1000 = 9 THEN n % 60000 ELSE 0 END,
    CASE WHEN n <= {rows} / 10 THEN now() - interval '1 day'
         WHEN n % 100 = 7 THEN now() + interval '2 hours'
         WHEN n % 2 = 0 THEN now() + interval '30 days' END,
    now() - ({rows} - n) * interval '90 days' / {rows}, now() - n % 86400 * interval '1 second',
    10000000 + n, CASE WHEN n % 3 = 0 THEN n END,
    CASE WHEN n % 3 = 0 THEN 'supergroup' ELSE 'private' END,
    (ARRAY['Maria', 'Pizza lovers', 'Jürgen', 'Team'])[1 + n % 4] || ' ' || n
FROM generate_series(1, {rows}) AS n
"""
FILL_INCIDENTS = """
INSERT INTO botsessions_incident
    (bot, name, key, chat_id, kind, error, message, by, count, first_at, last_at)
SELECT
    'old', '', (10000000 + n * ({rows} / {incidents}))::text, 10000000 + n,
    (ARRAY['load', 'save', 'conflict', 'lock', 'data'])[1 + n % 5], 'SessionConflict',
    'Session was changed by somebody else.', 'update:' || n, 1 + n % 9,
    now() - n * interval '4 minutes', now() - n * interval '4 minutes'
FROM generate_series(1, {incidents}) AS n
"""
FILL_LOG = """
INSERT INTO django_admin_log
    (action_time, object_id, object_repr, action_flag, change_message, content_type_id, user_id)
SELECT now() - n * interval '1 minute', (n * 10)::text, 'Session ' || n, 2,
    '[{{"changed": {{"fields": ["data.pizza_count"]}}}}]', {content_type}, {user}
FROM generate_series(1, {rows} / 10) AS n
"""
FILL_HISTORY = """
INSERT INTO botsessions_historyentry
    ("table", session_id, revision, data, version, size, at, by)
SELECT 'botsessions_botsession', 1 + n % {rows}, n, '{{"pizza_count": ' || n || '}}', 2, 20,
    now() - n * interval '1 second', 'admin:' || {user}
FROM generate_series(1, {rows}) AS n
"""


def main() -> None:
    rows = rows_wanted(__doc__)
    from django.conf import settings  # noqa: PLC0415 (once Django is set up)

    settings.DEBUG = False
    settings.ALLOWED_HOSTS = ["testserver"]
    declare()
    with database("pages"):
        slow = measure(rows)
    sys.exit(f"{slow} pages are over the limit." if slow else 0)


def rows_wanted(about: str) -> int:
    """Set Django up, and return how many rows the command line asks for."""
    parser = argparse.ArgumentParser(description=about.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    rows: int = parser.parse_args().rows
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    django.setup()
    from django.db import connection  # noqa: PLC0415 (once Django is set up)

    if connection.vendor != "postgresql":
        sys.exit("Its table is filled by PostgreSQL: set BOTSESSIONS_DATABASE=postgresql.")
    return rows


def measure(rows: int) -> int:
    """Print how long the pages take; return how many take too long."""
    client = staff()
    small = times(client, SMALL)
    large = times(client, rows)
    small = dict(zip(large, small.values(), strict=True))  # Their searches differ.
    print(f"{'page':40} {'statements':>10} {SMALL:>10,} {rows:>10,} ms")
    slow = 0
    for (start, name), (milliseconds, statements) in large.items():
        before = small[start, name][0]
        limit = MOST_MILLISECONDS.get(name, before + MOST_MORE_MILLISECONDS)
        most = MOST_STATEMENTS_OF.get(name, MOST_STATEMENTS[start])
        bad = milliseconds > limit or statements > most
        slow += bad
        mark = "  over the limit" if bad else ""
        label = f"{start.split('/')[1]}: {name}"
        print(f"{label:40} {statements:10} {before:10.1f} {milliseconds:10.1f}{mark}")
    export(client, rows // 2)
    return slow


def export(client: Any, rows: int) -> None:
    """Print the memory while sessions are exported."""
    begun, memory = time.perf_counter(), []
    response = client.get(f"{API}export/?bot=old")
    lines = 0
    for chunk in response.streaming_content:
        before, lines = lines, lines + chunk.count(b"\n")
        if before * EXPORTED // rows < lines * EXPORTED // rows:
            memory.append(resident_memory())
    seconds = time.perf_counter() - begun
    print(f"{lines:,} sessions were exported in {seconds:.0f} s. Memory meanwhile, in MB:")
    print(*(f"{megabytes:.1f}" for megabytes in memory))


def declare() -> None:
    """Let two bots have sessions of two fragments, with versions."""
    from django.conf import settings  # noqa: PLC0415

    from botsessions import enhance_storage, session  # noqa: PLC0415
    from botsessions.sessions import MultiSession, Session  # noqa: PLC0415

    def declared() -> Session[Any]:
        return session(storage=enhance_storage(migrations={2: lambda old: old}))

    both = MultiSession(user=declared())
    both.fragments = {**both.fragments, "": declared().fragment}
    bot = {"SESSION": both, "APPLICATION": print, "LOCK": "database"}
    settings.BOTSESSIONS = {"BOTS": {"old": bot, "new": bot, "empty": bot}}


def staff() -> Any:
    from django.contrib.auth.models import Permission, User  # noqa: PLC0415
    from django.test import Client  # noqa: PLC0415

    user = User.objects.create_user("staff", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="botsessions"))
    client = Client()
    client.force_login(user)
    return client


def times(client: Any, rows: int) -> dict[tuple[str, str], tuple[float, int]]:
    """Fill the tables; return the least milliseconds and the statements of each page."""
    from django.db import connection  # noqa: PLC0415
    from django.test.utils import CaptureQueriesContext  # noqa: PLC0415

    fill(connection, rows)
    found = {}
    for (start, name), query in pages(rows).items():
        path = f"{start}{query}"
        taken = []
        for _ in range(REPEATS):
            started = time.perf_counter()
            response = client.get(path)
            taken.append(1000 * (time.perf_counter() - started))
            assert response.status_code == 200, (name, response)
        with CaptureQueriesContext(connection) as queries:
            client.get(path)
        found[start, name] = min(taken), len(queries)
    return found


def fill(connection: Any, rows: int) -> None:
    from django.contrib.auth.models import User  # noqa: PLC0415
    from django.contrib.contenttypes.models import ContentType  # noqa: PLC0415

    from botsessions.incidents.writing import MOST  # noqa: PLC0415
    from botsessions.models import BotSession, HistoryEntry, Incident  # noqa: PLC0415

    kind = ContentType.objects.get_for_model(BotSession).pk
    values = {"incidents": MOST, "user": User.objects.get().pk, "content_type": kind}
    models = [BotSession, Incident, HistoryEntry]
    tables = ", ".join([*(model._meta.db_table for model in models), "django_admin_log"])
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {tables} RESTART IDENTITY")
        for statement in (FILL, FILL_INCIDENTS, FILL_LOG, FILL_HISTORY):
            cursor.execute(statement.format(rows=rows, **values))
        cursor.execute(f"VACUUM (ANALYZE) {tables}")


def pages(rows: int) -> dict[tuple[str, str], str]:
    """Return what follows the start of each page's address, by that start and the page's name."""
    middle = rows // 2 // 30 * 30  # Of a chat and a user, and changed by hand.
    chat = 10_000_000 + middle
    filters = [
        *("state=live", "state=soon", "state=expired"),
        *("bot=old", "bot=new", "bot=empty"),
        *("version=behind", "version=current", "version=newer"),
        *("bot=old&version=behind", "bot=old&version=current"),
        *("bot=old&state=soon", "bot=old&state=live"),
    ]
    orders = [f"sort={name}" for name in ("oldest", "changed", "largest", "ends", "lasts")]
    narrowed = [
        *("bot=old&sort=largest", "version=behind&sort=changed", "state=expired&sort=oldest"),
        *("q=Maria&sort=ends", "q=maria+12&sort=largest", "bot=old&state=live&sort=changed"),
        *("bot=-", "state=unreadable", "exact_version=1", "size_from=1000"),
        *("changed_from=2026-01-01T00:00", "created_to=2026-01-01T00:00&bot=new"),
    ]
    of_fragments = ["fragment=user", "fragment=-", "state=expired&fragment=user"]
    of_fragments += ["bot=old&fragment=user"]
    searches = [str(chat), f"1000{middle}"[:6], "1", "Maria", "maria 12", "Team 77", "nobody"]
    admin = {
        "overview": "overview/",
        "list": "",
        "older": f"?p=older-{middle}",
        "newer": f"?p=newer-{middle}",
        "oldest": "?p=oldest",
        **{f"filter {query}": f"?{query}" for query in [*filters, *of_fragments]},
        **{f"order {query}": f"?{query}" for query in [*orders, *narrowed]},
        **{f"search {text!r}": f"?{urlencode({'q': text})}" for text in searches},
        "filter and search": "?bot=old&q=Maria",
        "filter and search by two words": "?bot=old&q=maria+12",
        "of one chat": f"?of=chat:{chat}",
        "of one user": f"?of=user:{middle}",
        "session": f"{middle}/change/",
        "last changes": f"{middle}/recent/",
        "versions": f"{middle}/versions/",
        "history": f"{middle}/history/",
        "edit": f"{middle}/edit/",
        "value": f"{middle}/value/?path=$.notes",
        "reset": f"{middle}/action/reset/",
        "forget user": f"{middle}/action/forget_user/",
        "activity": "activity/",
        "activity of one": "activity/?who=1",
        "expire all of a version": "action/expire/?exact_version=1&bot=old",
    }
    yesterday = datetime.now(timezone.utc) - timedelta(days=1)
    incidents = {
        "incidents": "",
        "incidents of a kind": "?kind__exact=lock",
        "incidents of a session": f"?q={chat}",
        "incidents of a bot": "?bot=new",
        "incidents of a day": f"?{urlencode({'last_at__gte': yesterday})}",
    }
    of_names = ["name=user", "name=", "state=expired&name=user", f"chat_id={chat}", f"key={chat}"]
    cursor = b64encode(f"p={middle}".encode()).decode()
    api = {
        "list": "",
        "page of 1000": "?page_size=1000",
        "older": f"?{urlencode({'cursor': cursor})}",
        **{f"filter {query}": f"?{query}" for query in [*filters, *of_names]},
        **{f"search {text!r}": f"?{urlencode({'search': text})}" for text in searches},
        "session": f"{middle}/",
    }
    by_start = {
        ADMIN: admin,
        INCIDENTS: incidents,
        API: api,
        METRICS: {"figures": "", "figures as JSON": "figures.json"},
    }
    return {(start, name): q for start, some in by_start.items() for name, q in some.items()}


if __name__ == "__main__":
    main()
