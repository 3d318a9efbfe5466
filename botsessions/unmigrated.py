"""A forgotten ``manage.py migrate``, told at the start and not by every update that fails."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, Error, connections, router
from django.db.models import Model

from .bots import Bot
from .callbacks import fragments_of_jobs, storage_of_jobs
from .database.errors import is_missing
from .models import BotSessionLease, HandledUpdate, HistoryEntry
from .storages.transactions import database_of, is_database

Table: TypeAlias = "tuple[type[Model], str]"
"""A model, and the alias of the database."""


def tables_of(bot: Bot) -> set[Table]:
    """Return the tables that a bot needs."""
    found = set[Table]()
    fragments = bot.fragments
    storages = [fragment.innermost for fragment in fragments.values()]
    if fragments_of_jobs():
        storages.append(storage_of_jobs(fragments))
    for storage in storages:
        if is_database(storage):
            found.add((storage.model, storage.using))
            if storage.history:
                found.add((HistoryEntry, storage.using))
        if bot.lock == "database":
            found.add((BotSessionLease, database_of(storage)))
    if bot.webhook_secret:
        found |= routed(HandledUpdate)
    return found


def routed(*models: type[Model]) -> set[Table]:
    """Return tables that are kept beside sessions, where routers say."""
    return {(model, router.db_for_write(model)) for model in models}


def refuse_unmigrated(tables: Iterable[Table]) -> None:
    """Refuse to begin without these tables, by a statement for each database.

    A database that does not answer may do so later.

    Raises:
        ImproperlyConfigured: a table is not there, or is not as the code has it.
    """
    models: dict[str, list[type[Model]]] = {}
    for model, using in tables:
        models.setdefault(using, []).append(model)
    for using, wanted in models.items():
        if missing := first_missing(using, wanted):
            where = "" if using == DEFAULT_DB_ALIAS else f" --database {using}"
            raise ImproperlyConfigured(
                f"DATABASES[{using!r}] does not have all that sessions need ({missing}): run "
                f"manage.py migrate{where}."
            )


def first_missing(using: str, models: Sequence[type[Model]]) -> str | None:
    """Return what a database says of the first table or column that it does not have."""
    connection = connections[using]
    quote = connection.ops.quote_name
    columns = [
        f"{quote(model._meta.db_table)}.{quote(field.column)}"
        for model in models
        for field in model._meta.concrete_fields
    ]
    tables = ", ".join(quote(model._meta.db_table) for model in models)
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {', '.join(columns)} FROM {tables} WHERE 1 = 0")  # noqa: S608
    except Error as exc:
        return str(exc.args[-1]).splitlines()[0] if is_missing(exc) else None
    return None
