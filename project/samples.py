"""A few sessions to look at in the admin, as if people had talked to the bot for some time."""

from __future__ import annotations

import random
from collections.abc import Iterator
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


# So many that the admin's pages show how they are used.

FIRST = ("Ada", "Ben", "Chiara", "Deniz", "Elif", "Finn", "Giulia", "Hana", "Ivan", "Jonas")
LAST = ("Acar", "Bauer", "Conti", "Dubois", "Ekström", "Ferrari", "García", "Haddad", "Ito", "Kaya")
PIZZAS = ("Margherita", "Funghi", "Diavola", "Marinara", "Quattro Formaggi")
BROKEN = 700_000_000


def make_many(count: int) -> None:
    """Store more sessions, of all bots of the demo, where there are not so many yet."""
    if count <= BotSession.objects.count():
        return
    chance, now = random.Random(7), timezone.now()  # noqa: S311 (the same ones each time)
    sessions = [one for n in range(count) for one in some(BROKEN + 1 + n, chance)]
    broken = session_of("orders", BROKEN, "Somebody Broken", {"step": 7, "pizza": None}, version=2)
    BotSession.objects.bulk_create([broken, *sessions[: count - 1]], batch_size=500)
    Incident.objects.create(
        bot="orders",
        key=str(BROKEN),
        chat_id=BROKEN,
        kind=Incident.Kind.DATA,
        error="SessionDataError",
        message=f"Session '{BROKEN}' of bot 'orders' cannot be read: $.step does not fit.",
        by="update:900321",
        count=5,
        first_at=now - 3 * HOUR,
        last_at=now - HOUR / 3,
    )


def some(chat_id: int, chance: random.Random) -> Iterator[BotSession]:
    """Yield the sessions of a chat with one of the bots."""
    title = f"{chance.choice(FIRST)} {chance.choice(LAST)}"
    age = timedelta(days=min(chance.expovariate(1 / 20), 400))
    kind = chance.random()
    if kind < 0.6:
        yield session_of(BOT, chat_id, title, {"pizza_count": chance.randrange(1, 60)}, age)
    elif kind < 0.85:
        place = {"pizza": chance.choice(PIZZAS), "orders": chance.randrange(9)}
        old = kind < 0.65
        place |= {"street": "Via Roma 1"} if old else {"step": "", "address": "Via Roma 1"}
        left = 30 * DAY - age + chance.random() * DAY
        yield session_of("orders", chat_id, title, place, age, left, version=1 if old else 2)
    else:
        votes = {pizza: chance.randrange(1, 9) for pizza in chance.sample(PIZZAS, 3)}
        member = {"favourite": chance.choice(PIZZAS), "voted": 3}
        yield session_of("club", chat_id, title, {"votes": votes}, age, name="chat")
        yield session_of("club", chat_id, title, member, age, name="user", user_id=chat_id)


def session_of(
    bot: str,
    chat_id: int,
    title: str,
    data: Any,
    age: timedelta = HOUR,
    left: timedelta | None = None,
    **fields: Any,
) -> BotSession:
    now = timezone.now()
    return BotSession(
        bot=bot,
        key=str(chat_id),
        chat_id=chat_id,
        chat_type="private",
        title=title,
        data=data,
        size=len(dumps(data).encode()),
        created_at=now - age - age / 2,
        updated_at=now - age,
        expires_at=None if left is None else now + left,
        **fields,
    )
