"""What is measured, and what it must reach."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from .comparing import Comparison
from .environments import (
    aiogram,
    grammy,
    grammy_webhook,
    gunicorn,
    here,
    uvicorn,
    versions_of,
    versions_of_grammy,
)
from .growing import Growth
from .serving import Serving, Site
from .sides import Program

OURS = partial(here, "ours")
PTB_DATA = partial(here, "ptb_data")
GRAMMY = Program("grammY + storage-psql, pool of 10", grammy)
DJANGO = Program("plain Django async ORM, one get and one save", partial(here, "django_orm"))
HOT_HANDLER_SECONDS = 0.001
MIDDLEWARE = Site(
    "botsessions",
    uvicorn,
    "/telegram/default/",
    partial(versions_of, "uvicorn", "uvloop", "httptools"),
)
VIEW = Site("botsessions", gunicorn, "/telegram/default/", partial(versions_of, "gunicorn"))
EMPTY_VIEW = replace(VIEW, name="an empty view", path="/empty/", counts=False)
GRAMMY_WEBHOOK = Site(
    "grammY's webhookCallback + storage-psql, pool of 10", grammy_webhook, "/", versions_of_grammy
)

ROWS: list[Comparison | Serving | Growth] = [
    Comparison(
        "500 chats, 64 at a time, PostgreSQL",
        Program("botsessions", OURS),
        GRAMMY,
        "postgresql",
        chats=500,
        in_flight=64,
        least=2.0,
    ),
    Comparison(
        "500 chats, one after another, PostgreSQL",
        Program("botsessions", OURS),
        GRAMMY,
        "postgresql",
        chats=500,
        in_flight=1,
        least=0.8,
    ),
    Comparison(
        '500 chats, 64 at a time, LOCK="database", PostgreSQL',
        Program("botsessions", OURS, {"lock": "database"}),
        GRAMMY,
        "postgresql",
        chats=500,
        in_flight=64,
        least=1.6,
    ),
    Comparison(
        "three fragments, two of which change, 500 chats, 64 at a time, PostgreSQL",
        Program("botsessions", OURS, {"fragments": True}),
        Program("one fragment", OURS),
        "postgresql",
        chats=500,
        in_flight=64,
        least=0.6,
    ),
    Comparison(
        "the last 20 versions kept, 500 chats, 64 at a time, PostgreSQL",
        Program("botsessions", OURS, {"history": 20}),
        Program("no history", OURS),
        "postgresql",
        chats=500,
        in_flight=64,
        least=2 / 3,
    ),
    Comparison(
        "sessions of 50 KiB, 500 chats, 64 at a time, PostgreSQL",
        Program("botsessions", OURS, {"kib": 50}),
        replace(GRAMMY, options={"kib": 50}),
        "postgresql",
        chats=500,
        in_flight=64,
        least=1.0,
    ),
    Comparison(
        "500 chats, 64 at a time, sessions in memory",
        Program("botsessions, MemoryStorage", OURS, {"memory": True}),
        Program("grammY's memory sessions", grammy, {"memory": True}),
        "sqlite",
        chats=500,
        in_flight=64,
        least=0.3,
    ),
    Comparison(
        "edit() in a view, 500 chats one after another, PostgreSQL",
        Program("botsessions", partial(here, "editing")),
        Program("a row that is locked in a transaction, Django's ORM", partial(here, "row_lock")),
        "postgresql",
        chats=500,
        in_flight=1,
        least=0.5,
    ),
    Comparison(
        "500 chats, 64 at a time, SQLite",
        Program("botsessions", OURS),
        DJANGO,
        "sqlite",
        chats=500,
        in_flight=64,
        least=8.0,
    ),
    Comparison(
        "500 chats, 64 at a time, MariaDB",
        Program("botsessions", OURS),
        DJANGO,
        "mariadb",
        chats=500,
        in_flight=64,
        least=8.0,
    ),
    Comparison(
        "an update that no handler takes, from its JSON on",
        Program("botsessions", partial(here, "unhandled"), {"sessions": True}),
        Program("python-telegram-bot alone", partial(here, "unhandled"), {"sessions": False}),
        "sqlite",
        chats=500,
        in_flight=1,
        least=1 / 1.3,
    ),
    Comparison(
        "user_data and chat_data of 5,000 chats, of which 100 write, 64 at a time, PostgreSQL",
        Program("botsessions", PTB_DATA, {"kept": "botsessions", "stored": 5000}),
        # It writes all of them each time.
        Program("PicklePersistence, saved each time", PTB_DATA, {"kept": "pickle", "stored": 5000}),
        "postgresql",
        chats=100,
        in_flight=64,
        least=20.0,
    ),
    *(
        Comparison(
            f"user_data and chat_data, {chats:,} chats, 64 at a time, PostgreSQL, {peer.name}",
            Program("botsessions", PTB_DATA, {"kept": "botsessions"}),
            peer,
            "postgresql",
            chats=chats,
            in_flight=64,
            least=least,
        )
        for peer, chats, least in [
            (
                Program("python-telegram-bot-django-persistence", PTB_DATA, {"kept": "django"}),
                5000,
                5.0,
            ),
            (Program("a session alone", OURS), 5000, 1 / 3),
        ]
    ),
    Comparison(
        '4 processes, 50 chats, 8 at a time each, LOCK="database", PostgreSQL',
        Program("botsessions", OURS, {"lock": "database"}),
        Program("aiogram, Redis storage and Redis lock", aiogram),
        "postgresql",
        chats=50,
        in_flight=8,
        processes=4,
        in_turn=False,
        least=1.0,
    ),
    Comparison(
        '4 processes, one hot chat, 1 ms handler, LOCK="database", PostgreSQL',
        Program("botsessions", OURS, {"lock": "database", "pause": HOT_HANDLER_SECONDS}),
        Program(
            "a row lock held over the handler",
            partial(here, "row_lock"),
            {"pause": HOT_HANDLER_SECONDS},
        ),
        "postgresql",
        chats=1,
        in_flight=4,
        processes=4,
        least=0.7,
    ),
    Serving(
        'webhooks, 32 connections, uvicorn with the middleware, LOCK="database", PostgreSQL',
        MIDDLEWARE,
        GRAMMY_WEBHOOK,
        connections=32,
        least=0.8,
    ),
    Serving(
        'webhooks, one connection, uvicorn with the middleware, LOCK="database", PostgreSQL',
        MIDDLEWARE,
        GRAMMY_WEBHOOK,
        connections=1,
        least=0.5,
        most=(1.0, 5.0),
    ),
    Serving(
        'webhooks, 32 connections, gunicorn with 16 threads, LOCK="database", PostgreSQL',
        VIEW,
        EMPTY_VIEW,
        connections=32,
        least=0.7,
    ),
    Growth(
        "memory of the bot's process, each update from another chat, PostgreSQL",
        Program("botsessions", OURS, {"reads": True}),
        "postgresql",
        warm_after=10_000,
        chats=1_000_000,
        in_flight=64,
        most=20.0,
    ),
]
