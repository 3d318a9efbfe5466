"""``manage.py check``: what is wrong with ``settings.BOTSESSIONS``."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from django.apps import AppConfig
from django.core.cache import caches
from django.core.cache.backends.dummy import DummyCache
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from .arguments import misfit
from .bots import BOT_SETTINGS, LOCKS, Bot, all_bots, check_alias
from .charsets import narrow_columns
from .conf import APP_SETTINGS, FREE_STORAGE_LIMITS, app_settings
from .database.packets import longest_packet, needed_packet
from .declaration import Declaration
from .keys import ignores_update
from .records import MAX_KEY_LENGTH, MAX_NAME_LENGTH
from .secret import Secret
from .storages import CacheStorage, DatabaseStorage
from .storages.layers import peel
from .storages.transactions import database_of
from .updates import KINDS

SHORTEST_TOKEN = 16
SECRET = re.compile(r"[A-Za-z0-9_-]{1,256}")
"""What Telegram sends as a webhook's secret token."""


@register
def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Check ``settings.BOTSESSIONS`` and what it names."""
    return list(of_app(app_settings()))


@register
def check_databases(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Check the options that hurt a bot of the databases that it uses."""
    return [m for alias in sorted(used_databases()) for m in of_database(connections[alias])]


@register(Tags.database)
def check_mysql(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Look for what servers of MariaDB and MySQL cannot store."""
    found: list[CheckMessage] = []
    for alias in databases or ():
        connection = connections[alias]
        if connection.vendor == "mysql":
            found += of_columns(connection)
            if alias in used_databases():
                found += of_packets(connection)
    return found


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


def used_databases() -> set[str]:
    used, bots = set[str](), dict[str, Bot]()
    with suppress(AttributeError):  # The settings are no dicts.
        bots = all_bots()
    for bot in bots.values():
        with suppress(ImproperlyConfigured, AttributeError):  # Another check tells.
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


def of_app(settings: object) -> Iterator[CheckMessage]:
    if not isinstance(settings, Mapping):
        yield Error("BOTSESSIONS is not a dict.", id="botsessions.E001")
        return
    yield from unknown(settings, APP_SETTINGS, "BOTSESSIONS")
    if not is_count(settings.get("MAX_BYTES", 1)):
        yield Error("BOTSESSIONS['MAX_BYTES'] is not a number of bytes.", id="botsessions.E003")
    seconds = settings.get("RETRY_SECONDS", 1)
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds > 0:
        yield Error(
            "BOTSESSIONS['RETRY_SECONDS'] is not a number of seconds.", id="botsessions.E015"
        )
    if not is_text_list(settings.get("MASKED_FIELDS", ())):
        yield Error("BOTSESSIONS['MASKED_FIELDS'] is not a list of names.", id="botsessions.E004")
    yield from of_free_storage(settings.get("FREE_STORAGE", {}))
    token = settings.get("METRICS_TOKEN")
    if token and not (isinstance(token, Secret) and len(token.reveal()) >= SHORTEST_TOKEN):
        yield Error(
            f"BOTSESSIONS['METRICS_TOKEN'] is not text of at least {SHORTEST_TOKEN} characters.",
            hint="Make one with secrets.token_urlsafe().",
            id="botsessions.E040",
        )
    bots = settings.get("BOTS") or {}
    if not isinstance(bots, Mapping):
        yield Error("BOTSESSIONS['BOTS'] is not a dict of bots by alias.", id="botsessions.E001")
        return
    for alias, bot in bots.items():
        yield from of_bot(alias, bot)


def of_free_storage(limits: object) -> Iterator[CheckMessage]:
    where = "BOTSESSIONS['FREE_STORAGE']"
    if not isinstance(limits, Mapping):
        yield Error(f"{where} is not a dict.", id="botsessions.E030")
        return
    yield from unknown(limits, FREE_STORAGE_LIMITS, where)
    for name in FREE_STORAGE_LIMITS:
        if not is_count(limits.get(name, 1)):
            yield Error(f"{where}[{name!r}] is not a positive number.", id="botsessions.E030")
        elif name == "MAX_KEY_LENGTH" and limits.get(name, 1) > MAX_KEY_LENGTH:
            yield Error(
                f"{where}[{name!r}] is more than the {MAX_KEY_LENGTH} that a session key may have.",
                id="botsessions.E030",
            )


def of_bot(alias: Any, settings: object) -> Iterator[CheckMessage]:
    where = f"BOTSESSIONS['BOTS'][{alias!r}]"
    try:
        check_alias("The alias", alias)
    except (TypeError, ValueError):
        yield Error(
            f"{where}: the alias is not text of at most {MAX_NAME_LENGTH} characters without "
            "blanks at its ends.",
            id="botsessions.E005",
        )
        return
    if not isinstance(settings, Mapping):
        yield Error(f"{where} is not a dict.", id="botsessions.E001")
        return
    yield from unknown(settings, BOT_SETTINGS, where)
    if not Bot(alias, settings).is_elsewhere:
        yield from of_imports(Bot(alias, settings), where)
    if not isinstance(settings.get("FREE_STORAGE", False), bool):
        yield Error(f"{where}['FREE_STORAGE'] is neither True nor False.", id="botsessions.E031")
    lock = Bot(alias, settings).lock
    if lock not in LOCKS:
        yield Error(
            f"{where}['LOCK'] is {lock!r}, which is no lock.",
            hint=f"Choose one of {', '.join(map(repr, LOCKS))}.",
            id="botsessions.E008",
        )
    if settings.get("WEBHOOK_SECRET") and lock == "process":
        yield Error(
            f"{where} has a WEBHOOK_SECRET together with LOCK='process'.",
            hint="Webhooks are handled by several processes: leave LOCK out.",
            id="botsessions.E009",
        )
    token, secret = settings.get("TOKEN"), settings.get("WEBHOOK_SECRET")
    if token and not isinstance(token, Secret):
        yield Error(f"{where}['TOKEN'] is not text.", id="botsessions.E013")
    if secret and not (isinstance(secret, Secret) and SECRET.fullmatch(secret.reveal())):
        yield Error(
            f"{where}['WEBHOOK_SECRET'] is not 1 to 256 characters of A-Z, a-z, 0-9, _ and -.",
            hint="Telegram takes no others. Make one with secrets.token_urlsafe().",
            id="botsessions.E012",
        )
    updates = settings.get("ALLOWED_UPDATES")
    if updates is not None and not is_text_list(updates):
        yield Error(
            f"{where}['ALLOWED_UPDATES'] is not a list of kinds of update.", id="botsessions.E010"
        )
    elif unheard_of := sorted(set(updates or ()) - set(KINDS)):
        yield Error(
            f"{where}['ALLOWED_UPDATES'] names kinds of update that python-telegram-bot does not "
            f"know: {', '.join(unheard_of)}.",
            hint=f"It knows {', '.join(KINDS)}.",
            id="botsessions.E010",
        )


def of_persistence(bot: Bot, where: str) -> Iterator[CheckMessage]:
    hint = "Write True, or the dotted path of a function that returns a BotPersistence."
    try:
        found = bot.persistence
    except (ImproperlyConfigured, TypeError, ValueError) as exc:
        yield Error(
            f"{where}['PERSISTENCE'] cannot be used: {exc}", hint=hint, id="botsessions.E016"
        )
        return
    if found is not None and not hasattr(found, "fragments"):
        yield Error(
            f"{where}['PERSISTENCE'] gives {type(found).__name__}, which is no BotPersistence.",
            hint=hint,
            id="botsessions.E016",
        )


def of_imports(bot: Bot, where: str) -> Iterator[CheckMessage]:
    yield from of_persistence(bot, where)
    try:
        if isinstance(bot.session, Declaration):
            yield from of_keys(bot.session, where)
            yield from of_caches(bot.session, where)
        else:
            yield Error(
                f"{where}['SESSION'] is no session.",
                hint="Declare it with session(), lazy_session() or multi_session().",
                id="botsessions.E006",
            )
    except ImproperlyConfigured as exc:
        yield Error(str(exc), id="botsessions.E006")
    try:
        if not callable(bot.application):
            yield Error(
                f"{where}['APPLICATION'] is not a function from a builder to an application.",
                id="botsessions.E007",
            )
        elif problem := misfit(bot.application, ("builder",), {}):
            yield Error(
                f"{where}['APPLICATION'] cannot be called with a builder: {problem}.",
                id="botsessions.E007",
            )
    except ImproperlyConfigured as exc:
        yield Error(str(exc), id="botsessions.E007")


def of_keys(session: Declaration, where: str) -> Iterator[CheckMessage]:
    for name, fragment in session.fragments.items():
        if session.is_multi and fragment.is_held and ignores_update(fragment.get_session_key):
            yield CheckWarning(
                f"{where}['SESSION']: the key function of fragment {name!r} does not look at the "
                "update. With one key for all of them, the whole bot handles one update at a time.",
                hint="Make it a lazy_session(), which no update holds.",
                id="botsessions.W005",
            )


def of_caches(session: Declaration, where: str) -> Iterator[CheckMessage]:
    """Tell of caches that are none; what others do when they are out, CacheStorage sees to."""
    storages = [fragment.innermost for fragment in session.fragments.values()]
    for alias in sorted(
        {storage.alias for storage in storages if isinstance(storage, CacheStorage)}
    ):
        if alias not in caches.settings:
            problem = f"settings.CACHES has no {alias!r}"
        elif isinstance(caches[alias], DummyCache):
            problem = f"CACHES[{alias!r}] is a DummyCache, which stores nothing"
        else:
            continue
        yield Error(
            f"{where}['SESSION'] uses a CacheStorage, but {problem}.", id="botsessions.E014"
        )


def unknown(
    settings: Mapping[Any, Any], known: Collection[str], where: str
) -> Iterator[CheckMessage]:
    for name in settings:
        if name not in known:
            yield Error(
                f"{where} has an unknown setting {name!r}.",
                hint=f"There are {', '.join(sorted(known))}.",
                id="botsessions.E002",
            )


def is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def is_text_list(value: object) -> bool:
    return isinstance(value, (list, tuple, set, frozenset)) and all(
        isinstance(item, str) for item in value
    )
