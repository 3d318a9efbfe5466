"""What is wrong with what a bot's settings name: its session, application, persistence."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.cache import caches
from django.core.cache.backends.dummy import DummyCache
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import ImproperlyConfigured

from ..arguments import misfit
from ..bots import Bot
from ..declaration import Declaration
from ..keys import ignores_update
from ..storages import CacheStorage


def of_named(bot: Bot, where: str) -> Iterator[CheckMessage]:
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
