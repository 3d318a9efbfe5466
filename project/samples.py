"""A few sessions to look at in the admin, as if people had talked to the bot for some time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from botsessions.models import BotSession, HistoryEntry, Incident
from botsessions.records import dumps
from project.bot import BOT

HOUR, DAY = timedelta(hours=1), timedelta(days=1)

ORDERS = [
    {"number": 40 + n, "pizza": pizza, "extras": extras, "paid": n != 2}
    for n, (pizza, extras) in enumerate(
        [("Margherita", []), ("Funghi", ["olives", "rocket"]), ("Diavola", ["extra chili"])]
    )
]
NOTE = (
    "Rings twice. The second door on the left, behind the bicycle shop; if nobody answers, the "
    "neighbours on the first floor take the pizza. They are called Rossi, and their dog is loud, "
    "but friendly. "
) * 3

MARIA = {"chat_id": 424242, "chat_type": "private", "title": "Maria Rossi"}
CLUB = {"chat_id": -1001234567890, "chat_type": "supergroup", "title": "Pizza lovers of Naples"}

SAMPLES: list[tuple[dict[str, Any], Any, timedelta, timedelta | None]] = [
    # whose, the data, changed so long ago, expires so much later than now
    (
        {"chat_id": 515151, "chat_type": "private", "title": "Jürgen Groß"},
        {"pizza_count": 1},
        90 * DAY,
        -3 * HOUR,
    ),
    (
        {"chat_id": 616161, "chat_type": "private", "title": "Ayşe"},
        {"pizza_count": 12},
        9 * DAY,
        None,
    ),
    (
        {"chat_id": -77001, "chat_type": "group", "title": "Friday team"},
        {"pizza_count": 31},
        2 * DAY,
        5 * DAY,
    ),
    (
        {"chat_id": -1009876543210, "chat_type": "channel", "title": "Pizza of the day"},
        {"pizza_count": 365},
        6 * HOUR,
        2 * HOUR,
    ),
    (CLUB, {"pizza_count": 1024, "orders": ORDERS, "favourite": None}, 2 * HOUR / 3, 30 * DAY),
    (
        MARIA,
        {
            "pizza_count": 7,
            "address": {"street": "Via Roma 1", "city": "Napoli", "note": NOTE},
            "orders": ORDERS,
            "visits": [200 + 3 * day for day in range(120)],
        },
        HOUR / 20,
        7 * DAY,
    ),
]


def make_samples() -> None:
    """Store the sample sessions, where nothing is stored yet."""
    if BotSession.objects.exists():
        return
    now = timezone.now()
    for whose, data, age, left in SAMPLES:
        BotSession.objects.create(
            bot=BOT,
            key=str(whose["chat_id"]),
            data=data,
            size=len(dumps(data).encode()),
            created_at=now - age - 100 * DAY,
            updated_at=now - age,
            expires_at=None if left is None else now + left,
            **whose,
        )
    maria = BotSession.objects.get(bot=BOT, key=str(MARIA["chat_id"]))
    for n in (3, 2, 1):
        HistoryEntry.objects.create(
            table=maria._meta.db_table,
            session_id=maria.pk,
            revision=maria.revision if n == 1 else n,
            data=dumps({**maria.data, "pizza_count": 8 - n}),
            size=maria.size,
            at=now - n * HOUR / 20,
            by=f"update:{900103 - n}",
        )
    Incident.objects.create(
        bot=BOT,
        key=str(MARIA["chat_id"]),
        kind=Incident.Kind.CONFLICT,
        error="SessionConflict",
        message="Session '424242' of bot 'default' was changed by somebody else.",
        by="update:900100",
        count=3,
        first_at=now - HOUR,
        last_at=now - HOUR / 20,
    )
