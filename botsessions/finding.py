"""Finding stored sessions: by state, by version, by ids and beginnings. Indexes answer."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache, reduce
from operator import or_
from typing import TYPE_CHECKING, Any, TypeAlias

from django.core.exceptions import ImproperlyConfigured
from django.db import connections, models
from django.db.models import F, Q
from django.db.models.functions import Lower
from django.db.models.lookups import Contains, StartsWith
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .bots import all_bots
from .due import comes_due, coming_due
from .models import AbstractBotSession
from .records import MAX_ID

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models.sql.compiler import SQLCompiler

    from .declaration import Fragment

    _Lookup = models.Lookup[bool]

    Sessions: TypeAlias = models.QuerySet[Any]
else:  # Subscriptable for type checkers only.
    _Lookup = models.Lookup

SOON = timedelta(days=1)
IDS = re.compile(r"-?[0-9]{1,20}(?:/-?[0-9]{1,20})*")
"""An id, or a key of several."""
ANY_END = "*"
LISTED = 2_000
"""So many of those that an index finds out of the order of their keys can be paged through."""
NEWEST = 10_000
"""So many are looked at for what no index knows."""
COMPARED = 5_000
"""So many are put in an order that no index has."""
BY_AGE = ["bot", "version", "name"]
"""The order of the index that knows which sessions are of an older version."""


class State(models.TextChoices):
    LIVE = "live", _("Live")
    SOON = "soon", _("Expires soon")
    DUE = "due", _("Due")
    EXPIRED = "expired", _("Expired")


class Age(models.TextChoices):
    """Of the data's version, compared with the code's."""

    BEHIND = "behind", _("Behind")
    CURRENT = "current", _("Current")
    NEWER = "newer", _("Newer than the code")


def state_of(
    session: AbstractBotSession, now: datetime | None = None, soon: timedelta = SOON
) -> State:
    """Return the state of a session now.

    Args:
        soon: a session that has no longer than this expires soon.
    """
    now = now or timezone.now()
    if session.expires_at is None or session.expires_at > now + soon:
        return State.LIVE
    if session.expires_at > now:
        return State.SOON
    return State.DUE if comes_due(session.name) else State.EXPIRED


def in_state(sessions: Sessions, state: str, soon: timedelta = SOON) -> Sessions:
    """Return those of the sessions that are in a state."""
    now = timezone.now()
    if state in (State.DUE, State.EXPIRED):
        due = coming_due() if state == State.DUE else ~coming_due()
        return sessions.filter(due, expires_at__lte=now)
    if state == State.SOON:
        return sessions.filter(expires_at__gt=now, expires_at__lte=now + soon)
    return sessions.filter(Q(expires_at=None) | Q(expires_at__gt=now + soon))


def of_bot(sessions: Sessions, bot: str) -> Sessions:
    """Return the sessions of a bot, so that :data:`.paging.BY_BOT` is an order of its own.

    With ``bot = …`` PostgreSQL would leave the bot out of that order, and might walk by primary key
    through a million sessions of others.
    """
    return sessions.filter(bot__gte=bot, bot__lte=bot)


def age_of(version: Decimal | None, newest: Decimal | None) -> Age:
    """Return how a stored version compares with the newest that the code knows."""
    if version == newest:
        return Age.CURRENT
    if newest is None or (version is not None and version > newest):
        return Age.NEWER
    return Age.BEHIND


def of_age(sessions: Sessions, age: str) -> Sessions:
    """Return the sessions of the settings' bots whose version is behind, current or newer."""
    return sessions.filter(any_of(age_parts(age)))


def age_parts(age: str) -> list[Q]:
    """Return the conditions of which one holds for such a session; an index answers each."""
    return [
        Q(bot=bot, name=name) & version
        for bot, name, newest in newest_versions()
        for version in version_parts(age, newest)
    ]


def version_parts(age: str, newest: Decimal | None) -> list[Q]:
    if age == Age.CURRENT:
        return [Q(version=newest)]
    if age == Age.NEWER:
        return [Q(version__isnull=False) if newest is None else Q(version__gt=newest)]
    return [] if newest is None else [Q(version=None), Q(version__lt=newest)]


def newest_versions() -> Iterator[tuple[str, str, Decimal | None]]:
    """Yield bot, fragment and newest version of what the settings declare."""
    for bot, fragment in fragments():
        yield bot, fragment.name, fragment.newest_version


