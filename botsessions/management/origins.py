"""The options that say where sessions are imported from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from django.core.management.base import CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS

from ..bots import get_bot
from ..due import KEPT
from ..maintenance.origins import (
    KINDS,
    DjangoPersistence,
    GrammyFiles,
    GrammyFree,
    GrammyTable,
    JsonLines,
    Keys,
    Origin,
    Pickle,
    Place,
    Way,
)
from ..persistence.fragments import THE_BOT
from ..storages import FreeStorage
from ..storages.free import PUBLIC
from .places import place, refuse_misspelt

Options = Mapping[str, Any]


class Kind(NamedTuple):
    """A kind of origin."""

    make: Callable[[Options], Origin]
    takes: frozenset[str]
    """Which of the options below."""
    source: str
    """What is to be named."""


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("kind", metavar="FROM", choices=ORIGINS, help=", ".join(ORIGINS))
    parser.add_argument(
        "source",
        metavar="SOURCE",
        nargs="?",
        help="The file, directory, table or URL: "
        + "; ".join(
            f"{kind}: {origin.source}" for kind, origin in ORIGINS.items() if origin.source
        ),
    )
    parser.add_argument(
        "--data", choices=KINDS, help="Which of python-telegram-bot's data to import."
    )
    parser.add_argument("--key", help="The session key that bot_data is stored under.")
    parser.add_argument(
        "--namespace", metavar="NAME", help="Of python-telegram-bot-django-persistence."
    )
    parser.add_argument(
        "--prefix", help="What the keys of grammY's session begin with; it is taken off."
    )
    parser.add_argument(
        "--drop-versions",
        action="store_true",
        help="Store data without its version, since this bot's migrations count anew.",
    )
    parser.add_argument(
        "--yes-this-file-is-mine",
        action="store_true",
        dest="mine",
        help="Read a pickle, which is a program: it can do all that you can.",
    )


def origin(options: Options) -> Origin:
    """Return what the options name.

    Raises:
        CommandError: they do not fit each other.
        ImproperlyConfigured: there is no such bot.
        OriginError: there is nothing.
    """
    kind = ORIGINS[options["kind"]]
    for name, flag in FLAGS.items():
        if options[name] and name not in kind.takes:
            raise CommandError(f"{flag} is of no use with {options['kind']}.")
    return kind.make(options)


def pickle(options: Options) -> Origin:
    if not options["mine"]:
        raise CommandError(
            "A pickle is a program: whoever has written the file decides what happens when it is "
            "read. If nobody but your own bot has, say --yes-this-file-is-mine."
        )
    return Pickle(named(options), way(options))


def django_persistence(options: Options) -> Origin:
    return DjangoPersistence(database(options), options["namespace"] or "", way(options))


def grammy_file(options: Options) -> Origin:
    return GrammyFiles(named(options), keys(options))


def grammy_psql(options: Options) -> Origin:
    return GrammyTable(options["source"] or "sessions", database(options), keys(options))


def grammy_free(options: Options) -> Origin:
    bot = get_bot(options["bot"])
    if not bot.token:
        raise CommandError(f"Set BOTSESSIONS['BOTS'][{bot.alias!r}]['TOKEN'] first: it logs in.")
    try:
        storage = FreeStorage(bot.token.reveal(), options["source"] or PUBLIC)
    except ValueError as exc:
        raise CommandError(f"Name a server's URL after grammy-free: {exc}") from exc
    return GrammyFree(storage, keys(options))


def json_lines(options: Options) -> Origin:
    if options["bot"] is not None:
        get_bot(options["bot"])
    refuse_misspelt(options)
    return JsonLines(named(options), bot=options["bot"], name=options["name"])


def named(options: Options) -> str:
    if options["source"] is None:
        needed = ORIGINS[options["kind"]].source
        raise CommandError(f"Name the source after {options['kind']}: {needed}.")
    return str(options["source"])


def way(options: Options) -> Way:
    data, key = options["data"], options["key"]
    if data is None:
        raise CommandError(f"Say which data, with --data: {', '.join(KINDS)}.")
    bot = get_bot(options["bot"])
    if bot.persistence is not None and options["name"] is None:
        return Way(data, Place(bot.alias, f"{KEPT}{data}"), THE_BOT if data == "bot_data" else key)
    if data == "conversations":
        raise CommandError(
            f"Conversations become those of a bot with PERSISTENCE: bot {bot.alias!r} has none."
        )
    if (KINDS[data].id is None) != (key is not None):
        raise CommandError(
            f"{data} has keys of its own: leave --key out."
            if key
            else f"Name the session key that {data} is to be stored under, with --key."
        )
    return Way(data, place(options), key)


def keys(options: Options) -> Keys:
    return Keys(place(options), options["prefix"] or "")


def database(options: Options) -> str:
    return options["database"] or DEFAULT_DB_ALIAS


FLAGS = {
    "source": "A SOURCE",
    "data": "--data",
    "key": "--key",
    "namespace": "--namespace",
    "prefix": "--prefix",
    "database": "--database",
    "drop_versions": "--drop-versions",
    "mine": "--yes-this-file-is-mine",
}
ORIGINS: Mapping[str, Kind] = {
    "pickle": Kind(
        pickle,
        frozenset({"source", "data", "key", "mine"}),
        "the file of a PicklePersistence, or what its files' names begin with",
    ),
    "django-persistence": Kind(
        django_persistence, frozenset({"data", "key", "namespace", "database"}), ""
    ),
    "grammy-file": Kind(
        grammy_file,
        frozenset({"source", "prefix", "drop_versions"}),
        "the directory of @grammyjs/storage-file",
    ),
    "grammy-psql": Kind(
        grammy_psql,
        frozenset({"source", "prefix", "drop_versions", "database"}),
        "the table of @grammyjs/storage-psql (sessions)",
    ),
    "grammy-free": Kind(
        grammy_free,
        frozenset({"source", "prefix", "drop_versions"}),
        "the URL of a free storage (grammY's own)",
    ),
    "jsonl": Kind(
        json_lines, frozenset({"source", "drop_versions"}), "a file of JSON lines, or - for stdin"
    ),
}
