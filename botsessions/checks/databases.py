"""What hurts a bot in the databases that it uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from ..bots import Bot, all_bots
from ..charsets import narrow_columns
from ..database.packets import longest_packet, needed_packet
from ..storages import DatabaseStorage
from ..storages.layers import peel
from ..storages.transactions import database_of


def used_databases() -> set[str]:
    used, bots = set[str](), dict[str, Bot]()
    with suppress(AttributeError):  # The settings are no dicts.
        bots = all_bots()
    for bot in bots.values():
        with suppress(ImproperlyConfigured, AttributeError, TypeError):  # Another check tells.
            storages = [fragment.storage for fragment in bot.fragments.values()]
            if bot.lock == "process":
                storages = [s for s in storages if isinstance(peel(s)[1], DatabaseStorage)]
            used |= {database_of(storage) for storage in storages}
    return used & set(connections)


def of_database(connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    where = f"DATABASES[{connection.alias!r}]"
    options = connection.settings_dict.get("OPTIONS") or {}
    if not connection.settings_dict.get("AUTOCOMMIT", True):
        yield Error(
            f"{where} has AUTOCOMMIT=False, so no session would ever be committed.",
            hint="Leave AUTOCOMMIT out.",
            id="botsessions.E011",
        )
    if isinstance(pool := options.get("pool"), Mapping) and not has_two(pool):
        yield CheckWarning(
            f"{where} has a pool of one connection: a handler that uses the ORM keeps it until its "
            "session has been saved, for which it would take another one.",
            hint="Set OPTIONS['pool']['max_size'] to 2 or more.",
            id="botsessions.W004",
        )
    if connection.vendor == "mysql" and options.get("charset", "utf8mb4") != "utf8mb4":
        yield CheckWarning(
            f"{where} has the charset {options['charset']!r}, in which not every text can be sent, "
            "like a name with an emoji in it.",
            hint="Leave OPTIONS['charset'] out, or set it to 'utf8mb4'.",
            id="botsessions.W007",
        )
    if connection.vendor != "sqlite":
        return
    if connection.settings_dict["NAME"] == ":memory:":
        yield CheckWarning(
            f"{where} is in memory: a bot's thread would find another, empty database there.",
            hint="Name a file.",
            id="botsessions.W001",
        )
        return
    if options.get("transaction_mode") != "IMMEDIATE":
        yield CheckWarning(
            f"{where} begins its transactions by reading, so a bot and other processes that write "
            "get 'database is locked' at once instead of waiting for each other.",
            hint="Set OPTIONS['transaction_mode'] to 'IMMEDIATE'.",
            id="botsessions.W002",
        )
    if "journal_mode=wal" not in str(options.get("init_command", "")).replace(" ", "").lower():
        yield CheckWarning(
            f"{where} has no write-ahead log, so whoever reads stops a bot from writing.",
            hint="Set OPTIONS['init_command'] to "
            "'PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL'.",
            id="botsessions.W003",
        )


def has_two(pool: Mapping[str, Any]) -> bool:
    """Whether psycopg's pool can have more than one connection, by default as many as at least."""
    size: int = pool.get("max_size") or pool.get("min_size", 4)
    return size > 1


def of_columns(connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    for model, columns in narrow_columns(connection):
        own = model._meta.app_label != "botsessions"
        yield CheckWarning(
            f"In DATABASES[{connection.alias!r}] the columns {', '.join(columns)} of the table "
            f"{model._meta.db_table} cannot hold every text, like a name with an emoji in it.",
            hint=f"Run {'manage.py makemigrations and ' if own else ''}manage.py migrate.",
            id="botsessions.W006",
        )


def of_packets(connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    with suppress(TypeError, ValueError):  # Of MAX_BYTES another check tells.
        most, needed = longest_packet(connection), needed_packet()
        if most < needed:
            yield CheckWarning(
                f"DATABASES[{connection.alias!r}] takes statements of {most} bytes, in which not "
                "every session of BOTSESSIONS['MAX_BYTES'] fits.",
                hint=f"Set the server's max_allowed_packet to {needed}, or MAX_BYTES to less.",
                id="botsessions.W008",
            )