def fragments() -> Iterator[tuple[str, Fragment[Any]]]:
    """Yield what the settings' bots declare; a bot that cannot be imported declares nothing."""
    for alias, bot in all_bots().items():
        try:
            declared = bot.fragments.values()
        except ImproperlyConfigured:
            continue
        for fragment in declared:
            yield alias, fragment


def search(sessions: Sessions, text: str) -> Sessions:
    """Return the sessions of a chat or user by its exact id, or by how key or title begin.

    Ids, and keys that are made of ids or end in one, are found by their beginning only where ``*``
    asks for it: a longer id is a stranger's. A title is also found by its first letter in lower
    case, and by the beginnings of any of its words, which no index may know.
    """
    parts = search_parts(text, sessions.model, newest_only=False)
    return sessions.filter(any_of(parts)) if text.strip() else sessions


def search_parts(text: str, model: type[models.Model], *, newest_only: bool = True) -> list[Q]:
    """Return the conditions of which one holds for what is found.

    Args:
        newest_only: among the :data:`NEWEST` sessions alone words are looked for that no index
            knows, so that each condition is answered by one.
    """
    text = text.strip()
    if not text or "\0" in text:
        return []
    if exact := exact_parts(text):
        return exact
    words = words_of(words_in(text, model), model, newest_only=newest_only)
    is_whole = text[-1].isdigit()
    text = text.removesuffix(ANY_END)
    titles = {text, text[:1].upper() + text[1:]}
    keys = [Q(key=text) if is_whole else Q(BeginsWith(F("key"), text))] if text else []
    begun = [Q(BeginsWith(F("title"), title)) for title in sorted(titles) if title]
    return [*keys, *begun, *words]


def exact_parts(text: str) -> list[Q]:
    """Return the conditions of which one holds for an id, a key or an address; none for words."""
    if IDS.fullmatch(text):
        number = int(text) if "/" not in text else MAX_ID + 1
        is_id = abs(number) <= MAX_ID and str(number) == text
        return [Q(key=text), *([Q(chat_id=number), Q(user_id=number)] if is_id else [])]
    bot, _, rest = text.partition(":")
    if rest and bot in all_bots():  # As addresses are written: ``bot:key``, ``bot:name:key``.
        name, _, key = rest.rpartition(":")
        return [Q(key=key, bot=bot, name=name), Q(key=rest, bot=bot, name="")]
    return []


def words_in(text: str, model: type[models.Model]) -> list[str]:
    """Return the words that a search looks for in titles."""
    if "\0" in text or exact_parts(text) or not isinstance(model._meta.pk, models.IntegerField):
        return []
    return text.removesuffix(ANY_END).lower().split()


def words_of(words: list[str], model: type[models.Model], *, newest_only: bool) -> list[Q]:
    """Return what holds for sessions in whose titles all words begin so, if there are words."""
    if not words:
        return []
    sessions, found, title = model._default_manager.all(), Q(), Lower("title")
    if newest_only and not has_index_of_words(sessions.db, model._meta.db_table):
        found = among_newest(sessions, NEWEST)
    for word in words:
        found &= Q(StartsWith(title, word)) | Q(Contains(title, f" {word}"))
    return [found]


def is_bounded(text: str, model: type[models.Model]) -> bool:
    """Whether :func:`search_parts` leaves out older sessions, in whose titles words may be."""
    sessions = model._default_manager.all()
    if not words_in(text.strip(), model) or has_index_of_words(sessions.db, model._meta.db_table):
        return False
    return sessions.filter(pk__lte=newest_key(sessions) - NEWEST).exists()


@cache
def has_index_of_words(using: str, table: str) -> bool:
    """Whether an index knows the parts of all titles in small letters: of PostgreSQL's pg_trgm."""
    connection = connections[using]
    if connection.vendor != "postgresql":
        return False
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM pg_index WHERE indrelid = to_regclass(%s) AND indisvalid "
            "AND pg_get_indexdef(indexrelid) LIKE '%%(lower((title)::text) gin_trgm_ops)'",
            [connection.ops.quote_name(table)],
        )
        return cursor.fetchone() is not None


def any_of(parts: Iterable[Q]) -> Q:
    """Return a condition that holds where one of these does."""
    return reduce(or_, parts, Q(pk__in=[]))


