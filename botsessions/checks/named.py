"""What is wrong with what a bot's settings name: its session, application, persistence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.core.cache import caches
from django.core.cache.backends.dummy import DummyCache
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import ImproperlyConfigured

from ..arguments import misfit
from ..bots import Bot
from ..declaration import Declaration, Fragment
from ..keys import ignores_update
from ..storages import CacheStorage, DatabaseStorage


def of_named(bot: Bot, where: str) -> Iterator[CheckMessage]:
    yield from of_persistence(bot, where)
    try:
        yield from of_keys(bot.session, where)
        yield from of_storages(bot.session.fragments, f"{where}['SESSION']")
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
    except ImproperlyConfigured as exc:
        yield Error(
            f"{where}['PERSISTENCE'] cannot be used: {exc}", hint=hint, id="botsessions.E016"
        )
        return
    if found is not None:
        yield from of_storages(found.fragments, f"{where}['PERSISTENCE']")


def of_keys(session: Declaration, where: str) -> Iterator[CheckMessage]:
    for name, fragment in session.fragments.items():
        if session.is_multi and fragment.is_held and ignores_update(fragment.get_session_key):
            yield CheckWarning(
                f"{where}['SESSION']: the key function of fragment {name!r} does not look at the "
                "update. With one key for all of them, the whole bot handles one update at a time.",
                hint="Make it a lazy_session(), which no update holds.",
                id="botsessions.W005",
            )


def of_storages(fragments: Mapping[str, Fragment[Any]], where: str) -> Iterator[CheckMessage]:
    """Tell of caches, tables and databases that there are not."""
    storages = [fragment.innermost for fragment in fragments.values()]
    for alias in sorted({s.alias for s in storages if isinstance(s, CacheStorage)}):
        if problem := problem_of_cache(alias):
            yield Error(f"{where} uses a CacheStorage, but {problem}.", id="botsessions.E014")
    for storage in dict.fromkeys(s for s in storages if isinstance(s, DatabaseStorage)):
        try:
            storage.check()
        except (ImproperlyConfigured, TypeError) as exc:
            yield Error(f"{where} cannot be stored: {exc}", id="botsessions.E017")


def problem_of_cache(alias: str) -> str | None:
    """Return why a cache is none; what others do when they are out, CacheStorage sees to."""
    if alias not in caches.settings:
        return f"settings.CACHES has no {alias!r}"
    if isinstance(caches[alias], DummyCache):
        return f"CACHES[{alias!r}] is a DummyCache, which stores nothing"
    return None