def found(sessions: Sessions, parts: list[Q], order: Iterable[str] = ()) -> tuple[list[Any], bool]:
    """Return the primary keys of the first :data:`LISTED` sessions, and whether there are more.

    Args:
        parts: the conditions of which one holds; an index answers each.
        order: of those indexes.
    """
    each = [sessions.filter(part).order_by(*order).values_list("pk", flat=True) for part in parts]
    if not each:
        return [], False
    if len(each) > 1:
        can_slice = connections[sessions.db].features.supports_slicing_ordering_in_compound
        each = [keys[: LISTED + 1] if can_slice else keys.order_by() for keys in each]
        each = [each[0].union(*each[1:])]
    keys = list(each[0][: LISTED + 1])
    return keys[:LISTED], len(keys) > LISTED


def newest_of_each(sessions: Sessions, groups: list[Q], count: int) -> list[Any]:
    """Return the newest sessions of each group, the newest first, by one statement.

    Args:
        groups: conditions of which one or more hold for a session; an index answers each.
        count: so many of each. Where groups have sessions in common, of one there may be more.
    """
    each = [sessions.filter(group).order_by("-pk")[:count] for group in groups]
    if len(each) < 2:
        return [session for newest in each for session in newest]
    if connections[sessions.db].features.supports_slicing_ordering_in_compound:
        found = {session.pk: session for session in each[0].union(*each[1:], all=True)}
        return sorted(found.values(), key=lambda session: session.pk, reverse=True)
    keys = (Q(pk__in=newest.values("pk")) for newest in each)
    return list(sessions.filter(any_of(keys)).order_by("-pk"))


def among_newest(rows: models.QuerySet[Any], many: int) -> Q:
    """Return what holds for the newest rows of a table, by primary key, and for so many at most.

    The upper bound tells PostgreSQL that these are few: it would expect a third of the table, and
    start workers and a compiler, which take longer than the search.
    """
    last = newest_key(rows)
    return Q(pk__gt=last - many, pk__lte=last)


def newest_key(rows: models.QuerySet[Any]) -> models.Subquery:
    return models.Subquery(rows.order_by("-pk").values("pk")[:1])


class Largest(models.Subquery):
    """The primary keys of the largest of some sessions."""

    # A limit of its own is more than MySQL takes in a subquery.
    template = (
        "(SELECT pk FROM (SELECT pk, size FROM (%(subquery)s) candidates "
        "ORDER BY size DESC, pk DESC LIMIT %(count)s) largest)"
    )


def largest(sessions: Sessions, count: int) -> tuple[list[Any], bool]:
    """Return the largest sessions, without their data, and whether there may be larger ones.

    The largest come first. They are compared with :data:`COMPARED` others, those of the highest
    size classes; a class may have more sessions than that.
    """
    by_class = sessions.order_by("-size_class", "-pk")
    some = by_class.values("size", pk=F("pk"))[:COMPARED]
    left = models.Subquery(by_class.values("size_class")[COMPARED : COMPARED + 1])
    found = sessions.filter(pk__in=Largest(some, count=count)).annotate(left=left).defer("data")
    rows = list(found.order_by("-size", "-pk"))
    return rows, bool(rows) and rows[0].left is not None and rows[-1].size_class <= rows[0].left


def hints(
    text: str, age: str | None, model: type[models.Model]
) -> tuple[list[Q], list[str]] | None:
    """Return what :func:`found` needs for a search, or a version that may be rare.

    A walk by primary key might meet a million other sessions before it meets one of these.
    """
    if text.strip():
        return search_parts(text, model), []
    if age in (Age.BEHIND, Age.NEWER):
        return age_parts(age), BY_AGE
    return None


class BeginsWith(_Lookup):
    """Whether text begins with other text, answered by an index, in the column's own order.

    Django's ``startswith`` finds no index on SQLite, and its form for MySQL compares bytes.
    """

    lookup_name = "begins_with"
    prepare_rhs = False

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> Any:
        column, parameters = self.process_lhs(compiler, connection)
        text = str(self.rhs)
        if connection.vendor == "sqlite":
            return f"({column} >= %s AND {column} < %s)", [
                *(*parameters, text),
                *(*parameters, text + chr(sys.maxunicode)),
            ]
        pattern = connection.ops.prep_for_like_query(text) + "%"
        return f"{column} LIKE %s", [*parameters, pattern]
